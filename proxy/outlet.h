#pragma once
/// What leaves through one stream: pieces gathered during one turn, and the rest that the stream did not take.
/// Private to the library.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "proxy/stream.h"

namespace proxy {

/// Views gathered while one read is parsed, to be sent with one call.
/// Invariant: at most kPiecesMax views; a message torn into more is copied together, so that no vector grows without bound.
class Gather {
 public:
  static constexpr std::size_t kPiecesMax = 32;  ///< far below IOV_MAX
  void add(Bytes bytes);
  void clear();
  [[nodiscard]] std::span<const Bytes> pieces();  ///< void after the next add() or clear()
  [[nodiscard]] std::size_t size() const { return size_; }  ///< bytes
  [[nodiscard]] bool empty() const { return size_ == 0; }

 private:
  std::vector<Bytes> pieces_;
  std::string copied_;
  std::size_t size_ = 0;
  bool is_copied_ = false;
};

/// Sends through a stream and keeps what it refuses. Bounded by its user, who stops reading while it is not empty:
/// at most one read slab and the heads that go with it.
class Outlet {
 public:
  /// Sends the pieces behind what waits already. @return bytes that the stream has taken in this call.
  std::size_t send(Stream& stream, std::span<const Bytes> pieces);
  /// Offers the rest again. @return bytes taken.
  std::size_t flush(Stream& stream);
  void clear();
  [[nodiscard]] bool empty() const { return sent_ == rest_.size(); }
  [[nodiscard]] std::size_t size() const { return rest_.size() - sent_; }  ///< bytes waiting

 private:
  std::string rest_;
  std::size_t sent_ = 0;
};

}  // namespace proxy
