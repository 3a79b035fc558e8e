#pragma once
/// Which TCP route a TLS client means by the name in its first message (client_hello.h).
/// Invariant: an exact name goes before a pattern, a longer pattern before a shorter one, the fallback comes last.
/// Ownership: immutable once it is shared. Bound: that of the settings.

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/client_hello.h"
#include "proxy/relay.h"

namespace proxy {

class RelayNames {
 public:
  struct Choice {
    std::string pattern;  ///< in lower case: a name, or "*." before one
    std::shared_ptr<const RelayRoute> route;
  };
  /// @param fallback  for other names and for clients that say none; null = they are refused
  RelayNames(std::vector<Choice> choices, std::shared_ptr<const RelayRoute> fallback)
      : choices_(std::move(choices)), fallback_(std::move(fallback)) {
    std::stable_sort(choices_.begin(), choices_.end(), [](const Choice& a, const Choice& b) {
      const bool a_exact = !a.pattern.starts_with("*."), b_exact = !b.pattern.starts_with("*.");
      return a_exact != b_exact ? a_exact : a.pattern.size() > b.pattern.size();
    });
  }

  struct Meant {
    std::shared_ptr<const RelayRoute> route;  ///< null = nobody is meant
    bool by_name = false;                     ///< else it is the fallback
  };
  /// @param server_name  as ClientHello has it; empty = the client said none
  [[nodiscard]] Meant route_for(std::string_view server_name) const {
    const auto found = std::find_if(choices_.begin(), choices_.end(), [&](const Choice& one) { return server_name_matches(one.pattern, server_name); });
    return found == choices_.end() ? Meant{fallback_, false} : Meant{found->route, true};
  }
  /// By the route's own name, as a peer says it.
  [[nodiscard]] std::shared_ptr<const RelayRoute> named(std::string_view name) const {
    if (fallback_ && fallback_->name == name) return fallback_;
    const auto found = std::find_if(choices_.begin(), choices_.end(), [&](const Choice& one) { return one.route->name == name; });
    return found == choices_.end() ? nullptr : found->route;
  }

 private:
  std::vector<Choice> choices_;
  std::shared_ptr<const RelayRoute> fallback_;
};

}  // namespace proxy
