#include "agent/dns/writer.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/agent/dns/fake_catalog.h"

namespace agent::dns {
namespace {

using test::dns::decode;
using test::dns::Message;

Query query_of(const std::string& name, Type type = Type::kA) {
  Query query;
  query.header = {7, 0, true};
  query.name = *Name::parse(name);
  query.type = type;
  return query;
}
Place ip(const std::string& text) { return Place::parse(text); }
Name name(const std::string& text) { return *Name::parse(text); }

TEST(MessageWriter, WritesEveryKindOfRecord) {
  MessageWriter writer;
  writer.begin(query_of("Web.service.consul", Type::kAny), 4096);
  const Name owner = name("Web.service.consul");
  EXPECT_TRUE(writer.add_address(Section::kAnswer, owner, 5, ip("10.0.0.1")));
  EXPECT_TRUE(writer.add_address(Section::kAnswer, owner, 0, ip("2001:db8::7")));
  EXPECT_TRUE(writer.add_name(Section::kAnswer, owner, Type::kCname, 0, name("db.example")));
  EXPECT_TRUE(writer.add_name(Section::kAnswer, owner, Type::kNs, 0, name("n1.node.consul")));
  EXPECT_TRUE(writer.add_name(Section::kAnswer, owner, Type::kPtr, 0, Name()));
  EXPECT_TRUE(writer.add_srv(Section::kAnswer, owner, 0, {1, 2, 8080, name("n1.node.consul")}));
  EXPECT_TRUE(writer.add_txt(Section::kAnswer, owner, 0, "key=value"));
  EXPECT_TRUE(writer.add_soa(Section::kAuthority, name("consul"), 0,
                             {name("ns.consul"), name("hostmaster.consul"), 9, 3600, 600, 86400, 0}));
  EXPECT_TRUE(writer.add_address(Section::kAdditional, name("n1.node.consul"), 0, ip("10.0.0.1")));
  const auto read = decode(writer.finish(Rcode::kNoError, {true, false}, 1232));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->id, 7);
  EXPECT_EQ(read->flags, 0x8000 | 0x0400 | 0x0100);
  EXPECT_EQ(read->question->name, "Web.service.consul.");
  EXPECT_EQ(read->question->type, kTypeAny);
  std::vector<std::string> said;
  for (const auto& one : read->answers) {
    EXPECT_EQ(one.name, "Web.service.consul.");
    EXPECT_EQ(one.klass, 1);
    said.push_back(std::to_string(one.type) + " " + one.data);
  }
  EXPECT_EQ(said, (std::vector<std::string>{"1 10.0.0.1", "28 2001:db8:0:0:0:0:0:7", "5 db.example.", "2 n1.node.consul.",
                                            "12 .", "33 1 2 8080 n1.node.consul.", "16 key=value"}));
  EXPECT_EQ(read->answers[0].ttl, 5U);
  EXPECT_EQ(read->authority[0].data, "ns.consul. hostmaster.consul. 9 3600 600 86400 0");
  EXPECT_EQ(read->additional[0].name, "n1.node.consul.");
  EXPECT_FALSE(read->payload);
}

TEST(MessageWriter, NamesArePointedAt) {
  MessageWriter writer;
  writer.begin(query_of("web.service.consul"), 4096);
  EXPECT_TRUE(writer.add_address(Section::kAnswer, name("web.service.consul"), 0, ip("10.0.0.1")));
  // Header 12, question 20 + 4; then owner 2, type to length 10, address 4.
  EXPECT_EQ(writer.finish(Rcode::kNoError, {}, 512).size(), 12U + 24 + 16);
}

TEST(MessageWriter, AnotherSpellingIsNotPointedAt) {
  MessageWriter writer;
  writer.begin(query_of("web.service.CONSUL"), 4096);
  EXPECT_TRUE(writer.add_soa(Section::kAuthority, name("consul"), 0, {name("ns.consul"), name("h.consul"), 1, 2, 3, 4, 5}));
  const auto read = decode(writer.finish(Rcode::kNxDomain, {}, 512));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->question->name, "web.service.CONSUL.");
  EXPECT_EQ(read->authority[0].name, "consul.");
}

