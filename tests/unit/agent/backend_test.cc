#include "agent/backend.h"

#include <gtest/gtest.h>

#include "agent/io/crypto.h"
#include "tests/unit/agent/drivers/fake_instance.h"
#include "tests/unit/agent/drivers/memory_log.h"

namespace agent {
namespace {

using namespace std::chrono_literals;
using drivers::run_until;

/// The backend over a real single-node store whose disk is memory; gossip and proxy are values.
class BackendTest : public ::testing::Test {
 protected:
  BackendTest() {
    store::Config settings;
    settings.id = store::NodeId{7};
    settings.name = "n1";
    drivers::StoreCallbacks callbacks;
    callbacks.send = [](store::NodeId, std::string, bool) {};
    callbacks.on_event = [this](const store::Event& event) {
      if (const auto* leader = std::get_if<store::LeaderChanged>(&event)) leads = leader->leader == store::NodeId{7};
    };
    callbacks.on_fatal = [](const std::string& reason) { FAIL() << reason; };
    store = std::move(*drivers::StoreDriver::start(*loop, settings, std::make_unique<drivers::MemoryLog>(std::make_shared<drivers::MemoryLog::Watch>()),
                                                   io::random_below, std::move(callbacks)));
    config.node.name = "n1";
    config.raft.write_timeout = io::kPatience;
    gossip::Member self;
    self.id.bytes[7] = 7;
    self.name = "n1";
    self.address = gossip::Address::ipv4(127, 0, 0, 1, 7946);
    EXPECT_TRUE(self.tags.merge({"mp", "7947", 1, false}));
    members.push_back(self);
    BackendParts parts;
    parts.config = &config;
    parts.loop = loop.get();
    parts.store = store.get();
    parts.members = [this] { return std::span<const gossip::Member>(members); };
    parts.gossip_counters = [] { return gossip::Counters{}; };
    parts.endpoints = [] { return proxy::EndpointTable{}; };
    parts.mesh_connected = [](store::NodeId) { return false; };
    parts.proxy_status = [](std::function<void(ProxyStatus)> done) {
      ProxyStatus status;
      status.counters.late_lease_writes = 3;
      done(std::move(status));
    };
    parts.draining = [] { return false; };
    parts.id = self.id.to_string();
    parts.raft_id = store::NodeId{7};
    backend = std::make_unique<AgentBackend>(std::move(parts));
  }
  void found() {
    store->bootstrap([](const store::Result<void>& done) { EXPECT_TRUE(done); });
    ASSERT_TRUE(run_until(*loop, [&] { return leads; }));
  }
  /// Runs one call that answers by completion; the answer never comes inside the call.
  template <typename T, typename Call>
  api::Result<T> answer(Call call) {
    std::optional<api::Result<T>> got;
    call([&](api::Result<T> result) { got = std::move(result); });
    EXPECT_FALSE(got);
    EXPECT_TRUE(run_until(*loop, [&] { return got.has_value(); }));
    return got.value_or(tl::make_unexpected(api::Error{}));
  }
  api::Result<api::KvWritten> write(api::KvWrite change) {
    return answer<api::KvWritten>([&](api::Completion<api::KvWritten> done) { backend->kv_write(change, std::move(done)); });
  }
  api::Result<api::ElectionInfo> command(api::ElectionCommand order) {
    return answer<api::ElectionInfo>([&](api::Completion<api::ElectionInfo> done) { backend->election_command(order, std::move(done)); });
  }

  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  Config config;
  std::vector<gossip::Member> members;
  bool leads = false;
  std::unique_ptr<drivers::StoreDriver> store;
  std::unique_ptr<AgentBackend> backend;
};

TEST_F(BackendTest, KeysAreWrittenReadListedAndCompared) {
  found();
  using Kind = api::KvWrite::Kind;
  const auto set = write({Kind::kSet, "a/1", "one", 7, {}});
  ASSERT_TRUE(set);
  EXPECT_TRUE(set->applied);
  const api::KvAnswer got = backend->kv_get("a/1");
  ASSERT_EQ(got.entries.size(), 1u);
  EXPECT_EQ(got.entries[0].value, "one");
  EXPECT_EQ(got.entries[0].flags, 7u);
  EXPECT_EQ(got.index, set->index);
  const auto lost = write({Kind::kCas, "a/1", "two", 0, api::Index{1}});
  ASSERT_TRUE(lost);
  EXPECT_FALSE(lost->applied) << "a CAS that lost is an answer, not an error";
  ASSERT_TRUE(write({Kind::kCas, "a/2", "new", 0, api::Index{0}})->applied);
  EXPECT_EQ(backend->kv_list("a/").entries.size(), 2u);
  ASSERT_TRUE(write({Kind::kDeleteTree, "a/", "", 0, {}})->applied);
  EXPECT_TRUE(backend->kv_list("a/").entries.empty());
  EXPECT_GT(backend->kv_list("a/").index, got.index) << "a deletion raises the index";
  EXPECT_EQ(write({Kind::kSet, std::string(2000, 'k'), "v", 0, {}}).error().code, api::Errc::kTooLarge);
}

TEST_F(BackendTest, WithoutALeaderAWriteAndABarrierSaySo) {
  config.raft.write_timeout = Milliseconds(60);
  EXPECT_EQ(write({api::KvWrite::Kind::kSet, "k", "v", 0, {}}).error().code, api::Errc::kNoLeader);
  EXPECT_EQ(write({}).error().code, api::Errc::kBadRequest) << "an empty key";
  const auto read = answer<api::ReadInfo>([&](api::Completion<api::ReadInfo> done) { backend->read_barrier(api::ReadMode::kDefault, std::move(done)); });
  ASSERT_FALSE(read);
  const auto stale = answer<api::ReadInfo>([&](api::Completion<api::ReadInfo> done) { backend->read_barrier(api::ReadMode::kStale, std::move(done)); });
  ASSERT_TRUE(stale) << "stale reads go on";
  EXPECT_FALSE(stale->known_leader);
}

TEST_F(BackendTest, WaitsForKeysAndForTheRoleWakeOnceAndCanBeTakenBack) {
  found();
  int key = 0, role = 0;
  ASSERT_TRUE(backend->watch({api::Topic::Kind::kKey, "k"}, api::Index{1}, [&] { ++key; }));
  ASSERT_TRUE(backend->watch({api::Topic::Kind::kRole, ""}, backend->role().index, [] { FAIL() << "the role has not changed"; }));
  ASSERT_TRUE(backend->watch({api::Topic::Kind::kRole, ""}, api::Index{0}, [&] { ++role; }));
  const auto gone = backend->watch({api::Topic::Kind::kRole, ""}, api::Index{0}, [] { FAIL() << "was taken back"; });
  ASSERT_TRUE(gone);
  backend->unwatch(*gone);
  EXPECT_EQ(role, 0) << "never inside the call";
  ASSERT_TRUE(write({api::KvWrite::Kind::kSet, "k", "v", 0, {}}));
  ASSERT_TRUE(run_until(*loop, [&] { return key == 1 && role == 1; }));
}

TEST_F(BackendTest, ClientsWithoutAnAgentCampaignRenewAndResign) {
  found();
  using Kind = api::ElectionCommand::Kind;
  EXPECT_FALSE(backend->election("batch"));
  const auto won = command({Kind::kCampaign, "batch", "", "worker-1", {}, 60s});
  ASSERT_TRUE(won) << won.error().detail;
  EXPECT_EQ(won->epoch, api::Epoch{1});
  EXPECT_EQ(won->holder_name, "worker-1");
  EXPECT_EQ(command({Kind::kCampaign, "batch", "", "worker-2", {}, 60s}).error().code, api::Errc::kConflict);
  EXPECT_TRUE(command({Kind::kRenew, "batch", "", "worker-1", api::Epoch{1}, {}}));
  EXPECT_EQ(command({Kind::kRenew, "batch", "", "worker-1", api::Epoch{9}, {}}).error().code, api::Errc::kConflict);
  EXPECT_TRUE(command({Kind::kResign, "batch", "", "worker-1", api::Epoch{1}, {}}));
  const auto next = command({Kind::kCampaign, "batch", "", "worker-2", {}, 60s});
  ASSERT_TRUE(next);
  EXPECT_EQ(next->epoch, api::Epoch{2}) << "the token only grows";
}

TEST_F(BackendTest, ASwitchoverNeedsAHolderAndAFitTarget) {
  found();
  using Kind = api::ElectionCommand::Kind;
  EXPECT_EQ(command({Kind::kSwitchover, "trader", "", "", {}, {}}).error().code, api::Errc::kConflict) << "nobody holds it";
  ASSERT_TRUE(command({Kind::kCampaign, "trader", "", "somebody", {}, 60s}));
  EXPECT_EQ(command({Kind::kSwitchover, "trader", "n9", "", {}, {}}).error().code, api::Errc::kNotFound);
  EXPECT_EQ(command({Kind::kSwitchover, "trader", "n1", "", {}, {}}).error().code, api::Errc::kConflict) << "no healthy instance there";
  api::Result<api::ElectionInfo> nobody;
  for (config.raft.write_timeout = Milliseconds(50); config.raft.write_timeout < io::kPatience; config.raft.write_timeout *= 4) {
    nobody = command({Kind::kSwitchover, "trader", "", "", {}, {}});
    ASSERT_FALSE(nobody);
    if (nobody.error().detail.starts_with("nobody took trader over")) break;  // else not even its order was written in that time
  }
  EXPECT_EQ(nobody.error().code, api::Errc::kTimeout) << "the holder does not obey: it is no agent";
  const auto order = backend->kv_get(switchover_key("trader"));
  ASSERT_EQ(order.entries.size(), 1u);
  const auto parsed = SwitchoverOrder::parse(order.entries[0].value);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->epoch, 1u);
}

TEST(SwitchoverOrderText, IsReadWithCare) {
  EXPECT_EQ(SwitchoverOrder::parse((SwitchoverOrder{5, "n2"}).text())->target, "n2");
  for (const char* bad : {"", "x", "{}", R"({"epoch":-1,"target":""})", R"({"epoch":1})", R"({"epoch":"1","target":"n"})", "[1]"}) {
    EXPECT_FALSE(SwitchoverOrder::parse(bad)) << bad;
  }
}

TEST_F(BackendTest, MembersRaftHealthAndMetricsAreShown) {
  found();
  const auto infos = backend->members();
  ASSERT_EQ(infos.size(), 1u);
  EXPECT_EQ(infos[0].address, "127.0.0.1");
  EXPECT_EQ(infos[0].mesh_port, 7947);
  EXPECT_TRUE(infos[0].mesh_connected) << "to itself";
  const api::RaftInfo raft = backend->raft();
  EXPECT_EQ(raft.role, "leader");
  EXPECT_EQ(raft.leader, api::NodeId{7});
  EXPECT_EQ(raft.leader_address, "127.0.0.1:7947");
  EXPECT_EQ(backend->role().role, "none");
  for (const api::HealthItem& item : backend->ready()) EXPECT_TRUE(item.ok) << item.name << ": " << item.detail;
  std::optional<std::vector<api::MetricFamily>> families;
  backend->metrics([&](api::Result<std::vector<api::MetricFamily>> result) { families = std::move(*result); });
  ASSERT_TRUE(families);
  bool found_late = false;
  for (const api::MetricFamily& family : *families) {
    EXPECT_TRUE(family.name.starts_with("outrigger_")) << family.name;
    EXPECT_EQ(family.name.ends_with("_total"), family.type == api::MetricFamily::Type::kCounter) << family.name;
    if (family.name == "outrigger_lease_late_writes_total") found_late = family.samples.at(0).value == 3;
  }
  EXPECT_TRUE(found_late);
}

}  // namespace
}  // namespace agent
