// The exporter's own thread against a collector that takes, refuses, hangs and goes away.
#include "agent/drivers/span_exporter.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "proxy/span.h"
#include "tests/unit/agent/drivers/fake_instance.h"

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

}  // namespace
}  // namespace agent::drivers
