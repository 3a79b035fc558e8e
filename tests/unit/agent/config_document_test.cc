// What reading settings may cost whoever has to wait for it: the text may be anybody's.
#include "agent/config_document.h"

#include <gtest/gtest.h>

namespace agent {
namespace {

TEST(ConfigDocument, AHintIsMadeForNoMoreWrongKeysThanAreTold) {
  ConfigNode tree;
  for (int i = 0; i < 40'000; ++i) std::get<ConfigNode::Table>(tree.value)["wrong" + std::to_string(i)].value = std::int64_t{1};
  ConfigFindings findings;
  ConfigReader reader(&tree, "node", "node", findings);
  std::string name;
  reader.text("name", name);
  reader.finish({"node.name"});
  EXPECT_EQ(findings.problems.size(), kConfigProblemsMax);
  EXPECT_EQ(findings.hints, kConfigProblemsMax);
  ConfigReader(&tree, "api", "api", findings).finish({});
  EXPECT_EQ(findings.hints, kConfigProblemsMax) << "a second table adds none";
}

TEST(ConfigDocument, ForeignKeysAreBoundedAsOursAre) {
  std::string ours = "[node]\n", theirs = "{";
  for (int i = 0; i < 2000; ++i) {
    ours += "wrong" + std::to_string(i) + " = 1\n";
    theirs += (i == 0 ? "\"" : ", \"") + ("wrong" + std::to_string(i)) + "\": 1";
  }
  EXPECT_EQ(parse_config(ours, "f.toml").error().size(), kConfigProblemsMax);
  EXPECT_EQ(parse_config(theirs + "}", "f.json").error().size(), kConfigProblemsMax);
}

TEST(ConfigDocument, TheFirstProblemsAreTold) {
  std::string text = "[node]\nname = \"a b\"\n[api]\n";
  for (int i = 0; i < 200; ++i) text += "wrong" + std::to_string(i) + " = 1\n";
  const auto read = parse_config(text, "f");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().front().key, "node.name");
  EXPECT_EQ(read.error().back().key, "api.wrong187") << "99 of them, in the order of their names";
}

}  // namespace
}  // namespace agent
