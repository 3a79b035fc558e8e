#include "agent/io/archive.h"

#include <mbedtls/sha256.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "agent/io/crypto.h"

namespace agent::io {
namespace {

constexpr std::size_t kBlock = 512;          // of tar
constexpr std::size_t kPiece = 64U * 1024;   // packed or unpacked at once
constexpr int kGzip = 15 + 16;               // zlib's word for "with a gzip header"
constexpr int kFast = 1;                     // level: a snapshot must not hold up the node

struct Header {
  std::array<char, kBlock> bytes{};
  std::string_view text(std::size_t at, std::size_t size) const {
    const std::string_view field(bytes.data() + at, size);
    return field.substr(0, std::min(field.find('\0'), size));
  }
  // Octal digits, ended by a blank or NUL.
  std::optional<std::uint64_t> number(std::size_t at, std::size_t size) const {
    std::uint64_t value = 0;
    std::size_t digits = 0;
    for (const char c : text(at, size)) {
      if (c == ' ') continue;
      if (c < '0' || c > '7') return std::nullopt;
      value = value * 8 + static_cast<std::uint64_t>(c - '0');
      ++digits;
    }
    return digits == 0 ? std::nullopt : std::optional(value);
  }
  std::uint64_t sum() const {
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < kBlock; ++i)
      total += i >= 148 && i < 156 ? static_cast<std::uint64_t>(' ') : static_cast<unsigned char>(bytes[i]);
    return total;
  }
};

std::size_t padding(std::uint64_t size) { return static_cast<std::size_t>((kBlock - size % kBlock) % kBlock); }

unsigned char* raw(const std::byte* bytes) {
  return const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(bytes));  // NOLINT: zlib takes no const
}

}  // namespace

// --- SHA-256 ------------------------------------------------------------------------------------------------------

