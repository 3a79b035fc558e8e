#pragma once
/// The instance's own metrics in the answer that tells ours, so that one scrape of an agent shows both: fetched from the
/// instance when somebody asks, every series with a label `node`.
///
/// The text is read line by line after the exposition format of Prometheus (text 0.0.4; of OpenMetrics what has the same shape).
/// A line that no scraper would take is left out and counted, since one bad line costs a scraper the whole answer, ours included.
/// Families whose names begin with "outrigger_" are left out too: those names are ours.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/drivers/http_client.h"
#include "agent/io/loop.h"
#include "agent/io/tls_stream.h"

namespace agent::drivers {

struct AppMetricsText {
  std::string text;           ///< lines of HELP, TYPE and samples in their order, each ended by LF
  std::uint64_t dropped = 0;  ///< lines left out; comments and empty lines do not count
};
/// @param text  anything
/// @param node  value of the label; a label of that name which a series has already becomes `exported_node`
[[nodiscard]] AppMetricsText labelled_metrics(std::string_view text, std::string_view node);

struct AppMetricsSettings {
  io::Address address;
  std::string host;     ///< Host field
  std::string path;     ///< of a GET
  std::string preface;  ///< bytes that begin each connection, before TLS
  std::shared_ptr<const io::TlsContext> tls;  ///< null = plain
  std::string server_name;
  std::string node;     ///< value of the label
};

/// Only grow, but `up`.
struct AppMetricsCounters {
  std::uint64_t fetches = 0, failures = 0, lines_dropped = 0;
  bool up = false;  ///< the last fetch went well
};

/// Askers who come while a fetch runs get its answer. Bounds: kBytesMax of an answer, kAskersMax askers, kTimeout for a fetch.
/// Ownership: a member of the agent; destruction drops the askers without a callback. Thread: its loop's.
class AppMetrics {
 public:
  static constexpr std::size_t kBytesMax = 4U << 20;  ///< what is longer is no answer: half of it would look like series that ended
  static constexpr std::size_t kAskersMax = 64;
  static constexpr io::Milliseconds kTimeout{2000};   ///< well inside the 10 s that Prometheus waits
  using Done = std::function<void(std::string text)>;  ///< empty: the instance gave none

  AppMetrics(io::Loop& loop, AppMetricsSettings settings);
  AppMetrics(const AppMetrics&) = delete;
  AppMetrics& operator=(const AppMetrics&) = delete;

  /// @param done  once: inside this call when there are too many askers, else in a later turn
  void fetch(Done done);
  [[nodiscard]] const AppMetricsCounters& counters() const { return counters_; }

 private:
  void on_answer(io::Result<HttpAnswer> answer);

  AppMetricsSettings settings_;
  io::TlsOffload handshakes_;
  HttpClient client_;
  std::vector<Done> askers_;
  AppMetricsCounters counters_;
};

}  // namespace agent::drivers
