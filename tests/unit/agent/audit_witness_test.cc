#include "agent/audit_witness.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "store/kv/journal.h"
#include "store/kv/record.h"
#include "store/kv/sha256.h"

namespace agent {
namespace {

namespace kv = store::kv;
using std::chrono::milliseconds;

/// A signature that anybody can make: a hash of key and bytes.
AuditSignature seal(const AuditKey& key, std::string_view bytes) {
  AuditSignature signature{};
  const kv::Digest digest = kv::sha256(std::string(key.begin(), key.end()) + std::string(bytes));
  std::copy(digest.begin(), digest.end(), signature.begin());
  return signature;
}

AuditWitness::Keys keys_of(std::uint8_t who) {
  AuditWitness::Keys keys;
  keys.own.fill(who);
  keys.sign = [own = keys.own](std::string_view bytes) { return seal(own, bytes); };
  keys.check = [](const AuditKey& key, std::string_view bytes, const AuditSignature& signature) { return seal(key, bytes) == signature; };
  return keys;
}

const kv::ClusterId kCluster{{1, 2, 3}};

/// An agent: its copy and its witness.
struct Node {
  explicit Node(std::uint64_t id_in, std::uint8_t key = 0)
      : id{id_in}, witness(id, kCluster, keys_of(key == 0 ? static_cast<std::uint8_t>(id_in) : key), {}) {}
  void grow(int count, const std::string& text = "change ") {
    for (int i = 0; i < count; ++i) {
      const std::uint64_t number = log.head().number + 1;
      log.append({0, kv::Index{10 * number}, 5, kv::AuditKind::kConfig, "n1", "settings", text + std::to_string(number)}, journal);
    }
    copy.applied = copy.durable = kv::Index{10 * log.head().number};
  }
  AuditWitness::Copy& here() {
    copy.log = &log;
    return copy;
  }
  store::NodeId id;
  kv::Journal journal;
  kv::AuditLog log;
  AuditWitness::Copy copy;
  AuditWitness witness;
};

struct World {
  World() {
    for (std::uint64_t id = 1; id <= 3; ++id) nodes.push_back(std::make_unique<Node>(id));
  }
  /// Everybody looks, and everything that is said arrives.
  void run() {
    now += milliseconds(2000);
    for (auto& node : nodes) node->witness.look(node->here(), 2, now, 77);
    for (bool said = true; said;) {
      said = false;
      for (auto& node : nodes) {
        AuditWitness::Output output = node->witness.take_output();
        for (const auto& event : output.events) events.push_back(event.kind);
        for (auto& [to, word] : output.words) {
          said = true;
          const auto again = decode_audit(encode_audit(word));
          ASSERT_TRUE(again);
          for (auto& other : nodes) {
            if (other != node && (!to || *to == other->id)) deliver(*node, *other, *again);
          }
        }
      }
    }
  }
  void deliver(Node& from, Node& to, const AuditWord& word) const {
    if (const auto* head = std::get_if<AuditHeadWord>(&word)) to.witness.on_statement(from.id, head->statement, true, to.here(), now, 78);
    if (const auto* cosigned = std::get_if<AuditCosignWord>(&word)) to.witness.on_statement(from.id, cosigned->statement, false, to.here(), now, 78);
  }
  void grow(int count) {
    for (auto& node : nodes) node->grow(count);
  }
  AuditWitness::TimePoint now{};
  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<AuditWitness::Event::Kind> events;
};

TEST(AuditWitness, EveryEndIsSignedByAllAndKeptByAll) {
  World world;
  world.grow(5);
  world.run();
  for (const auto& node : world.nodes) {
    ASSERT_EQ(node->witness.signers().size(), 3U);
    for (const auto& [id, signer] : node->witness.signers()) {
      ASSERT_FALSE(signer.kept.empty());
      EXPECT_EQ(signer.kept.back().number, 5U);
      EXPECT_TRUE(node->witness.is_true(signer.kept.back()));
    }
    EXPECT_TRUE(node->witness.check(node->log).empty());
    EXPECT_EQ(node->witness.disputes(), 0U);
  }
  EXPECT_TRUE(world.events.empty());
  world.run();  // nothing has grown: nothing is said
  EXPECT_EQ(world.nodes[0]->witness.counters().signed_ends, 1U);
}

TEST(AuditWitness, OnlyWhatIsOnTheDiskIsSignedAndKept) {
  World world;
  world.grow(5);
  world.nodes[0]->copy.durable = kv::Index{30};
  world.run();
  EXPECT_EQ(world.nodes[0]->witness.signers().at(store::NodeId{1}).kept.back().number, 3U);
  EXPECT_EQ(world.nodes[0]->witness.signers().at(store::NodeId{2}).kept.back().number, 3U) << "its word about 5 waits";
  world.nodes[0]->copy.durable = kv::Index{50};
  world.run();
  EXPECT_EQ(world.nodes[0]->witness.signers().at(store::NodeId{2}).kept.back().number, 5U);
}

TEST(AuditWitness, ACopyThatWasForgedIsNoticedByAll) {
  World world;
  world.grow(5);
  world.run();
  Node& victim = *world.nodes[1];
  victim.log = kv::AuditLog();
  victim.grow(3);
  victim.grow(2, "forged ");
  EXPECT_EQ(victim.witness.check(victim.log).size(), 1U);
  EXPECT_EQ(victim.witness.check(victim.log)[0].fault, (kv::AuditFault{kv::AuditFault::Kind::kDiffers, 5, 5}));
  EXPECT_EQ(victim.witness.check(victim.log)[0].signers, 3U);
  world.grow(1);
  world.run();
  EXPECT_EQ(world.nodes[0]->witness.disputes(), 1U);
  EXPECT_TRUE(world.nodes[0]->witness.signers().at(store::NodeId{2}).disputed);
  EXPECT_EQ(victim.witness.disputes(), 2U);
  EXPECT_EQ(std::count(world.events.begin(), world.events.end(), AuditWitness::Event::Kind::kDisputed), 4);
  // What it signed before is kept by itself, too.
  EXPECT_EQ(victim.witness.signers().at(store::NodeId{2}).kept.back().number, 5U);
  // Its copy comes anew from the others: that is noticed as well.
  victim.log = kv::AuditLog();
  victim.grow(6);
  world.grow(1);
  world.run();
  EXPECT_EQ(world.nodes[0]->witness.disputes(), 0U);
  EXPECT_TRUE(victim.witness.check(victim.log).empty());
}

TEST(AuditWitness, ACutEndIsSeenAlone) {
  World world;
  for (int i = 0; i < 4; ++i) {
    world.grow(3);
    world.run();
  }
  Node& victim = *world.nodes[2];
  victim.log = kv::AuditLog();
  victim.grow(7);
  const auto found = victim.witness.check(victim.log);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].fault, (kv::AuditFault{kv::AuditFault::Kind::kTruncated, 8, 12}));
  EXPECT_EQ(found[0].agreed, 6U);
  // A peer that is further, while this copy should be as far by what it has applied.
  victim.copy.applied = kv::Index{120};
  AuditStatement end = world.nodes[0]->witness.signers().at(store::NodeId{1}).kept.back();
  victim.witness.on_statement(store::NodeId{1}, end, true, victim.here(), world.now + milliseconds(9000), 1);
  EXPECT_EQ(victim.witness.disputes(), 1U);
}

