#include "store/kv/command.h"

#include <gtest/gtest.h>

#include "store/kv/wire.h"
#include "tests/unit/store/kv/machine.h"

namespace store::kv {
namespace {

const RequestId kRequest{NodeId{9}, 77};

std::vector<CommandBody> all_bodies() {
  ClusterId cluster;
  cluster.bytes[3] = 5;
  Session tied = session(1);
  tied.node = "n1";
  tied.node_checks = {"serfHealth"};
  tied.service_checks = {"a", "b"};
  TxnOp op;
  op.verb = TxnVerb::kCheckSession;
  op.key = "k";
  op.value = "v";
  op.flags = ~std::uint64_t{0};
  op.index = Index{3};
  op.session = session_id(1);
  UserEvent event;
  event.id = uuid(2);
  event.name = "deploy";
  event.payload = std::string("\0\xff", 2);
  return {Set{"k", std::string("v\0w", 3), ~std::uint64_t{0}},
          Cas{"k", "v", 3, Index{12}},
          Delete{"k"},
          DeleteCas{"k", Index{4}},
          DeleteTree{""},
          DeleteTree{"p/"},
          LeaseAcquire{"trader", NodeId{3}, "n3", 1500, 500},
          LeaseRelease{"trader", Epoch{4}, NodeId{2}},
          LeaseExpire{"trader", Epoch{4}},
          LeaseOpen{"trader", Epoch{4}},
          LeaseForget{"trader"},
          MemberSet{NodeId{3}, "n3"},
          MemberRemove{NodeId{3}},
          ClusterSet{cluster},
          Acquire{"k", "v", 7, session_id(1), KeepValue::kKeep},
          Release{"k", "v", 7, session_id(1), KeepValue::kOverwrite},
          SessionCreate{tied},
          SessionDestroy{session_id(1)},
          SessionExpire{session_id(1)},
          LockDelayEnd{"k", Index{4}},
          Txn{{op, op}},
          NodeSet{node("n1")},
          NodeRemove{"n1"},
          ServiceSet{instance("n1", "web1", "web", {"a"}), {check_row("n1", "c", "web1")}, OldChecks::kRemove,
                     KeepStatus::kReplace},
          ServiceRemove{"n1", "web1"},
          CheckSet{check_row("n1", "c"), KeepStatus::kKeep},
          CheckStatusSet{"n1", "c", CheckStatus::kWarning, "slow"},
          CheckRemove{"n1", "c"},
          EventFire{event},
          QuotaSet{"p/", {1, 2}},
          QuotaRemove{"p/"},
          RestoreBegin{uuid(1)},
          RestoreChunk{uuid(1), 3, "rows"},
          RestoreCommit{uuid(1), 4},
          RestoreAbort{uuid(1)},
          OrderReserve{order_name("k"), fingerprint(7), Epoch{4}, NodeId{3}, 1'700'000'000'000, 60'000},
          OrderOutcome{order_name("k"), Index{9}, OrderState::kDone, answer("body"), 1'700'000'000'001},
          OrderOutcome{order_name("k"), Index{9}, OrderState::kUnknown, {}, 5},
          OrderResolve{order_name("k"), Index{9}, OrderState::kNotSent, OrderSource::kOperator, {}, 6},
          OrderResolve{order_name(std::string("k\0\xff", 3)), Index{9}, OrderState::kDone, OrderSource::kHook,
                       {AnswerKept::kStatus, 201, {}, {}}, 6},
          OrderSweep{1'700'000'000'000, 10}};
}

TEST(Command, EveryKindSurvivesTheRoundTrip) {
  for (const CommandBody& body : all_bodies()) {
    const std::string bytes = encode({kRequest, body});
    const auto decoded = decode_command(bytes);
    ASSERT_TRUE(decoded) << body.index() << ": " << decoded.error().detail;
    EXPECT_EQ(decoded->request, kRequest);
    EXPECT_EQ(decoded->body.index(), body.index());
    EXPECT_EQ(encode(*decoded), bytes) << body.index();
    EXPECT_EQ(*decode_request_id(bytes), kRequest);
  }
}

TEST(Command, EveryTruncationIsRefused) {
  for (const CommandBody& body : all_bodies()) {
    const std::string bytes = encode({kRequest, body});
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto decoded = decode_command(std::string_view(bytes).substr(0, size));
      ASSERT_FALSE(decoded) << body.index() << " cut to " << size;
      EXPECT_EQ(decoded.error().code, Errc::kTruncated);
    }
  }
}

TEST(Command, FlippedBytesNeverCrashAndNeverBreakTheRules) {
  for (const CommandBody& body : all_bodies()) {
    const std::string bytes = encode({kRequest, body});
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string flipped = bytes;
        flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
        if (const auto decoded = decode_command(flipped)) {
          EXPECT_TRUE(check(decoded->body));
        }
      }
    }
  }
}

