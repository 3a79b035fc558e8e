// The exporter's own thread against a collector that takes, refuses, hangs and goes away.
#include "agent/drivers/span_exporter.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "proxy/span.h"
#include "tests/unit/agent/drivers/fake_instance.h"
#include "tests/unit/agent/drivers/held_exporter.h"

namespace agent::drivers {
namespace {

proxy::AccessRecord request() {
  proxy::AccessRecord record;
  record.method = "GET";
  record.target = "/quotes";
  record.status = 200;
  record.traced = true;
  record.trace.trace.fill('a');
  record.trace.span.fill('b');
  record.trace.flags = proxy::kSampled;
  return record;
}

class Exporting : public ::testing::Test {
 protected:
  Exporting() { settings.batches.wait = io::Milliseconds(10); }
  void begin() {
    settings.to = *parse_collector_url("http://" + collector.address.to_string());
    settings.resource = {"shop", "n1", "1"};
    settings.batches.backoff_min = io::Milliseconds(10);
    settings.workers = 2;
    auto started = SpanExporter::start(*loop, settings, [this](const std::string& why) { told.push_back(why); });
    ASSERT_TRUE(started);
    exporter = std::move(*started);
  }
  bool until(const std::function<bool()>& done) { return look_until(*loop, done); }
  [[nodiscard]] SpanCounters spans() const { return exporter->counters().spans; }
  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  FakeInstance collector{*loop};
  SpanExportSettings settings;
  std::vector<std::string> told;
  std::unique_ptr<SpanExporter> exporter;
};

TEST_F(Exporting, EveryWorkersSpansArriveOverOneConnection) {
  begin();
  for (std::size_t i = 0; i < 100; ++i) exporter->take(i % 2, request());
  ASSERT_TRUE(until([&] { return spans().exported == 100; }));
  ASSERT_TRUE(collector.requests.at(0).starts_with("POST /v1/traces {"));
  std::size_t seen = 0;
  for (const std::string& line : collector.requests)
    seen += nlohmann::json::parse(line.substr(line.find('{')))["resourceSpans"][0]["scopeSpans"][0]["spans"].size();
  EXPECT_EQ(seen, 100U);
  EXPECT_EQ(collector.connections, 1);
  EXPECT_TRUE(told.empty());
}

TEST_F(Exporting, ACollectorThatIsBusyIsAskedAgainAndSaidOnce) {
  collector.status = 503;
  begin();
  exporter->take(0, request());
  ASSERT_TRUE(until([&] { return collector.requests.size() >= 3 && !told.empty(); }));
  EXPECT_EQ(told.size(), 1U);
  EXPECT_NE(told[0].find("answered 503"), std::string::npos) << told[0];
  collector.status = 200;
  ASSERT_TRUE(until([&] { return spans().exported == 1 && told.size() == 2; }));
  EXPECT_EQ(told[1], "");
  EXPECT_EQ(collector.requests.front(), collector.requests.back()) << "the same spans each time";
}

TEST_F(Exporting, ACollectorThatIsAwayIsFoundWhenItComesBack) {
  begin();
  collector.die();
  exporter->take(0, request());
  ASSERT_TRUE(until([&] { return !told.empty(); }));
  collector.come_back();
  ASSERT_TRUE(until([&] { return spans().exported == 1; }));
}

TEST_F(Exporting, BadDataIsNotSentAgain) {
  collector.status = 400;
  begin();
  exporter->take(0, request());
  ASSERT_TRUE(until([&] { return spans().rejected == 1 && !told.empty(); }));
  EXPECT_EQ(collector.requests.size(), 1U);
  collector.status = 200;
  collector.body = R"({"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}})";
  exporter->take(0, request());
  ASSERT_TRUE(until([&] { return spans().rejected == 2; }));
  EXPECT_EQ(collector.requests.size(), 2U);
}