TEST(AuditWitness, NobodySpeaksForOthersOrTooOften) {
  World world;
  world.grow(2);
  world.run();
  Node& here = *world.nodes[0];
  AuditStatement said = world.nodes[1]->witness.signers().at(store::NodeId{2}).kept.back();
  const auto before = here.witness.counters();
  here.witness.on_statement(store::NodeId{3}, said, true, here.here(), world.now, 1);
  EXPECT_EQ(here.witness.counters().refused, before.refused + 1);
  AuditStatement forged = said;
  forged.hash[0] ^= 1U;
  here.witness.on_statement(store::NodeId{2}, forged, true, here.here(), world.now, 1);
  EXPECT_EQ(here.witness.counters().bad_signature, 1U);
  EXPECT_EQ(here.witness.disputes(), 0U);
  for (int i = 0; i < 100; ++i) here.witness.on_statement(store::NodeId{2}, said, false, here.here(), world.now, 1);
  EXPECT_GE(here.witness.counters().too_often, 80U);
}

TEST(AuditWitness, AnotherKeyIsToldAndWhatTheOldOneSignedStays) {
  World world;
  world.grow(2);
  world.run();
  world.nodes[1] = std::make_unique<Node>(2, std::uint8_t{99});
  world.nodes[1]->grow(2);
  world.grow(1);
  world.run();
  const AuditSigner& signer = world.nodes[0]->witness.signers().at(store::NodeId{2});
  EXPECT_EQ(signer.key_changes, 1U);
  EXPECT_EQ(signer.key[0], 99U);
  ASSERT_EQ(signer.kept.size(), 2U);
  EXPECT_EQ(signer.kept.front().key[0], 2U);
  EXPECT_EQ(std::count(world.events.begin(), world.events.end(), AuditWitness::Event::Kind::kKeyChanged), 2);
}

