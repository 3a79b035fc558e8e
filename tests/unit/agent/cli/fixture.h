#pragma once
/// The command line run inside the test: what it would print, and what a scripted agent was asked.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "agent/cli/cli.h"
#include "tests/unit/agent/cli/fake_agent.h"

namespace agent::cli {

struct Outcome {
  int code = 0;
  std::string out, err;
};

class CliTest : public testing::Test {
 protected:
  /// @param input what stands on its standard input.
  Outcome outrigger(const std::vector<std::string>& arguments, const std::string& input = "") {
    std::ostringstream out, err;
    std::istringstream in(input);
    Host host{.out = out,
              .err = err,
              .in = in,
              .environment = environment,
              .host_name = host_name,
              .check_assert = {},
              .check_registration = {},
              .run_agent = [this](const Config& config, const ConfigSource&) {
                started = config;
                return run_result;
              }};
    const int code = run(arguments, host);
    return {code, out.str(), err.str()};
  }
  /// The same against the fake agent.
  Outcome ask(const std::vector<std::string>& arguments, const std::string& input = "") {
    environment["OUTRIGGER_API"] = fake.api();
    return outrigger(arguments, input);
  }
  std::string asked() { return fake.requests().empty() ? "nothing" : fake.requests().back(); }

  FakeAgent fake;
  std::map<std::string, std::string> environment;
  std::string host_name = "box";
  std::optional<Config> started;  ///< what `agent` would have run with
  int run_result = 0;
};

}  // namespace agent::cli
