#include "agent/drivers/tls_acceptor.h"

#include <gtest/gtest.h>

namespace agent::drivers {
namespace {

TEST(ClientCertificateText, SaysWhoTheClientHasProvedToBe) {
  io::PeerIdentity peer;
  EXPECT_EQ(client_certificate_text(peer), "") << "nobody";
  peer.fingerprint = "ab12";
  peer.subject = "C=DE, O=Desk, CN=alice";
  peer.dns_names = {"alice.example", "*.desk.example"};
  EXPECT_EQ(client_certificate_text(peer), "Hash=ab12;Subject=\"C=DE, O=Desk, CN=alice\";DNS=alice.example;DNS=*.desk.example");
}

TEST(ClientCertificateText, NothingInACertificateCanBreakOutOfTheField) {
  io::PeerIdentity peer;
  peer.fingerprint = "ab12";
  peer.subject = "CN=a\"b\\c\r\nX-Evil: 1\xc3\xa4";
  peer.dns_names = {"ok.example", "bad\r\nname", "bad;DNS=boss", "", "bad name"};
  EXPECT_EQ(client_certificate_text(peer), "Hash=ab12;Subject=\"CN=a\\\"b\\\\c??X-Evil: 1??\";DNS=ok.example");
}

}  // namespace
}  // namespace agent::drivers
