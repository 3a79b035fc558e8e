#pragma once
#include <string>
#include <vector>

#include "agent/api/api.h"

/// Metric families as text for Prometheus. Private to agent/api.
namespace agent::api {

enum class MetricsFormat {
  kPrometheus,   ///< text 0.0.4, what every scraper takes
  kOpenMetrics,  ///< 1.0.0: counters are named without "_total" in their TYPE line, and the text ends with "# EOF"
};
/// What an Accept header asks for; kPrometheus unless it names OpenMetrics.
[[nodiscard]] MetricsFormat metrics_format_of(std::string_view accept);
[[nodiscard]] std::string_view content_type_of(MetricsFormat format);

/// Families in the given order. Names and labels that Prometheus would refuse are the caller's bug (asserted in tests).
[[nodiscard]] std::string metrics_text(const std::vector<MetricFamily>& families, MetricsFormat format);

/// A few of ours under the names that dashboards made for Consul look for.
[[nodiscard]] std::vector<MetricFamily> consul_aliases(const std::vector<MetricFamily>& families);
/// Families as Consul's agent/metrics lists them: gauges, counters, samples.
[[nodiscard]] Json consul_metrics(const std::vector<MetricFamily>& families);

/// Handler of /metrics and its aliases.
void get_metrics(Api& api, const Call& call);
/// Handler of /v1/agent/metrics.
void get_consul_metrics(Api& api, const Call& call);

}  // namespace agent::api
