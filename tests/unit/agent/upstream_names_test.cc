#include "agent/upstream_names.h"

#include <gtest/gtest.h>

#include "tests/unit/agent/drivers/fake_instance.h"

namespace agent {
namespace {

using drivers::run_until;

UpstreamConfig named(const std::string& pool, std::vector<std::pair<std::string, std::string>> endpoints) {
  UpstreamConfig out;
  out.name = pool;
  for (auto& [name, host] : endpoints) {
    UpstreamEndpointConfig one;
    one.name = name;
    one.address.host = host;
    one.address.port = 443;
    out.endpoints.push_back(one);
  }
  return out;
}

class UpstreamNamesTest : public ::testing::Test {
 protected:
  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  int changes = 0;
  std::vector<std::string> warnings;
  UpstreamNames names{*loop, {[this] { ++changes; }, [this](const std::string& note) { warnings.push_back(note); }}};
};

TEST_F(UpstreamNamesTest, ANameBecomesAnEndpointForEachAddress) {
  const std::vector<UpstreamConfig> settings{named("broker", {{"localhost", ""}, {"", "192.0.2.1"}})};
  names.set(settings);
  auto before = names.places(settings);
  ASSERT_EQ(before.at(0).endpoints.size(), 1U) << "no address of the name yet";
  EXPECT_EQ(before[0].endpoints[0].address.text(), "192.0.2.1:443");
  run_until(*loop, [this] { return changes > 0; });
  const auto after = names.places(settings);
  ASSERT_GE(after.at(0).endpoints.size(), 2U);
  EXPECT_EQ(after[0].endpoints[0].name, "localhost");
  EXPECT_TRUE(after[0].endpoints[0].address.is_local());
  EXPECT_EQ(after[0].endpoints[0].address.port, 443);
  EXPECT_TRUE(warnings.empty());
  names.set(settings);
  EXPECT_EQ(names.places(settings).at(0).endpoints.size(), after[0].endpoints.size()) << "a reload keeps what is known";
}

TEST_F(UpstreamNamesTest, ANameThatIsNoneIsToldOnceAndHasNoEndpoint) {
  const std::vector<UpstreamConfig> settings{named("broker", {{"no..such..name..", ""}})};
  names.set(settings);
  ASSERT_TRUE(run_until(*loop, [this] { return !warnings.empty(); }));
  EXPECT_NE(warnings.at(0).find("no..such..name.."), std::string::npos);
  EXPECT_NE(warnings.at(0).find("looked up again"), std::string::npos);
  EXPECT_TRUE(names.places(settings).at(0).endpoints.empty());
  EXPECT_EQ(changes, 0);
}

TEST_F(UpstreamNamesTest, TwoNamesOfOneAddressAreOneEndpoint) {
  const std::vector<UpstreamConfig> settings{named("broker", {{"", "127.0.0.1"}, {"localhost", ""}})};
  names.set(settings);
  run_until(*loop, [this] { return changes > 0; });
  const auto places = names.places(settings);
  EXPECT_EQ(std::count_if(places.at(0).endpoints.begin(), places[0].endpoints.end(), [](const auto& e) { return e.address.host == "127.0.0.1"; }), 1);
}

TEST(UpstreamNamesOrder, IsThatOfTheTextAndBounded) {
  std::vector<io::Address> found;
  for (int i = 40; i > 0; --i) found.push_back(*io::Address::ip("192.0.2." + std::to_string(i), 0));
  found.push_back(*io::Address::ip("192.0.2.40", 7));
  const auto ordered = UpstreamNames::ordered(found);
  EXPECT_EQ(ordered.size(), UpstreamNames::kAddressesMax);
  EXPECT_TRUE(std::is_sorted(ordered.begin(), ordered.end()));
  std::reverse(found.begin(), found.end());
  EXPECT_EQ(UpstreamNames::ordered(found), ordered);
}

}  // namespace
}  // namespace agent
