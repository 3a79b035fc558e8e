#include "store/requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace store {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const TimePoint kStart = TimePoint{} + 1h;

Writes::Write write(std::uint64_t request, Duration within = 1s, std::size_t bytes = 10) {
  Writes::Write w;
  w.request = RequestNo{request};
  w.command = std::string(bytes, 'x');
  w.deadline = kStart + within;
  return w;
}

TEST(Writes, SentUnsentAndAgain) {
  Writes writes(1, 10);
  writes.add(writes.next_seq(), write(1));
  writes.add(writes.next_seq(), write(2));
  EXPECT_THAT(writes.unsent(), ElementsAre(1U, 2U));
  writes.mark_sent(1, *writes.find(1), kStart);
  EXPECT_THAT(writes.unsent(), ElementsAre(2U));
  EXPECT_EQ(writes.oldest_sent(), kStart);
  EXPECT_EQ(writes.resend_before(kStart - 1ms), 0U);
  EXPECT_EQ(writes.resend_before(kStart), 1U);
  EXPECT_EQ(writes.find(1)->copies, 1U) << "the first copy may still be on its way";
  writes.mark_sent(1, *writes.find(1), kStart + 1s);
  writes.resend_all();
  EXPECT_THAT(writes.unsent(), ElementsAre(1U, 2U));
  EXPECT_EQ(writes.oldest_sent(), TimePoint::max());
}

TEST(Writes, DeadlinesAndTaking) {
  Writes writes(1, 10);
  writes.add(writes.next_seq(), write(1, 2s));
  writes.add(writes.next_seq(), write(2, 1s));
  EXPECT_EQ(writes.next_deadline(), kStart + 1s);
  EXPECT_THAT(writes.expired(kStart + 1s), ElementsAre(2U));
  EXPECT_TRUE(writes.take(2));
  EXPECT_FALSE(writes.take(2));
  EXPECT_EQ(writes.next_deadline(), kStart + 2s);
  EXPECT_TRUE(writes.take(1));
  EXPECT_EQ(writes.next_deadline(), TimePoint::max());
  EXPECT_THAT(writes.unsent(), IsEmpty());
}

TEST(Writes, BoundedByCountBytesAndTheDedupeWindow) {
  Writes few(1, 2);
  few.add(few.next_seq(), write(1));
  EXPECT_TRUE(few.fits(10));
  few.add(few.next_seq(), write(2));
  EXPECT_FALSE(few.fits(10));
  static_cast<void>(few.take(1));
  EXPECT_TRUE(few.fits(10));

  Writes large(1, 1000);
  large.add(large.next_seq(), write(1, 1s, Writes::kBytesMax - 100));
  EXPECT_FALSE(large.fits(101));
  EXPECT_TRUE(large.fits(100));

  Writes old(1, 1000);
  old.add(old.next_seq(), write(1));
  for (std::size_t i = 0; i < kv::kDedupeWindow; ++i) static_cast<void>(old.next_seq());
  EXPECT_FALSE(old.fits(1)) << "a repeat of the oldest could be forgotten by the state machine";
  static_cast<void>(old.take(1));
  EXPECT_TRUE(old.fits(1));
}

Reads::Read read(std::uint64_t request, raft::ReadMode mode = raft::ReadMode::kQuorum, Duration within = 1s) {
  Reads::Read r;
  r.request = RequestNo{request};
  r.mode = mode;
  r.deadline = kStart + within;
  return r;
}

TEST(Reads, ThoseThatWaitShareOneRound) {
  Reads reads(10);
  reads.add(read(1));
  reads.add(read(2));
  reads.add(read(3, raft::ReadMode::kLease));
  const auto context = reads.ask(raft::ReadMode::kQuorum, kStart);
  ASSERT_TRUE(context);
  EXPECT_FALSE(reads.wants(raft::ReadMode::kQuorum));
  EXPECT_TRUE(reads.wants(raft::ReadMode::kLease));
  EXPECT_FALSE(reads.ask(raft::ReadMode::kQuorum, kStart));
  reads.add(read(4));
  reads.on_index(*context, kv::Index{7});
  EXPECT_THAT(reads.take_applied(kv::Index{6}), IsEmpty());
  EXPECT_THAT(reads.take_applied(kv::Index{7}), SizeIs(2)) << "not the one that came after the round began";
  EXPECT_EQ(reads.size(), 2U);
}

TEST(Reads, AnAnswerToAnEarlierProcessServesNobody) {
  Reads before(10, kv::first_seq(1)), after(10, kv::first_seq(2));
  before.add(read(1));
  after.add(read(1));
  const auto old_context = before.ask(raft::ReadMode::kQuorum, kStart);
  ASSERT_TRUE(after.ask(raft::ReadMode::kQuorum, kStart));
  after.on_index(*old_context, kv::Index{1});
  EXPECT_THAT(after.take_applied(kv::Index{100}), IsEmpty());
}

TEST(Reads, DroppedAndLostRoundsAreAskedAgainAndLateAnswersIgnored) {
  Reads reads(10);
  reads.add(read(1));
  const auto first = *reads.ask(raft::ReadMode::kQuorum, kStart);
  reads.on_dropped(first);
  EXPECT_TRUE(reads.wants(raft::ReadMode::kQuorum));
  const auto second = *reads.ask(raft::ReadMode::kQuorum, kStart + 1ms);
  EXPECT_EQ(reads.oldest_asked(), kStart + 1ms);
  reads.ask_again_before(kStart);
  EXPECT_FALSE(reads.wants(raft::ReadMode::kQuorum));
  reads.ask_again_before(kStart + 1ms);
  EXPECT_TRUE(reads.wants(raft::ReadMode::kQuorum));
  reads.on_index(first, kv::Index{1});
  reads.on_index(second, kv::Index{1});
  reads.on_dropped(second);
  EXPECT_THAT(reads.take_applied(kv::Index{9}), IsEmpty());
}

TEST(Reads, ExpiryFreesEveryPlace) {
  Reads reads(3);
  reads.add(read(1, raft::ReadMode::kQuorum, 1s));
  const auto context = *reads.ask(raft::ReadMode::kQuorum, kStart);
  reads.add(read(2, raft::ReadMode::kLease, 2s));
  reads.add(read(3, raft::ReadMode::kQuorum, 3s));
  EXPECT_TRUE(reads.full());
  reads.on_index(context, kv::Index{100});
  EXPECT_EQ(reads.next_deadline(), kStart + 1s);
  EXPECT_THAT(reads.take_expired(kStart + 2s), SizeIs(2));
  EXPECT_FALSE(reads.full());
  EXPECT_THAT(reads.take_applied(kv::Index{100}), IsEmpty());
  EXPECT_FALSE(reads.wants(raft::ReadMode::kLease));
}

TEST(Reads, RenewalChecksCanBeTakenOut) {
  Reads reads(10);
  reads.add(read(1));
  Reads::Read check;
  check.renewal = RenewalCheck{NodeId{2}, 5, "trader", kv::Epoch{1}};
  check.deadline = kStart + 1s;
  reads.add(check);
  const auto context = *reads.ask(raft::ReadMode::kQuorum, kStart);
  reads.on_index(context, kv::Index{5});
  const auto renewals = reads.take_renewals();
  ASSERT_THAT(renewals, SizeIs(1));
  EXPECT_EQ(renewals[0].renewal->token, 5U);
  EXPECT_THAT(reads.take_applied(kv::Index{5}), SizeIs(1));
}

}  // namespace
}  // namespace store
