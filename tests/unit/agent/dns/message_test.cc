#include "agent/dns/message.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/unit/agent/dns/fake_catalog.h"

namespace agent::dns {
namespace {

using test::dns::QueryBytes;

tl::expected<Query, Malformed> parse(const std::string& bytes) { return parse_query(bytes_of(bytes)); }

/// The fault of a query that must not be read.
Fault fault_of(const std::string& bytes) {
  const auto parsed = parse(bytes);
  EXPECT_FALSE(parsed);
  return parsed ? Fault::kTooShort : parsed.error().fault;
}

TEST(DnsMessage, ReadsAPlainQuery) {
  const auto query = parse(QueryBytes("WeB.service.consul", 33).bytes());
  ASSERT_TRUE(query);
  EXPECT_EQ(query->header.id, 0x1234);
  EXPECT_TRUE(query->header.recursion_desired);
  EXPECT_EQ(query->name.text(), "WeB.service.consul.");
  EXPECT_EQ(query->type, Type::kSrv);
  EXPECT_EQ(query->klass, kClassIn);
  EXPECT_FALSE(query->edns);
}

TEST(DnsMessage, ReadsEdns) {
  auto bytes = QueryBytes("a.consul").edns(4096, 1, 0x8000);
  const auto query = parse(bytes.bytes());
  ASSERT_TRUE(query && query->edns);
  EXPECT_EQ(query->edns->payload_bytes, 4096);
  EXPECT_EQ(query->edns->version, 1);
  EXPECT_TRUE(query->edns->dnssec_ok);
}

TEST(DnsMessage, SkipsOptionsAndRecordsThatItDoesNotKnow) {
  QueryBytes bytes("a.consul");
  bytes.answers = 1;  // unusual, and harmless: a record whose owner is a pointer
  bytes.rest = "\xc0\x0c" + QueryBytes::be16(99) + QueryBytes::be16(1) + std::string(4, 'x') + QueryBytes::be16(3) + "abc";
  bytes.additional = 1;  // OPT with a cookie
  bytes.rest += std::string(1, '\0') + QueryBytes::be16(41) + QueryBytes::be16(1232) + std::string(4, '\0') +
                QueryBytes::be16(12) + QueryBytes::be16(10) + QueryBytes::be16(8) + "cookies!";
  const auto query = parse(bytes.bytes());
  ASSERT_TRUE(query && query->edns);
  EXPECT_EQ(query->edns->payload_bytes, 1232);
}

TEST(DnsMessage, TheRootAndTheLongestNameAreNames) {
  EXPECT_TRUE(parse(QueryBytes("").bytes()));
  const std::string label(63, 'x');
  EXPECT_TRUE(parse(QueryBytes(label + "." + label + "." + label + "." + std::string(61, 'y')).bytes()));
  EXPECT_EQ(fault_of(QueryBytes(label + "." + label + "." + label + "." + std::string(62, 'y')).bytes()), Fault::kName);
}

TEST(DnsMessage, WithoutAHeaderThereIsNobodyToAnswer) {
  const std::string whole = QueryBytes("a.consul").bytes();
  for (std::size_t length = 0; length < kHeaderBytes; ++length) {
    const auto parsed = parse(whole.substr(0, length));
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().fault, Fault::kTooShort);
    EXPECT_FALSE(parsed.error().header);
  }
}

TEST(DnsMessage, AnAnswerIsNoQuestion) {
  QueryBytes bytes("a.consul");
  bytes.flags = 0x8000;
  const auto parsed = parse(bytes.bytes());
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().fault, Fault::kIsResponse);
  EXPECT_FALSE(parsed.error().header);
}

TEST(DnsMessage, OtherOperationsAreNotServed) {
  for (unsigned opcode = 1; opcode < 16; ++opcode) {
    QueryBytes bytes("a.consul");
    bytes.flags = static_cast<std::uint16_t>(opcode << 11);
    const auto parsed = parse(bytes.bytes());
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().fault, Fault::kOpcode);
    EXPECT_EQ(parsed.error().rcode(), Rcode::kNotImp);
    EXPECT_EQ(parsed.error().header->opcode, opcode);
  }
}

