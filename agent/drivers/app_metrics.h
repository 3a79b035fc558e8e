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
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/drivers/http_client.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"
#include "agent/io/tls_stream.h"

namespace agent::drivers {

struct AppMetricsText {
  std::string text;           ///< lines of HELP, TYPE and samples in their order, each ended by LF
  std::uint64_t dropped = 0;  ///< lines left out; comments and empty lines do not count
  bool too_long = false;      ///< there would be more than MetricsLabeller::kTextBytesMax; `text` is empty then
};

/// The work in slices: a text of megabytes must not stand in the way of a renewal. Ownership: a value with its own copy of the text.
class MetricsLabeller {
 public:
  static constexpr std::size_t kTextBytesMax = 8U << 20;   ///< of what comes out; short lines grow by the label
  static constexpr std::size_t kLineBytesMax = 64U << 10;  ///< of one line that comes in; longer ones are dropped

  MetricsLabeller(std::string text, std::string_view node);
  /// Reads whole lines, until `bytes` more are read. @return true: all is read
  bool step(std::size_t bytes);
  [[nodiscard]] AppMetricsText take() { return std::move(out_); }

 private:
  std::string text_, label_;
  std::size_t read_ = 0;
  AppMetricsText out_;
};

/// All in one step.
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

/// Askers who come while a fetch runs get its answer. Bounds: kBytesMax of an answer, kTextBytesMax of what is told, of which each of kAskersMax
/// askers gets a copy, kTimeout for a fetch.
/// Ownership: a member of the agent; destruction drops the askers without a callback. Thread: its loop's.
class AppMetrics {
 public:
  static constexpr std::size_t kBytesMax = 4U << 20;  ///< what is longer is no answer: half of it would look like series that ended
  static constexpr std::size_t kAskersMax = 8;  ///< a pair of scrapers and some people; with the text's bound 64 MiB
  static constexpr io::Milliseconds kTimeout{2000};   ///< well inside the 10 s that Prometheus waits
  using Done = std::function<void(std::string text)>;  ///< empty: the instance gave none

  AppMetrics(io::Loop& loop, AppMetricsSettings settings);
  AppMetrics(const AppMetrics&) = delete;
  AppMetrics& operator=(const AppMetrics&) = delete;

  /// @param done  once: inside this call when there are too many askers, else in a later turn
  void fetch(Done done);
  [[nodiscard]] const AppMetricsCounters& counters() const { return counters_; }

 private:
  static constexpr std::size_t kSliceBytes = 256U << 10;  ///< of the text in one turn of the loop: a millisecond or two
  void on_answer(io::Result<HttpAnswer> answer);
  void read_on();
  void tell(AppMetricsText told, bool up);

  AppMetricsSettings settings_;
  io::TlsOffload handshakes_;
  HttpClient client_;
  std::optional<MetricsLabeller> labeller_;  // while an answer is read
  io::Timer next_slice_;
  std::vector<Done> askers_;
  AppMetricsCounters counters_;
};

}  // namespace agent::drivers