TEST(MessageWriter, SrvTargetsAreWrittenOutAndPointedIntoLater) {
  MessageWriter writer;
  writer.begin(query_of("web.service.consul", Type::kSrv), 4096);
  const Name target = name("0a000001.addr.dc1.consul");
  EXPECT_TRUE(writer.add_srv(Section::kAnswer, name("web.service.consul"), 0, {1, 1, 80, target}));
  EXPECT_TRUE(writer.add_address(Section::kAdditional, target, 0, ip("10.0.0.1")));
  const auto bytes = writer.finish(Rcode::kNoError, {}, 512);
  EXPECT_EQ(bytes.size(), 36U + (12 + 6 + target.wire_bytes()) + 16);
  ASSERT_TRUE(decode(bytes));  // which refuses a compressed target
  EXPECT_EQ(decode(bytes)->additional[0].name, "0a000001.addr.dc1.consul.");
}

TEST(MessageWriter, ARecordGoesInWholeOrNotAtAll) {
  for (std::size_t limit = 512; limit < 700; ++limit) {
    MessageWriter writer;
    writer.begin(query_of("web.service.consul", Type::kSrv), limit);
    int fitted = 0;
    while (writer.add_srv(Section::kAnswer, name("web.service.consul"), 0,
                          {1, 1, 80, name("h" + std::to_string(fitted) + ".example")}))
      ++fitted;
    // A shorter one may still find room, and what was rolled back must not be pointed at.
    const bool more = writer.add_address(Section::kAnswer, name("h" + std::to_string(fitted) + ".example"), 0, ip("10.0.0.1"));
    const auto bytes = writer.finish(Rcode::kNoError, {true, true}, 512);
    EXPECT_LE(bytes.size(), limit);
    EXPECT_GE(bytes.size() + 12 + 6 + 14, limit);
    const auto read = decode(bytes);
    ASSERT_TRUE(read) << limit;
    EXPECT_EQ(read->answers.size(), static_cast<std::size_t>(fitted) + (more ? 1 : 0));
    EXPECT_TRUE(read->truncated());
    if (more) {
      EXPECT_EQ(read->answers.back().name, "h" + std::to_string(fitted) + ".example.");
    }
  }
}

TEST(MessageWriter, TheRoomOfOptIsKeptFree) {
  for (std::size_t limit = 512; limit < 560; ++limit) {
    Query query = query_of("web.service.consul");
    query.edns = Edns{static_cast<std::uint16_t>(limit), 0, true};
    MessageWriter writer;
    writer.begin(query, limit);
    while (writer.add_address(Section::kAnswer, name("web.service.consul"), 0, ip("10.0.0.1"))) {
    }
    const auto bytes = writer.finish(Rcode::kNoError, {}, 1400);
    EXPECT_LE(bytes.size(), limit);
    const auto read = decode(bytes);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->payload, 1400);
    EXPECT_EQ(read->additional[0].data, "OPT 0 32768");
  }
}

TEST(MessageWriter, CodesAboveFifteenAreSplit) {
  Query query = query_of("a.consul");
  query.edns = Edns{512, 1, false};
  MessageWriter writer;
  writer.begin(query, 512);
  const auto read = decode(writer.finish(Rcode::kBadVers, {}, 1232));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->flags & 0xf, 0);
  EXPECT_EQ(read->rcode(), 16);
}