TEST(Command, UnknownVersionAndKindAreTold) {
  const auto made = [](std::uint64_t version, std::uint64_t kind) {
    return ArrayWriter(5).add(version).add(kind).add(1U).add(1U).add("k").take();
  };
  EXPECT_EQ(decode_command(made(2, 3)).error().code, Errc::kUnknownVersion);
  EXPECT_EQ(decode_request_id(made(2, 3)).error().code, Errc::kUnknownVersion);
  EXPECT_EQ(decode_command(made(1, 99)).error().code, Errc::kUnknownKind);
  EXPECT_TRUE(decode_command(made(1, 3)));
}

TEST(Command, AnExtraFieldIsRefused) {
  const std::string bytes = ArrayWriter(6).add(1U).add(3U).add(1U).add(1U).add("k").add(0U).take();
  EXPECT_EQ(decode_command(bytes).error().code, Errc::kMalformed);
}

TEST(Command, BoundsOfKeysValuesAndNames) {
  const auto code = [](const CommandBody& body) {
    const auto sound = check(body);
    return sound ? std::optional<Errc>() : sound.error().code;
  };
  EXPECT_EQ(code(Set{std::string(kKeyBytesMax, 'k'), std::string(kValueBytesMax, 'v'), 0}), std::nullopt);
  EXPECT_EQ(code(Set{std::string(kKeyBytesMax + 1, 'k'), "", 0}), Errc::kTooLarge);
  EXPECT_EQ(code(Set{"k", std::string(kValueBytesMax + 1, 'v'), 0}), Errc::kTooLarge);
  EXPECT_EQ(code(Set{"", "v", 0}), Errc::kBadKey);
  EXPECT_EQ(code(Cas{std::string("a\0b", 3), "v", 0, Index{}}), Errc::kBadKey);
  EXPECT_EQ(code(Delete{""}), Errc::kBadKey);
  EXPECT_EQ(code(DeleteCas{"k", Index{}}), Errc::kMalformed);
  EXPECT_EQ(code(DeleteTree{std::string(1, '\0')}), Errc::kBadKey);
  EXPECT_EQ(code(LeaseAcquire{"", NodeId{1}, "n", 1500, 500}), Errc::kBadKey);
  EXPECT_EQ(code(LeaseAcquire{"s", NodeId{}, "n", 1500, 500}), Errc::kMalformed);
  EXPECT_EQ(code(LeaseAcquire{"s", NodeId{1}, "n", kLeaseMsMin - 1, 500}), Errc::kMalformed);
  EXPECT_EQ(code(LeaseAcquire{"s", NodeId{1}, "n", 1500, kLeaseMsMax + 1}), Errc::kMalformed);
  EXPECT_EQ(code(LeaseExpire{std::string(kNameBytesMax + 1, 's'), Epoch{1}}), Errc::kTooLarge);
  EXPECT_EQ(code(MemberSet{NodeId{}, "n"}), Errc::kMalformed);
  EXPECT_EQ(code(MemberRemove{NodeId{}}), Errc::kMalformed);
  EXPECT_EQ(code(ClusterSet{}), Errc::kMalformed);
}

TEST(Command, TooManyBytesAreNotEvenLookedAt) {
  EXPECT_EQ(decode_command(std::string(kCommandBytesMax + 1, 'x')).error().code, Errc::kTooLarge);
  EXPECT_EQ(decode_request_id(std::string(kCommandBytesMax + 1, 'x')).error().code, Errc::kTooLarge);
}

TEST(ClusterIdText, RoundTripAndRefusals) {
  ClusterId id;
  id.bytes[0] = 0xab;
  id.bytes[15] = 0x01;
  EXPECT_EQ(id.hex(), "ab000000000000000000000000000001");
  EXPECT_EQ(parse_cluster_id(id.hex()), id);
  EXPECT_EQ(parse_cluster_id("ab"), std::nullopt);
  EXPECT_EQ(parse_cluster_id("AB000000000000000000000000000001"), std::nullopt);
}

TEST(RequestNumbers, EveryStartBeginsAboveTheLast) { EXPECT_GT(first_seq(2), first_seq(1) + 1'000'000); }

}  // namespace
}  // namespace store::kv
