#include "agent/api/metrics_text.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

namespace agent::api {
namespace {

prometheus::MetricType type_of(MetricFamily::Type type) {
  switch (type) {
    case MetricFamily::Type::kCounter:
      return prometheus::MetricType::Counter;
    case MetricFamily::Type::kGauge:
      return prometheus::MetricType::Gauge;
    case MetricFamily::Type::kHistogram:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

prometheus::ClientMetric sample_of(const MetricSample& sample, MetricFamily::Type type) {
  prometheus::ClientMetric out;
  for (const auto& [name, value] : sample.labels) out.label.push_back({name, value});
  switch (type) {
    case MetricFamily::Type::kCounter:
      out.counter.value = sample.value;
      break;
    case MetricFamily::Type::kGauge:
      out.gauge.value = sample.value;
      break;
    case MetricFamily::Type::kHistogram:
      out.histogram.sample_sum = sample.value;
      for (const auto& [bound, count] : sample.buckets) {
        prometheus::ClientMetric::Bucket bucket;
        bucket.upper_bound = bound;
        bucket.cumulative_count = count;
        out.histogram.bucket.push_back(bucket);
        out.histogram.sample_count = count;  // the last bucket, +Inf, counts all
      }
      break;
  }
  return out;
}

/// Turns "# TYPE x_total counter" and its HELP line into OpenMetrics' spelling.
void cut_total(std::string& text, const std::string& name) {
  if (!name.ends_with("_total")) return;
  for (const std::string& mark : {std::string("# HELP "), std::string("# TYPE ")}) {
    const auto at = text.find(mark + name + " ");
    if (at != std::string::npos) text.erase(at + mark.size() + name.size() - 6, 6);
  }
}

}  // namespace

MetricsFormat metrics_format_of(std::string_view accept) {
  return accept.find("application/openmetrics-text") != std::string_view::npos ? MetricsFormat::kOpenMetrics
                                                                               : MetricsFormat::kPrometheus;
}

std::string_view content_type_of(MetricsFormat format) {
  return format == MetricsFormat::kOpenMetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                               : "text/plain; version=0.0.4; charset=utf-8";
}

std::string metrics_text(const std::vector<MetricFamily>& families, MetricsFormat format) {
  const prometheus::TextSerializer serializer;
  std::string out;
  for (const auto& family : families) {
    prometheus::MetricFamily converted;
    converted.name = family.name;
    converted.help = family.help;
    converted.type = type_of(family.type);
    for (const auto& sample : family.samples) converted.metric.push_back(sample_of(sample, family.type));
    std::string text = serializer.Serialize({converted});
    if (format == MetricsFormat::kOpenMetrics && family.type == MetricFamily::Type::kCounter)
      cut_total(text, family.name);
    out += text;
  }
  if (format == MetricsFormat::kOpenMetrics) out += "# EOF\n";
  return out;
}

std::vector<MetricFamily> consul_aliases(const std::vector<MetricFamily>& families) {
  static constexpr struct {
    std::string_view ours, theirs;
  } kAliases[] = {{"outrigger_raft_is_leader", "consul_raft_state_leader"},
                  {"outrigger_raft_has_leader", "consul_autopilot_healthy"},
                  {"outrigger_raft_applied_index", "consul_raft_applied_index"},
                  {"outrigger_store_sync_seconds", "consul_raft_commitTime"}};
  std::vector<MetricFamily> out;
  for (const auto& alias : kAliases) {
    for (const auto& family : families) {
      if (family.name != alias.ours) continue;
      out.push_back(family);
      out.back().name = alias.theirs;
      out.back().help = "The same as " + family.name + ", for dashboards made for Consul.";
    }
  }
  return out;
}

Json consul_metrics(const std::vector<MetricFamily>& families) {
  Json gauges = Json::array(), counters = Json::array(), samples = Json::array();
  for (const auto& family : families) {
    for (const auto& sample : family.samples) {
      Json labels = Json::object();
      for (const auto& [name, value] : sample.labels) labels[name] = value;
      if (family.type == MetricFamily::Type::kGauge) {
        gauges.push_back({{"Name", family.name}, {"Value", sample.value}, {"Labels", labels}});
        continue;
      }
      const bool histogram = family.type == MetricFamily::Type::kHistogram;
      const std::uint64_t count = !histogram                ? static_cast<std::uint64_t>(std::max(0.0, sample.value))
                                  : sample.buckets.empty() ? 0
                                                           : sample.buckets.back().second;
      const double mean = histogram && count != 0 ? sample.value / static_cast<double>(count) : 0;
      (histogram ? samples : counters).push_back({{"Name", family.name}, {"Count", count}, {"Sum", sample.value}, {"Mean", mean}, {"Labels", labels}});
    }
  }
  return {{"Timestamp", ""}, {"Gauges", gauges}, {"Points", Json::array()}, {"Counters", counters}, {"Samples", samples}};
}

/// /v1/agent/metrics: Consul's JSON, or with ?format=prometheus our text; both with the names that dashboards look for.
void get_consul_metrics(Api& api, const Call& call) {
  const bool text = call.query.get("format") == "prometheus";
  api.backend().metrics(api.answer<std::vector<MetricFamily>>(call.id, [text](const std::vector<MetricFamily>& families) {
    std::vector<MetricFamily> all = families;
    for (auto& alias : consul_aliases(families)) all.push_back(std::move(alias));
    if (text) return Response{200, std::string(content_type_of(MetricsFormat::kPrometheus)), {}, metrics_text(all, MetricsFormat::kPrometheus)};
    return Response{200, "application/json", {}, consul_metrics(all).dump(-1, ' ', false, Json::error_handler_t::replace)};
  }));
}

/// What the instance tells comes behind ours. It is text 0.0.4, so the whole answer is then.
void get_metrics(Api& api, const Call& call) {
  auto app = std::make_shared<std::string>();
  auto done = api.answer<std::vector<MetricFamily>>(call.id, [asked = metrics_format_of(call.request.accept), app](const std::vector<MetricFamily>& families) {
    const MetricsFormat format = app->empty() ? asked : MetricsFormat::kPrometheus;
    return Response{200, std::string(content_type_of(format)), {}, metrics_text(families, format) + *app};
  });
  Backend& backend = api.backend();
  backend.app_metrics([&backend, app, done = std::move(done)](Result<std::string> text) {
    if (text) *app = std::move(*text);
    backend.metrics(done);
  });
}

}  // namespace agent::api
