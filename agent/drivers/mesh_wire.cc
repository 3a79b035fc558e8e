#include "agent/drivers/mesh_wire.h"

#include <algorithm>

namespace agent::drivers {

namespace {

constexpr std::uint8_t kAnswer = 2;
constexpr std::size_t kTextBytesMax = 255;

void put_text(std::vector<std::byte>& out, std::string_view text) {
  text = text.substr(0, kTextBytesMax);
  out.push_back(static_cast<std::byte>(text.size()));
  const auto bytes = std::as_bytes(std::span(text));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

std::optional<std::string> take_text(std::span<const std::byte>& body) {
  if (body.empty()) return std::nullopt;
  const auto size = std::to_integer<std::size_t>(body[0]);
  if (body.size() - 1 < size) return std::nullopt;
  std::string text(reinterpret_cast<const char*>(body.data() + 1), size);
  body = body.subspan(1 + size);
  return text;
}

std::size_t read_length(std::span<const std::byte> header) {
  std::size_t value = 0;
  for (std::size_t i = 0; i < kFrameHeaderBytes; ++i) value = value << 8 | std::to_integer<std::size_t>(header[i]);
  return value;
}

}  // namespace

std::array<std::byte, kFrameHeaderBytes> frame_header(std::size_t bytes) {
  std::array<std::byte, kFrameHeaderBytes> header{};
  for (std::size_t i = 0; i < header.size(); ++i) header[i] = static_cast<std::byte>(bytes >> (8 * (3 - i)));
  return header;
}

std::vector<std::byte> encode_hello(const Hello& hello) {
  std::vector<std::byte> body;
  body.push_back(static_cast<std::byte>(hello.version));
  body.push_back(static_cast<std::byte>(hello.lane ? static_cast<std::uint8_t>(*hello.lane) : kAnswer));
  for (int shift = 56; shift >= 0; shift -= 8) body.push_back(static_cast<std::byte>(hello.node.value >> shift));
  put_text(body, hello.cluster);
  put_text(body, hello.name);
  const auto header = frame_header(body.size());
  body.insert(body.begin(), header.begin(), header.end());
  return body;
}

std::optional<Hello> decode_hello(std::span<const std::byte> body) {
  constexpr std::size_t kFixedBytes = 10;
  if (body.size() < kFixedBytes) return std::nullopt;
  Hello hello;
  hello.version = std::to_integer<std::uint8_t>(body[0]);
  const auto lane = std::to_integer<std::uint8_t>(body[1]);
  if (hello.version == 0 || lane > kAnswer) return std::nullopt;
  if (lane != kAnswer) hello.lane = static_cast<Lane>(lane);
  std::uint64_t node = 0;
  for (std::size_t i = 2; i < kFixedBytes; ++i) node = node << 8 | std::to_integer<std::uint64_t>(body[i]);
  if (node == 0) return std::nullopt;
  hello.node = store::NodeId{node};
  body = body.subspan(kFixedBytes);
  auto cluster = take_text(body);
  if (!cluster) return std::nullopt;
  auto name = take_text(body);
  if (!name) return std::nullopt;
  hello.cluster = std::move(*cluster);
  hello.name = std::move(*name);
  return hello;
}

void FrameReader::feed(std::span<const std::byte> bytes) {
  if (broken_) return;
  // An incomplete frame is filled up first, and only up to its end, so that the frames behind it need no copy.
  while (!bytes.empty() && !kept_.empty()) {
    const std::size_t wanted =
        kept_.size() < kFrameHeaderBytes ? kFrameHeaderBytes : kFrameHeaderBytes + read_length(kept_);
    if (wanted <= kept_.size()) break;
    if (wanted > kFrameHeaderBytes + bytes_max_) {
      broken_ = true;
      return;
    }
    const std::size_t taken = std::min(bytes.size(), wanted - kept_.size());
    kept_.insert(kept_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
    bytes = bytes.subspan(taken);
    if (kept_.size() < wanted || wanted > kFrameHeaderBytes) break;
  }
  incoming_ = bytes;
}

std::optional<std::span<const std::byte>> FrameReader::next() {
  if (broken_) return std::nullopt;
  const std::span<const std::byte> source = kept_.empty() ? incoming_ : std::span<const std::byte>(kept_);
  if (source.size() < kFrameHeaderBytes) return std::nullopt;
  const std::size_t length = read_length(source);
  if (length == 0 || length > bytes_max_) {
    broken_ = true;
    return std::nullopt;
  }
  if (source.size() - kFrameHeaderBytes < length) return std::nullopt;
  if (kept_.empty()) {
    incoming_ = incoming_.subspan(kFrameHeaderBytes + length);
    return source.subspan(kFrameHeaderBytes, length);
  }
  current_.swap(kept_);
  kept_.clear();
  return std::span<const std::byte>(current_).subspan(kFrameHeaderBytes);
}

void FrameReader::keep_rest() {
  if (!broken_) kept_.insert(kept_.end(), incoming_.begin(), incoming_.end());
  incoming_ = {};
  constexpr std::size_t kCurrentBytesKept = 64U << 10;
  if (current_.capacity() > kCurrentBytesKept) std::vector<std::byte>().swap(current_);
}

}  // namespace agent::drivers
