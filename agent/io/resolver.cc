#include "agent/io/resolver.h"

#include <netdb.h>
#include <uv.h>

#include <algorithm>

namespace agent::io {

namespace {
constexpr std::size_t kAddressesMax = 64;
}

struct Resolution::Request {
  Resolution* owner = nullptr;  // null once nobody waits
  OnResolved on_resolved;
  std::string name;
  std::uint16_t port = 0;
  uv_getaddrinfo_t uv{};

  void answer(Result<std::vector<Address>> result) {
    if (owner == nullptr) return;
    owner->request_ = nullptr;
    owner = nullptr;
    const OnResolved call = std::move(on_resolved);
    call(std::move(result));
  }
};

namespace {

Result<std::vector<Address>> collect(int status, const addrinfo* list, const std::string& name, std::uint16_t port) {
  if (status != 0) return tl::unexpected(from_uv(status, "look up " + name));
  std::vector<Address> found;
  for (const addrinfo* item = list; item != nullptr && found.size() < kAddressesMax; item = item->ai_next) {
    Address address = Address::from_sockaddr(item->ai_addr, item->ai_addrlen);
    address.set_port(port);
    if (!address.empty() && std::find(found.begin(), found.end(), address) == found.end()) found.push_back(address);
  }
  if (found.empty()) return fail(Errc::kNotFound, "look up " + name + ": no address");
  return found;
}

}  // namespace

Resolution::~Resolution() {
  if (request_ == nullptr) return;
  request_->owner = nullptr;
  uv_cancel(reinterpret_cast<uv_req_t*>(&request_->uv));  // works only while it waits for a pool thread
}

std::unique_ptr<Resolution> resolve(Loop& loop, const std::string& host, std::uint16_t port,
                                    Resolution::OnResolved on_resolved) {
  auto request = std::make_unique<Resolution::Request>();
  std::unique_ptr<Resolution> resolution(new Resolution(request.get()));
  request->owner = resolution.get();
  request->on_resolved = std::move(on_resolved);
  request->name = host;
  request->port = port;
  request->uv.type = UV_UNKNOWN_REQ;
  const auto answer_later = [&loop](std::unique_ptr<Resolution::Request> held, Result<std::vector<Address>> result) {
    loop.post([shared = std::shared_ptr<Resolution::Request>(std::move(held)), result = std::move(result)] {
      shared->answer(result);
    });
  };
  if (const auto numeric = Address::ip(host, port)) {
    answer_later(std::move(request), std::vector<Address>{*numeric});
    return resolution;
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  request->uv.data = request.get();
  const int status = uv_getaddrinfo(
      loop.raw(), &request->uv,
      [](uv_getaddrinfo_t* uv, int code, addrinfo* list) {
        const std::unique_ptr<Resolution::Request> held(static_cast<Resolution::Request*>(uv->data));
        auto result = collect(code, list, held->name, held->port);
        uv_freeaddrinfo(list);
        held->answer(std::move(result));
      },
      host.c_str(), nullptr, &hints);
  if (status != 0) {
    answer_later(std::move(request), tl::unexpected(from_uv(status, "look up " + host)));
    return resolution;
  }
  static_cast<void>(request.release());
  return resolution;
}

}  // namespace agent::io
