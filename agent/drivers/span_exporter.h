#pragma once
/// Spans of sampled requests, by a thread of its own: kept for whoever looks (trace_ring.h), and told to a collector if there is
/// one: OTLP over HTTP, JSON (otlp.h). Applications may add theirs (otlp_reader.h); those go to the collector as they came.
///
/// A worker leaves each record in a ring of its own (record_ring.h) and goes on, as for the access log; nothing it does can
/// wait for the collector. The thread makes spans of what it finds, gathers them (span_batches.h decides what goes when) and
/// sends one batch at a time over one kept connection.
/// Bounds: a ring per worker, SpanBatchSettings::queue_bytes of text, one request of a batch under way. What finds no room is
/// counted; a collector that is away costs nothing but that. Of applications received_per_second spans are taken; their
/// requests wait in kWaitingBytesMax and are read one per turn, behind the questions of people, which are kQuestionsMax.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/drivers/otlp.h"
#include "agent/drivers/otlp_reader.h"
#include "agent/drivers/record_ring.h"
#include "agent/drivers/request_record.h"
#include "agent/drivers/span_batches.h"
#include "agent/drivers/trace_ring.h"
#include "agent/io/loop.h"
#include "agent/io/mailbox.h"
#include "agent/io/thread.h"
#include "agent/io/tls_context.h"

namespace agent::drivers {

/// Where the collector is.
struct CollectorAddress {
  std::string host;        ///< name or IP literal without brackets; names are looked up for each new connection
  std::uint16_t port = 4318;
  std::string authority;   ///< Host field: host and port as written
  std::string path = "/v1/traces";
  bool https = false;
};
/// "http://collector:4318/v1/traces". The path may be left out, then it is /v1/traces; so may the port: 4318, with https 443.
/// Errors: kInvalidArgument, saying what was expected.
[[nodiscard]] io::Result<CollectorAddress> parse_collector_url(std::string_view url);

struct SpanExportSettings {
  CollectorAddress to;
  bool exports = true;                          ///< false: there is no collector, and `to` means nothing
  std::size_t keep_bytes = 8U << 20;            ///< of the last traces; 0 = none are kept
  std::size_t received_per_second = 10'000;     ///< spans of applications, > 0; twice as many at once
  std::size_t read_bytes_per_second = 16U << 20;  ///< of their requests, > 0, whatever they hold
  std::shared_ptr<const io::TlsContext> tls{};  ///< with `to.https`, never null then
  std::string server_name{};                    ///< that its certificate must carry
  std::vector<std::pair<std::string, std::string>> fields{};  ///< of each request, such as Authorization
  bool gzip = false;
  io::Milliseconds timeout{10'000};             ///< of one request, connecting included
  OtlpResource resource;
  SpanSchemes schemes;
  SpanBatchSettings batches;
  std::size_t ring_bytes = 1U << 20;            ///< per worker
  std::size_t workers = 1;
};

struct SpanExportCounters {
  SpanCounters spans;
  std::uint64_t dropped_behind = 0;  ///< no room in a worker's ring: the thread was behind
  std::uint64_t requests = 0;        ///< to the collector, tries again included
  bool exports = true;
  std::uint64_t received = 0, received_over = 0;  ///< spans of applications: taken, and refused because there were too many
  std::uint64_t received_malformed = 0;           ///< requests of theirs that could not be read
  std::uint64_t received_unread = 0;              ///< requests of theirs that came too fast to be read at all
  std::uint64_t traces_kept = 0, trace_bytes_kept = 0;  ///< gauges
};

/// What became of a request of an application.
struct SpanReceipt {
  enum class Outcome : std::uint8_t { kTaken, kMalformed, kTooMany } outcome = Outcome::kTaken;
  std::size_t spans = 0;
  std::string fault;  ///< what is wrong, and where
};
/// Some of the traces that are kept.
struct TraceListing {
  std::vector<TraceSummary> traces;
  std::size_t kept = 0;
};

/// Ownership: outlives the workers that write to it. Destruction sends what is left, for at most kFarewell, and joins.
class SpanExporter {
 public:
  static constexpr io::Milliseconds kLook{100};      ///< between two looks into the rings
  static constexpr io::Milliseconds kFarewell{1000};
  static constexpr std::size_t kWaitingBytesMax = 4U << 20;  ///< of requests of applications, kWaitingOverheadBytes for each included
  static constexpr std::size_t kWaitingOverheadBytes = 1024;
  static constexpr std::size_t kQuestionsMax = 64;           ///< an answer may have all that is kept of a trace, or 1,000 summaries

