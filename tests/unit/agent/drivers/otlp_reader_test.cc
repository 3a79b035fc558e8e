// Spans of applications, in the bytes that an SDK sends and in bytes that nobody should.
#include "agent/drivers/otlp_reader.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace agent::drivers {
namespace {

using nlohmann::json;

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7U) out += static_cast<char>(value | 0x80U);
  return out + static_cast<char>(value);
}
std::string bytes(unsigned number, const std::string& data) { return varint(number << 3U | 2U) + varint(data.size()) + data; }
std::string number(unsigned field, std::uint64_t value) { return varint(field << 3U) + varint(value); }
std::string fixed(unsigned field, std::uint64_t value) {
  std::string out = varint(field << 3U | 1U);
  for (int i = 0; i < 8; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}
std::string pair(const std::string& key, const std::string& value) { return bytes(1, key) + bytes(2, value); }
std::string hex(const std::string& digits) {
  std::string out;
  for (std::size_t i = 0; i < digits.size(); i += 2) out += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  return out;
}

const std::string kTrace = "0af7651916cd43dd8448eb211c80319c", kSpan = "00f067aa0ba902b7", kParent = "b7ad6b7169203331";

std::string ids() { return bytes(1, hex(kTrace)) + bytes(2, hex(kSpan)); }
std::string request_of(const std::string& span) { return bytes(1, bytes(2, bytes(2, span)) + bytes(1, bytes(1, pair("service.name", bytes(1, "trader"))))); }

std::string whole_span() {
  return ids() + bytes(4, hex(kParent)) + bytes(5, "decide") + number(6, 1) + fixed(7, 1000) + fixed(8, 3000) + bytes(9, pair("symbol", bytes(1, "PAPER"))) +
         bytes(9, pair("minus", number(3, static_cast<std::uint64_t>(-3)))) + bytes(9, pair("live", number(2, 1))) +
         bytes(9, pair("edge", fixed(4, 0x3fd0000000000000))) + bytes(9, pair("list", bytes(5, ""))) + bytes(9, pair("raw", bytes(7, "ab"))) +
         bytes(11, fixed(1, 2000) + bytes(2, "checked")) + bytes(13, bytes(1, hex(kTrace))) + bytes(15, bytes(2, "too late") + number(3, 2)) + number(99, 1);
}

TEST(OtlpReaderTest, ASpanOfAnSdkIsReadWhicheverFormItHas) {
  const auto binary = read_otlp(OtlpForm::kProtobuf, request_of(whole_span()));
  ASSERT_TRUE(binary) << binary.error();
  const auto text = read_otlp(OtlpForm::kJson, R"({"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"trader"}}]},
    "scopeSpans":[{"spans":[{"traceId":"0AF7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b7","parentSpanId":"b7ad6b7169203331","name":"decide","kind":1,
    "startTimeUnixNano":"1000","endTimeUnixNano":3000,"attributes":[{"key":"symbol","value":{"stringValue":"PAPER"}},{"key":"minus","value":{"intValue":"-3"}},
    {"key":"live","value":{"boolValue":true}},{"key":"edge","value":{"doubleValue":0.25}},{"key":"list","value":{"arrayValue":{}}},{"key":"raw","value":{"bytesValue":"YWI="}}],
    "events":[{"timeUnixNano":"2000","name":"checked"}],"status":{"code":2,"message":"too late"},"other":7}]}]}]})");
  ASSERT_TRUE(text) << text.error();
  for (const auto* groups : {&*binary, &*text}) {
    ASSERT_EQ(groups->size(), 1U);
    EXPECT_EQ((*groups)[0].service, "trader") << "also when it comes behind its spans";
    ASSERT_EQ((*groups)[0].spans.size(), 1U);
    std::string shown;
    append_app_span(shown, (*groups)[0].spans[0]);
    const json span = json::parse(shown);
    EXPECT_EQ(span["traceId"], kTrace);
    EXPECT_EQ(span["spanId"], kSpan);
    EXPECT_EQ(span["parentSpanId"], kParent);
    EXPECT_EQ(span["name"], "decide");
    EXPECT_EQ(span["startTimeUnixNano"], "1000");
    EXPECT_EQ(span["endTimeUnixNano"], "3000");
    EXPECT_EQ(span["status"], json({{"code", 2}, {"message", "too late"}}));
    EXPECT_EQ(span["events"], json::parse(R"([{"timeUnixNano":"2000","name":"checked"}])"));
    ASSERT_EQ(span["attributes"].size(), 6U);
    EXPECT_EQ(span["attributes"][1], json::parse(R"({"key":"minus","value":{"intValue":"-3"}})"));
    EXPECT_EQ(span["attributes"][2]["value"]["boolValue"], true);
    EXPECT_EQ(span["attributes"][3]["value"]["doubleValue"], 0.25);
    EXPECT_EQ(span["attributes"][4]["value"]["stringValue"], "[...]");
  }
}

