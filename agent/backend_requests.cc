#include "agent/backend_requests.h"

#include <utility>

#include "agent/api/query.h"
#include "proxy/trail.h"

namespace agent {

api::LatencyInfo latency_of(const proxy::Histogram& times) {
  api::LatencyInfo out;
  out.count = times.count();
  if (out.count == 0) return out;
  out.mean = times.sum() / static_cast<std::int64_t>(out.count);
  out.p50 = times.quantile(0.5);
  out.p95 = times.quantile(0.95);
  out.p99 = times.quantile(0.99);
  out.max = times.max();
  return out;
}

/// One reader of the tap under its number.
class AgentRequests::Feed final : public api::RequestFeed {
 public:
  explicit Feed(std::uint64_t number) : number_(number) {}
  [[nodiscard]] std::string name() const override { return std::to_string(number_); }
  std::string take() override { return reader_->take(); }
  std::uint64_t take_missed() override { return reader_->take_missed(); }
  void attach(std::shared_ptr<drivers::TapReader> reader) { reader_ = std::move(reader); }
  [[nodiscard]] bool empty() const { return reader_->empty(); }

 private:
  std::uint64_t number_;
  std::shared_ptr<drivers::TapReader> reader_;
};

AgentRequests::AgentRequests(io::Loop& loop, drivers::ProxyDriver& proxy, std::string node, bool keeps_trails)
    : loop_(loop), proxy_(proxy), keeps_trails_(keeps_trails) {
  drivers::append_json_text(node_json_, node);
}

AgentRequests::~AgentRequests() { *alive_ = false; }

void AgentRequests::egress(api::Completion<api::EgressInfo> done) {
  proxy_.totals([this, alive = alive_, done = std::move(done)](const drivers::ProxyTotals& totals) {
    if (!*alive) return;
    if (!describe_egress_) return done(api::EgressInfo());
    done(describe_egress_(totals.egress.get()));
  });
}

// ---- why ----

void AgentRequests::why(std::string request_id, api::Completion<api::WhyInfo> done) {
  if (!keeps_trails_) {
    loop_.post([done = std::move(done)] {
      done(tl::unexpected(api::Error{api::Errc::kUnsupported, "this agent keeps no trails of requests; set proxy.trails = \"256KiB\"", {}}));
    });
    return;
  }
  proxy_.recent(request_id, [alive = alive_, this, done = std::move(done)](const std::optional<std::string>& bytes, std::size_t missing) {
    if (!*alive) return;
    if (!bytes && missing > 0) return done(tl::unexpected(api::Error{api::Errc::kUnavailable, "no other worker has seen that request, and " + std::to_string(missing) + " of them do not answer", {}}));
    if (!bytes) return done(tl::unexpected(api::Error{api::Errc::kNotFound, "no such request among the recent ones", {}}));
    std::uint64_t target_bytes = 0;
    const proxy::AccessRecord record = drivers::read_record(*bytes, target_bytes);
    api::WhyInfo info;
    drivers::append_access_json(info.request, record, target_bytes, node_json_, {io::wall_ms(), io::boottime_now()});
    for (const proxy::TrailStep& step : proxy::read_trail(record.trail))
      info.steps.push_back({step.at, std::string(proxy::name_of(step.step)), proxy::sentence_of(step)});
    info.left_out = record.trail_left_out;
    if (record.at_peer) info.node = std::string(record.endpoint_node);
    done(std::move(info));
  });
}

// ---- routes ----

void AgentRequests::routes(api::Completion<std::vector<api::RouteInfo>> done) {
  proxy_.totals([alive = alive_, done = std::move(done)](const drivers::ProxyTotals& totals) {
    if (!*alive) return;
    std::vector<api::RouteInfo> infos;
    for (const auto& one : totals.routes) {
      const proxy::RouteCounters& c = one.counters;
      api::RouteInfo info;
      info.name = one.name;
      info.counters = {{"requests", c.requests}, {"responses_2xx", c.responses_2xx}, {"responses_3xx", c.responses_3xx},
                       {"responses_4xx", c.responses_4xx}, {"responses_5xx", c.responses_5xx}, {"unanswered", c.unanswered},
                       {"request_bytes", c.request_bytes}, {"response_bytes", c.response_bytes}, {"address_denied", c.address_denied},
                       {"unauthorized", c.unauthorized}, {"rate_limited", c.rate_limited}, {"rate_delayed", c.rate_delayed},
                       {"busy", c.busy}, {"queued", c.queued}, {"queue_full", c.queue_full}, {"queue_timeouts", c.queue_timeouts},
                       {"breaker_denied", c.breaker_denied}, {"halted", c.halted}, {"hedges", c.hedges}, {"hedges_won", c.hedges_won},
                       {"hedges_denied", c.hedges_denied}};
      info.latency = latency_of(one.times);
      infos.push_back(std::move(info));
    }
    done(std::move(infos));
  });
}

std::vector<std::string> AgentRequests::listeners() const {
  std::vector<std::string> out;
  for (const io::Address& address : proxy_.listen_addresses()) out.push_back(address.to_string());
  return out;
}

// ---- tap ----

api::Result<std::shared_ptr<api::RequestFeed>> AgentRequests::feed(api::FeedQuery query) {
  std::erase_if(feeds_, [](const auto& entry) { return entry.second.feed.expired(); });
  const std::uint64_t number = ++feed_count_;
  auto feed = std::make_shared<Feed>(number);
  drivers::TapFilter filter{std::move(query.route), std::move(query.method), std::move(query.path_prefix),
                            query.status_min, query.status_max, query.slower_than};
  auto reader = proxy_.tap().open(std::move(filter), [this, alive = alive_, number] {
    if (*alive) wake(number);
  });
  if (reader == nullptr)
    return tl::unexpected(api::Error{api::Errc::kBusy, std::to_string(drivers::Tap::kReadersMax) + " readers look at requests already", {}});
  feed->attach(std::move(reader));
  feeds_[number].feed = feed;
  return feed;
}

void AgentRequests::wake(std::uint64_t number) {
  const auto found = feeds_.find(number);
  if (found == feeds_.end() || !found->second.woken) return;
  std::exchange(found->second.woken, nullptr)();
}

std::optional<std::uint64_t> AgentRequests::watch(const std::string& feed, std::function<void()> woken) {
  const auto number = api::parse_u64(feed);
  const auto found = number ? feeds_.find(*number) : feeds_.end();
  const auto there = found == feeds_.end() ? nullptr : found->second.feed.lock();
  if (there == nullptr) return std::nullopt;
  found->second.woken = std::move(woken);
  if (!there->empty()) {
    loop_.post([this, alive = alive_, number = *number] {
      if (*alive) wake(number);
    });
  }
  return number;
}

void AgentRequests::unwatch(std::uint64_t number) {
  const auto found = feeds_.find(number);
  if (found != feeds_.end()) found->second.woken = nullptr;
}

}  // namespace agent