  /// @param on_problem  on `loop`: the first request that fails after one that did not, and the other way round (empty text)
  /// Errors: kLimit (no thread).
  static io::Result<std::unique_ptr<SpanExporter>> start(io::Loop& loop, SpanExportSettings settings,
                                                         std::function<void(const std::string&)> on_problem);
  ~SpanExporter();
  SpanExporter(const SpanExporter&) = delete;
  SpanExporter& operator=(const SpanExporter&) = delete;

  /// @param record  traced and sampled. Thread: that of the worker.
  void take(std::size_t worker, const proxy::AccessRecord& record);
  [[nodiscard]] SpanExportCounters counters() const;  ///< Thread: any

  // Of the control loop; `done` runs there once, never inside the call, and not at all if this is destroyed before.
  // @return false: too much is waiting, and it never runs
  [[nodiscard]] bool list(TraceFilter filter, std::function<void(const TraceListing&)> done);
  /// What is kept of one trace: objects {"service", "node", "spans": [...]}.
  [[nodiscard]] bool find(const proxy::TraceId& trace, std::function<void(std::optional<TraceText>)> done);
  [[nodiscard]] bool receive(OtlpForm form, std::string body, std::function<void(const SpanReceipt&)> done);
  [[nodiscard]] std::size_t waiting_bytes() const { return waiting_bytes_->load(std::memory_order_relaxed); }  ///< Thread: any

 private:
  class Sender;
  struct Body;
  /// What worker and thread share, one per worker.
  struct Lane {
    explicit Lane(std::size_t bytes) : ring(bytes) {}
    RecordRing ring;
    std::atomic<std::uint64_t> dropped{0};  ///< spans
    std::string scratch;     ///< the worker's
    bool kicked = false;     ///< the worker's: it has called for help, and the ring has not been half empty since
  };
  SpanExporter(io::Loop& loop, SpanExportSettings settings, std::function<void(const std::string&)> on_problem);
  /// Runs `work` with the sender on its thread, and what that returns on the control loop.
  [[nodiscard]] bool ask(std::function<std::function<void()>(Sender&)> work);
  /// Whether a request of `bytes` may wait; takes what it may read.
  [[nodiscard]] bool admit(std::size_t bytes);

  SpanExportSettings settings_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::atomic<std::uint64_t> exported_{0}, full_{0}, late_{0}, rejected_{0}, requests_{0};
  std::atomic<std::uint64_t> received_{0}, received_over_{0}, received_malformed_{0}, received_unread_{0}, kept_{0}, kept_bytes_{0};
  std::shared_ptr<std::atomic<std::size_t>> waiting_bytes_ = std::make_shared<std::atomic<std::size_t>>(0);  ///< of each Body, which may outlive this
  std::size_t questions_ = 0;            ///< without an answer; of the control loop, as what follows
  double read_room_;                     ///< bytes that may be read now; below zero after a request that was larger
  io::TimePoint read_filled_at_ = io::boottime_now();
  io::Mailbox<std::string> problems_;
  io::Mailbox<std::function<void()>> answers_;
  std::shared_ptr<Sender*> sender_;      ///< set and read on the exporter's thread
  std::unique_ptr<io::Thread> thread_;   // last: joined before anything above goes
};

}  // namespace agent::drivers
