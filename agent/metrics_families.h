#pragma once
/// Metric families as they are gathered: every name gets the prefix "outrigger_" here and nowhere else.
#include <string>
#include <utility>
#include <vector>

#include "agent/api/backend.h"

namespace agent {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

class Families {
 public:
  void counter(const std::string& name, const std::string& help, std::uint64_t value) {
    add(name, help, api::MetricFamily::Type::kCounter, {{{}, static_cast<double>(value), {}}});
  }
  void gauge(const std::string& name, const std::string& help, double value) {
    add(name, help, api::MetricFamily::Type::kGauge, {{{}, value, {}}});
  }
  void add(const std::string& name, const std::string& help, api::MetricFamily::Type type, std::vector<api::MetricSample> samples) {
    families_.push_back({"outrigger_" + name, help, type, std::move(samples)});
  }
  std::vector<api::MetricFamily> take() { return std::move(families_); }

 private:
  std::vector<api::MetricFamily> families_;
};

}  // namespace agent
