// The desk over a real single-node store whose disk is memory: what is reserved is answered, taken back or settled.
#include "agent/drivers/order_desk.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "agent/drivers/json_text.h"
#include "agent/io/crypto.h"
#include "tests/unit/agent/drivers/fake_instance.h"
#include "tests/unit/agent/drivers/memory_log.h"

namespace agent::drivers {
namespace {

using namespace std::chrono_literals;
using proxy::OrderEnd;
using proxy::OrderTicket;
using proxy::OrderVerdict;
namespace kv = store::kv;

class OrderDeskTest : public ::testing::Test {
 protected:
  struct Told {
    OrderTicket ticket{};
    proxy::OrderReply reply;
    std::function<void()> unclaimed;
  };
  OrderDeskTest() {
    start_store();
    make_desk(10ms);
  }
  ~OrderDeskTest() override { disk->release(); }
  void make_desk(io::Milliseconds retry_pause, io::Milliseconds reserve_timeout = io::kPatience) {
    OrderDeskSettings settings;
    settings.self = store::NodeId{7};
    settings.reserve_timeout = reserve_timeout;
    settings.settle_timeout = io::kPatience;
    settings.retry_pause = retry_pause;
    OrderDeskCallbacks callbacks;
    callbacks.told = [this](std::size_t, OrderTicket ticket, proxy::OrderReply reply, std::function<void()> unclaimed) {
      if (deaf) return false;
      told.push_back({ticket, std::move(reply), std::move(unclaimed)});
      return true;
    };
    callbacks.recorded = [this](std::size_t, OrderTicket ticket, bool done, const proxy::OrderCommit& commit) {
      recorded.emplace_back(ticket, done);
      commits.push_back(commit);
    };
    callbacks.log = [this](std::string_view what, const std::string&) { log.emplace_back(what); };
    desk.emplace(*loop, settings, std::move(callbacks));
    desk->use(store.get());
    ledger = desk->ledger_for(0);
  }
  void start_store() {
    store::Config config;
    config.id = store::NodeId{7};
    config.name = "n1";
    StoreCallbacks callbacks;
    callbacks.send = [](store::NodeId, std::string, bool) {};
    callbacks.on_event = [](const store::Event&) {};
    callbacks.on_fatal = [](const std::string& reason) { FAIL() << reason; };
    store = std::move(*StoreDriver::start(*loop, config, std::make_unique<MemoryLog>(disk), io::random_below, std::move(callbacks)));
    store->bootstrap([](const store::Result<void>&) {});
    bool granted = false;
    kv::LeaseAcquire lease;
    lease.service = "trader";
    lease.holder = kv::NodeId{7};
    lease.holder_name = "n1";
    lease.lease_ms = 600'000;  // longer than any test, however slow the machine
    wait([&] { return store->core().leader() == store::NodeId{7}; });
    store->write(lease, in_good_time(), [&](const store::Result<store::Written>& written) { granted = written.has_value(); });
    wait([&] { return granted; });
  }
  /// Ends the test: whoever waits in vain hundreds of times has waited for hours.
  void wait(const std::function<bool()>& done) {
    if (!run_until(*loop, done)) throw std::runtime_error("waited in vain");
  }
  static proxy::OrderRequest request(std::string key, std::uint64_t epoch = 1, unsigned char print = 1) {
    proxy::OrderRequest out;
    out.service = "trader";
    out.zone = "orders";
    out.key = std::move(key);
    out.fingerprint[0] = std::byte{print};
    out.epoch = proxy::Epoch{epoch};
    out.retention = 60s;
    return out;
  }
  // The answer to one more question.
  const proxy::OrderReply& ask(const proxy::OrderRequest& question) {
    const std::size_t before = told.size();
    ledger->reserve(OrderTicket{++tickets}, question);
    wait([&] { return told.size() > before; });
    return told.back().reply;
  }
  kv::OrderRow row(const std::string& key) { return store->core().state().orders().find({"trader", "orders", key}); }
  bool is(const std::string& key, kv::OrderState state) {
    const auto found = row(key);
    return found != nullptr && found->state == state;
  }
  static std::shared_ptr<const proxy::OrderAnswer> answer() {
    auto out = std::make_shared<proxy::OrderAnswer>();
    out->status = 201;
    out->head = "Made\r\nX: 1\r\n";
    out->body = "fill";
    return out;
  }

  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  std::shared_ptr<MemoryLog::Watch> disk = std::make_shared<MemoryLog::Watch>();
  std::unique_ptr<StoreDriver> store;
  std::optional<OrderDesk> desk;
  std::unique_ptr<proxy::OrderLedger> ledger;
  std::vector<Told> told;
  std::vector<std::pair<OrderTicket, bool>> recorded;
  std::vector<proxy::OrderCommit> commits;
  std::vector<std::string> log;
  std::uint64_t tickets = 0;
  bool deaf = false;
};

TEST_F(OrderDeskTest, AKeyIsReservedOnceAndItsAnswerKnownForEver) {
  const auto first = ask(request("k"));
  ASSERT_EQ(first.verdict, OrderVerdict::kReserved);
  EXPECT_EQ(ask(request("k")).verdict, OrderVerdict::kInFlight);
  EXPECT_EQ(ask(request("k", 1, 2)).verdict, OrderVerdict::kOther);
  ledger->settle(OrderTicket{99}, request("k"), first.reservation, OrderEnd::kAnswered, answer());
  wait([&] { return !recorded.empty(); });
  EXPECT_EQ(recorded[0], std::pair(OrderTicket{99}, true));
  const auto again = ask(request("k"));
  ASSERT_EQ(again.verdict, OrderVerdict::kAnswered);
  EXPECT_EQ(again.answer->status, 201);
  EXPECT_EQ(again.answer->head, "Made\r\nX: 1\r\n");
  EXPECT_EQ(again.answer->body, "fill");
  auto look = request("k", 0);
  look.look_only = true;
  EXPECT_EQ(ask(look).verdict, OrderVerdict::kAnswered);
  look.key = "other";
  EXPECT_EQ(ask(look).verdict, OrderVerdict::kNothing);
}

TEST_F(OrderDeskTest, WhoeverAsksIsToldWhatTheLogTook) {
  wait([&] { return !store->core().state().members().empty(); });  // the leader's own entry is not among those that are counted here
  const io::TimePoint before = io::boottime_now();
  auto timed = request("k");
  timed.timed = true;
  const auto first = ask(timed);
  ASSERT_EQ(first.verdict, OrderVerdict::kReserved);
  EXPECT_EQ(first.commit.index, first.reservation) << "the entry that has reserved it";
  EXPECT_LE(before, first.commit.proposed);
  EXPECT_LE(first.commit.proposed, first.commit.decided);
  EXPECT_EQ(ask(timed).commit.index, first.commit.index + 1) << "an entry has decided that it is reserved already";
  ledger->settle(OrderTicket{99}, timed, first.reservation, OrderEnd::kAnswered, answer());
  ledger->settle(OrderTicket{98}, request("k"), first.reservation, OrderEnd::kAnswered, answer());
  wait([&] { return commits.size() == 2; });
  EXPECT_GT(commits[0].index, first.commit.index + 1);
  EXPECT_LE(first.commit.decided, commits[0].proposed);
  EXPECT_LE(commits[0].proposed, commits[0].decided);
  EXPECT_EQ(commits[1].index, 0U) << "who does not ask is not told";
  EXPECT_EQ(ask(timed).commit.index, 0U) << "an answer that is known here needs no entry";
}

TEST_F(OrderDeskTest, AnOldEpochReservesNothing) { EXPECT_EQ(ask(request("k", 9)).verdict, OrderVerdict::kStale); }

TEST_F(OrderDeskTest, AReservationThatNobodyWaitsForIsTakenBack) {
  // Before it was made.
  ledger->reserve(OrderTicket{1}, request("a"));
  ledger->abandon(OrderTicket{1});
  wait([&] { return is("a", kv::OrderState::kNotSent); });
  EXPECT_TRUE(told.empty());
  // On its way to the worker.
  ask(request("b"));
  told.back().unclaimed();
  wait([&] { return is("b", kv::OrderState::kNotSent); });
  // The worker is gone.
  deaf = true;
  ledger->reserve(OrderTicket{3}, request("c"));
  wait([&] { return is("c", kv::OrderState::kNotSent); });
  deaf = false;
  EXPECT_EQ(ask(request("c")).verdict, OrderVerdict::kReserved) << "and may be sent by whoever asks next";
}

// Two questions of one key go without a word, so the desk is in doubt twice. The first look takes the reservation back; the key is then reserved
// anew, while the desk still looks for the other one, in every turn. Whoever is told that it may send has a reservation that stands: the looks
// leave alone what an exchange has.
TEST_F(OrderDeskTest, AReservationThatIsBeingTakenBackIsPassedOnToNobody) {
  make_desk(0ms, 500ms);
  constexpr std::size_t kKeys = 150;
  const auto key = [](std::size_t i) { return "k" + std::to_string(i); };
  disk->held = true;
  for (std::size_t i = 0; i < kKeys; ++i) {
    for (int twice = 0; twice < 2; ++twice) ledger->reserve(OrderTicket{++tickets}, request(key(i)));
  }
  wait([&] { return told.size() == 2 * kKeys; });
  for (const Told& one : told) EXPECT_EQ(one.reply.verdict, OrderVerdict::kUnavailable);
  disk->release();
  for (std::size_t i = 0; i < kKeys; ++i) wait([&] { return is(key(i), kv::OrderState::kNotSent); });
  wait([&] { return desk->counters().pending == 0; });
  EXPECT_EQ(desk->counters().taken_back, kKeys);
  std::size_t passed_on = 0;
  for (std::size_t i = 0; i < kKeys; ++i) {
    const proxy::OrderReply reply = ask(request(key(i)));
    if (reply.verdict != OrderVerdict::kReserved) {
      EXPECT_EQ(reply.verdict, OrderVerdict::kUnavailable);
      continue;
    }
    ++passed_on;
    recorded.clear();
    ledger->settle(OrderTicket{1}, request(key(i)), reply.reservation, OrderEnd::kAnswered, answer());
    wait([&] { return !recorded.empty(); });
    EXPECT_TRUE(recorded[0].second) << "it was sent, and the ledger has it as not sent";
  }
  wait([&] { return desk->counters().pending == 0 && desk->counters().taken_back >= kKeys + (kKeys - passed_on); });
  EXPECT_EQ(desk->counters().taken_back, kKeys + (kKeys - passed_on)) << "each is either passed on or taken back";
  EXPECT_TRUE(log.empty());
}

TEST_F(OrderDeskTest, AnOrderWhoseEndIsNotKnownStaysUnknown) {
  const auto first = ask(request("k"));
  ledger->settle(OrderTicket{}, request("k"), first.reservation, OrderEnd::kUnknown, nullptr);
  wait([&] { return is("k", kv::OrderState::kUnknown); });
  EXPECT_EQ(ask(request("k")).verdict, OrderVerdict::kUnknown);
  EXPECT_TRUE(recorded.empty()) << "nobody waits";
}

TEST_F(OrderDeskTest, AnOutcomeThatTheLedgerContradictsIsSaidSo) {
  const auto first = ask(request("k"));
  ledger->settle(OrderTicket{}, request("k"), first.reservation, OrderEnd::kNotSent, nullptr);
  wait([&] { return is("k", kv::OrderState::kNotSent); });
  ledger->settle(OrderTicket{5}, request("k"), first.reservation, OrderEnd::kAnswered, answer());
  wait([&] { return !recorded.empty(); });
  EXPECT_EQ(recorded[0], std::pair(OrderTicket{5}, false));
  EXPECT_EQ(log, std::vector<std::string>{"order_outcome_refused"});
}

TEST_F(OrderDeskTest, OutcomesWaitForAStoreThatIsGone) {
  const auto first = ask(request("k"));
  desk->use(nullptr);
  ledger->settle(OrderTicket{5}, request("k"), first.reservation, OrderEnd::kAnswered, answer());
  wait([&] { return desk->counters().pending == 1; });
  EXPECT_TRUE(recorded.empty());
  desk->use(store.get());
  wait([&] { return !recorded.empty(); });
  EXPECT_EQ(recorded[0], std::pair(OrderTicket{5}, true));
}

TEST_F(OrderDeskTest, NobodyWaitsForAStoreThatIsGone) {
  disk->held = true;
  ledger->reserve(OrderTicket{1}, request("under way"));
  bool taken = false;  // its turn has come: what is posted behind it runs behind it
  loop->post([&] { loop->post([&] { taken = true; }); });
  wait([&] { return taken; });
  EXPECT_TRUE(told.empty());
  desk->use(nullptr);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].reply.verdict, OrderVerdict::kUnavailable) << "nobody will hear whether it was reserved";
  EXPECT_EQ(ask(request("new")).verdict, OrderVerdict::kStale) << "nothing was written: the successor may be asked";
  auto look = request("k", 0);
  look.look_only = true;
  EXPECT_EQ(ask(look).verdict, OrderVerdict::kStale);
  disk->release();
}