TEST_F(Exporting, NothingWaitsForAHangingCollectorAndWhatHasNoRoomIsCounted) {
  collector.answers = false;
  settings.batches.queue_bytes = 4096;
  settings.ring_bytes = 4096;
  begin();
  for (int i = 0; i < 2000; ++i) exporter->take(0, request());
  ASSERT_TRUE(until([&] { return exporter->counters().dropped_behind + spans().dropped_full > 1500; }));
  exporter.reset();  // within kFarewell, although nobody answers
}

TEST_F(Exporting, TheEndSendsWhatIsLeft) {
  settings.batches.wait = io::Milliseconds(60'000);
  begin();
  exporter->take(1, request());
  bool gone = false;
  std::thread ending([&] {
    exporter.reset();
    gone = true;
  });
  EXPECT_TRUE(until([&] { return collector.requests.size() == 1; }));
  ending.join();
  EXPECT_TRUE(gone);
}

TEST_F(Exporting, PackedIfThatIsSet) {
  settings.gzip = true;
  begin();
  exporter->take(0, request());
  ASSERT_TRUE(until([&] { return spans().exported == 1; }));
  EXPECT_TRUE(collector.requests.at(0).starts_with("POST /v1/traces \x1f\x8b"));
}

TEST(CollectorUrl, IsReadOrRefusedByName) {
  const auto whole = parse_collector_url("https://otel.example/custom/traces");
  ASSERT_TRUE(whole);
  EXPECT_TRUE(whole->https);
  EXPECT_EQ(whole->host, "otel.example");
  EXPECT_EQ(whole->port, 443);
  EXPECT_EQ(whole->path, "/custom/traces");
  const auto bare = parse_collector_url("http://[::1]:14318");
  ASSERT_TRUE(bare);
  EXPECT_EQ(bare->host, "::1");
  EXPECT_EQ(bare->port, 14318);
  EXPECT_EQ(bare->authority, "[::1]:14318");
  EXPECT_EQ(bare->path, "/v1/traces");
  EXPECT_EQ(parse_collector_url("http://h/")->path, "/v1/traces");
  EXPECT_EQ(parse_collector_url("http://h")->port, 4318);
  for (const char* url : {"", "otel.example", "ftp://h", "http://", "http://h:0", "http://h:x", "http://u:p@h", "http://h/a b", "http://h/\r\nX: y", "http://h/#x"}) {
    const auto bad = parse_collector_url(url);
    ASSERT_FALSE(bad) << url;
    EXPECT_NE(bad.error().detail.find(url), std::string::npos);
  }
}

constexpr const char* kAppSpan = R"({"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"trader"}}]},"scopeSpans":[{"spans":[
  {"traceId":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","spanId":"cccccccccccccccc","parentSpanId":"bbbbbbbbbbbbbbbb","name":"decide","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]})";

class Keeping : public Exporting {
 protected:
  SpanReceipt receive(OtlpForm form, const std::string& body) {
    std::optional<SpanReceipt> got;
    EXPECT_TRUE(exporter->receive(form, body, [&](const SpanReceipt& receipt) { got = receipt; }));
    EXPECT_TRUE(run_until(*loop, [&] { return got.has_value(); }));
    return got.value_or(SpanReceipt{});
  }
  TraceListing list() {
    std::optional<TraceListing> got;
    EXPECT_TRUE(exporter->list({}, [&](const TraceListing& found) { got = found; }));
    EXPECT_TRUE(run_until(*loop, [&] { return got.has_value(); }));
    return got.value_or(TraceListing{});
  }
  nlohmann::json find(char digit) {
    proxy::TraceId id;
    id.fill(digit);
    std::optional<std::optional<TraceText>> got;
    EXPECT_TRUE(exporter->find(id, [&](std::optional<TraceText> text) { got = std::move(text); }));
    EXPECT_TRUE(run_until(*loop, [&] { return got.has_value(); }));
    return got && *got ? nlohmann::json::parse("[" + (*got)->chunks + "]") : nlohmann::json();
  }
};

TEST_F(Keeping, WithoutACollectorTracesAreKeptAndNobodyIsCalled) {
  settings.exports = false;
  begin();
  auto record = request();
  record.route = "reads";
  record.order.fill('7');
  exporter->take(0, record);
  const TraceListing listing = list();
  ASSERT_EQ(listing.traces.size(), 1U) << "what lies in the rings is looked at first";
  EXPECT_EQ(listing.kept, 1U);
  EXPECT_EQ(listing.traces[0].name, "GET");
  EXPECT_EQ(listing.traces[0].route, "reads");
  EXPECT_EQ(listing.traces[0].status, 200);
  EXPECT_EQ(listing.traces[0].order, "7777777777777777");
  const auto chunks = find('a');
  ASSERT_EQ(chunks.size(), 1U);
  EXPECT_EQ(chunks[0]["node"], "n1");
  EXPECT_EQ(chunks[0]["service"], "shop");
  EXPECT_EQ(chunks[0]["spans"][0]["spanId"], "bbbbbbbbbbbbbbbb");
  EXPECT_TRUE(find('d').is_null());
  EXPECT_FALSE(exporter->counters().exports);
  EXPECT_EQ(exporter->counters().traces_kept, 1U);
  EXPECT_EQ(exporter->counters().requests, 0U);
  EXPECT_EQ(collector.connections, 0);
}

TEST_F(Keeping, SpansOfApplicationsJoinTheirTraceAndGoOnAsTheyCame) {
  begin();
  exporter->take(0, request());
  const SpanReceipt receipt = receive(OtlpForm::kJson, kAppSpan);
  EXPECT_EQ(receipt.outcome, SpanReceipt::Outcome::kTaken);
  EXPECT_EQ(receipt.spans, 1U);
  ASSERT_TRUE(until([&] { return spans().exported == 2; }));
  EXPECT_EQ(list().traces.at(0).spans, 2U);
  EXPECT_EQ(list().traces.at(0).name, "GET") << "the request speaks for it";
  bool joined = false;
  for (const auto& chunk : find('a')) joined = joined || (chunk["service"] == "trader" && chunk["spans"][0]["name"] == "decide");
  EXPECT_TRUE(joined);
  bool passed_on = false;
  for (const std::string& line : collector.requests) passed_on = passed_on || line.ends_with(kAppSpan);
  EXPECT_TRUE(passed_on) << "byte for byte";
  EXPECT_EQ(exporter->counters().received, 1U);
}

TEST_F(Keeping, WhatCannotBeReadOrIsTooMuchIsRefusedAndCounted) {
  settings.received_per_second = 1;
  begin();
  const SpanReceipt bad = receive(OtlpForm::kProtobuf, "\xff");
  EXPECT_EQ(bad.outcome, SpanReceipt::Outcome::kMalformed);
  EXPECT_EQ(bad.fault, "byte 1: a number ends behind the end");
  EXPECT_EQ(exporter->counters().received_malformed, 1U);
  nlohmann::json many = nlohmann::json::parse(kAppSpan);
  nlohmann::json& list_of = many["resourceSpans"][0]["scopeSpans"][0]["spans"];
  for (int i = 0; i < 999; ++i) list_of.push_back(list_of[0]);
  EXPECT_EQ(receive(OtlpForm::kJson, many.dump()).outcome, SpanReceipt::Outcome::kTooMany);
  EXPECT_EQ(exporter->counters().received_over, 1000U);
  EXPECT_EQ(exporter->counters().received, 0U);
}

/// So many spans of one trace, each with `bytes` of text.
std::string spans_of(int count, std::size_t bytes) {
  nlohmann::json spans = nlohmann::json::array();
  for (int i = 0; i < count; ++i) {
    std::string id = std::to_string(i + 1);
    id.insert(0, 16 - id.size(), '0');
    spans.push_back({{"traceId", std::string(32, 'a')}, {"spanId", id}, {"name", std::string(bytes, 'n')}, {"startTimeUnixNano", "1"}, {"endTimeUnixNano", "2"}});
  }
  return nlohmann::json{{"resourceSpans", {{{"scopeSpans", {{{"spans", spans}}}}}}}}.dump();
}

TEST_F(Keeping, OfOneRequestThatIsTooLongForItsTraceAsMuchIsKeptAsFits) {
  settings.exports = false;
  begin();
  ASSERT_EQ(receive(OtlpForm::kJson, spans_of(512, 600)).spans, 512U);
  const TraceSummary one = list().traces.at(0);
  EXPECT_GT(one.spans, 250U);
  EXPECT_EQ(one.spans + one.left_out, 512U);
  std::size_t found = 0;
  for (const auto& chunk : find('a')) found += chunk["spans"].size();
  EXPECT_EQ(found, one.spans);
  // Where a long one has no room a short one may.
  ASSERT_EQ(receive(OtlpForm::kJson, spans_of(1, 1)).spans, 1U);
  EXPECT_EQ(list().traces.at(0).spans, one.spans + 1);
}

TEST_F(Keeping, OneRequestTakesAQuarterOfWhatIsKept) {
  settings.exports = false;
  settings.keep_bytes = 64U << 10;
  begin();
  ASSERT_EQ(receive(OtlpForm::kJson, spans_of(100, 1000)).spans, 100U);
  const TraceSummary one = list().traces.at(0);
  EXPECT_GT(one.spans, 10U);
  EXPECT_LT(one.spans, 17U);
  EXPECT_EQ(one.spans + one.left_out, 100U);
}

TEST_F(Keeping, RequestsWaitWithinBoundsAndQuestionsGoFirst) {
  settings.exports = false;
  begin();
  Hold hold;
  ASSERT_TRUE(hold.hold(*exporter));
  ASSERT_TRUE(until([&] { return hold.holds(); }));
  const std::string body = R"({"resourceSpans":[]})" + std::string(576U << 10, ' ');
  std::vector<std::string> answered;
  std::size_t taken = 0;
  for (int i = 0; i < 20; ++i) {
    taken += exporter->receive(OtlpForm::kJson, body, [&](const SpanReceipt&) { answered.emplace_back("body"); }) ? 1 : 0;
    EXPECT_LE(exporter->waiting_bytes(), SpanExporter::kWaitingBytesMax);
  }
  EXPECT_EQ(taken, 7U);
  EXPECT_EQ(exporter->counters().received_unread, 13U);
  EXPECT_GT(exporter->waiting_bytes(), taken * body.size());
  ASSERT_TRUE(exporter->list({}, [&](const TraceListing&) { answered.emplace_back("list"); }));
  hold.let_go();
  ASSERT_TRUE(until([&] { return answered.size() == 1 + taken; }));
  EXPECT_EQ(answered[0], "list") << "although it was asked last";
  EXPECT_EQ(exporter->waiting_bytes(), 0U);
  EXPECT_EQ(receive(OtlpForm::kJson, body).outcome, SpanReceipt::Outcome::kTaken);
}

TEST_F(Keeping, RequestsAreReadSoManyBytesASecondWhateverTheyHold) {
  settings.read_bytes_per_second = 1;
  begin();
  EXPECT_EQ(receive(OtlpForm::kProtobuf, std::string(100, '\xff')).outcome, SpanReceipt::Outcome::kMalformed) << "one may always be read";
  EXPECT_FALSE(exporter->receive(OtlpForm::kProtobuf, "x", [](const SpanReceipt&) {}));
  EXPECT_EQ(exporter->counters().received_unread, 1U);
  EXPECT_EQ(exporter->waiting_bytes(), 0U);
}

TEST_F(Keeping, QuestionsThatWaitAreBounded) {
  begin();
  Hold hold;
  ASSERT_TRUE(hold.hold(*exporter));
  std::size_t answered = 0;
  const auto ask = [&] { return exporter->list({}, [&](const TraceListing&) { ++answered; }); };
  for (std::size_t i = 1; i < SpanExporter::kQuestionsMax; ++i) ASSERT_TRUE(ask());
  EXPECT_FALSE(ask());
  hold.let_go();
  ASSERT_TRUE(until([&] { return answered == SpanExporter::kQuestionsMax - 1; }));
  EXPECT_TRUE(ask()) << "there is room again";
}

}  // namespace
}  // namespace agent::drivers
