#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/api/request_backend.h"
#include "agent/api/trace_backend.h"
#include "tests/unit/agent/api/fake_backend.h"

namespace agent::api {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

constexpr const char* kId = "0af7651916cd43dd8448eb211c80319c";

class FakeTraces final : public TraceBackend {
 public:
  void list(TraceQuery query, Completion<TraceListInfo> done) override {
    asked = std::move(query);
    done(found);
  }
  void find(std::string id, Completion<TraceSpansInfo> done) override {
    asked_id = std::move(id);
    done(spans);
  }
  void receive(SpanForm form, std::string body, Completion<std::size_t> done) override {
    received_form = form;
    received = std::move(body);
    done(taken);
  }
  TraceQuery asked;
  std::string asked_id, received;
  SpanForm received_form{};
  TraceListInfo found;
  Result<TraceSpansInfo> spans = TraceSpansInfo{};
  Result<std::size_t> taken = std::size_t{1};
};

class FakeRequests final : public RequestBackend {
 public:
  void why(std::string, Completion<WhyInfo>) override {}
  void routes(Completion<std::vector<RouteInfo>>) override {}
  void egress(Completion<EgressInfo>) override {}
  Result<std::shared_ptr<RequestFeed>> feed(FeedQuery) override { return tl::unexpected(Error{Errc::kBusy, "", {}}); }
  [[nodiscard]] TraceBackend* traces() override { return kept; }
  TraceBackend* kept = nullptr;
};

class TraceRoutes : public testing::Test, public ApiHarness {
 protected:
  TraceRoutes() {
    backend.request_backend = &requests;
    requests.kept = &traces;
  }
  FakeTraces traces;
  FakeRequests requests;
};

TEST_F(TraceRoutes, WithoutTracesTheRemedyIsNamed) {
  requests.kept = nullptr;
  for (const char* path : {"/outrigger/v1/traces", "/outrigger/v1/traces/0af7651916cd43dd8448eb211c80319c"}) {
    const auto reply = ask("GET", path);
    EXPECT_EQ(reply.status, 501) << path;
    EXPECT_THAT(reply.body, HasSubstr("[tracing]"));
  }
  EXPECT_EQ(ask("POST", "/v1/traces", "{}").status, 501);
}

TEST_F(TraceRoutes, TheListAndItsFilters) {
  traces.found.kept = 7;
  traces.found.traces = {{kId, "POST /orders", "orders", "00ff00ff00ff00ff", 201, 1'700'000'000'000'000, 2500, 6, 0, false}, {kId, "decide", "", "", 0, 1, 2, 1, 3, true}};
  const auto reply = ask("GET", "/outrigger/v1/traces?min=10ms&status=2xx&route=orders&order=00ff00ff00ff00ff&limit=5");
  ASSERT_EQ(reply.status, 200);
  const Json body = Json::parse(reply.body);
  EXPECT_EQ(body["kept"], 7);
  EXPECT_EQ(body["traces"][0], Json::parse(R"({"trace_id":"0af7651916cd43dd8448eb211c80319c","name":"POST /orders","route":"orders","status":201,"start_us":1700000000000000,
    "duration_us":2500,"spans":6,"left_out":0,"order":"00ff00ff00ff00ff","failed":false})"));
  EXPECT_TRUE(body["traces"][1]["status"].is_null());
  EXPECT_TRUE(body["traces"][1]["route"].is_null());
  EXPECT_EQ(traces.asked.min, Milliseconds(10));
  EXPECT_EQ(traces.asked.status_min, 200);
  EXPECT_EQ(traces.asked.status_max, 299);
  EXPECT_EQ(traces.asked.route, "orders");
  // printf %s 00ff00ff00ff00ff | sha256sum: random keys may look like hashes, so it may be either.
  EXPECT_THAT(traces.asked.orders, testing::UnorderedElementsAre("00ff00ff00ff00ff", "0aa8593366da1229"));
  EXPECT_EQ(traces.asked.limit, 5U);
  // printf %s abc | sha256sum
  EXPECT_EQ(ask("GET", "/outrigger/v1/traces?order=abc").status, 200);
  EXPECT_THAT(traces.asked.orders, testing::ElementsAre("ba7816bf8f01cfea"));
  EXPECT_EQ(traces.asked.limit, 100U);
  for (const char* query : {"min=soon", "status=7", "status=6xx", "limit=0", "limit=1001", "limit=x"})
    EXPECT_EQ(ask("GET", std::string("/outrigger/v1/traces?") + query).status, 400) << query;
}

TEST_F(TraceRoutes, OneTraceIsToldFlatAndInOrder) {
  TraceSpansInfo info;
  info.nodes = {"n1", "n2"};
  info.silent = {"n3"};
  info.left_out = 2;
  info.chunks = R"({"service":"outrigger","node":"n2","spans":[{"spanId":"b","parentSpanId":"a","name":"ledger reserve","kind":1,"startTimeUnixNano":"2000000","endTimeUnixNano":"3500000",
    "attributes":[{"key":"n","value":{"intValue":"7"}},{"key":"epoch","value":{"intValue":"18446744073709551615"}},{"key":"t","value":{"stringValue":"x"}},{"key":"f","value":{"boolValue":true}}]}]},
    {"service":"outrigger","node":"n1","spans":[{"spanId":"a","name":"POST /orders","kind":2,"startTimeUnixNano":"1000000","endTimeUnixNano":"9000000","attributes":[],
    "events":[{"timeUnixNano":"1500000","name":"connected"}],"status":{"code":2}}]},{"service":7,"spans":[7,{"kind":"x","attributes":{},"startTimeUnixNano":"9x"}]},8)";
  traces.spans = info;
  const auto reply = ask("GET", std::string("/outrigger/v1/traces/") + kId);
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(traces.asked_id, kId);
  const Json body = Json::parse(reply.body), &spans = body["spans"];
  EXPECT_EQ(body["nodes"], Json({"n1", "n2"}));
  EXPECT_EQ(body["silent"], Json({"n3"}));
  EXPECT_EQ(body["left_out"], 2);
  ASSERT_EQ(spans.size(), 4U) << "what no span is has nothing to show, and breaks nothing";
  EXPECT_EQ(spans[2]["name"], "POST /orders");
  EXPECT_EQ(spans[2]["node"], "n1");
  EXPECT_TRUE(spans[2]["parent_id"].is_null());
  EXPECT_EQ(spans[2]["kind"], "server");
  EXPECT_EQ(spans[2]["failed"], true);
  EXPECT_EQ(spans[2]["events"], Json::parse(R"([{"at_us":1500,"name":"connected"}])"));
  EXPECT_EQ(spans[3]["start_us"], 2000);
  EXPECT_EQ(spans[3]["duration_us"], 1500);
  EXPECT_EQ(spans[3]["attributes"], Json::parse(R"({"n":7,"epoch":"18446744073709551615","t":"x","f":true})")) << "what JavaScript cannot hold stays text";
  traces.spans = tl::unexpected(Error{Errc::kNotFound, "nobody has it", {}});
  EXPECT_EQ(ask("GET", std::string("/outrigger/v1/traces/") + kId).status, 404);
  for (const char* id : {"x", "0AF7651916cd43dd8448eb211c80319c", "0af7651916cd43dd8448eb211c80319c0"})
    EXPECT_EQ(ask("GET", std::string("/outrigger/v1/traces/") + id).status, 400) << id;
}