// The leader's disk is low: what is under way must find its end all the same.
TEST_F(OrderDeskTest, ALongAnswerLosesItsBytesRatherThanItsEndWhereRoomIsLow) {
  const auto first = ask(request("long"));
  const auto second = ask(request("short"));
  disk->space = store::disk::Space::kLow;
  ledger->settle(OrderTicket{4}, request("short"), second.reservation, OrderEnd::kAnswered, answer());
  wait([&] { return recorded.size() == 1; });
  wait([&] { return store->core().status(io::boottime_now()).space == store::disk::Space::kLow; });
  auto long_answer = std::make_shared<proxy::OrderAnswer>(*answer());
  long_answer->body.assign(10'000, 'x');
  ledger->settle(OrderTicket{5}, request("long"), first.reservation, OrderEnd::kAnswered, long_answer);
  wait([&] { return recorded.size() == 2; });
  EXPECT_EQ(recorded[1], std::pair(OrderTicket{5}, true));
  EXPECT_EQ(row("long")->answer.kept, kv::AnswerKept::kStatus);
  EXPECT_EQ(row("long")->answer.status, 201U);
  EXPECT_EQ(ask(request("another")).verdict, OrderVerdict::kUnavailable) << "nothing new is begun";
}

TEST_F(OrderDeskTest, AnAnswerThatIsTooLongKeepsItsStatus) {
  auto long_answer = std::make_shared<proxy::OrderAnswer>(*answer());
  long_answer->body.assign(kv::kOrderAnswerBytesMax, 'x');
  const auto first = ask(request("k"));
  ledger->settle(OrderTicket{5}, request("k"), first.reservation, OrderEnd::kAnswered, long_answer);
  wait([&] { return !recorded.empty(); });
  const auto again = ask(request("k"));
  EXPECT_FALSE(again.answer->kept);
  EXPECT_EQ(again.answer->status, 201);
  EXPECT_EQ(again.answer->body, "");
}

TEST(JsonText, OneTextOutOfADocument) {
  const auto text = [](std::string said) { return proxy::JsonText{proxy::JsonText::Is::kText, std::move(said)}; };
  EXPECT_EQ(json_text(R"({"a":{"b/c":"x"},"n":[1,-7,1.5]})", "/a/b~1c"), text("x"));
  EXPECT_EQ(json_text(R"({"n":[1,-7]})", "/n/1"), text("-7"));
  EXPECT_EQ(json_text(R"({"n":18446744073709551615})", "/n"), text("18446744073709551615"));
  EXPECT_EQ(json_text(R"({"n":""})", "/n"), text(""));
}

TEST(JsonText, WhatIsThereAndIsNoKeyIsNotTakenForNothing) {
  for (const char* pointer : {"/x", "/n/0", "/o/x", "/l/1"})
    EXPECT_EQ(json_text(R"({"n":1,"o":{},"l":[0]})", pointer).is, proxy::JsonText::Is::kAbsent) << pointer;
  EXPECT_EQ(json_text("", "/a").is, proxy::JsonText::Is::kAbsent) << "no body at all";
  // A number of 20 digits would be rounded: two orders would have one key.
  for (const char* value : {"36893488147419103232", "1.5", "1e3", "null", "true", "{}", "[]"})
    EXPECT_EQ(json_text(std::string("{\"id\":") + value + "}", "/id").is, proxy::JsonText::Is::kUnusable) << value;
  for (const std::string& document : {std::string("{"), std::string("\x1f\x8b\x08"), std::string(60'000, '[')})
    EXPECT_EQ(json_text(document, "/id").is, proxy::JsonText::Is::kUnusable) << document.substr(0, 3);
  for (const char* pointer : {"m", "/~2"}) EXPECT_EQ(json_text("{}", pointer).is, proxy::JsonText::Is::kUnusable) << pointer;
}

}  // namespace
}  // namespace agent::drivers