TEST(MessageWriter, LongTextsAreCutIntoStrings) {
  for (const std::size_t length : {0, 1, 255, 256, 510, 511, 2000}) {
    MessageWriter writer;
    writer.begin(query_of("n1.node.consul", Type::kTxt), 4096);
    const std::string text(length, 't');
    EXPECT_TRUE(writer.add_txt(Section::kAnswer, name("n1.node.consul"), 0, text));
    const auto read = decode(writer.finish(Rcode::kNoError, {}, 512));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->answers[0].data, text);
  }
  MessageWriter writer;
  writer.begin(query_of("n1.node.consul", Type::kTxt), 512);
  EXPECT_FALSE(writer.add_txt(Section::kAnswer, name("n1.node.consul"), 0, std::string(100'000, 't')));
  EXPECT_EQ(writer.count(Section::kAnswer), 0);
}

TEST(MessageWriter, AWriterIsUsedAgain) {
  MessageWriter writer;
  writer.begin(query_of("first.service.consul"), 4096);
  EXPECT_TRUE(writer.add_address(Section::kAnswer, name("first.service.consul"), 0, ip("10.0.0.1")));
  writer.finish(Rcode::kNoError, {true, true}, 512);
  writer.begin(query_of("x.consul"), 512);
  EXPECT_TRUE(writer.add_address(Section::kAnswer, name("first.service.consul"), 0, ip("10.0.0.2")));
  const auto read = decode(writer.finish(Rcode::kNoError, {}, 512));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->answers[0].name, "first.service.consul.");
  EXPECT_FALSE(read->truncated());
  writer.begin(QueryHeader{9, 2, false});
  const auto header = decode(writer.finish(Rcode::kNotImp, {}, 512));
  ASSERT_TRUE(header);
  EXPECT_FALSE(header->question);
  EXPECT_EQ(header->id, 9);
  EXPECT_EQ(header->flags, 0x8000 | 2 << 11 | 4);
}

TEST(MessageWriter, AFullMessageOfManyNamesIsRead) {
  // More names than the table remembers, beyond what a pointer reaches, up to the last byte of a stream message.
  MessageWriter writer;
  writer.begin(query_of("web.service.consul", Type::kSrv), MessageWriter::kMessageBytesMax);
  int count = 0;
  const auto target = [](int number) { return name("h" + std::to_string(number) + ".x" + std::to_string(number % 7) + ".example"); };
  while (count < 900 && writer.add_srv(Section::kAnswer, name("web.service.consul"), 0, {1, 1, 80, target(count)})) ++count;
  EXPECT_EQ(count, 900);
  int glue = 0;
  for (int round = 0; round < 3; ++round)
    for (int i = 0; i < count; ++i)
      if (writer.add_address(Section::kAdditional, target(i), 0, ip("10.0.0.1"))) ++glue;
  const auto bytes = writer.finish(Rcode::kNoError, {}, 512);
  EXPECT_LE(bytes.size(), 65535U);
  const auto read = decode(bytes);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->additional.size(), static_cast<std::size_t>(glue));
  for (int i = 0; i < count; ++i) EXPECT_EQ(read->additional[static_cast<std::size_t>(i)].name, target(i).text());
}

TEST(MessageWriter, NamesThatRepeatTheirOwnLabels) {
  MessageWriter writer;
  writer.begin(query_of("a.a.a.a.a.consul"), 4096);
  for (const char* text : {"a", "a.a", "a.a.a", "a.a.consul", "a.consul.a", "consul", "a.a.a.a.a.a.consul"})
    EXPECT_TRUE(writer.add_name(Section::kAnswer, name(text), Type::kPtr, 0, name(text)));
  const auto read = decode(writer.finish(Rcode::kNoError, {}, 512));
  ASSERT_TRUE(read);
  for (const auto& one : read->answers) EXPECT_EQ(one.name, one.data);
  EXPECT_EQ(read->answers[4].name, "a.consul.a.");
}

TEST(MessageWriter, ANameThatRepeatsItselfIsNotItsOwnEnd) {
  // Whatever two suffixes of one name share a slot of the table: some of these do.
  MessageWriter writer;
  std::string label = "aaa";
  for (int i = 0; i < 26 * 26 * 26; ++i) {
    for (int rest = i, at = 0; at < 3; ++at, rest /= 26) label[static_cast<std::size_t>(at)] = static_cast<char>('a' + rest % 26);
    writer.begin(query_of(label + "." + label), 512);
    const auto read = decode(writer.finish(Rcode::kNoError, {}, 512));
    ASSERT_TRUE(read) << label;
    ASSERT_EQ(read->question->name, label + "." + label + ".");
  }
}

TEST(MessageWriter, WhatWasRolledBackIsForgotten) {
  // The record that does not fit leaves the name "y." at a place where the next one has the end of its TTL, 0x0179, and
  // behind it a length of data that is still 0 when its names are written, and not 0 in the end.
  MessageWriter writer;
  writer.begin(query_of("q"), 512);
  EXPECT_FALSE(writer.add_txt(Section::kAnswer, name("abcdefg.y"), 0, std::string(490, 't')));
  const Name longest = name(std::string(63, 'l') + "." + std::string(63, 'm') + "." + std::string(63, 'n') + "." + std::string(60, 'o'));
  EXPECT_TRUE(writer.add_soa(Section::kAuthority, name("q"), 0x0179, {longest, name("y"), 1, 2, 3, 4, 5}));
  const auto read = decode(writer.finish(Rcode::kNoError, {}, 512));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->authority[0].data, longest.text() + " y. 1 2 3 4 5");
}

}  // namespace
}  // namespace agent::dns
