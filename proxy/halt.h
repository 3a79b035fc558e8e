#pragma once
/// Orders to stop, as a worker sees them: which requests they refuse. Whoever publishes them decides what stands.
/// Source: rule R6 of the trading design and row S4. A halt refuses what could change something (unsafe methods), before any byte
/// of it leaves and before it is reserved in a ledger; what was sent already is not called back, and reads go through.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace proxy {

enum class HaltScope : std::uint8_t {
  kGlobal,
  kBroker,   ///< name of an egress
  kAccount,  ///< a value of HaltView::account_field in the request, or an item of one with commas; any of them
  kRoute,    ///< name of a route
};

struct HaltOrder {
  HaltScope scope = HaltScope::kGlobal;
  std::string name;          ///< of what is stopped; empty with kGlobal
  bool cancels_pass = true;  ///< what only takes orders back goes through: DELETE, and routes that say so
  std::string message;       ///< for the client: who stopped what, and why; printable, no quote and no backslash
};

/// All that stand. Immutable; shared by all workers. Null, or without orders: nothing is stopped.
struct HaltView {
  std::vector<HaltOrder> orders;  ///< bounded by who publishes them
  std::string account_field;      ///< header field that names the account, as reads_as() tells names apart; empty = none does
  bool by_account = false;        ///< some order is about an account

  /// The first order that stops a request. @param account  empty = it names none
  [[nodiscard]] const HaltOrder* stops(std::string_view route, std::string_view account, bool is_cancel) const;
  /// The same for an egress, whose name is that of its broker.
  [[nodiscard]] const HaltOrder* stops_broker(std::string_view broker, std::string_view account, bool is_cancel) const;
  /// Not even cancels may pass there: then tunnels end, of which nobody can tell what they carry.
  [[nodiscard]] bool cuts_broker(std::string_view broker) const;
  [[nodiscard]] bool cuts_route(std::string_view route) const;
};

inline constexpr std::string_view kHaltedCode = "halted";
inline constexpr std::string_view kHaltedHint = "nothing of it was sent; see who halted what with: outrigger halts, and lift it with: outrigger resume";

}  // namespace proxy
