#include "agent/audit_trial.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "store/kv/journal.h"
#include "store/kv/sha256.h"

namespace agent {
namespace {

namespace kv = store::kv;
using Kind = AuditTrial::Kind;
using By = AuditTrial::By;

/// A copy that a hand may change before it is laid down as a chain; the log makes an entry at every tenth index.
struct Hand {
  std::vector<kv::AuditEntry> entries;
  kv::Index applied{};
  std::size_t kept = kv::kAuditEntriesMax;
  explicit Hand(std::uint64_t count) {
    for (std::uint64_t i = 1; i <= count; ++i) entries.push_back({0, kv::Index{10 * i}, 5, kv::AuditKind::kOrder, "n", "s", "entry " + std::to_string(i)});
    applied = kv::Index{10 * count};
  }
};

struct Case {
  explicit Case(std::size_t count, std::uint64_t entries, std::size_t members_in = 0) : members(members_in == 0 ? count : members_in), hands(count, Hand(entries)) {
    statements.resize(count);
  }
  /// Everybody has signed this number, as the untouched chain has it; everybody keeps it.
  void all_sign(std::uint64_t number) {
    const kv::AuditLog honest = laid(Hand(number));
    for (std::size_t signer = 0; signer < hands.size(); ++signer) sign(signer, *honest.proof(number), hands.size());
  }
  void sign(std::size_t signer, const kv::AuditProof& proof, std::size_t keepers) {
    AuditStatement one;
    one.signer = store::NodeId{signer + 1};
    one.number = proof.number;
    one.index = proof.index;
    one.hash = proof.hash;
    said.push_back(one);
    for (std::size_t keeper = 0; keeper < keepers; ++keeper) statements[keeper].push_back(one);
  }
  static kv::AuditLog laid(const Hand& hand) {
    kv::Journal journal;
    kv::AuditLog log({hand.kept, kv::kAuditBytesMax});
    for (const kv::AuditEntry& entry : hand.entries) log.append(entry, journal);
    return log;
  }
  AuditTrial::Verdict decide() {
    std::vector<kv::AuditLog> logs;
    std::vector<AuditTrial::Copy> copies;
    for (std::size_t i = 0; i < hands.size(); ++i) {
      logs.push_back(laid(hands[i]));
      copies.push_back({store::NodeId{i + 1}, "n" + std::to_string(i + 1), hands[i].applied, logs.back().ends(), {}, statements[i], i == 0});
    }
    AuditTrial trial(std::move(copies), members);
    for (rounds = 0; !trial.wanted().empty() && rounds < 200; ++rounds) {
      EXPECT_LE(trial.wanted().size(), kAuditPointsMax);
      const auto wanted = trial.wanted();
      for (std::size_t i = 0; i < hands.size(); ++i) {
        std::vector<AuditPoint> points;
        for (const std::uint64_t number : wanted) {
          AuditPoint point{number, false, {}, {}, {}};
          if (const auto proof = logs[i].proof(number)) point = {number, true, proof->index, proof->hash, kv::audit_content(proof->bytes)};
          points.push_back(point);
        }
        trial.on_points(store::NodeId{i + 1}, points);
      }
      trial.next();
    }
    EXPECT_TRUE(trial.wanted().empty());
    return trial.verdict();
  }
  std::size_t members;
  std::vector<Hand> hands;
  std::vector<std::vector<AuditStatement>> statements;
  std::vector<AuditStatement> said;  // all, in the order of their making
  int rounds = 0;
};

void expect_one(const AuditTrial::Verdict& verdict, const std::string& name, Kind kind, std::uint64_t number, std::uint64_t last, By by) {
  ASSERT_EQ(verdict.findings.size(), 1U);
  const AuditTrial::Finding& one = verdict.findings[0];
  EXPECT_EQ(one.name, name);
  EXPECT_STREQ(to_string(one.kind), to_string(kind));
  EXPECT_EQ(one.number, number);
  EXPECT_EQ(one.last, last);
  EXPECT_STREQ(to_string(one.by), to_string(by));
  EXPECT_TRUE(verdict.undecided.empty());
}

TEST(AuditTrial, CopiesThatAreTheSameAreNobodysFault) {
  Case one(3, 5000);
  one.all_sign(4000);
  const auto verdict = one.decide();
  EXPECT_TRUE(verdict.findings.empty());
  EXPECT_TRUE(verdict.undecided.empty());
  EXPECT_TRUE(verdict.notes.empty());
  Case empty(3, 0);
  EXPECT_TRUE(empty.decide().findings.empty());
}

TEST(AuditTrial, AnEditIsFoundInAFewQuestions) {
  for (const std::uint64_t number : {1U, 2U, 777U, 4999U, 5000U}) {
    Case one(3, 5000);
    one.hands[1].entries[number - 1].text = "nothing";
    expect_one(one.decide(), "n2", Kind::kEdited, number, number, By::kMajority);
    EXPECT_LE(one.rounds, 8);
  }
}

TEST(AuditTrial, EntriesThatWereTakenOutOrPutIn) {
  Case taken(3, 600);
  auto& entries = taken.hands[2].entries;
  entries.erase(entries.begin() + 99, entries.begin() + 150);
  expect_one(taken.decide(), "n3", Kind::kDeleted, 100, 150, By::kMajority);
  Case put(3, 600);
  put.hands[2].entries.insert(put.hands[2].entries.begin() + 99, kv::AuditEntry{0, kv::Index{995}, 5, kv::AuditKind::kHalt, "x", "y", "z"});
  expect_one(put.decide(), "n3", Kind::kAdded, 100, 100, By::kMajority);
  Case behind(3, 600);
  behind.hands[0].entries.push_back({0, kv::Index{6000}, 5, kv::AuditKind::kHalt, "x", "y", "z"});
  expect_one(behind.decide(), "n1", Kind::kAdded, 601, 601, By::kMajority);
}

// One entry of the log may make many of the audit: then their contents tell which one is missing.
TEST(AuditTrial, OneOfManyThatAreMadeAtOnce) {
  Case one(3, 50);
  for (Hand& hand : one.hands) {
    for (std::size_t i = 10; i < 40; ++i) hand.entries[i].index = kv::Index{110};
  }
  one.hands[0].entries.erase(one.hands[0].entries.begin() + 20);
  expect_one(one.decide(), "n1", Kind::kDeleted, 21, 21, By::kMajority);
}

TEST(AuditTrial, AnEndThatWasCutOff) {
  Case one(3, 500);
  one.hands[1].entries.resize(400);
  expect_one(one.decide(), "n2", Kind::kTruncated, 401, 500, By::kMajority);
  Case whole(3, 500);
  whole.hands[1].entries.clear();
  expect_one(whole.decide(), "n2", Kind::kTruncated, 1, 500, By::kMajority);
  // It has gone on since: what it had signed tells a cut end from a hole.
  Case grown(3, 500);
  grown.all_sign(450);
  auto& entries = grown.hands[1].entries;
  entries.erase(entries.begin() + 400, entries.begin() + 460);
  expect_one(grown.decide(), "n2", Kind::kTruncated, 401, 460, By::kSignedHeads);
  Case hole(3, 500);
  hole.all_sign(480);
  hole.hands[1].entries.erase(hole.hands[1].entries.begin() + 400, hole.hands[1].entries.begin() + 460);
  expect_one(hole.decide(), "n2", Kind::kDeleted, 401, 460, By::kSignedHeads);
}

TEST(AuditTrial, WhatAgeHasDroppedIsNoFaultAndWhatAHandHasIs) {
  Case aged(3, 500);
  for (Hand& hand : aged.hands) hand.kept = 100;
  aged.all_sign(300);
  EXPECT_TRUE(aged.decide().findings.empty());
  aged.hands[1].entries[449].text = "nothing";
  expect_one(aged.decide(), "n2", Kind::kEdited, 450, 450, By::kMajority);
  Case front(3, 500);
  front.hands[2].kept = 100;
  expect_one(front.decide(), "n3", Kind::kDeleted, 1, 400, By::kMajority);
  // Changed where the others have dropped it already: all that is known is that it lies before.
  Case old(3, 500);
  for (Hand& hand : old.hands) hand.kept = 100;
  old.hands[1].entries[9].text = "nothing";
  expect_one(old.decide(), "n2", Kind::kDiffers, 1, 400, By::kMajority);
}

TEST(AuditTrial, WhoIsBehindIsNotAccused) {
  Case one(3, 500);
  one.hands[1] = Hand(300);
  const auto verdict = one.decide();
  EXPECT_TRUE(verdict.findings.empty());
  ASSERT_EQ(verdict.notes.size(), 1U);
  EXPECT_NE(verdict.notes[0].find("n2 is behind"), std::string::npos);
}

// Copies are frozen one after the other while everybody goes on signing.
TEST(AuditTrial, WhatWasSignedAfterACopyWasFrozenIsNotHeldAgainstIt) {
  const kv::AuditLog later = Case::laid(Hand(510));
  for (const std::size_t signer : {0U, 1U, 2U}) {
    Case one(3, 500);
    one.hands[2] = Hand(510);
    one.sign(signer, *later.proof(510), 0);
    one.statements[2].push_back(one.said.back());  // heard by n3 before its copy was frozen, which was last
    EXPECT_TRUE(one.decide().findings.empty()) << signer;
  }
  // What the asker had kept before it asked was there when n2 froze its copy, if it is n2's; so was what n2 has kept itself.
  for (const std::size_t keeper : {0U, 1U}) {
    Case cut(2, 510, 3);
    cut.hands[1] = Hand(500);
    cut.sign(1, *later.proof(510), 0);
    cut.statements[keeper].push_back(cut.said.back());
    expect_one(cut.decide(), "n2", Kind::kTruncated, 501, 510, By::kSignedHeads);
  }
}

TEST(AuditTrial, TwoAgainstTwoIsNotDecidedByGuessing) {
  Case one(2, 500, 3);
  one.hands[1].entries[99].text = "nothing";
  const auto verdict = one.decide();
  EXPECT_TRUE(verdict.findings.empty());
  ASSERT_EQ(verdict.undecided.size(), 1U);
  EXPECT_EQ(verdict.undecided[0].number, 100U);
  EXPECT_EQ(verdict.undecided[0].groups.size(), 2U);
  // What it has signed itself decides it.
  Case signed_one(2, 500, 3);
  signed_one.all_sign(300);
  signed_one.hands[1].entries[99].text = "nothing";
  expect_one(signed_one.decide(), "n2", Kind::kEdited, 100, 100, By::kSignedHeads);
}

// The forger leads and gives its copy to another one by a snapshot: two of three are wrong, and their own words say so.
TEST(AuditTrial, SignaturesWeighMoreThanAMajorityOfForgedCopies) {
  Case one(3, 500);
  one.all_sign(300);
  for (const std::size_t i : {0U, 1U}) one.hands[i].entries[99].text = "nothing";
  const auto verdict = one.decide();
  ASSERT_EQ(verdict.findings.size(), 2U);
  std::set<std::string> names;
  for (const auto& finding : verdict.findings) {
    names.insert(finding.name);
    EXPECT_EQ(finding.number, 100U);
  }
  EXPECT_EQ(names, (std::set<std::string>{"n1", "n2"}));
}

// The forger's copy came to an agent that has signed nothing of old: by what was signed it is as wrong as the forger's.
TEST(AuditTrial, AFreshAgentWithTheForgedCopyIsNoWitnessForIt) {
  const kv::AuditLog honest = Case::laid(Hand(500));
  for (const bool signs_lies : {false, true}) {
    Case one(3, 500);
    for (const std::size_t i : {1U, 2U}) one.hands[i].entries[3].text = "nothing";
    for (const std::size_t signer : {0U, 2U}) {
      one.sign(signer, *honest.proof(300), 0);
      for (const std::size_t keeper : {0U, 2U}) one.statements[keeper].push_back(one.said.back());
    }
    if (signs_lies) {
      const kv::AuditLog forged = Case::laid(one.hands[1]);
      for (const std::size_t signer : {1U, 2U}) {
        one.sign(signer, *forged.proof(500), 0);
        for (const std::size_t keeper : {1U, 2U}) one.statements[keeper].push_back(one.said.back());
      }
    }
    const auto verdict = one.decide();
    ASSERT_EQ(verdict.findings.size(), 2U) << signs_lies;
    for (const auto& finding : verdict.findings) {
      EXPECT_NE(finding.name, "n1");
      EXPECT_EQ(finding.number, 4U);
      EXPECT_STREQ(to_string(finding.kind), "edited");
    }
  }
}

// Where a statement speaks against one of the many and nobody at hand says what was signed, nothing decides it.
TEST(AuditTrial, AMajorityThatASpokenWordContradictsDecidesNothing) {
  Case one(3, 500);
  const kv::AuditLog honest = Case::laid(Hand(600));
  for (const std::size_t i : {1U, 2U}) {
    one.hands[i] = Hand(600);
    one.hands[i].entries[3].text = "nothing";
  }
  one.sign(2, *honest.proof(590), 0);
  one.statements[2].push_back(one.said.back());
  const auto verdict = one.decide();
  for (const auto& finding : verdict.findings) EXPECT_NE(finding.name, "n1");
  EXPECT_FALSE(verdict.undecided.empty());
}

TEST(AuditTrial, AFrontThatTwoDisagreeAboutIsUndecided) {
  Case one(2, 500);
  one.hands[1].kept = 100;
  const auto verdict = one.decide();
  EXPECT_TRUE(verdict.findings.empty());
  ASSERT_EQ(verdict.undecided.size(), 1U);
  EXPECT_EQ(verdict.undecided[0].number, 1U);
}

TEST(AuditTrial, ALoneCopyIsJudgedByWhatWasSigned) {
  Case one(1, 500, 3);
  one.all_sign(490);
  one.hands[0].entries[99].text = "nothing";
  expect_one(one.decide(), "n1", Kind::kDiffers, 1, 490, By::kSignedHeads);
  Case cut(1, 500, 3);
  cut.all_sign(490);
  cut.hands[0] = Hand(200);
  expect_one(cut.decide(), "n1", Kind::kTruncated, 201, 490, By::kSignedHeads);
}

TEST(AuditTrial, SeveralWrongCopiesAreNamedEachAtItsPlace) {
  Case one(5, 1000);
  one.hands[3].entries[699].text = "nothing";
  one.hands[1].entries[99].text = "something";
  const auto verdict = one.decide();
  ASSERT_EQ(verdict.findings.size(), 2U);
  EXPECT_EQ(verdict.findings[0].name + std::to_string(verdict.findings[0].number), "n2100");
  EXPECT_EQ(verdict.findings[1].name + std::to_string(verdict.findings[1].number), "n4700");
}

// Any hand on one copy of three or five is found, at the first entry that it has touched, and nobody else is named.
TEST(AuditTrial, AnyHandOnOneCopyIsNamed) {
  for (std::uint32_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 chance(seed);
    const std::uint64_t entries = 20 + chance() % 400;
    Case one(chance() % 2 == 0 ? 3 : 5, entries);
    if (chance() % 2 == 0) one.all_sign(1 + chance() % entries);
    const std::size_t victim = chance() % one.hands.size(), at = chance() % entries;
    auto& hand = one.hands[victim].entries;
    switch (chance() % 3) {
      case 0: hand[at].text = "nothing"; break;
      case 1: hand.erase(hand.begin() + static_cast<std::ptrdiff_t>(at)); break;
      default: hand.resize(at); break;
    }
    const auto verdict = one.decide();
    ASSERT_FALSE(verdict.findings.empty());
    for (const auto& finding : verdict.findings) EXPECT_EQ(finding.name, "n" + std::to_string(victim + 1));
    EXPECT_EQ(verdict.findings[0].number, at + 1);
    EXPECT_TRUE(verdict.undecided.empty());
  }
}

TEST(AuditTrial, WhatWasNotComparedToTheEndIsSaid) {
  std::vector<AuditTrial::Copy> copies(2);
  for (std::size_t i = 0; i < 2; ++i) {
    copies[i].node = store::NodeId{i + 1};
    copies[i].ends.head.number = 1000;
  }
  AuditTrial trial(copies, 2);
  std::size_t rounds = 0;
  for (; !trial.wanted().empty() && rounds < 300; ++rounds) trial.next();  // nobody answers, and nobody is told to be silent
  EXPECT_EQ(rounds, AuditTrial::kRoundsMax);
  EXPECT_TRUE(trial.verdict().unfinished);
  EXPECT_TRUE(trial.verdict().findings.empty());
  Case whole(3, 500);
  EXPECT_FALSE(whole.decide().unfinished);
}

// Answers that make no sense end the trial, too.
TEST(AuditTrial, LiarsDoNotKeepItGoing) {
  std::mt19937_64 chance(7);
  for (int run = 0; run < 200; ++run) {
    std::vector<AuditTrial::Copy> copies;
    for (std::uint64_t i = 1; i <= 4; ++i) {
      AuditTrial::Copy copy{store::NodeId{i}, "n" + std::to_string(i), kv::Index{chance() % 3 == 0 ? UINT64_MAX : chance() % 1000}, {}, {}, {}};
      copy.ends.head.number = chance() % 4 == 0 ? UINT64_MAX - chance() % 2 : chance() % 1000;
      copy.ends.pruned.number = chance() % 3 == 0 ? chance() % 1000 : 0;
      copies.push_back(copy);
    }
    AuditTrial trial(std::move(copies), 4);
    int rounds = 0;
    for (; !trial.wanted().empty() && rounds < 300; ++rounds) {
      const auto wanted = trial.wanted();
      for (std::uint64_t i = 1; i <= 4; ++i) {
        std::vector<AuditPoint> points;
        for (const std::uint64_t number : wanted) {
          AuditPoint point{number, chance() % 8 != 0, {}, {}, {}};
          if (point.kept) {
            point.index = kv::Index{chance() % 1000};
            point.hash[0] = static_cast<std::uint8_t>(chance() % 2);
            point.content[0] = static_cast<std::uint8_t>(chance() % 4);
          }
          points.push_back(point);
        }
        if (chance() % 20 == 0) trial.on_silent(store::NodeId{i});
        else trial.on_points(store::NodeId{i}, points);
      }
      trial.next();
    }
    EXPECT_LT(rounds, 300);
  }
}

}  // namespace
}  // namespace agent
