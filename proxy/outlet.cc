#include "proxy/outlet.h"

#include "proxy/http1/writer.h"

namespace proxy {

using http1::bytes_of;
using http1::text_of;

void Gather::add(Bytes bytes) {
  if (bytes.empty()) return;
  size_ += bytes.size();
  if (is_copied_) {
    copied_ += text_of(bytes);
    return;
  }
  if (pieces_.size() < kPiecesMax) {
    pieces_.push_back(bytes);
    return;
  }
  copied_.clear();
  for (const Bytes piece : pieces_) copied_ += text_of(piece);
  copied_ += text_of(bytes);
  pieces_.clear();
  is_copied_ = true;
}

void Gather::clear() {
  pieces_.clear();
  copied_.clear();
  size_ = 0;
  is_copied_ = false;
}

std::span<const Bytes> Gather::pieces() {
  if (is_copied_) pieces_.assign(1, bytes_of(copied_));
  return pieces_;
}

std::size_t Outlet::send(Stream& stream, std::span<const Bytes> pieces) {
  std::size_t taken = 0;
  if (empty()) {
    clear();
    taken = stream.write(pieces);
  }
  std::size_t skip = taken;
  for (const Bytes piece : pieces) {
    if (skip >= piece.size()) {
      skip -= piece.size();
      continue;
    }
    rest_ += text_of(piece.subspan(skip));
    skip = 0;
  }
  return taken;
}

std::size_t Outlet::flush(Stream& stream) {
  if (empty()) return 0;
  const Bytes piece = bytes_of(std::string_view(rest_).substr(sent_));
  const std::size_t taken = stream.write(std::span<const Bytes>(&piece, 1));
  sent_ += taken;
  if (empty()) clear();
  return taken;
}

void Outlet::clear() {
  rest_.clear();
  sent_ = 0;
}

}  // namespace proxy
