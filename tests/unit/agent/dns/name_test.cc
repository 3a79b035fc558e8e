#include "agent/dns/name.h"

#include <gtest/gtest.h>

#include <string>

namespace agent::dns {
namespace {

using Kind = Place::Kind;

TEST(Name, TextAndWireAreTwoSpellings) {
  const auto name = Name::parse("Web.service.consul.");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->wire(), "\3Web\7service\6consul");
  EXPECT_EQ(name->wire_bytes(), 20U);
  EXPECT_EQ(name->text(), "Web.service.consul.");
  EXPECT_EQ(name->lower_case().text(), "web.service.consul.");
  ASSERT_EQ(name->labels().size(), 3U);
  EXPECT_EQ(name->labels()[1], "service");
  EXPECT_EQ(*Name::parse("Web.service", *Name::parse("consul")), *name);
}

TEST(Name, TheRootIsEmpty) {
  EXPECT_TRUE(Name().is_root());
  EXPECT_EQ(Name::parse(""), Name());
  EXPECT_EQ(Name::parse("."), Name());
  EXPECT_EQ(Name().text(), ".");
  EXPECT_EQ(Name().wire_bytes(), 1U);
}

TEST(Name, LengthsAreBounded) {
  const std::string longest(63, 'a');
  EXPECT_TRUE(Name::parse(longest));
  EXPECT_FALSE(Name::parse(longest + "a"));
  EXPECT_FALSE(Name::parse("a..b"));
  EXPECT_FALSE(Name::parse(".a"));
  const std::string three = longest + "." + longest + "." + longest;  // 193 bytes of wire with the root
  EXPECT_EQ(Name::parse(three + "." + std::string(61, 'b'))->wire_bytes(), 255U);
  EXPECT_FALSE(Name::parse(three + "." + std::string(62, 'b')));
  EXPECT_TRUE(Name::parse(std::string(61, 'b'), *Name::parse(three)));
  EXPECT_FALSE(Name::parse(std::string(62, 'b'), *Name::parse(three)));
}

TEST(Name, AppendLeavesAFullNameAsItIs) {
  Name name;
  for (int i = 0; i < 127; ++i) EXPECT_TRUE(name.append("x"));
  const Name full = name;
  EXPECT_FALSE(name.append("x"));
  EXPECT_FALSE(name.append(""));
  EXPECT_EQ(name, full);
}

TEST(Name, NoByteIsSpecial) {
  Name name;
  ASSERT_TRUE(name.append(std::string("a.\0\xff ", 5)));
  ASSERT_TRUE(name.append("consul"));
  EXPECT_EQ(name.text(), "a\\046\\000\\255\\032.consul.");
  EXPECT_EQ(name.labels()[0], std::string_view("a.\0\xff ", 5));
  EXPECT_NE(name, *Name::parse("a.consul"));
}

TEST(Name, OnlyAsciiLettersHaveACase) {
  Name name;
  ASSERT_TRUE(name.append("AZ@[\xc4\xd6"));
  EXPECT_EQ(name.lower_case().labels()[0], "az@[\xc4\xd6");
  EXPECT_EQ(lower_case("Web-1_X"), "web-1_x");
}

TEST(Name, LengthBytesSurviveLowerCase) {
  // A label of 63 bytes has the length byte '?', below every letter.
  const auto name = Name::parse(std::string(63, 'A') + "." + std::string(26, 'B'));
  EXPECT_EQ(name->lower_case().wire(), "\x3f" + std::string(63, 'a') + "\x1a" + std::string(26, 'b'));
}

TEST(Place, KnowsAddressesFromHostNames) {
  EXPECT_EQ(Place::parse("").kind, Kind::kNone);
  EXPECT_EQ(Place::parse("10.0.0.7").kind, Kind::kIpv4);
  EXPECT_EQ(Place::parse("10.0.0.7").bytes().size(), 4U);
  EXPECT_EQ(Place::parse("2001:db8::1").kind, Kind::kIpv6);
  EXPECT_EQ(Place::parse("::1").bytes()[15], 1);
  EXPECT_EQ(Place::parse("::ffff:10.0.0.7"), Place::parse("10.0.0.7"));
  EXPECT_EQ(Place::parse("db-1.Example.com").kind, Kind::kHostName);
  EXPECT_EQ(Place::parse("db-1.Example.com").host.text(), "db-1.Example.com.");
  EXPECT_TRUE(Place::parse("db.example.").bytes().empty());
}

TEST(Place, WhatIsNeitherIsOfNoUse) {
  for (const std::string text : {"10.0.0", "10.0.0.256", "1.2.3.4:80", "fe80::1%eth0", "a b", "http://x", ".", "a..b",
                                 "[::1]", "*.example", "0x7f000001.1"})
    EXPECT_EQ(Place::parse(text).kind, Kind::kUnusable) << text;
  EXPECT_EQ(Place::parse(std::string("10.0.0.1\0", 9)).kind, Kind::kUnusable);
  EXPECT_EQ(Place::of_bytes({}).kind, Kind::kUnusable);
}

}  // namespace
}  // namespace agent::dns
