#pragma once
/// The access log: one line of JSON per request, written by a thread of its own.
///
/// A worker leaves each record in a ring of its own (record_ring.h) and goes on; nothing it does can wait for a disk, a
/// terminal or a reader. The log's thread looks into the rings, makes lines of what it finds and writes them in blocks.
/// Bounds: one ring per worker, one block of kBlockBytes. What finds no room, and what the file does not take, is counted.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/drivers/record_ring.h"
#include "agent/drivers/request_record.h"
#include "agent/io/line_sink.h"
#include "agent/io/loop.h"
#include "agent/io/mailbox.h"
#include "agent/io/thread.h"

namespace agent::drivers {

struct AccessLogSettings {
  std::unique_ptr<io::LineSink> sink;     ///< never null
  std::string node;                       ///< name of this agent, in every line
  std::size_t ring_bytes = 1U << 20;      ///< per worker
  std::size_t workers = 1;
  RecordRules rules;
};

struct AccessLogCounters {
  std::uint64_t lines = 0;      ///< written
  std::uint64_t dropped = 0;    ///< no room in a worker's ring: the log's thread was behind
  std::uint64_t lost = 0;       ///< not taken by file, output or syslog
  std::uint64_t rotations = 0;
};

/// Ownership: outlives the workers that write to it. Destruction writes what is left and joins the thread.
class AccessLog {
 public:
  static constexpr std::size_t kBlockBytes = 64U << 10;
  static constexpr io::Milliseconds kBusyPause{10}, kIdlePause{100};  ///< between two looks, with and without lines

  /// @param on_problem  on `loop`: the first write that fails after one that did not, and the other way round (empty text)
  /// Errors: kLimit (no thread).
  static io::Result<std::unique_ptr<AccessLog>> start(io::Loop& loop, AccessLogSettings settings,
                                                      std::function<void(const std::string&)> on_problem);
  ~AccessLog();
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  /// Thread: that of the worker.
  void take(std::size_t worker, const proxy::AccessRecord& record);
  /// Opens the file anew. Thread: any.
  void reopen();
  [[nodiscard]] AccessLogCounters counters() const;  ///< Thread: any

 private:
  class Writer;
  /// What worker and writer share, one per worker.
  struct Lane {
    explicit Lane(std::size_t bytes) : ring(bytes) {}
    RecordRing ring;
    std::string scratch;     ///< the worker's
    bool kicked = false;     ///< the worker's: it has called for help, and the ring has not been half empty since
  };
  AccessLog(io::Loop& loop, AccessLogSettings settings, std::function<void(const std::string&)> on_problem);

  AccessLogSettings settings_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::atomic<std::uint64_t> lines_{0}, lost_{0}, rotations_{0};
  io::Mailbox<std::string> problems_;
  std::shared_ptr<Writer*> writer_;      ///< set and read on the log's thread
  std::unique_ptr<io::Thread> thread_;   // last: joined before anything above goes
};

}  // namespace agent::drivers
