#pragma once
/// What an agent and its successor tell each other while one takes over from the other (decision 0052): one JSON text per
/// message, some with sockets beside them.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/io/error.h"
#include "proxy/upstream.h"

namespace agent {

/// One message.
/// Invariant: only the members that its kind names are read.
struct HandoverWord {
  enum class Kind : std::uint8_t {
    kTakeOver,  ///< successor: I would go on here; `text` is its version
    kRefused,   ///< predecessor: no; `text` says why
    kSockets,   ///< predecessor: `names` of the sockets that come with this message, in the same order
    kGo,        ///< predecessor: store, mesh, API and DNS are closed here, the lease is given up: start
    kReady,     ///< successor: I serve; stop to accept
    kPrimary,   ///< successor: where the primary is now; `primary` without its lease
  };
  static constexpr std::uint32_t kProtocol = 1;

  Kind kind = Kind::kTakeOver;
  std::string text;
  std::vector<std::string> names;
  proxy::PrimaryView primary;
};

[[nodiscard]] std::string encode(const HandoverWord& word);
/// Errors: kInvalidArgument, saying what is wrong; also for a protocol that is not ours.
[[nodiscard]] io::Result<HandoverWord> decode_handover(std::string_view text);

/// The view of the agent that has handed over: what is local to the successor is reached through the mesh, as a peer's is.
/// The lease stays with the successor; this process never writes an order to the instance again.
/// @param mesh_address  the successor's, which is our former own
[[nodiscard]] proxy::PrimaryView seen_from_outside(proxy::PrimaryView view, const std::string& mesh_address);

}  // namespace agent
