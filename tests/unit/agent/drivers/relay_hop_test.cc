#include "agent/drivers/relay_hop.h"

#include <gtest/gtest.h>

namespace agent::drivers {
namespace {

TEST(RelayHop, WhatWeWriteWeReadByteByByte) {
  const proxy::ProxyHeader::Ends ends{*proxy::parse_ip("192.0.2.7"), *proxy::parse_ip("2001:db8::1"), 4711, 5432};
  for (const auto& client : {std::optional<proxy::ProxyHeader::Ends>(), std::optional(ends)}) {
    const std::string line = make_relay_hop("db", client);
    RelayHop hop;
    for (std::size_t size = 0; size < line.size(); ++size) EXPECT_EQ(parse_relay_hop(line.substr(0, size), hop), HopKind::kMore) << size;
    ASSERT_EQ(parse_relay_hop(line + "payload", hop), HopKind::kRelay);
    EXPECT_EQ(hop.route, "db");
    EXPECT_EQ(hop.bytes, line.size());
    ASSERT_EQ(hop.ends.has_value(), client.has_value());
    if (!client) continue;
    EXPECT_EQ(hop.ends->source_port, 4711);
    EXPECT_EQ(proxy::text_of(hop.ends->destination), "2001:db8::1");
  }
}

TEST(RelayHop, RequestsAndBrokenLinesAreLeftToHttp) {
  RelayHop hop;
  for (const std::string text : {"GET / HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n", "OUTRIGGER-TCP 2 db -\n", "OUTRIGGER-TCP 1 db\n", "OUTRIGGER-TCP 1 \n",
                                 "OUTRIGGER-TCP 1 db 192.0.2.7 1 10.0.0.1\n", "OUTRIGGER-TCP 1 db 192.0.2.7 1 10.0.0.1 65536\n",
                                 "OUTRIGGER-TCP 1 db x 1 10.0.0.1 2\n", "OUTRIGGER-TCP 1 db 192.0.2.7 1 10.0.0.1 2 3\n"})
    EXPECT_EQ(parse_relay_hop(text, hop), HopKind::kHttp) << text;
  EXPECT_EQ(parse_relay_hop("O", hop), HopKind::kMore);
  EXPECT_EQ(parse_relay_hop("OUTRIGGER-TCP 1 " + std::string(300, 'x'), hop), HopKind::kHttp) << "bounded";
}

}  // namespace
}  // namespace agent::drivers
