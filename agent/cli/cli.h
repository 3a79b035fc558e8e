#pragma once
#include <functional>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "agent/config.h"

/// The `outrigger` command line: parses arguments, runs one verb, answers with an exit code.
/// Every verb but agent, validate, keygen, init and version speaks to a running agent's HTTP API and to nothing else.
namespace agent::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  ///< understood, but did not succeed: refused, no connection, bad config
inline constexpr int kExitUsage = 2;   ///< not understood: unknown verb, missing or ill-formed argument
inline constexpr int kExitPartial = 3; ///< "audit verify --peers": nothing was found, and not everybody could be asked

/// What `raft recover` is asked to do to the data directory of an agent that does not run.
struct RecoverRequest {
  std::string data_dir;
  bool reseed = false, accept_torn_tail = false, apply = false, halt = true;
};

/// What a verb may touch outside of the arguments, so that tests can watch it.
struct Host {
  std::ostream& out;                               ///< results
  std::ostream& err;                               ///< messages; nothing that a script would parse
  std::istream& in;                                ///< bodies given as "-"
  std::map<std::string, std::string> environment;  ///< OUTRIGGER_*, CONSUL_HTTP_ADDR
  std::string host_name;                           ///< default node name
  /// ConfigSource::check_assert; may be empty.
  std::function<std::optional<std::string>(std::string_view)> check_assert;
  std::function<std::optional<std::string>(std::string_view, RegistrationKind)> check_registration;  ///< the same
  std::function<std::optional<std::string>(const ListenTlsConfig&)> check_listen_tls{};      ///< the same
  std::function<std::optional<std::string>(const InstanceTlsConfig&)> check_instance_tls{};  ///< the same
  std::function<std::optional<std::string>(std::string_view, HeaderChange)> check_header{};  ///< the same
  /// @return a report as JSON, or one sentence that says why not.
  std::function<tl::expected<std::string, std::string>(const RecoverRequest&)> recover{};
  /// Reads and verifies a saved snapshot. @return what it is as JSON, or one sentence that says what is wrong with it.
  std::function<tl::expected<std::string, std::string>(const std::string& path)> describe_snapshot{};
  std::vector<std::string> successor{};  ///< ConfigSource::command
  /// Blocks until the agent has stopped; its result is the exit code. The source is for reading the settings again.
  std::function<int(const Config&, const ConfigSource&)> run_agent;
};

/// Runs one command line. @param arguments  without the program's name. @return exit code 0, 1 or 2.
int run(const std::vector<std::string>& arguments, Host& host);

}  // namespace agent::cli
