#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>

#include "agent/agent.h"
#include "agent/listen_tls.h"
#include "agent/route_content.h"
#include "agent/cli/cli.h"
#include "agent/io/supervisor.h"
#include "agent/recover.h"
#include "agent/snapshot_files.h"

extern char** environ;

namespace {

/// Settings of the agent, and addresses for the command line; everything else is of no interest here.
std::map<std::string, std::string> environment() {
  std::map<std::string, std::string> out;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto equals = text.find('=');
    if (equals != std::string_view::npos) out.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return out;
}

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0' ? name.data() : "localhost";
}

tl::expected<std::string, std::string> recover(const agent::cli::RecoverRequest& request) {
  auto report = agent::recover({request.data_dir, request.reseed, request.accept_torn_tail, request.apply, request.halt});
  if (!report) return tl::make_unexpected(report.error().detail);
  return *report;
}

tl::expected<std::string, std::string> describe_snapshot(const std::string& path) {
  std::error_code code;
  const std::string directory = std::filesystem::temp_directory_path(code).string();
  auto report = agent::describe_snapshot(path, directory.empty() ? "." : directory);
  if (!report) return tl::make_unexpected(report.error().detail);
  return *report;
}

/// Our own command line once more, for a successor.
std::vector<std::string> successor_command(int argc, char** argv) {
  std::vector<std::string> command{agent::io::own_program()};
  if (command[0].empty()) return {};
  for (int i = 1; i < argc; ++i) command.emplace_back(argv[i]);
  if (std::find(command.begin(), command.end(), "--take-over") == command.end()) command.emplace_back("--take-over");
  return command;
}

}  // namespace

int main(int argc, char** argv) {
  agent::cli::Host host{.out = std::cout,
                        .err = std::cerr,
                        .in = std::cin,
                        .environment = environment(),
                        .host_name = host_name(),
                        .check_assert = agent::check_condition,
                        .check_registration = agent::check_registration,
                        .check_listen_tls = agent::check_listen_tls,
                        .check_instance_tls = agent::check_instance_tls,
                        .check_header = agent::check_header,
                        .recover = recover,
                        .describe_snapshot = describe_snapshot,
                        .successor = successor_command(argc, argv),
                        .run_agent = agent::run_agent};
  const int code = agent::cli::run({argv + 1, argv + std::max(argc, 1)}, host);
  // A full disk or a closed pipe behind our output is a failure of what was asked.
  std::cout.flush();
  return code == agent::cli::kExitOk && !std::cout ? agent::cli::kExitFailed : code;
}
