#include "agent/drivers/gossip_driver.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "agent/io/file.h"
#include "gossip/snapshot.h"
#include "tests/unit/agent/io/loop_until.h"

namespace agent::drivers {
namespace {

using io::Milliseconds;
using io::run_until;

struct Member {
  std::vector<gossip::Event> events;
  std::vector<std::string> log;
  int turns = 0;
  std::unique_ptr<GossipDriver> driver;

  [[nodiscard]] bool heard(gossip::EventKind kind, const std::string& name = {}) const {
    return std::any_of(events.begin(), events.end(),
                       [&](const auto& event) { return event.kind == kind && (name.empty() || event.name == name); });
  }
  [[nodiscard]] bool logged(const std::string& part) const {
    return std::any_of(log.begin(), log.end(), [&](const auto& line) { return line.find(part) != std::string::npos; });
  }
  [[nodiscard]] std::size_t live() const { return driver->core().live_count(); }
};

struct Gossip : ::testing::Test {
  std::unique_ptr<io::Loop> loop = io::new_loop();
  std::map<int, Member> members;
  std::string directory;

  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "/outrigger-gossip-XXXXXX";
    directory = ::mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(directory); }

  static gossip::MemberId id(int number) {
    gossip::MemberId made;
    made.bytes.fill(static_cast<std::uint8_t>(number));
    return made;
  }
  static std::string name(int number) { return "node-" + std::to_string(number); }
  GossipSettings settings(int number) const {
    GossipSettings made;
    made.core.id = id(number);
    made.core.name = name(number);
    made.core.advertise = gossip::Address::ipv4(127, 0, 0, 1, 0);
    made.core.cluster = "desk";
    made.core.probe_interval = Milliseconds(200);
    made.core.probe_timeout_max = Milliseconds(100);
    made.core.probe_verdict_min = Milliseconds(50);
    made.core.persist_interval = Milliseconds(20);
    made.bind = io::Address::loopback(0);
    made.snapshot_file = directory + "/" + name(number) + ".snapshot";
    made.key.emplace().fill(std::byte{42});
    return made;
  }
  io::Result<void> try_start(int number, GossipSettings made) {
    Member& member = members[number];
    GossipCallbacks callbacks;
    callbacks.on_event = [&member](const gossip::Event& event) { member.events.push_back(event); };
    callbacks.on_turn = [&member] { ++member.turns; };
    callbacks.log = [&member](std::string_view what, const std::string& detail) {
      member.log.push_back(std::string(what) + " " + detail);
    };
    auto started = GossipDriver::start(*loop, std::move(made), std::move(callbacks));
    if (!started) return tl::unexpected(started.error());
    member.driver = std::move(*started);
    return {};
  }
  Member& start(int number, const std::function<void(GossipSettings&)>& change = {}) {
    auto made = settings(number);
    if (change) change(made);
    const auto started = try_start(number, std::move(made));
    EXPECT_TRUE(started) << started.error().detail;
    return members[number];
  }
  void join(int number, int seed) {
    members[number].driver->join({{"127.0.0.1", members[seed].driver->local_address().port()}});
  }
  void form(int count) {
    for (int number = 1; number <= count; ++number) {
      start(number);
      if (number > 1) join(number, 1);
    }
    ASSERT_TRUE(all_see(static_cast<std::size_t>(count)));
  }
  bool all_see(std::size_t count) {
    return run_until(*loop, [&] {
      return std::all_of(members.begin(), members.end(), [&](const auto& each) { return each.second.live() == count; });
    });
  }
};

TEST_F(Gossip, AgentsFindEachOtherUnderOneKey) {
  form(3);
  EXPECT_TRUE(members[1].heard(gossip::EventKind::kJoined, "node-3"));
  EXPECT_TRUE(members[3].heard(gossip::EventKind::kClusterJoined));
  EXPECT_GT(members[1].turns, 0);
  const gossip::Member* other = members[1].driver->core().find(id(2));
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(other->address, to_gossip(members[2].driver->local_address()));
}

TEST_F(Gossip, PlainAgentsFindEachOtherToo) {
  for (int number = 1; number <= 2; ++number) start(number, [](GossipSettings& made) { made.key.reset(); });
  join(2, 1);
  EXPECT_TRUE(all_see(2));
}

TEST_F(Gossip, WrongKeyStaysOutsideAndIsCounted) {
  start(1);
  start(2, [](GossipSettings& made) { made.key->fill(std::byte{43}); });
  join(2, 1);
  ASSERT_TRUE(run_until(*loop, [&] {
    return members[1].driver->core().counters().dropped(gossip::Drop::kUnknownKey) > 0;
  }));
  EXPECT_EQ(members[1].live(), 1U);
}

TEST_F(Gossip, OtherClusterLabelStaysOutside) {
  start(1);
  start(2, [](GossipSettings& made) { made.core.cluster = "other"; });
  join(2, 1);
  ASSERT_TRUE(run_until(*loop, [&] {
    return members[1].driver->core().counters().dropped(gossip::Drop::kNotAuthentic) > 0;
  }));
  EXPECT_EQ(members[1].live(), 1U);
}

TEST_F(Gossip, TagsTravel) {
  form(2);
  const std::vector<gossip::TagChange> tags = {{"svc", "trader"}, {"h", "passing"}};
  ASSERT_TRUE(members[2].driver->set_tags(tags, gossip::Urgency::kUrgent));
  EXPECT_TRUE(run_until(*loop, [&] {
    const gossip::Member* other = members[1].driver->core().find(id(2));
    return other->tags.get("svc") == "trader" && other->tags.get("h") == "passing";
  }));
  EXPECT_TRUE(members[1].heard(gossip::EventKind::kTagsChanged, "node-2"));
  const std::vector<gossip::TagChange> bad = {{"", "x"}};
  EXPECT_FALSE(members[2].driver->set_tags(bad, gossip::Urgency::kOrdinary));
}

TEST_F(Gossip, LeaverSaysGoodbyeAndIsDone) {
  form(3);
  members[3].driver->leave();
  ASSERT_TRUE(run_until(*loop, [&] { return members[3].heard(gossip::EventKind::kLeaveDone); }));
  EXPECT_TRUE(run_until(*loop, [&] { return members[1].heard(gossip::EventKind::kLeft, "node-3"); }));
  EXPECT_FALSE(members[1].heard(gossip::EventKind::kDead, "node-3"));
}

TEST_F(Gossip, GoneProcessIsRefusedAndSoonDead) {
  form(3);
  // A probe that dies unread in its queue would be silence, no refusal: until a turn in which nobody said anything.
  const auto said = [this] {
    std::uint64_t sum = 0;
    for (const auto& [number, member] : members) sum += member.driver->core().counters().datagrams_in + member.driver->core().counters().datagrams_out;
    return sum;
  };
  for (std::uint64_t before = said() + 1; before != said();) {
    before = said();
    loop->poll();
  }
  for (auto& [number, member] : members) member.events.clear();
  members[3].driver.reset();  // its ports answer with ICMP and RST from now on
  members.erase(3);
  ASSERT_TRUE(run_until(*loop, [&] {
    return members[1].heard(gossip::EventKind::kDead, "node-3") && members[2].heard(gossip::EventKind::kDead, "node-3");
  }));
  const auto suspected = std::find_if(members[1].events.begin(), members[1].events.end(), [](const auto& event) {
    return event.kind == gossip::EventKind::kSuspect && event.name == "node-3";
  });
  ASSERT_NE(suspected, members[1].events.end());
  EXPECT_EQ(suspected->evidence, gossip::Evidence::kRefused);
}

TEST_F(Gossip, SnapshotFindsTheClusterAgainWithoutSeeds) {
  form(2);
  const std::string file = directory + "/node-2.snapshot";
  const auto address = members[1].driver->core().self().address;
  ASSERT_TRUE(run_until(*loop, [&] {
    const auto text = io::read_file(file, 1U << 20);
    if (!text) return false;
    const auto snapshot = gossip::decode_snapshot(std::as_bytes(std::span(*text)));
    return snapshot && std::any_of(snapshot->peers.begin(), snapshot->peers.end(),
                                   [&](const auto& peer) { return peer.address == address; });
  }));
  const auto before = members[2].driver->core().self().generation;
  members[2].driver.reset();
  start(2);
  EXPECT_GT(members[2].driver->core().self().generation, before);
  EXPECT_TRUE(all_see(2));
  EXPECT_TRUE(members[2].log.empty());
}

TEST_F(Gossip, GenerationIsOnDiskAfterTheFirstTurn) {
  start(1);
  ASSERT_TRUE(run_until(*loop, [&] { return members[1].turns > 0; }));
  const auto text = io::read_file(directory + "/node-1.snapshot", 1U << 20);
  ASSERT_TRUE(text);
  const auto snapshot = gossip::decode_snapshot(std::as_bytes(std::span(*text)));
  ASSERT_TRUE(snapshot);
  EXPECT_EQ(snapshot->generation, members[1].driver->core().self().generation);
}

TEST_F(Gossip, BrokenSnapshotIsSaidAndIgnored) {
  ASSERT_TRUE(io::replace_file(directory + "/node-1.snapshot", "not a snapshot"));
  start(1);
  EXPECT_TRUE(members[1].logged("gossip_snapshot_ignored"));
  EXPECT_EQ(members[1].live(), 1U);
}

TEST_F(Gossip, UnwritableSnapshotIsSaid) {
  start(1, [](GossipSettings& made) { made.snapshot_file = "/nowhere/at/all/snapshot"; });
  EXPECT_TRUE(run_until(*loop, [&] { return members[1].logged("gossip_snapshot_unwritten"); }));
}

TEST_F(Gossip, SeedByNameIsLookedUpAndASecondJoinKeepsTheFirst) {
  start(1);
  start(2);
  members[2].driver->join({{"localhost", members[1].driver->local_address().port()}});
  members[2].driver->join({{"no..such..name..", 7946}});
  EXPECT_TRUE(all_see(2));
  EXPECT_TRUE(run_until(*loop, [&] { return members[2].logged("seed_name_unknown no..such..name.."); }));
}

TEST_F(Gossip, TakenPortAndBadSettingsAreNamed) {
  start(1);
  auto made = settings(2);
  made.bind = members[1].driver->local_address();
  const auto taken = try_start(2, made);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, io::Errc::kAddressInUse);
  EXPECT_NE(taken.error().detail.find(made.bind.to_string()), std::string::npos);
  made = settings(2);
  made.core.name.clear();
  const auto bad = try_start(2, made);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, io::Errc::kInvalidArgument);
  members.erase(2);
}

TEST_F(Gossip, AddressesTranslateBothWays) {
  for (const char* text : {"127.0.0.1:7946", "[2001:db8::1]:1"}) {
    const auto address = *io::Address::parse(text);
    EXPECT_EQ(to_gossip(address).to_string(), text);
    EXPECT_EQ(to_io(to_gossip(address)), address);
  }
  EXPECT_TRUE(to_gossip(io::Address()).is_none());
}

}  // namespace
}  // namespace agent::drivers
