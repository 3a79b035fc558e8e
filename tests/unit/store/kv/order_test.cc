#include <gtest/gtest.h>

#include "store/kv/state_machine.h"
#include "tests/unit/store/kv/machine.h"

namespace store::kv {
namespace {

constexpr std::uint64_t kDay = kOrderRetentionMsDefault;
constexpr std::uint64_t kT = 1'700'000'000'000;

/// A ledger whose service "trader" is led by node 1 under epoch 1.
class Orders : public testing::Test {
 protected:
  void SetUp() override { acquire(1); }
  void TearDown() override { m.expect_mirrored(); }

  Epoch acquire(std::uint64_t node, const std::string& service = "trader") {
    if (const Lease* held = m.state.lease(service); held != nullptr && held->holder != NodeId{})
      m.run(LeaseExpire{service, held->epoch});
    epoch = m.run(LeaseAcquire{service, NodeId{node}, "n" + std::to_string(node), 1500, 500}).epoch;
    holder = NodeId{node};
    return epoch;
  }
  OrderReserve wish(const std::string& key, std::uint8_t print = 1) const {
    return {order_name(key), fingerprint(print), epoch, holder, kT, kDay};
  }
  Applied reserve(const std::string& key, std::uint8_t print = 1) { return m.run(wish(key, print)); }
  Applied settle(const std::string& key, Index reserved, OrderState state, const OrderAnswer& said = {},
                 std::uint64_t time = kT + 5) {
    return m.run(OrderOutcome{order_name(key), reserved, state, said, time});
  }
  Applied resolve(const std::string& key, Index seen, OrderState state, const OrderAnswer& said = {},
                  OrderSource source = OrderSource::kHook) {
    return m.run(OrderResolve{order_name(key), seen, state, source, said, kT + 9});
  }
  Index reserved(const std::string& key) {
    const Applied done = reserve(key);
    EXPECT_TRUE(may_send(done.outcome, done.index, done.order));
    return done.index;
  }
  OrderRow row(const std::string& key) { return m.state.orders().find(order_name(key)); }
  OrderState state_of(const std::string& key) { return row(key)->state; }

