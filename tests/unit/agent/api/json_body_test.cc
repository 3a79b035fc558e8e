#include "agent/api/json_body.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/api/consul.h"

namespace agent::api {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

using Json = nlohmann::ordered_json;

Json parsed(std::string_view text) {
  std::string fault;
  const auto value = parse_json(text, fault);
  EXPECT_TRUE(value) << text << ": " << fault;
  return value.value_or(Json());
}

TEST(JsonBody, NamesInAnyCaseAndTheExactOneWins) {
  const Json object = parsed(R"({"TTL":"1s","ttl":"2s","Name":"a","nAmE":"b","NODE":null})");
  JsonFields fields(object);
  EXPECT_EQ(fields.text("ttl"), "2s");
  EXPECT_EQ(fields.text("TTL"), "1s");
  EXPECT_EQ(fields.text("Ttl"), "2s") << "the later one of two that are both not exact";
  EXPECT_EQ(fields.text("name"), "b");
  EXPECT_EQ(fields.text("Node", "me"), "me") << "null reads as missing";
  EXPECT_FALSE(fields.has("node"));
  EXPECT_THAT(fields.fault(), IsEmpty());
  EXPECT_THAT(fields.unknown({"Ttl", "NAME"}), ElementsAre("NODE"));
}

TEST(JsonBody, WholeU64WithoutADouble) {
  const Json object =
      parsed(R"({"a":18446744073709551615,"b":3304740253564472344,"c":-1,"d":1.5,"e":18446744073709551616})");
  JsonFields fields(object);
  EXPECT_EQ(fields.number("A"), 18446744073709551615ULL);
  EXPECT_EQ(fields.number("B"), 3304740253564472344ULL);
  EXPECT_EQ(fields.integer("C"), -1);
  EXPECT_THAT(fields.fault(), IsEmpty());
  EXPECT_EQ(fields.integer("A", 7), 7);
  EXPECT_THAT(fields.fault(), HasSubstr("\"A\" must be an integer"));
  for (const char* name : {"c", "d", "e"}) {
    JsonFields again(object, "Op.");
    EXPECT_EQ(again.number(name, 5), 5U) << name;
    EXPECT_THAT(again.fault(), HasSubstr(std::string("\"Op.") + name + "\" must be an integer from 0"));
  }
}

TEST(JsonBody, DurationsAreGoStringsOrNanoseconds) {
  const Json object = parsed(
      R"({"a":"1.9761512279510498s","b":15000000000,"c":"","d":"5","e":-3,"f":true,"g":18446744073709551615,"h":999999})");
  JsonFields fields(object);
  EXPECT_EQ(fields.duration("A"), milliseconds(1976));
  EXPECT_EQ(fields.duration("B"), milliseconds(15000));
  EXPECT_EQ(fields.duration("C"), std::nullopt);
  EXPECT_EQ(fields.duration("missing"), std::nullopt);
  EXPECT_EQ(fields.duration("g"), milliseconds(18446744073709));
  EXPECT_EQ(fields.duration("h"), milliseconds(0));
  EXPECT_THAT(fields.fault(), IsEmpty());
  for (const char* name : {"d", "e", "f"}) {
    JsonFields again(object);
    EXPECT_EQ(again.duration(name), std::nullopt);
    EXPECT_THAT(again.fault(), HasSubstr("must be a duration")) << name;
  }
}

TEST(JsonBody, WrongTypesAreNotedOnceAndReadAsTheFallback) {
  const Json object = parsed(R"({"s":1,"b":"yes","l":["a",2],"m":{"k":1,"n":null,"v":"x"},"o":[],"a":{}})");
  JsonFields fields(object);
  EXPECT_EQ(fields.text("s", "d"), "d");
  EXPECT_THAT(fields.fault(), HasSubstr("\"s\" must be a string"));
  EXPECT_TRUE(fields.flag("b", true));
  EXPECT_THAT(fields.fault(), HasSubstr("\"s\"")) << "the first fault stays";
  JsonFields lists(object), maps(object), objects(object), arrays(object);
  EXPECT_THAT(lists.texts("l"), ElementsAre("a"));
  EXPECT_THAT(lists.fault(), HasSubstr("array of strings"));
  EXPECT_THAT(maps.text_map("m"), ElementsAre(Pair("v", "x")));
  EXPECT_THAT(maps.fault(), HasSubstr("object of strings"));
  EXPECT_EQ(objects.object("o"), nullptr);
  EXPECT_THAT(objects.fault(), HasSubstr("must be an object"));
  EXPECT_EQ(arrays.array("a"), nullptr);
  EXPECT_THAT(arrays.fault(), HasSubstr("must be an array"));
}

TEST(JsonBody, WhatIsNoObjectReadsAsAnEmptyOne) {
  const Json list = parsed("[1]"), nothing = parsed("null");
  JsonFields fields(list), empty(nothing);
  EXPECT_FALSE(fields.has("a"));
  EXPECT_THAT(fields.unknown({}), IsEmpty());
  EXPECT_EQ(fields.fault(), "the body must be an object");
  EXPECT_THAT(empty.fault(), IsEmpty());
}

TEST(JsonBody, RefusesWhatIsNoJsonOrTooDeep) {
  std::string fault;
  for (const char* text : {"", "{", "{\"a\":}", "{} x", "\"\xff\"", "nul", "1e999999"}) {
    fault.clear();
    EXPECT_FALSE(parse_json(text, fault)) << text;
    EXPECT_THAT(fault, HasSubstr("no JSON")) << text;
  }
  const std::string deep(100000, '[');
  EXPECT_FALSE(parse_json(deep, fault));
  EXPECT_THAT(fault, HasSubstr("deeper than 32"));
  EXPECT_TRUE(parse_json(std::string(32, '[') + std::string(32, ']'), fault));
  EXPECT_TRUE(parse_json("{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[ \\\" [[[[\"}", fault))
      << "brackets inside of strings do not nest";
}

TEST(JsonBody, Base64BothWays) {
  for (const std::string text : {"", "f", "fo", "foo", "foob", "fooba", "\xff\xfe"}) {
    std::string coded;
    append_base64(coded, text);
    EXPECT_EQ(decode_base64(coded), text);
  }
  std::string nul;
  append_base64(nul, std::string("a\0b", 3));
  EXPECT_EQ(decode_base64(nul), std::string("a\0b", 3));
  for (const char* bad : {"Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm\n9", "Zm-9", "=Zm9"})
    EXPECT_FALSE(decode_base64(bad)) << bad;
}

}  // namespace
}  // namespace agent::api