TEST(OtlpReaderTest, WhatCannotBeReadIsNamed) {
  const auto fault = [](OtlpForm form, const std::string& body) {
    const auto read = read_otlp(form, body);
    return read ? std::string("read") : read.error();
  };
  const std::string good = request_of(whole_span());
  EXPECT_EQ(fault(OtlpForm::kProtobuf, good.substr(0, good.size() - 3)), "byte 3: a field ends behind the end");
  EXPECT_EQ(fault(OtlpForm::kProtobuf, std::string(11, '\xff')), "byte 10: a number of more than ten bytes");
  EXPECT_EQ(fault(OtlpForm::kProtobuf, "\x0b"), "byte 1: a kind of field that is none");
  EXPECT_NE(fault(OtlpForm::kProtobuf, request_of(bytes(5, "x"))).find("no trace id of 16 bytes"), std::string::npos);
  EXPECT_NE(fault(OtlpForm::kProtobuf, request_of(bytes(1, std::string(16, '\0')) + bytes(2, hex(kSpan)))).find("no trace id"), std::string::npos);
  EXPECT_NE(fault(OtlpForm::kProtobuf, request_of(bytes(1, hex(kTrace)) + bytes(2, "short"))).find("no span id of 8 bytes"), std::string::npos);
  EXPECT_EQ(fault(OtlpForm::kJson, "x"), "the body: it is no JSON object");
  EXPECT_EQ(fault(OtlpForm::kJson, R"({"resourceSpans":{}})"), "resourceSpans: it is no list");
  EXPECT_EQ(fault(OtlpForm::kJson, R"({"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"00f067aa0ba902b7"}]}]}]})"),
            "resourceSpans[0].scopeSpans[0].spans[0]: no trace id of 16 bytes that are not all zero");
  EXPECT_EQ(fault(OtlpForm::kProtobuf, ""), "read") << "nothing is no mistake";
  EXPECT_EQ(fault(OtlpForm::kJson, "{}"), "read");
}

TEST(OtlpReaderTest, EveryCutOfARequestIsReadOrRefused) {
  const std::string good = request_of(whole_span());
  for (std::size_t size = 0; size < good.size(); ++size) {
    std::string changed = good;
    changed[size] = static_cast<char>(changed[size] ^ 0x55);
    static_cast<void>(read_otlp(OtlpForm::kProtobuf, changed));
    EXPECT_EQ(read_otlp(OtlpForm::kProtobuf, good.substr(0, size)).has_value(), size == 0) << size;
  }
}

TEST(OtlpReaderTest, WhatIsKeptIsBounded) {
  std::string many = ids() + bytes(5, std::string(5000, 'n'));
  for (int i = 0; i < 200; ++i) many += bytes(9, pair("k", bytes(1, std::string(5000, 'v')))) + bytes(11, bytes(2, "e"));
  const auto read = read_otlp(OtlpForm::kProtobuf, request_of(many));
  ASSERT_TRUE(read);
  const AppSpan& span = (*read)[0].spans[0];
  EXPECT_EQ(span.name.size(), AppSpans::kTextMax);
  EXPECT_EQ(span.attributes.size(), AppSpans::kAttributesMax);
  EXPECT_EQ(std::get<std::string>(span.attributes[0].second).size(), AppSpans::kTextMax);
  EXPECT_EQ(span.events.size(), AppSpans::kEventsMax);
  EXPECT_EQ(span.end_ns, 0);
  std::string spans;
  for (std::size_t i = 0; i <= AppSpans::kSpansMax; ++i) spans += bytes(2, ids());
  const auto refused = read_otlp(OtlpForm::kProtobuf, bytes(1, bytes(2, spans)));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().find("more than 4096 spans"), std::string::npos);
}

TEST(OtlpReaderTest, NoByteOfAnApplicationCanForgeASpan) {
  std::string evil;
  for (int byte = 0; byte < 256; ++byte) evil += static_cast<char>(byte);
  evil += "\"}]}";
  const auto read = read_otlp(OtlpForm::kProtobuf, request_of(ids() + bytes(5, evil) + bytes(9, pair(evil, bytes(1, evil)))));
  ASSERT_TRUE(read);
  std::string shown;
  append_app_span(shown, (*read)[0].spans[0]);
  EXPECT_EQ(json::parse(shown)["attributes"].size(), 1U);
  for (const char c : shown) ASSERT_TRUE(c >= ' ' && c <= '~');
}

TEST(OtlpReaderTest, ACollectorsProtobufAnswerIsRead) {
  EXPECT_EQ(read_otlp_protobuf_answer("").spans, 0U);
  const OtlpRejection some = read_otlp_protobuf_answer(bytes(1, number(1, 3) + bytes(2, "too old")));
  EXPECT_EQ(some.spans, 3U);
  EXPECT_EQ(some.message, "too old");
  EXPECT_EQ(read_otlp_protobuf_answer("\xff").spans, 0U);
}

}  // namespace
}  // namespace agent::drivers
