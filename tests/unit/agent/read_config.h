#pragma once
/// Settings of a few lines, for tests: what they say, or what is wrong with them.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "agent/config.h"

namespace agent {

/// The settings; a test in which they are refused fails and goes on with the defaults.
inline Config good(const std::string& toml) {
  const auto parsed = parse_config(toml, "f");
  if (parsed) return *parsed;
  for (const auto& problem : parsed.error()) ADD_FAILURE() << problem.text();
  return {};
}
/// Every problem; empty = accepted.
inline std::vector<std::string> problems_of(const std::string& toml) {
  const auto parsed = parse_config(toml, "f");
  std::vector<std::string> out;
  if (!parsed)
    for (const auto& problem : parsed.error()) out.push_back(problem.text());
  return out;
}
/// The first problem.
inline std::string refusal(const std::string& toml) {
  const auto problems = problems_of(toml);
  return problems.empty() ? "accepted" : problems.front();
}

}  // namespace agent
