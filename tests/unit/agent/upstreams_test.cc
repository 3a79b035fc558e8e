#include "agent/upstreams.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/agent/drivers/fake_instance.h"

namespace agent {
namespace {

using drivers::FakeInstance;
using drivers::InstanceHealth;
using drivers::run_until;

class UpstreamsTest : public ::testing::Test {
 protected:
  UpstreamConfig broker() {
    UpstreamConfig out;
    out.name = "broker";
    out.endpoints.push_back({{"127.0.0.1", instance.address.port(), {}}, 2, Tier::kActive, "a"});
    out.endpoints.push_back({{{}, 0, "/nonexistent/broker.sock"}, 1, Tier::kBackup, ""});
    CheckConfig check;
    check.http = "/health";
    check.every = Milliseconds(50);
    check.timeout = Milliseconds(50);
    check.rise = check.fall = 1;
    out.checks.push_back(check);
    return out;
  }
  std::vector<proxy::Endpoint> endpoints(const std::vector<UpstreamConfig>& upstreams) {
    auto pools = upstream_pools(upstreams);
    for (auto& pool : pools) checks.judge(pool);
    return pools.at(0).endpoints;
  }
  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  FakeInstance instance{*loop};
  std::vector<std::string> seen;
  UpstreamChecks checks{*loop, [](std::uint64_t) { return 0; },
                        [this](const std::string& pool, const std::string& address, InstanceHealth health, const std::string&) {
                          seen.push_back(pool + " " + address + " " + std::string(drivers::name_of(health)));
                        }};
};

TEST_F(UpstreamsTest, SettingsMakeThePoolAndTheSameIdsEverywhere) {
  const auto pools = upstream_pools({broker()});
  ASSERT_EQ(pools.size(), 1U);
  EXPECT_EQ(pools[0].pool, "broker");
  const proxy::Endpoint& first = pools[0].endpoints.at(0);
  EXPECT_EQ(first.kind, proxy::EndpointKind::kStatic);
  EXPECT_EQ(first.address, instance.address.to_string());
  EXPECT_EQ(first.weight, 2U);
  EXPECT_EQ(first.zone, "a");
  EXPECT_EQ(pools[0].endpoints.at(1).tier, proxy::Tier::kBackup);
  EXPECT_EQ(pools[0].endpoints.at(1).address, "unix:/nonexistent/broker.sock");
  EXPECT_EQ(first.id, upstream_pools({broker()})[0].endpoints[0].id);
  UpstreamConfig other = broker();
  other.name = "other";
  EXPECT_NE(first.id, upstream_pools({other})[0].endpoints[0].id) << "weights of one address differ between pools";
  EXPECT_NE(static_cast<std::uint64_t>(first.id) >> 63U, 0U) << "no id of an agent";
}

TEST_F(UpstreamsTest, EachEndpointIsAsItsChecksSay) {
  ASSERT_TRUE(checks.set({broker()}));
  EXPECT_EQ(endpoints({broker()})[0].health, proxy::Health::kDegraded) << "not known yet: only when nobody better is there";
  EXPECT_TRUE(run_until(*loop, [&] { return endpoints({broker()})[0].health == proxy::Health::kPassing && seen.size() >= 2; }));
  EXPECT_EQ(endpoints({broker()})[1].health, proxy::Health::kCritical);
  EXPECT_NE(std::find(seen.begin(), seen.end(), "broker unix:/nonexistent/broker.sock gone"), seen.end());
  UpstreamConfig unchecked = broker();
  unchecked.checks.clear();
  ASSERT_TRUE(checks.set({unchecked}));
  EXPECT_EQ(endpoints({unchecked})[1].health, proxy::Health::kPassing) << "taken to be well until requests fail there";
}

TEST_F(UpstreamsTest, WhatHasNotChangedGoesOnUndisturbed) {
  ASSERT_TRUE(checks.set({broker()}));
  ASSERT_TRUE(run_until(*loop, [&] { return endpoints({broker()})[0].health == proxy::Health::kPassing; }));
  const auto id = endpoints({broker()})[0].id;
  const drivers::CheckDriver* before = checks.find(id);
  UpstreamConfig more = broker();
  more.endpoints.push_back({{"127.0.0.1", 1, {}}, 1, Tier::kActive, ""});
  more.endpoints[0].weight = 5;
  ASSERT_TRUE(checks.set({more}));
  EXPECT_EQ(checks.find(id), before);
  EXPECT_EQ(endpoints({more})[0].health, proxy::Health::kPassing);
  more.checks[0].http = "/other";
  ASSERT_TRUE(checks.set({more}));
  EXPECT_EQ(endpoints({more})[0].health, proxy::Health::kDegraded) << "another check: nothing is known";
  ASSERT_TRUE(checks.set({}));
  EXPECT_EQ(checks.find(id), nullptr);
}

}  // namespace
}  // namespace agent
