#pragma once
/// Packing of responses for clients that take gzip: which ones, and the packer that the host lends.
/// Source: RFC 9110, sections 8.4 (codings), 8.8.1 (weak validators) and 12.5.5 (Vary); RFC 9111, 5.2.2.6 (no-transform).
/// Never packed: answers to HEAD, 1xx, 204, 205, 206, 304, streams of events, upgraded connections, what has a coding or is
/// a range already, what says no-transform, what is shorter than the minimum.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/http1/message.h"
#include "proxy/stream.h"

namespace proxy {

/// What a route packs. Immutable.
struct CompressRule {
  int level = 0;                      ///< 1..9; 0 = nothing is packed
  std::uint64_t bytes_min = 1000;     ///< of an announced length; a body of unknown length is always packed
  std::vector<std::string> types;     ///< media types without parameters, lower case
  friend bool operator==(const CompressRule&, const CompressRule&) = default;
};

/// How much of what was given must be readable by who has got all that came out.
enum class PackFlush : std::uint8_t {
  kNone,    ///< what the packer likes to give
  kAll,     ///< everything given so far: nothing more comes for a moment
  kFinish,  ///< that was all
};

/// One gzip stream. Ownership: lent by Host::lend_packer, given back by Host::take_packer. Bound: its window, some 270 KiB.
class Packer {
 public:
  virtual ~Packer() = default;
  /// Appends what comes out. @return false: broken, of no more use
  [[nodiscard]] virtual bool pack(Bytes bytes, PackFlush flush, std::string& out) = 0;
};

/// True if the response is of a kind that the rule packs, whatever this client takes: then the answer varies.
/// @param head_request  the request was HEAD
[[nodiscard]] bool is_packed_by(const CompressRule& rule, const http1::ResponseHead& head, bool head_request);
/// "text/html" of "Text/HTML; charset=utf-8", compared without regard to case.
[[nodiscard]] bool is_type(std::string_view content_type, std::string_view type);

}  // namespace proxy
