#pragma once
/// Single requests and routes behind the API: asks the proxy's workers and puts their answers into the API's words.
/// Ownership: of the agent; the proxy driver and the loop outlive it. Thread: the control loop.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "agent/api/request_backend.h"
#include "agent/drivers/proxy_driver.h"
#include "agent/io/loop.h"

namespace agent {

/// @return the quantiles that people ask for
[[nodiscard]] api::LatencyInfo latency_of(const proxy::Histogram& times);

class AgentRequests final : public api::RequestBackend {
 public:
  /// @param keeps_trails  proxy.trails is not 0
  AgentRequests(io::Loop& loop, drivers::ProxyDriver& proxy, std::string node, bool keeps_trails);
  ~AgentRequests() override;

  void why(std::string request_id, api::Completion<api::WhyInfo> done) override;
  void routes(api::Completion<std::vector<api::RouteInfo>> done) override;
  void egress(api::Completion<api::EgressInfo> done) override;
  /// Says what is known of egress beside what the workers count; set once, before the API serves.
  using DescribeEgress = std::function<api::EgressInfo(const drivers::EgressTotals*)>;
  void set_egress(DescribeEgress describe) { describe_egress_ = std::move(describe); }
  [[nodiscard]] std::vector<std::string> listeners() const override;
  api::Result<std::shared_ptr<api::RequestFeed>> feed(api::FeedQuery query) override;
  /// @param traces  outlives this; null = none are kept
  void set_traces(api::TraceBackend* traces) { traces_ = traces; }
  [[nodiscard]] api::TraceBackend* traces() override { return traces_; }

  /// Backend::watch for a feed; nullopt: there is none of that name.
  std::optional<std::uint64_t> watch(const std::string& feed, std::function<void()> woken);
  void unwatch(std::uint64_t number);  ///< unknown ones are ignored

 private:
  class Feed;
  struct Entry {
    std::weak_ptr<Feed> feed;
    std::function<void()> woken;
  };
  void wake(std::uint64_t number);

  io::Loop& loop_;
  drivers::ProxyDriver& proxy_;
  std::string node_json_;
  bool keeps_trails_;
  DescribeEgress describe_egress_;
  api::TraceBackend* traces_ = nullptr;
  std::map<std::uint64_t, Entry> feeds_;  ///< by number; at most Tap::kReadersMax, and those that ended since the last one began
  std::uint64_t feed_count_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace agent
