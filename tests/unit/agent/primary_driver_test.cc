#include "agent/primary_driver.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "agent/io/crypto.h"
#include "tests/unit/agent/drivers/fake_instance.h"
#include "tests/unit/agent/drivers/memory_log.h"

namespace agent {
namespace {

using namespace std::chrono_literals;
using drivers::InstanceHealth;
using drivers::run_until;
using io::look_until;

/// A primary driver over a real single-node store whose disk is memory.
class PrimaryDriverTest : public ::testing::Test {
 protected:
  PrimaryDriverTest() {
    char pattern[] = "/tmp/outrigger-role-XXXXXX";
    directory = ::mkdtemp(pattern);
    store::Config config;
    config.id = store::NodeId{7};
    config.name = "n1";
    drivers::StoreCallbacks callbacks;
    callbacks.send = [](store::NodeId, std::string, bool) {};
    callbacks.on_event = [this](const store::Event& event) {
      if (!driver) return;
      if (const auto* leader = std::get_if<store::LeaderChanged>(&event); leader != nullptr && leader->leader) driver->on_lease(store->core().state().lease("trader"));
      if (const auto* lease = std::get_if<store::LeaseChanged>(&event)) driver->on_lease(&lease->lease);
    };
    callbacks.on_fatal = [](const std::string& reason) { FAIL() << reason; };
    store = std::move(*drivers::StoreDriver::start(*loop, config, std::make_unique<drivers::MemoryLog>(std::make_shared<drivers::MemoryLog::Watch>()),
                                                   io::random_below, std::move(callbacks)));
  }
  ~PrimaryDriverTest() override {
    driver.reset();
    // A hook's shell may open its file between the listing and the removal: once more then, it opens only one.
    std::error_code error;
    do std::filesystem::remove_all(directory, error);
    while (error == std::errc::directory_not_empty);
  }
  void begin() {
    PrimaryDriverSettings settings;
    settings.core.self = HolderId{7};
    settings.core.lease = period;
    settings.core.yield_wait = 30ms;
    settings.margin = 50ms;
    settings.hook_timeout = 60s;
    settings.service = "trader";
    settings.self_name = "n1";
    settings.role_file = directory + "/role";
    settings.promote = drivers::HookTarget{{"/bin/sh", "-c", "cat > " + directory + "/promoted"}, {}, {}, {}};
    settings.demote = drivers::HookTarget{{"/bin/sh", "-c", "printf %s $OUTRIGGER_EPOCH > " + directory + "/demoted"}, {}, {}, {}};
    PrimaryDriverCallbacks callbacks;
    callbacks.on_change = [this] { ++changes; };
    callbacks.drain_orders = [this] { ++drains; };
    callbacks.log = [](std::string_view, const std::string&) {};
    callbacks.before_release = before_release;
    driver.emplace(*loop, settings, *store, io::random_below, callbacks);
    store->bootstrap([](const store::Result<void>&) {});
  }
  void elect() {
    begin();
    driver->on_instance(InstanceHealth::kPassing);
    ASSERT_TRUE(run_until(*loop, [&] { return driver->role_state().role == Role::kPrimary; }));
  }
  std::string content(const std::string& file) {
    std::ifstream in(directory + "/" + file);
    std::string text((std::istreambuf_iterator<char>(in)), {});
    return text;
  }
  bool gate_open() { return driver->lease_view() && driver->lease_view()->valid_at(io::boottime_now()); }

  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  std::string directory;
  std::unique_ptr<drivers::StoreDriver> store;
  std::optional<PrimaryDriver> driver;
  int changes = 0, drains = 0;
  Milliseconds period{600'000};  // must not run out meanwhile, whatever the machine does
  std::function<void(std::function<void()>)> before_release;
};

TEST_F(PrimaryDriverTest, AHealthyInstanceBecomesPrimaryAndTheGateFollowsTheLease) {
  period = 12s;  // a renewal every four
  elect();
  EXPECT_TRUE(gate_open());
  EXPECT_EQ(driver->role_state().epoch, Epoch{1});
  EXPECT_EQ(driver->lease_view()->epoch, proxy::Epoch{1});
  EXPECT_EQ(content("role").substr(0, 10), "primary 1 ");
  // Renewals carry it on, not only the one that follows the election.
  const auto first = driver->lease_view()->valid_until();
  ASSERT_TRUE(run_until(*loop, [&] { return driver->lease_view()->valid_until() > first + period / 4; }));
  EXPECT_EQ(driver->role_state().epoch, Epoch{1});
  ASSERT_TRUE(look_until(*loop, [&] { return content("promoted").find("\"epoch\":1") != std::string::npos; }));
}

TEST_F(PrimaryDriverTest, ADeadInstanceClosesTheGateInTheSameCall) {
  elect();
  const auto view = driver->lease_view();
  driver->on_instance(InstanceHealth::kGone);
  EXPECT_FALSE(view->valid_at(io::boottime_now()));
  EXPECT_EQ(driver->role_state().role, Role::kStandby);
  ASSERT_TRUE(run_until(*loop, [&] { return driver->core().record().holder == HolderId{}; }));
  EXPECT_EQ(content("role").substr(0, 8), "standby ");
  ASSERT_TRUE(look_until(*loop, [&] { return content("demoted") == "1"; }));
  EXPECT_EQ(drains, 0) << "nothing to wait for";
}

TEST_F(PrimaryDriverTest, ADrainAsksForOrdersInFlightAndGivesTheLeaseUpWhenTheyAreDone) {
  elect();
  driver->drain();
  EXPECT_EQ(drains, 1);
  EXPECT_FALSE(driver->role_state().serving);
  EXPECT_TRUE(gate_open());
  driver->on_orders_drained(Epoch{9});
  EXPECT_TRUE(gate_open()) << "news of another epoch";
  driver->on_orders_drained(Epoch{1});
  EXPECT_FALSE(gate_open());
  ASSERT_TRUE(run_until(*loop, [&] { return driver->core().record().holder == HolderId{}; }));
  driver->resume();
  ASSERT_TRUE(run_until(*loop, [&] { return driver->role_state().epoch == Epoch{2} && gate_open(); }));
  EXPECT_EQ(driver->lease_view()->epoch, proxy::Epoch{2}) << "another epoch has another view";
}

TEST_F(PrimaryDriverTest, TheLeaseIsReleasedOnlyWhenTheKernelLetsNothingPass) {
  std::function<void()> go;
  bool gate_was_open = false;
  before_release = [&](std::function<void()> then) {
    gate_was_open = gate_open();
    go = std::move(then);
  };
  elect();
  driver->on_instance(InstanceHealth::kGone);
  ASSERT_TRUE(go);
  EXPECT_FALSE(gate_was_open) << "first our own gate";
  EXPECT_EQ(driver->role_state().role, Role::kStandby) << "the role is not held up";
  // The store answers a later command, so a release that was sent would have been decided by now.
  bool written = false;
  store->write(store::kv::Delete{"nothing"}, io::in_good_time(), [&](const store::Result<store::Written>&) { written = true; });
  ASSERT_TRUE(run_until(*loop, [&] { return written; }));
  EXPECT_EQ(driver->core().record().holder, HolderId{7});
  go();
  ASSERT_TRUE(run_until(*loop, [&] { return driver->core().record().holder == HolderId{}; }));
}

TEST_F(PrimaryDriverTest, TheIndexOfTheRoleGrowsWithEveryChange) {
  begin();
  const auto before = driver->role_state().index;
  driver->on_instance(InstanceHealth::kCritical);
  EXPECT_GT(driver->role_state().index, before);
  EXPECT_GT(changes, 0);
}

}  // namespace
}  // namespace agent
