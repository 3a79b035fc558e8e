#include "agent/io/gzip.h"

#include <zlib.h>

#include <array>
#include <limits>

namespace agent::io {
namespace {
constexpr int kGzip = 15 + 16;     // zlib's word for a window of 32 KiB and a gzip header
constexpr int kMemoryLevel = 8;    // zlib's own choice: 256 KiB with that window
}  // namespace

struct GzipStream::Impl {
  z_stream stream{};
};

GzipStream::GzipStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

GzipStream::~GzipStream() { deflateEnd(&impl_->stream); }

Result<std::unique_ptr<GzipStream>> GzipStream::create(int level) {
  auto impl = std::make_unique<Impl>();
  const int status = deflateInit2(&impl->stream, level, Z_DEFLATED, kGzip, kMemoryLevel, Z_DEFAULT_STRATEGY);
  if (status == Z_MEM_ERROR) return fail(Errc::kLimit, "no memory for a gzip stream");
  if (status != Z_OK) return fail(Errc::kInvalidArgument, "gzip level " + std::to_string(level));
  return std::unique_ptr<GzipStream>(new GzipStream(std::move(impl)));
}

bool GzipStream::write(std::span<const std::byte> bytes, Flush flush, std::string& out) {
  z_stream& stream = impl_->stream;
  if (bytes.size() > std::numeric_limits<uInt>::max()) return false;
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));  // NOLINT: zlib takes no const
  stream.avail_in = static_cast<uInt>(bytes.size());
  const int mode = flush == Flush::kFinish ? Z_FINISH : flush == Flush::kSync ? Z_SYNC_FLUSH : Z_NO_FLUSH;
  std::array<Bytef, 16384> piece;
  for (;;) {
    stream.next_out = piece.data();
    stream.avail_out = static_cast<uInt>(piece.size());
    const int status = deflate(&stream, mode);
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) return false;
    out.append(reinterpret_cast<const char*>(piece.data()), piece.size() - stream.avail_out);
    if (status == Z_STREAM_END) return true;
    if (stream.avail_out > 0) return flush != Flush::kFinish;  // all of the input is in, and what had to come out has
  }
}

void GzipStream::restart() { deflateReset(&impl_->stream); }

}  // namespace agent::io
