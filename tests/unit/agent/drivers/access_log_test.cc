// The log's own thread: what it writes, what it loses, what it says about that. And the tap beside it.
#include "agent/drivers/access_log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>

#include "agent/drivers/tap.h"
#include "tests/unit/agent/drivers/fake_instance.h"

namespace agent::drivers {
namespace {

/// What arrived, and how the next writes go.
struct Paper {
  std::mutex mutex;
  std::string text;
  bool broken = false;
  int reopened = 0;
};

class PaperSink final : public io::LineSink {
 public:
  explicit PaperSink(std::shared_ptr<Paper> paper) : paper_(std::move(paper)) {}
  io::LinesWritten write(std::string_view lines) override {
    const std::lock_guard lock(paper_->mutex);
    if (paper_->broken) return {0, io::Error{io::Errc::kDiskFull, "no room"}};
    paper_->text += lines;
    return {static_cast<std::size_t>(std::count(lines.begin(), lines.end(), '\n'))};
  }
  void reopen() override {
    const std::lock_guard lock(paper_->mutex);
    ++paper_->reopened;
  }

 private:
  std::shared_ptr<Paper> paper_;
};

proxy::AccessRecord request(std::string_view id, int status = 200) {
  proxy::AccessRecord record;
  record.method = "GET";
  record.target = "/orders/7";
  record.route = "orders";
  record.request_id = id;
  record.status = status;
  record.total = std::chrono::milliseconds(status == 200 ? 5 : 50);
  return record;
}

class AccessLogTest : public ::testing::Test {
 protected:
  void begin(std::size_t ring_bytes = 1 << 20, std::size_t workers = 2) {
    AccessLogSettings settings;
    settings.sink = std::make_unique<PaperSink>(paper);
    settings.node = "n1";
    settings.ring_bytes = ring_bytes;
    settings.workers = workers;
    auto started = AccessLog::start(*loop, std::move(settings), [this](const std::string& why) { told.push_back(why); });
    ASSERT_TRUE(started);
    log = std::move(*started);
  }
  std::size_t lines() {
    const std::lock_guard lock(paper->mutex);
    return static_cast<std::size_t>(std::count(paper->text.begin(), paper->text.end(), '\n'));
  }
  void set_broken(bool broken) {
    const std::lock_guard lock(paper->mutex);
    paper->broken = broken;
  }
  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  std::shared_ptr<Paper> paper = std::make_shared<Paper>();
  std::vector<std::string> told;
  std::unique_ptr<AccessLog> log;
};

TEST_F(AccessLogTest, EveryWorkersLinesArrive) {
  begin();
  for (int i = 0; i < 300; ++i) log->take(static_cast<std::size_t>(i % 2), request("id-" + std::to_string(i)));
  ASSERT_TRUE(look_until(*loop, [&] { return log->counters().lines == 300; }));
  EXPECT_EQ(lines(), 300U);
  EXPECT_NE(paper->text.find("\"request_id\":\"id-299\""), std::string::npos);
}

TEST_F(AccessLogTest, TheEndWritesWhatIsLeft) {
  begin();
  log->take(0, request("last"));
  log.reset();
  EXPECT_EQ(lines(), 1U);
}

TEST_F(AccessLogTest, AFullRingDropsAndCountsAndTheWorkerGoesOn) {
  begin(4096, 1);
  {
    const std::lock_guard lock(paper->mutex);  // the writer gets as far as its first block: nobody empties the ring
    for (int i = 0; i < 5000; ++i) log->take(0, request("x"));
  }
  ASSERT_TRUE(look_until(*loop, [&] {
    const AccessLogCounters counters = log->counters();
    return counters.lines + counters.dropped == 5000;
  }));
  EXPECT_GT(log->counters().dropped, 0U);
  EXPECT_EQ(lines(), log->counters().lines);
}

TEST_F(AccessLogTest, LostLinesAreCountedAndToldOnceAndSoIsTheEndOfIt) {
  begin();
  set_broken(true);
  log->take(0, request("a"));
  ASSERT_TRUE(look_until(*loop, [&] { return log->counters().lost == 1; }));
  log->take(0, request("b"));
  ASSERT_TRUE(look_until(*loop, [&] { return log->counters().lost == 2 && told.size() == 1; }));
  EXPECT_EQ(told[0], "no room");
  set_broken(false);
  log->take(1, request("c"));
  ASSERT_TRUE(run_until(*loop, [&] { return told.size() == 2; }));
  EXPECT_EQ(told[1], "");
  EXPECT_EQ(log->counters().lines, 1U);
}

TEST_F(AccessLogTest, ReopeningWritesFirstWhatBelongsToTheOldFile) {
  begin();
  log->take(0, request("old"));
  log->reopen();
  ASSERT_TRUE(look_until(*loop, [&] {
    const std::lock_guard lock(paper->mutex);
    return paper->reopened == 1;
  }));
  EXPECT_EQ(lines(), 1U);
}

// ---- tap ----

class TapTest : public ::testing::Test {
 protected:
  void push(const proxy::AccessRecord& record) {
    std::string bytes;
    append_record(bytes, record, {});
    (void)rings.at(0)->push(bytes);
  }
  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  Tap::Rings rings;
  int published = 0;
  Tap tap{*loop, 1, "n1", [this](const Tap::Rings& now) {
            rings = now;
            ++published;
          }};
};

TEST_F(TapTest, CostsNothingWithoutAReaderAndEndsWithTheLast) {
  EXPECT_EQ(published, 0);
  auto reader = tap.open({}, nullptr);
  auto other = tap.open({}, nullptr);
  EXPECT_EQ(published, 1);
  ASSERT_EQ(rings.size(), 1U);
  reader.reset();
  other.reset();
  ASSERT_TRUE(run_until(*loop, [&] { return rings.empty(); }));
}

TEST_F(TapTest, AReaderGetsWhatItAskedFor) {
  TapFilter filter;
  filter.route = "orders";
  filter.method = "GET";
  filter.path_prefix = "/orders";
  filter.status_min = 500;
  filter.status_max = 599;
  filter.slower_than = std::chrono::milliseconds(40);
  int woken = 0;
  auto reader = tap.open(filter, [&] { ++woken; });
  auto all = tap.open({}, nullptr);
  push(request("fine"));
  proxy::AccessRecord record = request("bad", 503);
  push(record);
  record.route = "reads";
  push(record);
  record = request("quick", 503);
  record.total = std::chrono::milliseconds(39);
  push(record);
  ASSERT_TRUE(run_until(*loop, [&] { return woken > 0; }));
  const std::string lines = reader->take();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 1) << lines;
  EXPECT_NE(lines.find("\"bad\""), std::string::npos);
  const std::string every = all->take();
  EXPECT_EQ(std::count(every.begin(), every.end(), '\n'), 4);
  EXPECT_EQ(all->take_missed(), 0U);
}

TEST_F(TapTest, ASlowReaderIsToldHowMuchItMissedAndOthersMissNothing) {
  auto slow = tap.open({}, nullptr);
  std::uint64_t seen = 0;
  std::shared_ptr<TapReader> quick;
  quick = tap.open({}, [&] {
    const std::string lines = quick->take();
    seen += static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n')) + quick->take_missed();
  });
  std::uint64_t sent = 0;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 300; ++i, ++sent) push(request(std::string(60, 'i')));
    ASSERT_TRUE(run_until(*loop, [&] { return seen == sent; })) << seen << " of " << sent;
  }
  const std::string lines = slow->take();
  EXPECT_LE(lines.size(), Tap::kBufferBytes);
  const std::uint64_t missed = slow->take_missed();
  EXPECT_GT(missed, 0U);
  EXPECT_EQ(static_cast<std::uint64_t>(std::count(lines.begin(), lines.end(), '\n')) + missed, sent);
}

TEST_F(TapTest, ReadersAreBounded) {
  std::vector<std::shared_ptr<TapReader>> readers;
  for (std::size_t i = 0; i < Tap::kReadersMax; ++i) readers.push_back(tap.open({}, nullptr));
  EXPECT_EQ(tap.open({}, nullptr), nullptr);
  readers.pop_back();
  EXPECT_NE(tap.open({}, nullptr), nullptr);
}

}  // namespace
}  // namespace agent::drivers
