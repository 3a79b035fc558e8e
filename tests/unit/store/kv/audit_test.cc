#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "store/kv/audit_log.h"
#include "tests/unit/store/kv/machine.h"

namespace store::kv {
namespace {

TEST(Sha256, AsInTheStandard) {
  // FIPS 180-4 examples, the empty text, and lengths around the border of a block.
  EXPECT_EQ(hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hex(sha256(std::string(1'000'000, 'a'))), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(hex(sha256(std::string(55, 'a'))), "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
  EXPECT_EQ(hex(sha256(std::string(64, 'a'))), "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
}

AuditLog::Look look_at(const AuditLog& log, std::size_t piece = 3) {
  AuditLog::Look look;
  while (!look.done) log.look(look, piece);
  return look;
}

std::vector<AuditFault> faults_of(const AuditLog& log) { return look_at(log).faults; }

AuditEntry entry(const std::string& text) { return {0, Index{5}, 9, AuditKind::kConfig, "n1", "settings", text}; }

/// A chain of ten, as rows that somebody may lay hands on.
struct Chain {
  explicit Chain(AuditLog::Bounds bounds_in = {}) : bounds(bounds_in), log(bounds_in) {
    for (int i = 1; i <= 10; ++i) log.append(entry("change " + std::to_string(i)), journal);
    log.append_rows(rows);
  }
  [[nodiscard]] AuditLog loaded() const {
    AuditLog again(bounds);
    for (const Record& row : rows) {
      auto decoded = decode_row(row.key, *row.value);
      EXPECT_TRUE(decoded) << "a broken row is taken as it is";
      if (auto* audit = std::get_if<AuditRow>(&*decoded)) again.load(audit->number, audit->value);
      if (auto* ends = std::get_if<AuditEndsRow>(&*decoded)) again.load_ends(ends->pruned, ends->head);
    }
    return again;
  }
  std::string& value(std::uint64_t number) {
    return *std::find_if(rows.begin(), rows.end(), [&](const Record& row) { return row.key == audit_key(number); })->value;
  }
  void remove(std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t n = first; n <= last; ++n) std::erase_if(rows, [&](const Record& row) { return row.key == audit_key(n); });
  }
  AuditLog::Bounds bounds;
  Journal journal;
  AuditLog log;
  std::vector<Record> rows;
};

TEST(AuditLog, EachEntryIsBoundToAllBeforeIt) {
  const Chain chain;
  EXPECT_EQ(chain.log.head().number, 10U);
  EXPECT_TRUE(faults_of(chain.log).empty());
  EXPECT_EQ(look_at(chain.log).entries, 10U);
  EXPECT_EQ(chain.loaded().head(), chain.log.head());
  EXPECT_TRUE(faults_of(chain.loaded()).empty());
  const auto page = chain.log.page(7, 2);
  ASSERT_EQ(page.size(), 2U);
  EXPECT_EQ(page[0].entry.number, 8U);
  EXPECT_EQ(page[0].entry.text, "change 8");
  EXPECT_EQ(*chain.log.hash_at(9), page[1].hash);
  EXPECT_FALSE(chain.log.hash_at(11));
  // The hash as anybody can compute it who has the entries alone.
  std::string bytes(32, '\0');
  bytes += encode(chain.log.page(0, 1)[0].entry);
  EXPECT_EQ(sha256(bytes), chain.log.page(0, 1)[0].hash);
}

TEST(AuditLog, SaysWhatAHashWasMadeOf) {
  Chain chain;
  const auto proof = chain.log.proof(4);
  ASSERT_TRUE(proof);
  EXPECT_EQ(proof->before, *chain.log.hash_at(3));
  std::string hashed(proof->before.begin(), proof->before.end());
  EXPECT_EQ(sha256(hashed + proof->bytes), proof->hash);
  EXPECT_EQ(proof->index, Index{5});
  EXPECT_EQ(chain.log.proof(1)->before, Digest{});
  for (const std::uint64_t none : {std::uint64_t{0}, std::uint64_t{11}, UINT64_MAX}) EXPECT_FALSE(chain.log.proof(none));
  // The same entry under another number says the same; another text does not.
  AuditEntry one = entry("change 4"), other = one;
  one.number = 4;
  other.number = 9;
  EXPECT_EQ(audit_content(encode(one)), audit_content(proof->bytes));
  EXPECT_EQ(audit_content(encode(other)), audit_content(proof->bytes));
  other.text += "!";
  EXPECT_NE(audit_content(encode(other)), audit_content(proof->bytes));
  EXPECT_EQ(audit_content("no entry"), sha256("no entry"));
}

TEST(AuditLog, TheNewestOfAnIndexAndRowsSideBySide) {
  Journal journal;
  AuditLog log;
  for (std::uint64_t i = 1; i <= 9; ++i) {
    AuditEntry one = entry("x");
    one.index = Index{10 * ((i + 2) / 3)};
    log.append(one, journal);
  }
  EXPECT_FALSE(log.newest_up_to(Index{9}));
  EXPECT_EQ(log.newest_up_to(Index{10})->number, 3U);
  EXPECT_EQ(log.newest_up_to(Index{29})->number, 6U);
  EXPECT_EQ(log.newest_up_to(Index{UINT64_MAX})->number, 9U);
  Chain chain;
  chain.value(4)[20] ^= 1;
  const AuditLog changed = chain.loaded();
  EXPECT_TRUE(changed.same_row(3, chain.log));
  EXPECT_FALSE(changed.same_row(4, chain.log));
  EXPECT_TRUE(changed.same_row(11, chain.log)) << "kept by neither";
}

TEST(AuditLog, AnEditIsNamed) {
  Chain chain;
  std::string& row = chain.value(4);
  row.replace(row.find("change 4"), 8, "nothing!");
  EXPECT_EQ(faults_of(chain.loaded()), (std::vector{AuditFault{AuditFault::Kind::kEdited, 4, 4}}));
  for (std::size_t at = 0; at < chain.value(7).size(); ++at) {
    Chain flipped;
    flipped.value(7)[at] = static_cast<char>(flipped.value(7)[at] ^ 0x21);
    const auto faults = faults_of(flipped.loaded());
    EXPECT_EQ(faults, (std::vector{AuditFault{AuditFault::Kind::kEdited, 7, 7}})) << "byte " << at << ": its neighbours were not touched";
  }
}

TEST(AuditLog, AGapIsNamed) {
  Chain chain;
  chain.remove(3, 5);
  EXPECT_EQ(faults_of(chain.loaded()), (std::vector{AuditFault{AuditFault::Kind::kDeleted, 3, 5}}));
  chain.remove(1, 1);
  EXPECT_EQ(faults_of(chain.loaded())[0], (AuditFault{AuditFault::Kind::kDeleted, 1, 1}));
}

TEST(AuditLog, AnEndThatIsGoneIsNamed) {
  Chain chain;
  chain.remove(9, 10);
  EXPECT_EQ(faults_of(chain.loaded()), (std::vector{AuditFault{AuditFault::Kind::kTruncated, 9, 10}}));
  chain.remove(1, 8);
  EXPECT_EQ(faults_of(chain.loaded()), (std::vector{AuditFault{AuditFault::Kind::kTruncated, 1, 10}}));
}

TEST(AuditLog, OldEntriesGoAndTheirLastHashStays) {
  const Chain chain({4, kAuditBytesMax});
  EXPECT_EQ(chain.log.size(), 4U);
  EXPECT_EQ(chain.log.pruned().number, 6U);
  EXPECT_EQ(*chain.log.hash_at(6), *Chain().log.hash_at(6));
  EXPECT_EQ(chain.log.head(), Chain().log.head()) << "what is kept decides nothing";
  EXPECT_TRUE(faults_of(chain.loaded()).empty());
  Chain cut = chain;
  cut.remove(7, 7);
  EXPECT_EQ(faults_of(cut.loaded()), (std::vector{AuditFault{AuditFault::Kind::kDeleted, 7, 7}}));
  const Chain small({100, 500});
  EXPECT_LE(small.log.bytes(), 500U);
  EXPECT_GE(small.log.size(), 2U);
}

TEST(AuditLog, ALookStandsEntriesThatComeAndGo) {
  Chain chain({4, kAuditBytesMax});
  AuditLog::Look look;
  chain.log.look(look, 1);
  for (int i = 0; i < 20; ++i) {
    chain.log.append(entry("more"), chain.journal);
    if (!look.done) chain.log.look(look, i % 3);
  }
  while (!look.done) chain.log.look(look, 2);
  EXPECT_TRUE(look.faults.empty());
}

TEST(AuditLog, AFrontThatWasTakenAwayIsNamedByThePeers) {
  const Chain peer({8, kAuditBytesMax});
  Chain cut({8, kAuditBytesMax});
  EXPECT_TRUE(cut.log.compare(peer.log.ends()).empty());
  // By hand: entries 3 to 5 go, and the row of the ends says that they were dropped as old ones are.
  cut.remove(3, 5);
  AuditLog again = cut.loaded();
  again.load_ends({5, *peer.log.hash_at(5)}, cut.log.head());
  EXPECT_EQ(faults_of(again), (std::vector{AuditFault{AuditFault::Kind::kDeleted, 1, 5}})) << "there was room for them";
  EXPECT_EQ(again.compare(peer.log.ends()), (std::vector{AuditFault{AuditFault::Kind::kDeleted, 3, 5}}));
  EXPECT_TRUE(peer.log.compare(again.ends()).empty()) << "it is not the peer's fault";
  Chain further({8, kAuditBytesMax});
  further.log.append(entry("more"), further.journal);
  EXPECT_EQ(again.compare(further.log.ends()), (std::vector{AuditFault{AuditFault::Kind::kDeleted, 4, 5}}));
  EXPECT_TRUE(further.log.compare(peer.log.ends()).empty()) << "it is further, and has dropped more";
  EXPECT_TRUE(peer.log.compare(further.log.ends()).empty());
}

TEST(AuditLog, AnotherHashAtAnEndIsNamed) {
  const Chain here;
  AuditEnds ends = Chain({4, kAuditBytesMax}).log.ends();
  EXPECT_TRUE(here.log.compare(ends).empty());
  ends.pruned.hash[0] ^= 1U;
  ends.head.hash[0] ^= 1U;
  EXPECT_EQ(here.log.compare(ends), (std::vector{AuditFault{AuditFault::Kind::kDiffers, 6, 6}, AuditFault{AuditFault::Kind::kDiffers, 10, 10}}));
  EXPECT_TRUE(AuditLog().compare({}).empty());
}

TEST(AuditLog, LongTextsAreCut) {
  Journal journal;
  AuditLog log;
  log.append({0, Index{1}, 0, AuditKind::kOrder, std::string(5000, 'a'), std::string(5000, 's'), std::string(5000, 't')}, journal);
  ASSERT_EQ(log.page(0, 1).size(), 1U);
  EXPECT_EQ(log.page(0, 1)[0].entry.subject.size(), kAuditTextBytesMax);
  EXPECT_TRUE(faults_of(log).empty());
}

// --- in the state machine ---------------------------------------------------------------------------------------------

const AuditNote kNote{AuditKind::kConfig, 7, "n1", "settings", "digest"};
const OrderName kName{"trader", "orders", "k1"};

std::vector<std::string> told(const Machine& machine) {
  std::vector<std::string> lines;
  for (const auto& [entry, hash] : machine.state.audit().page(0, 100))
    lines.push_back(std::string(to_string(entry.kind)) + " " + entry.actor + " " + entry.subject + " " + entry.text);
  return lines;
}

Fingerprint print(std::uint8_t of) {
  Fingerprint fingerprint{};
  fingerprint[31] = of;
  return fingerprint;
}

TEST(Audit, TellsWhatWasDecidedAboutTheTrade) {
  Machine machine;
  machine.run(kNote);
  machine.run(MemberSet{NodeId{1}, "n1"});
  machine.run(LeaseAcquire{"trader", NodeId{1}, "n1", 1500, 500});
  machine.run(LeaseAcquire{"trader", NodeId{2}, "n2", 1500, 500});  // held: no promotion
  const Applied reserved = machine.run(OrderReserve{kName, print(1), Epoch{1}, NodeId{1}, 5, kOrderRetentionMsDefault});
  machine.run(OrderReserve{kName, print(1), Epoch{1}, NodeId{1}, 5, kOrderRetentionMsDefault});  // it is there
  machine.run(OrderOutcome{kName, reserved.index, OrderState::kDone, {AnswerKept::kStatus, 201, {}, {}}, 6});
  machine.run(OrderOutcome{kName, reserved.index, OrderState::kDone, {AnswerKept::kStatus, 201, {}, {}}, 6});  // said before
  machine.run(LeaseExpire{"trader", Epoch{1}});
  const std::string bound = ", attempt 1, epoch 1, request " + hex(print(1));
  EXPECT_EQ(told(machine), (std::vector<std::string>{"config n1 settings digest", "promotion n1 trader epoch 1", "order n1 trader/orders/k1 reserved" + bound,
                                                     "order sender trader/orders/k1 done 201" + bound, "demotion n1 trader the lease ran out, epoch 1"}));
  machine.expect_mirrored();
  EXPECT_TRUE(faults_of(machine.state.audit()).empty());
}

TEST(Audit, BindsWhatTheLeaseLeftOpenAndWhatIsForgotten) {
  Machine machine;
  machine.run(kNote);
  for (const std::uint64_t epoch : {1, 2}) {
    machine.run(LeaseAcquire{"trader", NodeId{epoch}, "n" + std::to_string(epoch), 1500, 500});
    if (epoch == 1) {
      machine.run(OrderReserve{kName, print(1), Epoch{1}, NodeId{1}, 5, kOrderRetentionMsMin});
      machine.run(LeaseRelease{"trader", Epoch{1}, NodeId{}});
    }
  }
  const std::string bound = ", attempt 1, epoch 1, request " + hex(print(1));
  EXPECT_EQ(told(machine).back(), "order lease trader/orders/k1 unknown" + bound);
  machine.run(OrderResolve{kName, machine.now(), OrderState::kNotSent, OrderSource::kHook, {}, 9});
  EXPECT_EQ(told(machine).back(), "order hook trader/orders/k1 not-sent" + bound);
  const std::size_t before = told(machine).size();
  machine.run(OrderSweep{1});
  EXPECT_EQ(told(machine).size(), before) << "nothing was forgotten";
  EXPECT_EQ(machine.outcome(OrderSweep{9 + kOrderRetentionMsMin}), Outcome::kDone);
  ASSERT_EQ(told(machine).size(), before + 1);
  EXPECT_EQ(told(machine).back().rfind("order retention  1 orders forgotten", 0), 0U) << told(machine).back();
  machine.expect_mirrored();
}

// Two orders that differ in one byte of what was asked or answered leave two different entries.
TEST(Audit, BindsTheRequestAndTheWholeAnswer) {
  const auto entry_of = [](std::uint8_t request, const OrderAnswer& answer) {
    Machine machine;
    machine.run(kNote);
    machine.run(LeaseAcquire{"trader", NodeId{1}, "n1", 1500, 500});
    const Applied reserved = machine.run(OrderReserve{kName, print(request), Epoch{1}, NodeId{1}, 5, kOrderRetentionMsDefault});
    machine.run(OrderOutcome{kName, reserved.index, OrderState::kDone, answer, 6});
    machine.expect_mirrored();
    return told(machine).back();
  };
  const OrderAnswer whole{AnswerKept::kWhole, 201, "ab", "cd"};
  const std::set<std::string> entries{entry_of(1, whole), entry_of(2, whole), entry_of(1, {AnswerKept::kWhole, 201, "ab", "ce"}),
                                      entry_of(1, {AnswerKept::kWhole, 201, "abc", "d"}), entry_of(1, {AnswerKept::kStatus, 201, {}, {}})};
  EXPECT_EQ(entries.size(), 5U);
  EXPECT_EQ(entry_of(1, whole), entry_of(1, whole));
}

// Agents learn of the audit one by one: what one of them had applied before that is not in its rows. All begin at one entry.
TEST(Audit, BeginsByTheFirstNoteOfTheLogOnEveryCopy) {
  Machine early;
  early.run(LeaseAcquire{"trader", NodeId{1}, "n1", 1500, 500});
  HaltSet halts;
  Halt halt;
  halt.reason = halt.who = "ada";
  ASSERT_TRUE(halts.add(1, halt));
  early.run(HaltMerge{halts});
  EXPECT_FALSE(early.state.audit().begun()) << "nothing before it";
  std::vector<Record> rows = early.disk_rows();
  std::erase_if(rows, [](const Record& row) { return row.key.front() == 'y' || row.key.front() == 'z'; });
  StateMachine late;
  ASSERT_TRUE(late.load(early.now(), rows));
  for (const CommandBody& body : std::vector<CommandBody>{kNote, LeaseExpire{"trader", Epoch{1}}, kNote}) {
    early.run(body);
    ASSERT_TRUE(late.apply(early.now(), encode(Command{{NodeId{1}, 100 + early.index()}, body})));
  }
  EXPECT_EQ(late.audit().head(), early.state.audit().head());
  EXPECT_EQ(told(early), (std::vector<std::string>{"config n1 settings digest", "promotion n1 trader epoch 1, when the audit began",
                                                   "halt ada global 0000000000000001-1 at : ada, when the audit began",
                                                   "demotion n1 trader the lease ran out, epoch 1", "config n1 settings digest"}));
  early.expect_mirrored();
}

CommandBody drawn(std::mt19937& chance, const Machine& machine) {
  const auto draw = [&](std::uint64_t bound) { return chance() % bound; };
  const OrderName name{"trader", "orders", "k" + std::to_string(draw(3))};
  const OrderRow order = machine.state.orders().find(name);
  const Lease* lease = machine.state.lease("trader");
  const Epoch epoch = machine.state.epoch("trader");
  const NodeId node = lease != nullptr && lease->holder != NodeId{} ? lease->holder : NodeId{1};
  const OrderAnswer answer = draw(2) == 0 ? OrderAnswer{AnswerKept::kWhole, 201, "h", std::string(draw(9), 'b')} : OrderAnswer{AnswerKept::kStatus, 500, {}, {}};
  HaltSet halts;
  Halt halt;
  halt.reason = halt.who = "ada";
  halt.second_person = draw(2) == 0;
  switch (draw(10)) {
    case 0: return AuditNote{AuditKind::kConfig, draw(9), "n1", "settings", "digest"};
    case 1: return LeaseAcquire{"trader", NodeId{1 + draw(2)}, "n", 1500, 500};
    case 2: return LeaseExpire{"trader", epoch};
    case 3: return HaltMerge{(static_cast<void>(halts.add(1 + draw(3), halt)), halts)};
    case 4: return HaltLift{halts, {{1 + draw(3), 1}}, draw(2) == 0 ? "ada" : "grace", false, draw(2) == 0, 5};
    case 5: return OrderSweep{5 + draw(2) * kOrderRetentionMsMin};
    case 6: return OrderResolve{name, order != nullptr ? order->changed : Index{1}, OrderState::kDone, OrderSource::kHook, answer, 5};
    case 7: return OrderOutcome{name, order != nullptr ? order->reserved : Index{1}, OrderState::kDone, answer, 5};
    default: return OrderReserve{name, print(1), epoch == Epoch{} ? Epoch{1} : epoch, node, 5, kOrderRetentionMsMin};
  }
}

// A copy that ends and begins anew from its rows at any entry is the same as one that never did, with a chain that is whole.
TEST(Audit, IsTheSameOnEveryCopyWhereverItRestarts) {
  std::set<std::string> kinds;
  for (std::uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 chance(seed);
    Machine steady, restarted;
    for (int step = 0; step < 80; ++step) {
      const CommandBody body = drawn(chance, steady);
      const Applied one = steady.run(body), two = restarted.run(body);
      EXPECT_EQ(one.outcome, two.outcome);
      if (chance() % 4 == 0) {
        const std::vector<Record> rows = restarted.disk_rows();
        ASSERT_TRUE(restarted.state.load(restarted.now(), rows));
      }
      ASSERT_EQ(steady.state.content_hash(), restarted.state.content_hash()) << "step " << step;
      ASSERT_EQ(steady.state.audit().ends(), restarted.state.audit().ends());
    }
    EXPECT_TRUE(faults_of(restarted.state.audit()).empty());
    for (const auto& [entry, hash] : restarted.state.audit().page(0, 1'000)) kinds.insert(to_string(entry.kind) + (" " + entry.actor));
  }
  for (const char* kind : {"config n1", "promotion n", "demotion n", "halt ada", "resume grace", "approval ada", "order member 1", "order sender",
                           "order lease", "order hook", "order retention"})
    EXPECT_TRUE(kinds.contains(kind)) << kind;
}

TEST(Audit, OutlivesARestoreAndSaysWhoseAndOfWhichRows) {
  const auto restored = [](const std::string& value, bool restarts) {
    Machine machine;
    machine.run(MemberSet{NodeId{1}, "n1"});
    machine.run(Set{"k", value, 0});
    const auto chunks = chunk_rows(machine.state.saved_rows());
    machine.run(kNote);
    machine.run(RestoreBegin{uuid(1)});
    for (std::size_t i = 0; i < chunks.size(); ++i) machine.run(RestoreChunk{uuid(1), i, chunks[i]});
    if (restarts) {
      const std::vector<Record> rows = machine.disk_rows();
      EXPECT_TRUE(machine.state.load(machine.now(), rows));
    }
    EXPECT_EQ(machine.outcome(RestoreCommit{uuid(1), chunks.size()}), Outcome::kDone);
    if (!restarts) machine.expect_mirrored();
    EXPECT_EQ(machine.state.audit().head().number, 2U);
    EXPECT_EQ(machine.state.audit().page(1, 1)[0].entry.kind, AuditKind::kRestore);
    return told(machine).back();
  };
  const std::string entry = restored("v", false);
  EXPECT_EQ(entry.rfind("restore n1  1 keys, 0 nodes, rows ", 0), 0U) << entry;
  EXPECT_EQ(entry, restored("v", true)) << "a restart in between";
  EXPECT_NE(entry, restored("w", false));
}

}  // namespace
}  // namespace store::kv
