// A request on warm connections allocates nothing: counted by the operators new of this test program.
#include <cstdlib>
#include <new>

#include "tests/unit/proxy/fixture.h"

namespace {
std::size_t allocation_count = 0;
}

// The program's own operators; the rest of the family ends in these. Not inlined: GCC takes malloc and delete for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++allocation_count;
  void* place = std::malloc(size == 0 ? 1 : size);
  if (place == nullptr) std::abort();
  return place;
}
[[gnu::noinline]] void operator delete(void* place) noexcept { std::free(place); }
[[gnu::noinline]] void operator delete(void* place, std::size_t) noexcept { std::free(place); }

namespace proxy::testing {
namespace {

class Allocation : public ProxyTest {
 protected:
  void expect_none();
};

TEST_F(Allocation, NoneInTheSteadyState) { expect_none(); }

TEST_F(Allocation, NoneForTracesTrailsAndNamesEither) {
  settings.trails = settings.trace.on = settings.trace.spans = settings.request_id.from_anyone = settings.request_id.to_client = true;
  expect_none();
}

void Allocation::expect_none() {
  start();
  set_pool({endpoint(1)});
  become_primary(7);
  host.quiet = true;
  auto c = client();
  const std::string read = "GET /book?depth=5 HTTP/1.1\r\nHost: h\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
                           "tracestate: a=1,b=2\r\nX-Request-Id: one\r\n\r\n";
  const std::string order = post("/orders", R"({"symbol":"X","quantity":1,"side":"buy"})");
  const std::string answer = ok(R"({"id":12345,"state":"accepted"})");
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  c->out.reserve(1 << 16);
  const auto round = [&](const std::string& request, const std::string& response) {
    c->sink->on_data(http1::bytes_of(request));
    Wire& u = *host.upstreams.back();
    if (u.write_calls == 0) {
      u.out.reserve(1 << 16);
      u.connect();
    }
    u.out.clear();
    u.sink->on_data(http1::bytes_of(response));
    c->out.clear();
  };
  const auto all = [&] {
    round(read, answer);
    round(order, answer);
    round(read, chunked);
  };
  for (int i = 0; i < 5; ++i) all();
  const std::size_t before = allocation_count;
  for (int i = 0; i < 1000; ++i) all();
  EXPECT_EQ(allocation_count - before, 0U);
  EXPECT_EQ(counters().responses_2xx, 3015U);
  EXPECT_EQ(host.upstreams.size(), 1U);
}

}  // namespace
}  // namespace proxy::testing