  Machine m;
  Epoch epoch{};
  NodeId holder{};
};

// --- reserving ------------------------------------------------------------------------------------------------------

TEST_F(Orders, AFreshReservationIsTheOnlyLeaveToSend) {
  const Applied first = reserve("k");
  EXPECT_EQ(first.outcome, Outcome::kDone);
  EXPECT_EQ(first.epoch, epoch);
  ASSERT_NE(first.order, nullptr);
  const Order expected{order_name("k"), fingerprint(1), OrderState::kReserved, OrderSource::kSender, 1, epoch, NodeId{1},
                       first.index, first.index, kT, 0, kDay, {}};
  EXPECT_EQ(*first.order, expected);
  EXPECT_TRUE(may_send(first.outcome, first.index, first.order));

  const Applied again = reserve("k");
  EXPECT_EQ(again.outcome, Outcome::kExists);
  EXPECT_EQ(*again.order, expected);
  EXPECT_FALSE(may_send(again.outcome, again.index, again.order));
  EXPECT_EQ(m.state.orders().counts(), (OrderCounts{1, 0, 0, 0}));
}

TEST_F(Orders, AnotherFingerprintIsRefusedInEveryState) {
  const Index at = reserved("k");
  for (const OrderState state : {OrderState::kReserved, OrderState::kNotSent}) {
    if (state != OrderState::kReserved) settle("k", at, state);
    const Applied other = reserve("k", 2);
    EXPECT_EQ(other.outcome, Outcome::kConditionFailed) << to_string(state);
    EXPECT_EQ(other.order->state, state);
  }
  EXPECT_EQ(row("k")->fingerprint, fingerprint(1));
}

TEST_F(Orders, KeysOfOtherServicesAndZonesAreOthers) {
  reserved("k");
  OrderReserve other = wish("k", 2);
  other.name.zone = "other";
  EXPECT_EQ(m.run(other).outcome, Outcome::kDone);
  acquire(1, "second");
  other.name = order_name("k", "second");
  other.epoch = epoch;
  EXPECT_EQ(m.run(other).outcome, Outcome::kDone);
  EXPECT_EQ(m.state.orders().services(), (std::vector<std::string>{"second", "trader"}));
}

TEST_F(Orders, OnlyTheHolderOfTheLeaseReserves) {
  const auto refused = [this](const OrderReserve& command, const char* why) {
    const Applied done = m.run(command);
    EXPECT_EQ(done.outcome, Outcome::kStaleEpoch) << why;
    EXPECT_EQ(done.epoch, m.state.epoch("trader")) << why;
    EXPECT_FALSE(done.detail.empty()) << why;
    EXPECT_EQ(m.state.orders().size(), 0u) << why;
  };
  OrderReserve command = wish("k");
  command.node = NodeId{2};
  refused(command, "another node");
  command = wish("k");
  command.epoch = Epoch{2};
  refused(command, "an epoch to come");
  const OrderReserve late = wish("k");
  acquire(2);
  refused(late, "an epoch that is over");
  m.run(LeaseRelease{"trader", epoch, NodeId{}});
  refused(wish("k"), "a vacant lease");
  command = wish("k");
  command.name.service = "never";
  EXPECT_EQ(m.run(command).outcome, Outcome::kStaleEpoch);
}

TEST_F(Orders, WhatIsKnownIsToldUnderAnyEpoch) {
  settle("k", reserved("k"), OrderState::kDone, answer("filled"));
  OrderReserve late = wish("k");
  acquire(2);
  const Applied told = m.run(late);
  EXPECT_EQ(told.outcome, Outcome::kExists);
  EXPECT_EQ(told.order->answer, answer("filled"));
}

TEST_F(Orders, NotSentIsReservedAnew) {
  const Index first = reserved("k");
  EXPECT_EQ(settle("k", first, OrderState::kNotSent).outcome, Outcome::kDone);
  const OrderReserve late = wish("k");
  acquire(2);
  EXPECT_EQ(m.run(late).outcome, Outcome::kStaleEpoch);
  const Index second = reserved("k");
  EXPECT_EQ(row("k")->attempt, 2u);
  EXPECT_EQ(row("k")->epoch, epoch);
  EXPECT_EQ(row("k")->node, NodeId{2});
  EXPECT_EQ(row("k")->settled_ms, 0u);
  // The first sender's word is not about this attempt.
  const Applied late_word = settle("k", first, OrderState::kNotSent);
  EXPECT_EQ(late_word.outcome, Outcome::kConditionFailed);
  EXPECT_EQ(late_word.order->reserved, second);
  EXPECT_EQ(state_of("k"), OrderState::kReserved);
}

TEST_F(Orders, ARepeatedCommandHasOneEffectAndShowsTheRow) {
  const RequestId request{NodeId{2}, 900};
  const Applied first = m.at(m.index() + 1, request, wish("k"));
  const Applied again = m.at(m.index() + 1, request, wish("k"));
  EXPECT_TRUE(again.repeated);
  EXPECT_TRUE(may_send(again.outcome, again.index, again.order));
  acquire(2);
  const Applied later = m.at(m.index() + 1, request, wish("k"));
  EXPECT_EQ(later.outcome, Outcome::kDone);
  EXPECT_EQ(later.index, first.index);
  EXPECT_FALSE(may_send(later.outcome, later.index, later.order)) << "its epoch is over";
}

// --- outcomes -------------------------------------------------------------------------------------------------------

TEST_F(Orders, AnAnswerIsKeptByteForByteAndForEver) {
  const Index at = reserved("k");
  const OrderAnswer whole = answer(std::string("\0filled\xff", 8), 201);
  const Applied done = settle("k", at, OrderState::kDone, whole);
  EXPECT_EQ(done.outcome, Outcome::kDone);
  EXPECT_EQ(done.order->answer, whole);
  EXPECT_EQ(done.order->settled_ms, kT + 5);
  EXPECT_EQ(done.order->changed, done.index);
  EXPECT_EQ(done.order->reserved, at);
  EXPECT_EQ(settle("k", at, OrderState::kDone, whole).outcome, Outcome::kUnchanged);
  EXPECT_EQ(settle("k", at, OrderState::kDone, answer("other")).outcome, Outcome::kConditionFailed);
  for (const OrderState state : {OrderState::kNotSent, OrderState::kUnknown})
    EXPECT_EQ(settle("k", at, state).outcome, Outcome::kConditionFailed);
  EXPECT_EQ(resolve("k", row("k")->changed, OrderState::kNotSent).outcome, Outcome::kConditionFailed);
  acquire(2);
  EXPECT_EQ(row("k")->answer, whole);
  EXPECT_EQ(reserve("k").outcome, Outcome::kExists);
}

TEST_F(Orders, AnOutcomeNeedsItsReservation) {
  EXPECT_EQ(settle("none", Index{1}, OrderState::kUnknown).outcome, Outcome::kNotFound);
  const Index at = reserved("k");
  EXPECT_EQ(settle("k", Index{value(at) - 1}, OrderState::kNotSent).outcome, Outcome::kConditionFailed);
  EXPECT_EQ(settle("k", Index{value(at) + 1}, OrderState::kNotSent).outcome, Outcome::kConditionFailed);
  EXPECT_EQ(state_of("k"), OrderState::kReserved);
}

TEST_F(Orders, UnknownIsNeverReservedAnew) {
  const Index at = reserved("k");
  EXPECT_EQ(settle("k", at, OrderState::kUnknown).outcome, Outcome::kDone);
  EXPECT_EQ(reserve("k").outcome, Outcome::kExists);
  EXPECT_EQ(settle("k", at, OrderState::kNotSent).outcome, Outcome::kConditionFailed) << "bytes left, it said";
  EXPECT_EQ(state_of("k"), OrderState::kUnknown);
}

TEST_F(Orders, TimesNeverRunBackwards) {
  const Index at = reserved("k");
  settle("k", at, OrderState::kNotSent, {}, 3);
  EXPECT_EQ(row("k")->settled_ms, kT);
}

// --- leases ---------------------------------------------------------------------------------------------------------

TEST_F(Orders, ANewEpochMakesOpenReservationsUnknownInItsOwnEntry) {
  acquire(1, "second");
  const Epoch second = epoch;
  m.run(OrderReserve{order_name("k", "second"), fingerprint(1), second, NodeId{1}, kT, kDay});
  epoch = m.state.epoch("trader");
  const Index open = reserved("open");
  settle("done", reserved("done"), OrderState::kDone, answer("x"));
  settle("none", reserved("none"), OrderState::kNotSent);
  m.run(LeaseExpire{"trader", epoch});
  EXPECT_EQ(state_of("open"), OrderState::kReserved) << "while nobody holds it nothing is decided";
  m.run(LeaseAcquire{"trader", NodeId{2}, "n2", 1500, 500});
  EXPECT_EQ(state_of("open"), OrderState::kUnknown);
  EXPECT_EQ(row("open")->source, OrderSource::kLease);
  EXPECT_EQ(row("open")->changed, m.now());
  EXPECT_EQ(row("open")->reserved, open);
  EXPECT_EQ(state_of("done"), OrderState::kDone);
  EXPECT_EQ(state_of("none"), OrderState::kNotSent);
  EXPECT_EQ(m.state.orders().find(order_name("k", "second"))->state, OrderState::kReserved);
  EXPECT_EQ(m.state.orders().counts("trader"), (OrderCounts{0, 1, 1, 1}));
  EXPECT_EQ(m.state.orders().counts(), (OrderCounts{1, 1, 1, 1}));
}

TEST_F(Orders, AHolderThatBeganAnewKnowsNothingOfItsOwnReservationsEither) {
  reserved("k");
  m.run(LeaseAcquire{"trader", NodeId{1}, "n1", 1500, 500});
  EXPECT_EQ(state_of("k"), OrderState::kUnknown);
}

TEST_F(Orders, TheSendersWordCountsAlsoAfterItsEpoch) {
  const Index a = reserved("a"), b = reserved("b"), c = reserved("c");
  acquire(2);
  EXPECT_EQ(settle("a", a, OrderState::kDone, answer("filled")).outcome, Outcome::kDone);
  EXPECT_EQ(settle("b", b, OrderState::kNotSent).outcome, Outcome::kDone);
  EXPECT_EQ(settle("c", c, OrderState::kUnknown).outcome, Outcome::kUnchanged);
  EXPECT_EQ(row("a")->source, OrderSource::kSender);
  EXPECT_EQ(reserve("b").outcome, Outcome::kDone);
  EXPECT_EQ(state_of("c"), OrderState::kUnknown);
}

// --- verdicts -------------------------------------------------------------------------------------------------------

TEST_F(Orders, AVerdictEndsUnknownAndNothingElse) {
  const Index open = reserved("open");
  EXPECT_EQ(resolve("open", open, OrderState::kNotSent).outcome, Outcome::kConditionFailed) << "somebody may be sending";
  EXPECT_EQ(resolve("none", Index{1}, OrderState::kNotSent).outcome, Outcome::kNotFound);
  acquire(2);
  const Index seen = row("open")->changed;
  EXPECT_EQ(resolve("open", seen, OrderState::kNotSent).outcome, Outcome::kDone);
  EXPECT_EQ(row("open")->source, OrderSource::kHook);
  EXPECT_EQ(resolve("open", seen, OrderState::kNotSent).outcome, Outcome::kUnchanged);
  EXPECT_EQ(resolve("open", seen, OrderState::kDone, answer("x")).outcome, Outcome::kConditionFailed);
  EXPECT_EQ(settle("open", open, OrderState::kDone, answer("x")).outcome, Outcome::kConditionFailed);
  EXPECT_EQ(reserve("open").outcome, Outcome::kDone);
  EXPECT_EQ(row("open")->attempt, 2u);
}

TEST_F(Orders, AVerdictIsAboutWhatWasSeen) {
  const Index first = reserved("k");
  acquire(2);
  const Index seen = row("k")->changed;
  settle("k", first, OrderState::kNotSent);
  reserved("k");
  acquire(3);
  ASSERT_EQ(state_of("k"), OrderState::kUnknown);
  // Asked before the second attempt: it says nothing about that one.
  EXPECT_EQ(resolve("k", seen, OrderState::kNotSent).outcome, Outcome::kConditionFailed);
  EXPECT_EQ(state_of("k"), OrderState::kUnknown);
}

TEST_F(Orders, AVerdictMayComeWithoutTheAnswer) {
  reserved("k");
  acquire(2);
  EXPECT_EQ(resolve("k", row("k")->changed, OrderState::kDone, {}, OrderSource::kOperator).outcome, Outcome::kDone);
  EXPECT_EQ(row("k")->answer.kept, AnswerKept::kNone);
  EXPECT_EQ(row("k")->source, OrderSource::kOperator);
  EXPECT_EQ(reserve("k").outcome, Outcome::kExists);
}

// --- retention ------------------------------------------------------------------------------------------------------

TEST_F(Orders, SettledOrdersGoAfterTheirRetentionAndNotBefore) {
  settle("done", reserved("done"), OrderState::kDone, answer("x"), kT + 10);
  settle("none", reserved("none"), OrderState::kNotSent, {}, kT + 20);
  settle("unknown", reserved("unknown"), OrderState::kUnknown);
  reserved("open");
  EXPECT_EQ(m.state.orders().next_due_ms(), kT + 10 + kDay);
  EXPECT_EQ(m.outcome(OrderSweep{kT + 9 + kDay}), Outcome::kUnchanged);
  EXPECT_NE(row("done"), nullptr);
  EXPECT_EQ(m.outcome(OrderSweep{kT + 10 + kDay}), Outcome::kDone);
  EXPECT_EQ(row("done"), nullptr);
  EXPECT_NE(row("none"), nullptr);
  EXPECT_EQ(m.outcome(OrderSweep{kT + 1000 * kDay}), Outcome::kDone);
  EXPECT_EQ(row("none"), nullptr);
  EXPECT_EQ(state_of("open"), OrderState::kReserved);
  EXPECT_EQ(state_of("unknown"), OrderState::kUnknown);
  EXPECT_EQ(m.state.orders().next_due_ms(), std::nullopt);
  EXPECT_EQ(m.state.orders().size(), 2u);
}

TEST_F(Orders, ASweepTakesTheOldestAndNoMoreThanItSays) {
  for (const char* key : {"c", "a", "b"}) settle(key, reserved(key), OrderState::kNotSent, {}, kT);
  EXPECT_EQ(m.outcome(OrderSweep{kT + kDay, 2}), Outcome::kDone);
  EXPECT_EQ(row("c"), nullptr);
  EXPECT_EQ(row("a"), nullptr);
  EXPECT_NE(row("b"), nullptr);
}

TEST_F(Orders, EveryOrderHasItsOwnRetention) {
  OrderReserve brief = wish("brief");
  brief.retention_ms = kOrderRetentionMsMin;
  settle("brief", m.run(brief).index, OrderState::kNotSent, {}, kT);
  settle("k", reserved("k"), OrderState::kNotSent, {}, kT);
  m.run(OrderSweep{kT + kOrderRetentionMsMin});
  EXPECT_EQ(row("brief"), nullptr);
  EXPECT_NE(row("k"), nullptr);
}

// --- reading --------------------------------------------------------------------------------------------------------

TEST_F(Orders, PagesGoByReservation) {
  std::vector<Index> at;
  for (const char* key : {"d", "c", "b", "a"}) at.push_back(reserved(key));
  settle("c", at[1], OrderState::kUnknown);
  settle("a", at[3], OrderState::kUnknown);
  const OrderLedger& orders = m.state.orders();
  const auto keys = [](const std::vector<OrderRow>& rows) {
    std::string all;
    for (const OrderRow& one : rows) all += one->name.key;
    return all;
  };
  EXPECT_EQ(keys(orders.unknown("trader", Index{}, 10)), "ca");
  EXPECT_EQ(keys(orders.unknown("trader", Index{}, 1)), "c");
  EXPECT_EQ(keys(orders.unknown("trader", at[1], 10)), "a");
  EXPECT_EQ(keys(orders.reserved("trader", Index{}, 10)), "db");
  EXPECT_EQ(keys(orders.recent("trader", Index{~std::uint64_t{0}}, 3)), "abc");
  EXPECT_EQ(keys(orders.recent("trader", at[1], 3)), "d");
  EXPECT_EQ(keys(orders.recent("other", at[1], 3)), "");
  EXPECT_TRUE(orders.unknown("other", Index{}, 3).empty());
}

TEST_F(Orders, ARowThatWasReadStaysWhatItWas) {
  const Index at = reserved("k");
  const OrderRow before = row("k");
  settle("k", at, OrderState::kDone, answer("x"));
  EXPECT_EQ(before->state, OrderState::kReserved);
  EXPECT_EQ(state_of("k"), OrderState::kDone);
}

// --- restore --------------------------------------------------------------------------------------------------------

TEST_F(Orders, ARestoreLeavesThemAlone) {
  m.run(Set{"a", "1"});
  const auto saved = m.state.saved_rows();
  for (const Record& one : saved) EXPECT_NE(one.key.front(), 'o');
  settle("k", reserved("k"), OrderState::kDone, answer("x"));
  m.expect_mirrored();
  m.run(RestoreBegin{uuid(1)});
  m.run(RestoreChunk{uuid(1), 0, encode_rows(saved)});
  EXPECT_EQ(m.outcome(RestoreCommit{uuid(1), 1}), Outcome::kDone);
  EXPECT_EQ(row("k")->answer, answer("x"));
  m.expect_mirrored();
  EXPECT_EQ(m.mirrored.find('o'), std::string::npos) << "not even written again";
  EXPECT_NE(m.mirrored.find('k'), std::string::npos);
}

// --- bounds, on the table itself ------------------------------------------------------------------------------------

class BoundedOrders : public testing::Test {
 protected:
  OrderLedger::Verdict reserve(const std::string& key, const std::string& service = "trader") {
    return ledger.reserve(Index{++index}, {order_name(key, service), fingerprint(1), Epoch{1}, NodeId{1}, kT, kDay}, {},
                          journal);
  }
  OrderLedger::Verdict settle(const std::string& key, Index at, OrderState state, const OrderAnswer& said = {}) {
    return ledger.settle(Index{++index}, {order_name(key), at, state, said, kT}, journal);
  }
  Journal journal;
  OrderLedger ledger{{4, 4'000, 1'000, 2}};
  std::uint64_t index = 0;
};

TEST_F(BoundedOrders, OpenReservationsOfOneService) {
  const Index a = reserve("a").order->reserved;
  reserve("b");
  const auto refused = reserve("c");
  EXPECT_EQ(refused.outcome, Outcome::kFull);
  EXPECT_EQ(refused.detail, "the 2 orders under way of trader");
  EXPECT_EQ(reserve("c", "other").outcome, Outcome::kDone);
  settle("a", a, OrderState::kNotSent);
  EXPECT_EQ(reserve("c").outcome, Outcome::kDone);
  const auto anew = reserve("a");
  EXPECT_EQ(anew.outcome, Outcome::kFull);
  EXPECT_EQ(anew.order->state, OrderState::kNotSent) << "refused, not forgotten";
}

TEST_F(BoundedOrders, Orders) {
  for (const char* key : {"a", "b", "c", "d"}) settle(key, reserve(key).order->reserved, OrderState::kNotSent);
  EXPECT_EQ(reserve("e").detail, "the ledger's 4 orders");
  EXPECT_EQ(reserve("a").outcome, Outcome::kDone) << "it has its row";
  EXPECT_EQ(ledger.sweep({kT + kDay, 1}, journal).outcome, Outcome::kDone);
  EXPECT_EQ(reserve("e").outcome, Outcome::kDone);
}

// An instance that fails leaves them behind, and without a decision they stay: whoever is refused is told what the ledger is full of.
TEST_F(BoundedOrders, UnknownOrdersAreNotForgottenAndAreNamed) {
  for (const char* key : {"a", "b", "c"}) settle(key, reserve(key).order->reserved, OrderState::kUnknown);
  settle("d", reserve("d").order->reserved, OrderState::kDone);
  const std::string why = "the ledger's 4 orders, 3 of them unknown: those end by a decision alone";
  EXPECT_EQ(reserve("e").detail, why);
  EXPECT_EQ(ledger.sweep({kT + 365 * kDay, 10}, journal).forgotten.size(), 1U);
  EXPECT_EQ(reserve("e").outcome, Outcome::kDone);
  EXPECT_EQ(reserve("f").outcome, Outcome::kFull);
  const OrderRow a = ledger.find(order_name("a"));
  EXPECT_EQ(ledger.resolve(Index{++index}, {order_name("a"), a->changed, OrderState::kNotSent, OrderSource::kOperator, {}, kT}, journal).outcome, Outcome::kDone);
  EXPECT_EQ(ledger.sweep({kT + 365 * kDay, 10}, journal).forgotten.size(), 1U);
  EXPECT_EQ(reserve("f").outcome, Outcome::kDone);
}

TEST_F(BoundedOrders, BytesRefuseReservationsButNeverAnOutcome) {
  const Index a = reserve("a").order->reserved;
  const Index b = reserve("b").order->reserved;
  EXPECT_EQ(settle("a", a, OrderState::kDone, answer(std::string(2'000, 'x'))).order->answer.kept, AnswerKept::kWhole);
  const std::size_t before = ledger.bytes();
  EXPECT_EQ(reserve("c").detail, "the ledger's 4000 bytes of 2 orders and answers");
  EXPECT_EQ(ledger.bytes(), before);
  const auto done = settle("b", b, OrderState::kDone, answer(std::string(1'000, 'y'), 202));
  EXPECT_EQ(done.outcome, Outcome::kDone);
  EXPECT_EQ(done.order->answer, (OrderAnswer{AnswerKept::kStatus, 202, {}, {}}));
  EXPECT_FALSE(done.detail.empty());
  // The sender repeats itself with the whole answer: still the same word.
  EXPECT_EQ(settle("b", b, OrderState::kDone, answer(std::string(1'000, 'y'), 202)).outcome, Outcome::kUnchanged);
  ledger.sweep({kT + kDay, 10}, journal);
  EXPECT_EQ(ledger.bytes(), 0u);
  EXPECT_EQ(ledger.size(), 0u);
  EXPECT_TRUE(ledger.services().empty());
}

// --- rows and commands from outside -----------------------------------------------------------------------------------

TEST(OrderRows, AContradictionIsRefused) {
  Order good{order_name("k"), fingerprint(1), OrderState::kDone, OrderSource::kHook, 2, Epoch{3}, NodeId{1}, Index{5},
             Index{7}, kT, kT + 1, kDay, answer("x")};
  const auto refused = [&good](const auto& spoil) {
    Order bad = good;
    spoil(bad);
    return !decode_row(order_key(good.name), encode_order(bad));
  };
  EXPECT_FALSE(refused([](Order&) {}));
  EXPECT_TRUE(refused([](Order& o) { o.name.key = "other"; }));
  EXPECT_TRUE(refused([](Order& o) { o.attempt = 0; }));
  EXPECT_TRUE(refused([](Order& o) { o.epoch = Epoch{}; }));
  EXPECT_TRUE(refused([](Order& o) { o.node = NodeId{}; }));
  EXPECT_TRUE(refused([](Order& o) { o.changed = o.reserved; }));
  EXPECT_TRUE(refused([](Order& o) { o.changed = Index{4}; }));
  EXPECT_TRUE(refused([](Order& o) { o.state = OrderState::kNotSent; })) << "with an answer";
  EXPECT_TRUE(refused([](Order& o) { o.source = OrderSource::kLease; }));
  EXPECT_TRUE(refused([](Order& o) { o.retention_ms = 0; }));
  EXPECT_TRUE(refused([](Order& o) { o.settled_ms = kOrderTimeMsMax + 1; }));
}

TEST(OrderRows, TwoOfOneReservationOrOfATimeToComeAreNoState) {
  Order one{order_name("a"), fingerprint(1), OrderState::kReserved, OrderSource::kSender, 1, Epoch{1}, NodeId{1}, Index{5},
            Index{5}, kT, 0, kDay, {}};
  Order two = one;
  two.name = order_name("b");
  const Record epoch_row{epoch_key("trader"), encode_epoch({Epoch{1}, Index{2}})};
  const auto loads = [](std::vector<Record> rows, std::uint64_t applied) {
    StateMachine state;
    return state.load(Index{applied}, rows).has_value();
  };
  const Record first{order_key(one.name), encode_order(one)};
  EXPECT_TRUE(loads({epoch_row, first}, 5));
  EXPECT_FALSE(loads({epoch_row, first}, 4)) << "reserved by an entry that was not applied";
  EXPECT_FALSE(loads({first}, 5)) << "under an epoch that nobody was given";
  EXPECT_FALSE(loads({epoch_row, first, {order_key(two.name), encode_order(two)}}, 5));
}

TEST(OrderCommands, ShapesThatNobodyMayPropose) {
  const OrderReserve wish{order_name("k"), fingerprint(1), Epoch{1}, NodeId{1}, kT, kDay};
  const OrderOutcome word{order_name("k"), Index{1}, OrderState::kDone, answer("x"), kT};
  const OrderResolve verdict{order_name("k"), Index{1}, OrderState::kDone, OrderSource::kHook, answer("x"), kT};
  const auto refused = [](auto command, const auto& spoil) {
    EXPECT_TRUE(check(command));
    spoil(command);
    return !check(command) && !decode_command(encode({{NodeId{1}, 1}, command}));
  };
  EXPECT_TRUE(refused(wish, [](OrderReserve& c) { c.name.key = ""; }));
  EXPECT_TRUE(refused(wish, [](OrderReserve& c) { c.name.key = std::string(256, 'k'); }));
  EXPECT_TRUE(refused(wish, [](OrderReserve& c) { c.name.zone = ""; }));
  EXPECT_TRUE(refused(wish, [](OrderReserve& c) { c.name.service = std::string("a\0b", 3); }));
  EXPECT_TRUE(refused(wish, [](OrderReserve& c) { c.epoch = Epoch{}; }));
  EXPECT_TRUE(refused(wish, [](OrderReserve& c) { c.node = NodeId{}; }));
  EXPECT_TRUE(refused(wish, [](OrderReserve& c) { c.retention_ms = 999; }));
  EXPECT_TRUE(refused(wish, [](OrderReserve& c) { c.retention_ms = kOrderRetentionMsMax + 1; }));
  EXPECT_TRUE(refused(wish, [](OrderReserve& c) { c.time_ms = kOrderTimeMsMax + 1; }));
  EXPECT_TRUE(refused(word, [](OrderOutcome& c) { c.reserved = Index{}; }));
  EXPECT_TRUE(refused(word, [](OrderOutcome& c) { c.state = OrderState::kReserved; }));
  EXPECT_TRUE(refused(word, [](OrderOutcome& c) { c.state = OrderState::kUnknown; }));
  EXPECT_TRUE(refused(word, [](OrderOutcome& c) { c.answer = {}; }));
  EXPECT_TRUE(refused(word, [](OrderOutcome& c) { c.answer.status = 99; }));
  EXPECT_TRUE(refused(word, [](OrderOutcome& c) { c.answer.kept = AnswerKept::kStatus; }));
  EXPECT_TRUE(refused(word, [](OrderOutcome& c) { c.answer.body = std::string(kOrderAnswerBytesMax, 'x'); }));
  EXPECT_TRUE(refused(verdict, [](OrderResolve& c) { c.seen = Index{}; }));
  EXPECT_TRUE(refused(verdict, [](OrderResolve& c) { c.state = OrderState::kUnknown; }));
  EXPECT_TRUE(refused(verdict, [](OrderResolve& c) { c.state = OrderState::kNotSent; }));
  EXPECT_TRUE(refused(verdict, [](OrderResolve& c) { c.source = OrderSource::kSender; }));
  EXPECT_TRUE(refused(OrderSweep{kT}, [](OrderSweep& c) { c.count_max = 0; }));
  EXPECT_TRUE(refused(OrderSweep{kT}, [](OrderSweep& c) { c.count_max = kOrderSweepMax + 1; }));
}

TEST(OrderCommands, TheLargestAnswerFitsIntoACommandAndARow) {
  OrderAnswer whole{AnswerKept::kWhole, 200, std::string(16 << 10, 'h'), {}};
  whole.body = std::string(kOrderAnswerBytesMax - whole.headers.size(), 'b');
  const OrderName name{std::string(256, 's'), std::string(256, 'z'), std::string(255, 'k')};
  const std::string bytes = encode({{NodeId{1}, 1}, OrderOutcome{name, Index{1}, OrderState::kDone, whole, kT}});
  EXPECT_LE(bytes.size(), kCommandBytesMax);
  EXPECT_TRUE(decode_command(bytes));
}

}  // namespace
}  // namespace store::kv
