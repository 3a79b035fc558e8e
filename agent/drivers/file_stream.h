#pragma once
/// A folder of files in the place of an instance: a stream whose far end answers requests from a proxy::StaticSite.
/// So files have what every other answer has: back-pressure, time-outs, limits, rules, compression and one ending.

#include <memory>
#include <span>
#include <string>

#include "agent/io/file_tree.h"
#include "agent/io/life_mark.h"
#include "agent/io/loop.h"
#include "proxy/http1/codec.h"
#include "proxy/static_site.h"
#include "proxy/stream.h"

namespace agent::drivers {

/// What the file streams of one worker share.
class FileHost {
 public:
  virtual ~FileHost() = default;
  [[nodiscard]] virtual io::Loop& loop() = 0;
  /// Null: the folder cannot be opened now.
  [[nodiscard]] virtual std::shared_ptr<const io::FileTree> tree_of(const proxy::StaticSite& site) = 0;
  /// 64 KiB to read into; valid until the next use by anybody.
  [[nodiscard]] virtual std::span<std::byte> file_slab() = 0;
  virtual void file_event() = 0;  ///< the proxy is about to be given an event
};

/// One connection to a site. Bound: nothing is kept but one head; a file that the kernel has to fetch from its disk is read
/// by the thread pool, one piece of 64 KiB at a time.
/// A file that is cut or changed in place while it is sent ends the stream, so that nobody takes half of each version for
/// one file; one that is replaced (renamed over) is sent to its end as it was.
/// Ownership: of the proxy; the host outlives it. Thread: its worker's.
class FileStream final : public proxy::Stream, private proxy::http1::RequestSink {
 public:
  FileStream(FileHost& host, std::shared_ptr<const proxy::StaticSite> site, proxy::StreamSink& sink);
  ~FileStream() override;

  void set_sink(proxy::StreamSink* sink) override { sink_ = sink; }
  [[nodiscard]] std::size_t write(std::span<const proxy::Bytes> pieces) override;
  void pause_reading() override { reading_ = false; }
  void resume_reading() override;
  void shutdown() override {}
  void close() override { end(); }
  void reset() override { end(); }

 private:
  enum class Phase : std::uint8_t { kConnecting, kIdle, kOpening, kSending, kBroken, kOver };

  proxy::http1::Flow on_head(const proxy::http1::RequestHead& head) override;
  void on_body(proxy::Bytes) override {}
  void on_end(std::span<const proxy::http1::Header>) override {}
  void run();
  void open_next();
  void opened(io::Result<std::shared_ptr<io::OpenFile>> file);
  void take_step(proxy::StaticStep step);
  void pump();
  [[nodiscard]] std::size_t put_head(std::span<std::byte> slab) const;
  void read_elsewhere(std::size_t bytes_max);
  /// The last call of whoever makes it: this stream may be gone afterwards.
  void deliver(std::span<const std::byte> bytes, std::size_t of_file);
  [[nodiscard]] bool was_whole() const;
  void break_off();
  void end();

  FileHost& host_;
  std::shared_ptr<const proxy::StaticSite> site_;
  proxy::StreamSink* sink_;
  proxy::http1::RequestParser parser_;
  proxy::StaticAnswer answer_;
  proxy::StaticStep step_ = proxy::StaticStep::kReply;
  std::shared_ptr<const io::FileTree> tree_;
  std::shared_ptr<io::OpenFile> file_, kept_;
  Phase phase_ = Phase::kConnecting;
  bool reading_ = true, head_sent_ = false;
  std::uint64_t offset_ = 0, left_ = 0;   ///< of the file being sent
  std::uint32_t reads_ = 0;
  io::FileWork work_;
  io::Deferral turn_;
  io::Life life_;
};

}  // namespace agent::drivers
