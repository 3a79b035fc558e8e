#include "agent/handover_word.h"

#include <gtest/gtest.h>

namespace agent {
namespace {

using Kind = HandoverWord::Kind;

TEST(HandoverWord, EveryKindIsReadAsItWasWritten) {
  HandoverWord sockets;
  sockets.kind = Kind::kSockets;
  sockets.names = {"stream 127.0.0.1:80", "udp [::1]:53"};
  EXPECT_EQ(decode_handover(encode(sockets))->names, sockets.names);
  EXPECT_EQ(decode_handover(encode({Kind::kTakeOver, "1.2.3", {}, {}}))->text, "1.2.3");
  EXPECT_EQ(decode_handover(encode({Kind::kRefused, "stopping", {}, {}}))->kind, Kind::kRefused);
  EXPECT_EQ(decode_handover(encode({Kind::kGo, {}, {}, {}}))->kind, Kind::kGo);
  EXPECT_EQ(decode_handover(encode({Kind::kReady, {}, {}, {}}))->kind, Kind::kReady);
}

TEST(HandoverWord, ThePrimaryOfTheSuccessorIsAPeersToUs) {
  HandoverWord word;
  word.kind = Kind::kPrimary;
  word.primary.service = "trader";
  word.primary.epoch = proxy::Epoch{(1ULL << 63U) + 1};  // no double could hold it
  word.primary.holder = proxy::PrimaryView::Holder::kLocal;
  word.primary.endpoint.id = proxy::EndpointId{7};
  word.primary.endpoint.address = "127.0.0.1:9001";
  word.primary.lease = std::make_shared<proxy::LeaseView>(word.primary.epoch);
  word.primary.accepts_new = false;
  word.primary = seen_from_outside(word.primary, "127.0.0.1:7947");
  EXPECT_EQ(word.primary.lease, nullptr);
  const auto read = decode_handover(encode(word));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->primary.epoch, word.primary.epoch);
  EXPECT_EQ(read->primary.holder, proxy::PrimaryView::Holder::kPeer);
  EXPECT_EQ(read->primary.endpoint.kind, proxy::EndpointKind::kPeer);
  EXPECT_EQ(read->primary.endpoint.address, "127.0.0.1:7947");
  EXPECT_EQ(read->primary.endpoint.id, proxy::EndpointId{~std::uint64_t{7}}) << "another address is another endpoint";
  EXPECT_TRUE(read->primary.accepts_new);
  word.primary = {};
  word.primary.service = "trader";
  EXPECT_EQ(decode_handover(encode(word))->primary.holder, proxy::PrimaryView::Holder::kNone);
}

TEST(HandoverWord, NonsenseAndOtherProtocolsAreRefused) {
  for (const char* text : {"", "{}", "nonsense", R"({"protocol":1})", R"({"protocol":1,"say":"sockets"})", R"({"protocol":1,"say":"primary","primary":{}})"})
    EXPECT_FALSE(decode_handover(text)) << text;
  EXPECT_NE(decode_handover(R"({"protocol":2,"say":"go"})").error().detail.find("stop the old agent"), std::string::npos);
  EXPECT_NE(decode_handover(R"({"protocol":1,"say":"dance"})").error().detail.find("dance"), std::string::npos);
}

}  // namespace
}  // namespace agent
