#pragma once
/// Spans of sampled requests to a collector, by a thread of its own: OTLP over HTTP, JSON (otlp.h).
///
/// A worker leaves each record in a ring of its own (record_ring.h) and goes on, as for the access log; nothing it does can
/// wait for the collector. The thread makes spans of what it finds, gathers them (span_batches.h decides what goes when) and
/// sends one batch at a time over one kept connection.
/// Bounds: a ring per worker, SpanBatchSettings::queue_bytes of text, one request of a batch under way. What finds no room is
/// counted; a collector that is away costs nothing but that.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/drivers/otlp.h"
#include "agent/drivers/record_ring.h"
#include "agent/drivers/request_record.h"
#include "agent/drivers/span_batches.h"
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
};

/// Ownership: outlives the workers that write to it. Destruction sends what is left, for at most kFarewell, and joins.
class SpanExporter {
 public:
  static constexpr io::Milliseconds kLook{100};      ///< between two looks into the rings
  static constexpr io::Milliseconds kFarewell{1000};

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

 private:
  class Sender;
  /// What worker and thread share, one per worker.
  struct Lane {
    explicit Lane(std::size_t bytes) : ring(bytes) {}
    RecordRing ring;
    std::atomic<std::uint64_t> dropped{0};  ///< spans
    std::string scratch;     ///< the worker's
    bool kicked = false;     ///< the worker's: it has called for help, and the ring has not been half empty since
  };
  SpanExporter(io::Loop& loop, SpanExportSettings settings, std::function<void(const std::string&)> on_problem);

  SpanExportSettings settings_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::atomic<std::uint64_t> exported_{0}, full_{0}, late_{0}, rejected_{0}, requests_{0};
  io::Mailbox<std::string> problems_;
  std::shared_ptr<Sender*> sender_;      ///< set and read on the exporter's thread
  std::unique_ptr<io::Thread> thread_;   // last: joined before anything above goes
};

}  // namespace agent::drivers
