#include <map>
#include <string>

#include "agent/api/registration.h"
#include "proxy/http1/codec.h"
#include "proxy/http1/writer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/agent/api/fake_catalog.h"

namespace api = agent::api;
namespace http1 = proxy::http1;

namespace {

/// Hands each request of the input to the API; on a connection as the server would.
class Feeder final : public http1::RequestSink {
 public:
  explicit Feeder(api::ApiHarness& harness) : harness_(harness) {}
  http1::Flow on_head(const http1::RequestHead& head) override {
    request_ = {};
    request_.method = head.method_text;
    request_.path = head.path;
    request_.query = head.query;
    request_.host = head.host;
    request_.accept = head.find("Accept").value_or("");
    request_.origin = head.find("Origin").value_or("");
    request_.last_event_id = head.find("Last-Event-ID").value_or("");
    return http1::Flow::kContinue;
  }
  void on_body(http1::Bytes bytes) override { request_.body += http1::text_of(bytes); }
  void on_end(std::span<const http1::Header>) override { sent.push_back(harness_.send(request_)); }

  std::vector<api::ExchangeId> sent;

 private:
  api::ApiHarness& harness_;
  api::Request request_;
};

}  // namespace

/// Any request gets exactly one answer or one stream, waits end when their time is up, and nothing is left behind.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  api::ApiHarness harness;
  api::FakeCatalog catalog(harness.backend);
  catalog.policy = api::ScriptPolicy::kLocal;
  harness.backend.set("a/b", "value");
  Feeder feeder(harness);
  http1::RequestParser parser(http1::Limits{.body_bytes_max = 65536});
  auto bytes = fuzz::bytes_of(data, size);
  while (!bytes.empty() && feeder.sent.size() < 64) {
    const auto taken = parser.feed(bytes, feeder);
    if (!taken || *taken == 0) break;
    bytes = bytes.subspan(*taken);
  }
  harness.settle();
  harness.advance(std::chrono::hours(1));
  for (const auto& registration : catalog.registered) {
    fuzz::require(!registration.service.id.empty() && !registration.service.name.empty(), "a registered service has a name");
    for (const auto& check : registration.checks) {
      const auto back = api::parse_definition(api::definition_text(check.definition));
      fuzz::require(back.has_value() && back->kind == check.definition.kind, "how a check is made can be read back");
    }
  }
  for (const auto id : feeder.sent) {
    const auto& outputs = harness.outputs[id];
    fuzz::require(!outputs.empty(), "every request is answered");
    const bool streams = outputs[0].kind == api::Output::Kind::kStreamBegin;
    fuzz::require(streams || (outputs.size() == 1 && outputs[0].kind == api::Output::Kind::kReply), "once");
    fuzz::require(outputs[0].response.status >= 200 && outputs[0].response.status < 600, "with a status");
    for (const auto& [name, value] : outputs[0].response.headers)
      fuzz::require(value.find_first_of("\r\n") == std::string::npos, "no split in a header");
    harness.api.on_hangup(id);
  }
  fuzz::require(harness.api.open() == 0 && harness.api.waiting() == 0, "nothing is left");
  fuzz::require(harness.backend.watch_count() == 0, "no wait is left");
  return 0;
}