TEST(DnsMessage, ExactlyOneQuestion) {
  for (const std::uint16_t count : {0, 2, 65535}) {
    QueryBytes bytes("a.consul");
    bytes.questions = count;
    EXPECT_EQ(fault_of(bytes.bytes()), Fault::kQuestionCount);
  }
}

TEST(DnsMessage, NamesThatAreNone) {
  QueryBytes bytes("a.consul");
  bytes.name = "\xc0\x0c";  // points at itself
  EXPECT_EQ(fault_of(bytes.bytes()), Fault::kName);
  bytes.name = std::string("\x01""a\xc0\x0c", 4);
  EXPECT_EQ(fault_of(bytes.bytes()), Fault::kName);
  for (const char kind : {'\x40', '\x80'}) {  // label kinds that were given up
    bytes.name = std::string(1, kind) + "abc";
    EXPECT_EQ(fault_of(bytes.bytes()), Fault::kName);
  }
  bytes.name = "\x3f" "abc";  // longer than the message
  EXPECT_EQ(fault_of(bytes.bytes()), Fault::kName);
}

TEST(DnsMessage, CutAnywhereItIsRefused) {
  const std::string whole = QueryBytes("web.service.consul").edns(1232).bytes();
  ASSERT_TRUE(parse(whole));
  for (std::size_t length = kHeaderBytes; length < whole.size(); ++length) {
    const auto parsed = parse(whole.substr(0, length));
    ASSERT_FALSE(parsed) << length;
    EXPECT_TRUE(parsed.error().fault == Fault::kName || parsed.error().fault == Fault::kTruncated) << length;
    EXPECT_EQ(parsed.error().rcode(), Rcode::kFormErr);
    EXPECT_EQ(parsed.error().header->id, 0x1234);
  }
}

TEST(DnsMessage, BytesBehindTheEndAreRefused) {
  EXPECT_EQ(fault_of(QueryBytes("a.consul").bytes() + "x"), Fault::kTrailing);
}

TEST(DnsMessage, RecordsAreCounted) {
  QueryBytes bytes("a.consul");
  const std::string record = std::string(1, '\0') + QueryBytes::be16(250) + QueryBytes::be16(255) + std::string(6, '\0');
  for (int i = 0; i < kQueryRecordsMax; ++i) bytes.rest += record;
  bytes.additional = kQueryRecordsMax;
  EXPECT_TRUE(parse(bytes.bytes()));
  bytes.rest += record;
  bytes.additional += 1;
  EXPECT_EQ(fault_of(bytes.bytes()), Fault::kRecordCount);
  bytes.answers = bytes.authority = bytes.additional = 65535;
  EXPECT_EQ(fault_of(bytes.bytes()), Fault::kRecordCount);
}

TEST(DnsMessage, OneOptOfTheRoot) {
  QueryBytes two("a.consul");
  EXPECT_EQ(fault_of(two.edns(512).edns(512).bytes()), Fault::kOpt);
  QueryBytes owned("a.consul");
  owned.edns(512);
  owned.rest = std::string("\x01x", 2) + owned.rest;
  EXPECT_EQ(fault_of(owned.bytes()), Fault::kOpt);
  owned.rest = "\xc0\x0c" + owned.rest.substr(3);
  EXPECT_EQ(fault_of(owned.bytes()), Fault::kOpt);
}

TEST(DnsMessage, EveryFaultAndCodeHasAWordOfItsOwn) {
  std::set<std::string_view> words;
  for (const auto fault : {Fault::kTooShort, Fault::kIsResponse, Fault::kOpcode, Fault::kQuestionCount, Fault::kName,
                           Fault::kTruncated, Fault::kRecordCount, Fault::kOpt, Fault::kTrailing})
    words.insert(to_string(fault));
  EXPECT_EQ(words.size(), 9U);
  words.clear();
  for (const auto code : {Rcode::kNoError, Rcode::kFormErr, Rcode::kServFail, Rcode::kNxDomain, Rcode::kNotImp,
                          Rcode::kRefused, Rcode::kBadVers})
    words.insert(to_string(code));
  EXPECT_EQ(words.size(), 7U);
  EXPECT_FALSE(words.contains(""));
}

}  // namespace
}  // namespace agent::dns