struct RunningSha256::Impl {
  Impl() {
    mbedtls_sha256_init(&context);
    static_cast<void>(mbedtls_sha256_starts(&context, 0));
  }
  ~Impl() { mbedtls_sha256_free(&context); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  mbedtls_sha256_context context;
};

RunningSha256::RunningSha256() : impl_(std::make_unique<Impl>()) {}
RunningSha256::~RunningSha256() = default;

void RunningSha256::add(std::span<const std::byte> bytes) {
  static_cast<void>(
      mbedtls_sha256_update(&impl_->context, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

std::string RunningSha256::hex() {
  Sha256 digest{};
  static_cast<void>(mbedtls_sha256_finish(&impl_->context, reinterpret_cast<unsigned char*>(digest.data())));
  return hex_encode(digest);
}

// --- writing ------------------------------------------------------------------------------------------------------

struct ArchiveWriter::Impl {
  explicit Impl(ByteSink to) : sink(std::move(to)), out(kPiece) { deflateInit2(&z, kFast, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY); }
  ~Impl() { deflateEnd(&z); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<void> pack(std::span<const std::byte> bytes, bool ends) {
    z.next_in = raw(bytes.data());
    z.avail_in = static_cast<uInt>(bytes.size());
    for (;;) {
      z.next_out = reinterpret_cast<unsigned char*>(out.data());
      z.avail_out = static_cast<uInt>(out.size());
      const int status = deflate(&z, ends ? Z_FINISH : Z_NO_FLUSH);
      const std::size_t made = out.size() - z.avail_out;
      if (made > 0) {
        if (auto taken = sink(std::span<const std::byte>(out).first(made)); !taken) return taken;
      }
      if (ends ? status == Z_STREAM_END : z.avail_out != 0) return {};
    }
  }
  Result<void> pack_all(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto piece = bytes.first(std::min(bytes.size(), std::size_t{1} << 20));
      if (auto packed = pack(piece, false); !packed) return packed;
      bytes = bytes.subspan(piece.size());
    }
    return {};
  }
  Result<void> pad() {
    const std::array<std::byte, kBlock> zeros{};
    return pack_all(std::span(zeros).first(padding(size)));
  }

  ByteSink sink;
  z_stream z{};
  std::vector<std::byte> out;
  std::uint64_t size = 0, left = 0;
};

ArchiveWriter::ArchiveWriter(ByteSink sink) : impl_(std::make_unique<Impl>(std::move(sink))) {}
ArchiveWriter::~ArchiveWriter() = default;

Result<void> ArchiveWriter::begin_file(const std::string& name, std::uint64_t size, std::int64_t time) {
  if (impl_->left != 0) return fail(Errc::kInvalidArgument, "the file before is not whole");
  if (auto padded = impl_->pad(); !padded) return padded;
  Header header;
  char* const bytes = header.bytes.data();
  std::copy_n(name.data(), std::min<std::size_t>(name.size(), 99), bytes);
  const auto octal = [bytes](std::size_t at, int digits, std::uint64_t value) {
    for (int i = digits - 1; i >= 0; --i, value /= 8) bytes[at + static_cast<std::size_t>(i)] = static_cast<char>('0' + value % 8);
  };
  octal(100, 7, 0600);
  octal(108, 7, 0);
  octal(116, 7, 0);
  octal(124, 11, size);
  octal(136, 11, static_cast<std::uint64_t>(std::max<std::int64_t>(time, 0)));
  bytes[156] = '0';
  std::memcpy(bytes + 257, "ustar\00000", 8);
  octal(148, 6, header.sum());
  bytes[155] = ' ';
  impl_->size = impl_->left = size;
  return impl_->pack_all(std::as_bytes(std::span(header.bytes)));
}

Result<void> ArchiveWriter::add(std::span<const std::byte> bytes) {
  if (bytes.size() > impl_->left) return fail(Errc::kInvalidArgument, "more bytes than the file was said to have");
  impl_->left -= bytes.size();
  return impl_->pack_all(bytes);
}

Result<void> ArchiveWriter::finish() {
  if (impl_->left != 0) return fail(Errc::kInvalidArgument, "the last file is not whole");
  if (auto padded = impl_->pad(); !padded) return padded;
  const std::array<std::byte, 2 * kBlock> zeros{};
  if (auto packed = impl_->pack_all(zeros); !packed) return packed;
  return impl_->pack({}, true);
}

// --- reading ------------------------------------------------------------------------------------------------------

struct ArchiveReader::Impl {
  Impl(ArchiveEvents the_events, std::uint64_t max) : events(std::move(the_events)), bytes_max(max), out(kPiece) {
    inflateInit2(&z, kGzip);
  }
  ~Impl() { inflateEnd(&z); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<void> unpack(std::span<const std::byte> bytes) {
    z.next_in = raw(bytes.data());
    z.avail_in = static_cast<uInt>(bytes.size());
    while (z.avail_in > 0 || z.avail_out == 0) {
      if (gzip_ended) {
        if (z.avail_in == 0) return {};
        return fail(Errc::kInvalidArgument, "bytes after the end of the archive");
      }
      z.next_out = reinterpret_cast<unsigned char*>(out.data());
      z.avail_out = static_cast<uInt>(out.size());
      const int status = inflate(&z, Z_NO_FLUSH);
      if (status == Z_BUF_ERROR) return {};
      if (status != Z_OK && status != Z_STREAM_END)
        return fail(Errc::kInvalidArgument, total == 0 ? "this is no gzip archive" : "the archive is damaged (gzip)");
      gzip_ended = status == Z_STREAM_END;
      const std::size_t made = out.size() - z.avail_out;
      total += made;
      if (total > bytes_max) return fail(Errc::kTooLarge, "the archive unpacks to more than any snapshot can hold");
      if (auto taken = take(std::span<const std::byte>(out).first(made)); !taken) return taken;
    }
    return {};
  }
  Result<void> take(std::span<const std::byte> bytes) {
    while (!bytes.empty() && !tar_ended) {
      if (left > 0) {
        const auto piece = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(left, bytes.size())));
        if (auto taken = events.on_bytes(piece); !taken) return taken;
        left -= piece.size();
        bytes = bytes.subspan(piece.size());
      } else if (skip > 0) {
        const std::size_t count = std::min(skip, bytes.size());
        skip -= count;
        bytes = bytes.subspan(count);
      } else {
        const std::size_t count = std::min(kBlock - filled, bytes.size());
        std::memcpy(header.bytes.data() + filled, bytes.data(), count);
        filled += count;
        bytes = bytes.subspan(count);
        if (filled < kBlock) continue;
        filled = 0;
        if (auto begun = begin(); !begun) return begun;
      }
    }
    return {};
  }
  Result<void> begin() {
    if (std::all_of(header.bytes.begin(), header.bytes.end(), [](char c) { return c == '\0'; })) {
      tar_ended = true;
      return {};
    }
    const auto size = header.number(124, 12), sum = header.number(148, 8);
    if (!size || !sum || *sum != header.sum()) return fail(Errc::kInvalidArgument, "the archive is damaged (tar)");
    const char type = header.bytes[156];
    if (type != '0' && type != '\0') return fail(Errc::kInvalidArgument, "the archive holds more than plain files");
    left = *size;
    skip = padding(*size);
    return events.on_file(std::string(header.text(0, 100)), *size);
  }

  ArchiveEvents events;
  std::uint64_t bytes_max;
  z_stream z{};
  std::vector<std::byte> out;
  Header header;
  std::size_t filled = 0, skip = 0;
  std::uint64_t left = 0, total = 0;
  bool gzip_ended = false, tar_ended = false;
};

ArchiveReader::ArchiveReader(ArchiveEvents events, std::uint64_t bytes_max)
    : impl_(std::make_unique<Impl>(std::move(events), bytes_max)) {}
ArchiveReader::~ArchiveReader() = default;

Result<void> ArchiveReader::feed(std::span<const std::byte> bytes) {
  return bytes.empty() ? Result<void>() : impl_->unpack(bytes);
}

Result<void> ArchiveReader::finish() {
  if (impl_->gzip_ended && impl_->tar_ended) return {};
  return fail(Errc::kInvalidArgument, impl_->total == 0 ? "this is no gzip archive" : "the archive was cut short");
}

}  // namespace agent::io