TEST_F(TraceRoutes, SpansOfApplicationsAreTakenInBothForms) {
  auto reply = ask("POST", "/v1/traces", R"({"resourceSpans":[]})");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.content_type, "application/json");
  EXPECT_EQ(reply.body, "{}");
  EXPECT_EQ(traces.received_form, SpanForm::kJson);
  reply = ask("POST", "/v1/traces", std::string("\x0a\x00", 2));
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.content_type, "application/x-protobuf");
  EXPECT_EQ(reply.body, "");
  EXPECT_EQ(traces.received_form, SpanForm::kProtobuf);
  EXPECT_EQ(traces.received.size(), 2U);
  reply = ask("POST", "/v1/traces", "\x1f\x8b\x08");
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.body, HasSubstr("OTEL_EXPORTER_OTLP_COMPRESSION"));
  traces.taken = tl::unexpected(Error{Errc::kBadRequest, "byte 17: a field ends behind the end", {}});
  reply = ask("POST", "/v1/traces", "\x0a");
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.body, HasSubstr("byte 17"));
  traces.taken = tl::unexpected(Error{Errc::kBusy, "too many", {}});
  EXPECT_EQ(ask("POST", "/v1/traces", "\x0a").status, 503) << "SDKs try that again";
}

TEST_F(TraceRoutes, ContentTypeSaysWhichFormItIsAndElseTheFirstByte) {
  const auto form = [&](const std::string& type, const std::string& body) {
    Request request;
    request.method = "POST";
    request.path = "/v1/traces";
    request.body = body;
    request.content_type = type;
    const Response reply = answer(send(request));
    EXPECT_EQ(reply.status, 200) << type;
    EXPECT_EQ(reply.content_type, traces.received_form == SpanForm::kJson ? "application/json" : "application/x-protobuf");
    return traces.received_form;
  };
  for (const char* type : {"application/json", "Application/JSON ; charset=utf-8"}) {
    for (const char* front : {"", "\n", " \r\n\t", "\xef\xbb\xbf"}) EXPECT_EQ(form(type, front + std::string("{}")), SpanForm::kJson) << type;
  }
  for (const char* type : {"", "application/x-protobuf", "application/x-www-form-urlencoded"}) {
    EXPECT_EQ(form(type, "{}"), SpanForm::kJson) << type;
    EXPECT_EQ(form(type, "\xef\xbb\xbf{}"), SpanForm::kJson) << type;
    EXPECT_EQ(form(type, "\n{}"), SpanForm::kProtobuf) << type;
  }
}

TEST_F(TraceRoutes, ThePageNeedsNothingButThisApi) {
  const auto reply = ask("GET", "/ui/traces");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.content_type, "text/html; charset=utf-8");
  std::string policy;
  for (const auto& [name, value] : reply.headers)
    if (name == "Content-Security-Policy") policy = value;
  EXPECT_THAT(policy, HasSubstr("default-src 'none'"));
  EXPECT_EQ(reply.body.find("http://"), std::string::npos) << "nothing from elsewhere";
  EXPECT_EQ(reply.body.find("https://"), std::string::npos);
  EXPECT_EQ(reply.body.find("innerHTML"), std::string::npos) << "what spans say goes in as text";
}

}  // namespace
}  // namespace agent::api
