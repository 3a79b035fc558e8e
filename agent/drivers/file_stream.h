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
  [[nodiscard]] virtual io::Loop& loop() = 0;  ///< of the worker
  /// The open root of a site, kept by the host from one connection to the next.
  /// Null: the folder cannot be opened now.
  [[nodiscard]] virtual std::shared_ptr<const io::FileTree> tree_of(const proxy::StaticSite& site) = 0;
  /// proxy::kReadBytesMax to read into; valid until the next use by anybody.
  [[nodiscard]] virtual std::span<std::byte> file_slab() = 0;
  virtual void file_event() = 0;  ///< the proxy is about to be given an event
};

/// One connection to a site. Bound: nothing is kept but one head; a file that the kernel has to fetch from its disk is read
/// by the thread pool, one piece of that size at a time.
/// A file that is cut or changed in place while it is sent ends the stream, so that nobody takes half of each version for
/// one file; one that is replaced (renamed over) is sent to its end as it was.
/// Life: kConnecting until the end of the turn in which it was made (so that on_connected is never called inside connect),
/// then kIdle -> kOpening -> kSending -> kIdle for each request. kBroken: nothing more can be said truly on this connection,
/// it ends at the next turn. Requests that come while one is answered wait in what the proxy has not been told was taken.
/// Errors: a file that is not there is an answer (404); one that cannot be read, or for which no descriptor is left, ends the
/// stream with StreamEnd::kReset, and a folder that cannot be opened refuses the connection (kRefused).
/// Ownership: of the proxy; the host outlives it. Thread: its worker's.
class FileStream final : public proxy::Stream, private proxy::http1::RequestSink {
 public:
  /// Returns at once; `sink` hears on_connected in a later turn of the loop.
  FileStream(FileHost& host, std::shared_ptr<const proxy::StaticSite> site, proxy::StreamSink& sink);
  ~FileStream() override;

  void set_sink(proxy::StreamSink* sink) override { sink_ = sink; }
  [[nodiscard]] std::size_t write(std::span<const proxy::Bytes> pieces) override;
  void pause_reading() override { reading_ = false; }
  void resume_reading() override;
  void shutdown() override {}              // a site has nothing to say after the last request
  void close() override { end(); }         // nothing of ours waits in a kernel, so all three ways to part are one
  void reset() override { end(); }

 private:
  enum class Phase : std::uint8_t { kConnecting, kIdle, kOpening, kSending, kBroken, kOver };

  proxy::http1::Flow on_head(const proxy::http1::RequestHead& head) override;
  void on_body(proxy::Bytes) override {}
  void on_end(std::span<const proxy::http1::Header>) override {}
  void run();        ///< one turn: whatever the phase asks for
  void open_next();  ///< the next name that the answer wants to look for
  void opened(io::Result<std::shared_ptr<io::OpenFile>> file);
  void take_step(proxy::StaticStep step);
  void pump();       ///< head and file to the sink, one slab per turn, as long as it reads
  /// The head of the answer at the beginning of `slab`. @return its size in bytes
  [[nodiscard]] std::size_t put_head(std::span<std::byte> slab) const;
  /// What the page cache does not hold: by the thread pool, at most `bytes_max` bytes; pump goes on from its callback.
  void read_elsewhere(std::size_t bytes_max);
  /// The last call of whoever makes it: this stream may be gone afterwards.
  void deliver(std::span<const std::byte> bytes, std::size_t of_file);
  [[nodiscard]] bool was_whole() const;  ///< size and time of change are what they were when it was opened
  void break_off();
  void end();

  FileHost& host_;
  std::shared_ptr<const proxy::StaticSite> site_;
  proxy::StreamSink* sink_;
  proxy::http1::RequestParser parser_;
  proxy::StaticAnswer answer_;
  proxy::StaticStep step_ = proxy::StaticStep::kReply;
  std::shared_ptr<const io::FileTree> tree_;
  std::shared_ptr<io::OpenFile> file_, kept_;  // being sent; found first, in case nothing better is found
  Phase phase_ = Phase::kConnecting;
  bool reading_ = true, head_sent_ = false;
  std::uint64_t offset_ = 0, left_ = 0;   ///< bytes of the file being sent: position, still to be read
  std::uint32_t reads_ = 0;               // of this turn; a large file must not keep the loop from others
  io::FileWork work_;
  io::Deferral turn_;
  io::Life life_;
};

}  // namespace agent::drivers
