// Who has a trace, who knows no more than that it was there, and who has not looked.
#include "agent/backend_traces.h"

#include <gtest/gtest.h>

#include <optional>

#include "tests/unit/agent/drivers/held_exporter.h"
#include "tests/unit/agent/io/loop_until.h"

namespace agent {
namespace {

const std::string kId(32, 'a');
constexpr store::NodeId kPeer{7};

class Traces : public ::testing::Test {
 protected:
  Traces() {
    drivers::SpanExportSettings settings;
    settings.exports = false;
    settings.resource = {"shop", "n1", "1"};
    exporter = std::move(*drivers::SpanExporter::start(*loop, settings, [](const std::string&) {}));
    make(io::kPatience);
  }
  void make(io::Milliseconds wait) {
    TraceParts parts;
    parts.wait = wait;
    parts.node = "n1";
    parts.spans = exporter.get();
    parts.peers = [this] { return peers; };
    parts.send = [this](store::NodeId, std::string frame) {
      sent.push_back(std::move(frame));
      return true;
    };
    traces = std::make_unique<AgentTraces>(*loop, std::move(parts));
  }
  bool until(const std::function<bool()>& done) { return io::look_until(*loop, done); }
  void find() {
    traces->find(kId, [this](api::Result<api::TraceSpansInfo> answer) { found = std::move(answer); });
  }
  std::unique_ptr<io::Loop> loop = io::new_loop();
  std::map<store::NodeId, std::string> peers;
  std::vector<std::string> sent;
  std::optional<api::Result<api::TraceSpansInfo>> found;
  std::unique_ptr<drivers::SpanExporter> exporter;
  std::unique_ptr<AgentTraces> traces;
};

/// A span whose text is longer than what is kept of a trace: each byte of its attributes is six there.
std::string too_long() {
  const auto field = [](int number, const std::string& data) {
    std::string out(1, static_cast<char>(number << 3 | 2));
    for (std::size_t size = data.size(); ; size >>= 7U) {
      out += static_cast<char>(size >= 128 ? (size & 127U) | 128U : size);
      if (size < 128) break;
    }
    return out + data;
  };
  std::string span = field(1, std::string(16, '\xaa')) + field(2, std::string(8, '\x01')) + field(5, "decide");
  for (int i = 0; i < 64; ++i) span += field(9, field(1, "k") + field(2, field(1, std::string(1024, '\x01'))));
  return field(1, field(2, field(2, span)));
}

TEST_F(Traces, OneOfWhichNothingWasKeptIsFoundWithWhatWasLeftOut) {
  std::optional<api::Result<std::size_t>> taken;
  traces->receive(api::SpanForm::kProtobuf, too_long(), [&](api::Result<std::size_t> count) { taken = std::move(count); });
  ASSERT_TRUE(until([&] { return taken.has_value(); }));
  ASSERT_TRUE(*taken) << taken->error().detail;
  find();
  ASSERT_TRUE(until([&] { return found.has_value(); }));
  ASSERT_TRUE(*found) << found->error().detail;
  EXPECT_EQ((*found)->chunks, "");
  EXPECT_EQ((*found)->left_out, 1U);
  EXPECT_EQ((*found)->nodes, std::vector<std::string>{"n1"});
}

TEST_F(Traces, APeerMayKnowItWithoutHavingASpan) {
  peers[kPeer] = "n2";
  find();
  ASSERT_EQ(sent.size(), 1U);
  traces->on_frame(kPeer, encode_trace_word({decode_trace_word(sent[0])->number, true, {}, 512, {}}));
  ASSERT_TRUE(until([&] { return found.has_value(); }));
  ASSERT_TRUE(*found) << found->error().detail;
  EXPECT_EQ((*found)->left_out, 512U);
  EXPECT_EQ((*found)->nodes, std::vector<std::string>{"n2"});
}

TEST_F(Traces, OneThatNobodyKnowsIsNotFound) {
  peers[kPeer] = "n2";
  find();
  traces->on_frame(kPeer, encode_trace_word({decode_trace_word(sent[0])->number, true, {}, 0, {}}));
  ASSERT_TRUE(until([&] { return found.has_value(); }));
  ASSERT_FALSE(*found);
  EXPECT_EQ(found->error().code, api::Errc::kNotFound);
}

TEST_F(Traces, WhoHasNotLookedInTimeDoesNotSayThatThereIsNone) {
  make(io::Milliseconds(50));
  drivers::Hold hold;
  ASSERT_TRUE(hold.hold(*exporter));
  find();
  ASSERT_TRUE(until([&] { return found.has_value(); }));
  ASSERT_FALSE(*found);
  EXPECT_EQ(found->error().code, api::Errc::kBusy) << found->error().detail;
}

TEST_F(Traces, WhatComesTooFastIsRefusedAtOnce) {
  drivers::Hold hold;
  ASSERT_TRUE(hold.hold(*exporter));
  std::size_t refused = 0;
  for (int i = 0; i < 8; ++i) {
    traces->receive(api::SpanForm::kJson, std::string(1U << 20, ' '), [&](api::Result<std::size_t> count) {
      if (!count && count.error().code == api::Errc::kBusy) ++refused;
    });
  }
  EXPECT_EQ(refused, 5U) << "three and their overhead fit into 4 MiB";
}

}  // namespace
}  // namespace agent
