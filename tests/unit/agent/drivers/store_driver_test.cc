#include "agent/drivers/store_driver.h"

#include <gtest/gtest.h>

#include "agent/io/crypto.h"
#include "tests/unit/agent/drivers/fake_instance.h"
#include "tests/unit/agent/drivers/memory_log.h"

namespace agent::drivers {
namespace {

using namespace std::chrono_literals;

class StoreDriverTest : public ::testing::Test {
 protected:
  void begin() {
    store::Config config;
    config.id = store::NodeId{7};
    config.name = "n1";
    StoreCallbacks callbacks;
    callbacks.send = [](store::NodeId, std::string, bool) { FAIL() << "a single node has nobody to write to"; };
    callbacks.on_event = [this](const store::Event& event) {
      if (const auto* leader = std::get_if<store::LeaderChanged>(&event)) leads = leader->leader == store::NodeId{7};
      if (std::holds_alternative<store::ClusterFounded>(event)) founded = true;
    };
    callbacks.on_clock = [this](io::Milliseconds by) { ahead.push_back(by); };
    callbacks.on_fatal = [this](const std::string& reason) { fatal = reason; };
    auto started = StoreDriver::start(*loop, config, std::make_unique<MemoryLog>(watch), io::random_below, std::move(callbacks));
    ASSERT_TRUE(started) << started.error().detail;
    driver = std::move(*started);
  }
  void found() {
    begin();
    driver->bootstrap([](const store::Result<void>& done) { EXPECT_TRUE(done); });
    ASSERT_TRUE(run_until(*loop, [&] { return leads && founded; }));
  }
  store::Result<store::Written> write(store::kv::CommandBody command) {
    std::optional<store::Result<store::Written>> got;
    driver->write(std::move(command), in_good_time(), [&](store::Result<store::Written> written) { got = std::move(written); });
    EXPECT_FALSE(got) << "no reply inside the call";
    EXPECT_TRUE(run_until(*loop, [&] { return got.has_value(); }));
    return got.value_or(store::fail(store::Errc::kStopped));
  }
  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  std::shared_ptr<MemoryLog::Watch> watch = std::make_shared<MemoryLog::Watch>();
  bool leads = false, founded = false;
  std::string fatal;
  std::vector<io::Milliseconds> ahead;
  std::unique_ptr<StoreDriver> driver;
};

TEST_F(StoreDriverTest, AWriteIsOnDiskBeforeItIsAnswered) {
  found();
  const int before = watch->writes;
  const auto written = write(store::kv::Set{"k", "v", 0});
  ASSERT_TRUE(written) << written.error().detail;
  EXPECT_GT(watch->writes, before);
  ASSERT_NE(driver->core().state().get("k"), nullptr);
  EXPECT_TRUE(look_until(*loop, [&] { return driver->disk_times().count == static_cast<std::uint64_t>(watch->writes.load()); }));
}

TEST_F(StoreDriverTest, WritesOfOneTurnShareABatch) {
  found();
  ASSERT_TRUE(write(store::kv::Set{"k", "v", 0}));  // what founding has to write is written
  const int before = watch->writes;
  int done = 0;
  for (int i = 0; i < 100; ++i) {
    driver->write(store::kv::Set{"k" + std::to_string(i), "v", 0}, in_good_time(), [&](const store::Result<store::Written>& written) {
      EXPECT_TRUE(written);
      ++done;
    });
  }
  ASSERT_TRUE(run_until(*loop, [&] { return done == 100; }));
  EXPECT_LE(watch->writes - before, 10) << "theirs, what was applied, and the rest of what was before";
}

TEST_F(StoreDriverTest, WatchesWakeOnceAndCanBeTakenBack) {
  found();
  int woken = 0;
  const auto id = driver->watch({store::kv::Topic::Kind::kKey, "k"}, store::kv::Index{1}, [&] { ++woken; });
  const auto other = driver->watch({store::kv::Topic::Kind::kKey, "k"}, store::kv::Index{1}, [] { FAIL() << "was taken back"; });
  ASSERT_TRUE(id && other);
  driver->unwatch(*other);
  ASSERT_TRUE(write(store::kv::Set{"k", "1", 0}));
  ASSERT_TRUE(run_until(*loop, [&] { return woken == 1; }));
  ASSERT_TRUE(write(store::kv::Set{"k", "2", 0}));
  EXPECT_EQ(woken, 1);
}

TEST_F(StoreDriverTest, ReadsRenewalsAndRefusalsComeBack) {
  found();
  std::optional<bool> read, renewed;
  driver->read(store::Consistency::kConsistent, in_good_time(), [&](const store::Result<store::Readable>& one) { read = one.has_value(); });
  ASSERT_TRUE(run_until(*loop, [&] { return read.has_value(); }));
  EXPECT_TRUE(*read);
  const auto lease = write(store::kv::LeaseAcquire{"trader", store::kv::NodeId{7}, "n1", 600'000, 500});
  ASSERT_TRUE(lease);
  driver->renew("trader", lease->epoch, in_good_time(), [&](const store::Result<void>& one) { renewed = one.has_value(); });
  ASSERT_TRUE(run_until(*loop, [&] { return renewed.has_value(); }));
  EXPECT_TRUE(*renewed);
  renewed.reset();
  const store::kv::Epoch future{store::kv::value(lease->epoch) + 1};
  driver->renew("trader", future, in_good_time(), [&](const store::Result<void>& one) {
    renewed = one.has_value();
    EXPECT_EQ(one.error().code, store::Errc::kStaleEpoch);
  });
  ASSERT_TRUE(run_until(*loop, [&] { return renewed.has_value(); }));
  EXPECT_FALSE(*renewed);
}

// Orders of the whole day: there is always one more write under way, and what is over has to go all the same.
TEST_F(StoreDriverTest, RetentionEndsUnderSteadyWrites) {
  namespace kv = store::kv;
  found();
  const auto lease = write(kv::LeaseAcquire{"trader", kv::NodeId{7}, "n1", 60'000, 500});
  ASSERT_TRUE(lease);
  const auto now = static_cast<std::uint64_t>(io::wall_ms());
  const auto order = [&](const std::string& key, std::uint64_t time_ms) {
    const kv::OrderName name{"trader", "orders", key};
    const auto reserved = write(kv::OrderReserve{name, kv::Fingerprint{1}, lease->epoch, kv::NodeId{7}, time_ms, kv::kOrderRetentionMsMin});
    ASSERT_TRUE(reserved && kv::may_send(reserved->outcome, reserved->index, reserved->order));
    ASSERT_TRUE(write(kv::OrderOutcome{name, reserved->index, kv::OrderState::kNotSent, {}, time_ms}));
  };
  order("old", now - 3'600'000);
  order("new", now);
  const auto row = [&](const std::string& key) { return driver->core().state().orders().find({"trader", "orders", key}); };
  std::uint64_t writes = 0;
  std::function<void(store::Result<store::Written>)> go_on = [&](const store::Result<store::Written>& written) {
    EXPECT_TRUE(written);
    ++writes;
    driver->write(kv::Set{"k", std::to_string(writes), 0}, in_good_time(), go_on);
  };
  go_on(store::Written{});
  EXPECT_TRUE(run_until(*loop, [&] { return row("old") == nullptr; })) << writes << " writes";
  EXPECT_NE(row("new"), nullptr);
  EXPECT_TRUE(ahead.empty());
  driver.reset();
}

TEST_F(StoreDriverTest, AClockThatDiffersFromTheTimesOfOrdersIsTold) {
  namespace kv = store::kv;
  found();
  const auto lease = write(kv::LeaseAcquire{"trader", kv::NodeId{7}, "n1", 60'000, 500});
  ASSERT_TRUE(lease);
  const auto tomorrow = static_cast<std::uint64_t>(io::wall_ms()) + 86'400'000;
  const auto end = in_good_time();
  for (int i = 0; ahead.empty() && io::boottime_now() < end; ++i) {  // the driver wants two stamps a second apart
    ASSERT_TRUE(write(kv::OrderReserve{{"trader", "orders", std::to_string(i)}, {}, lease->epoch, kv::NodeId{7}, tomorrow, kv::kOrderRetentionMsMin}));
    const auto next = io::boottime_now() + 50ms;
    ASSERT_TRUE(look_until(*loop, [&] { return !ahead.empty() || io::boottime_now() >= next; }));
  }
  ASSERT_EQ(ahead.size(), 1U);
  EXPECT_NEAR(static_cast<double>(ahead[0].count()), -86'400'000.0, 60'000.0);
  driver.reset();
}

TEST_F(StoreDriverTest, ADiskThatFailsStopsTheCoreAndAcknowledgesNothing) {
  found();
  watch->fail_from = watch->writes.load();
  bool answered = false;
  driver->write(store::kv::Set{"k", "v", 0}, in_good_time(), [&](const store::Result<store::Written>& written) {
    answered = true;
    EXPECT_FALSE(written);
  });
  ASSERT_TRUE(run_until(*loop, [&] { return !fatal.empty(); }));
  EXPECT_NE(fatal.find("no space left"), std::string::npos) << fatal;
  EXPECT_TRUE(driver->stopped());
}

TEST_F(StoreDriverTest, WithoutAClusterAWriteSaysSo) {
  begin();
  std::optional<store::Errc> code;
  driver->write(store::kv::Set{"k", "v", 0}, io::boottime_now() + 50ms, [&](const store::Result<store::Written>& written) {
    code = written ? store::Errc::kBusy : written.error().code;
  });
  ASSERT_TRUE(run_until(*loop, [&] { return code.has_value(); }));
  EXPECT_EQ(*code, store::Errc::kNoLeader);
}

}  // namespace
}  // namespace agent::drivers
