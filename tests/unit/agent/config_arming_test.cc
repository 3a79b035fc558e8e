#include <gtest/gtest.h>

#include "agent/config.h"

namespace agent {
namespace {

const std::string kService = "[service]\naddress = \"127.0.0.1:9001\"\n";

TEST(ConfigArming, SaysWhenAPrimaryMayBeGivenOrders) {
  const auto full = parse_config(kService + R"([arming]
mode = "when_flat"
reconcile = { exec = ["/bin/reconcile", "--all"] }
timeout = "3s"
retry = "100ms"
settle = "2s"
recent = "0s"
quiet = "1s"
every = "5s"
batch = 7
unknown_blocks = true
)", "test.toml");
  ASSERT_TRUE(full) << full.error().front().text();
  ArmingConfig wanted;
  wanted.mode = ArmingModeConfig::kWhenFlat;
  wanted.reconcile = HookConfig{{"/bin/reconcile", "--all"}, {}};
  wanted.timeout = Milliseconds(3000);
  wanted.retry = Milliseconds(100);
  wanted.settle = Milliseconds(2000);
  wanted.recent = Milliseconds(0);
  wanted.quiet = Milliseconds(1000);
  wanted.every = Milliseconds(5000);
  wanted.batch = 7;
  wanted.unknown_blocks = true;
  EXPECT_EQ(full->arming, wanted);
  EXPECT_EQ(parse_config(kService + "[arming]\n", "test.toml")->arming, ArmingConfig{});
  EXPECT_FALSE(parse_config(kService, "test.toml")->arming);
}

TEST(ConfigArming, WhatContradictsItselfIsRefusedByName) {
  for (const auto& [text, word] : std::vector<std::pair<std::string, std::string>>{
           {kService + "[arming]\nmode = \"when_flat\"\n", "arming.mode"},
           {kService + "[arming]\nmode = \"manual\"\n", "arming.mode"},
           {"[arming]\n", "arming.mode"},
           {kService + "[arming]\nreconcile = { exec = [\"/x\"], url = \"http://127.0.0.1:1/x\" }\n", "arming.reconcile"},
           {kService + "[arming]\nreconcile = { url = \"https://127.0.0.1:1/x\" }\n", "arming.reconcile"},
           {kService + "[arming]\nretry = \"40s\"\nevery = \"30s\"\n", "arming.retry"},
           {kService + "[arming]\nsettle = \"61s\"\n", "arming.settle"},
           {kService + "[arming]\nbatch = 0\n", "arming.batch"},
           {kService + "[arming]\ntimeout = \"1ms\"\n", "arming.timeout"},
           {kService + "[arming]\nunkown_blocks = true\n", "arming.unkown_blocks"}}) {
    const auto read = parse_config(text, "test.toml");
    ASSERT_FALSE(read) << text;
    EXPECT_NE(read.error().front().text().find(word), std::string::npos) << read.error().front().text();
  }
}

}  // namespace
}  // namespace agent