TEST(AuditWitness, WhoIsGoneIsNoDisputeAndMakesRoom) {
  World world;
  world.grow(5);
  world.run();
  Node& here = *world.nodes[0];
  Node& forger = *world.nodes[1];
  forger.log = kv::AuditLog();
  forger.grow(5, "forged ");
  world.grow(1);
  world.run();
  ASSERT_EQ(here.witness.disputes(), 1U);
  here.witness.set_members({store::NodeId{1}, store::NodeId{3}, store::NodeId{1000}});
  EXPECT_EQ(here.witness.disputes(), 0U) << "it came anew under another id";
  EXPECT_TRUE(here.witness.signers().at(store::NodeId{2}).disputed) << "the evidence stays";
  const auto says = [&](std::uint64_t id) {
    world.now += milliseconds(2000);
    Node other(id, 7);
    other.grow(5);
    other.witness.look(other.here(), 2, world.now, 77);
    const AuditWitness::Output output = other.witness.take_output();
    here.witness.on_statement(other.id, std::get<AuditHeadWord>(output.words.at(0).second).statement, false, here.here(), world.now, 78);
  };
  for (std::uint64_t id = 4; id < 400; ++id) says(id);
  EXPECT_EQ(here.witness.signers().size(), kAuditSignersMax);
  says(1000);
  EXPECT_TRUE(here.witness.signers().contains(store::NodeId{1000})) << "a member finds room";
  EXPECT_TRUE(here.witness.signers().contains(store::NodeId{2})) << "what is disputed goes last";
  EXPECT_EQ(here.witness.signers().size(), kAuditSignersMax);
  says(2000);
  EXPECT_FALSE(here.witness.signers().contains(store::NodeId{2000}));
}

TEST(AuditWitness, AKeyIsHeardFromItsOwnerInThisProcess) {
  World world;
  world.grow(2);
  world.run();
  const AuditWitness& here = world.nodes[0]->witness;
  EXPECT_TRUE(here.has_heard(store::NodeId{2}, keys_of(2).own));
  EXPECT_FALSE(here.has_heard(store::NodeId{2}, keys_of(9).own));
  const AuditWitness again(store::NodeId{1}, kCluster, keys_of(1), here.signers());
  EXPECT_FALSE(again.has_heard(store::NodeId{2}, keys_of(2).own)) << "a file is not its owner";
}

TEST(AuditWitness, KeepsManyOfTheEndAndFewOfThePast) {
  std::vector<AuditStatement> kept;
  for (std::uint64_t number = 1; number <= 100'000; ++number) {
    AuditStatement one;
    one.signer = store::NodeId{1};
    one.number = number;
    keep_statement(kept, one);
  }
  ASSERT_EQ(kept.size(), kAuditKeptMax);
  EXPECT_EQ(kept.front().number, 1U);
  EXPECT_EQ(kept.back().number, 100'000U);
  EXPECT_GT(kept[kept.size() - 3].number, 99'000U);
  EXPECT_LT(kept[2].number, 90'000U);
  for (std::size_t i = 1; i < kept.size(); ++i) EXPECT_LT(kept[i - 1].number, kept[i].number);
}

TEST(AuditWitnessFile, ComesBackWholeOrNotAtAll) {
  World world;
  for (int i = 0; i < 3; ++i) {
    world.grow(3);
    world.run();
  }
  AuditSigners signers = world.nodes[0]->witness.signers();
  signers.begin()->second.dispute = signers.begin()->second.kept.front();
  signers.begin()->second.disputed = true;
  const std::string bytes = encode_witness(signers, kCluster);
  const auto file = decode_witness(bytes);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->signers, signers);
  EXPECT_EQ(file->cluster, kCluster);
  for (std::size_t size = 0; size < bytes.size(); size += 13) EXPECT_FALSE(decode_witness(bytes.substr(0, size))) << size;
  for (std::size_t at = 0; at < bytes.size(); at += 11) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_FALSE(decode_witness(changed)) << at;
  }
}

TEST(AuditWords, HaveOneSpelling) {
  AuditStatement statement;
  statement.signer = store::NodeId{3};
  statement.number = 9;
  const std::vector<AuditWord> words{
      AuditHeadWord{statement}, AuditCosignWord{statement}, AuditLookWord{5}, AuditAskWord{5, {1, 2, 3}},
      AuditLookedWord{5, kv::Index{8}, {{1, {}}, {9, {}}}, 8, {{kv::AuditFault::Kind::kDeleted, 2, 4}}, {statement, statement}},
      AuditToldWord{5, {{1, true, kv::Index{2}, {1}, {2}}, {2, false, {}, {}, {}}}}, AuditRefusedWord{5, "busy"}};
  for (const AuditWord& word : words) {
    const std::string bytes = encode_audit(word);
    const auto again = decode_audit(bytes);
    ASSERT_TRUE(again) << word.index();
    EXPECT_EQ(*again, word);
    for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(decode_audit(std::string_view(bytes).substr(0, size)));
    EXPECT_FALSE(decode_audit(bytes + "x"));
  }
  EXPECT_FALSE(decode_audit("A\x02\x02\x01\x01\x01\x01\x01\x01\x01\x01"));
  EXPECT_FALSE(decode_audit(encode_audit(AuditAskWord{5, {}})));
  EXPECT_FALSE(decode_audit(encode_audit(AuditHeadWord{})));
}

}  // namespace
}  // namespace agent
