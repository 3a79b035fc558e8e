// Requests that a halt refuses (halt.h).
#include <algorithm>
#include <vector>

#include "proxy/egress.h"
#include "proxy/exchange.h"
#include "proxy/forwarding.h"
#include "proxy/halt.h"

namespace proxy {
namespace {

constexpr std::size_t kAccountsMax = 64;  // in one request; whoever names more may mean any of them

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Every account that an instance may read out of a head: some take the first of two fields, some the last, some join them with commas,
// and some cannot tell X_Account from X-Account. @return at most some more than kAccountsMax
std::vector<std::string_view> accounts_in(std::string_view head, std::string_view field) {
  std::vector<std::string_view> accounts;
  while (!head.empty() && accounts.size() <= kAccountsMax) {
    const std::size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end == std::string_view::npos ? head.size() : end + 2);
    if (line.size() <= field.size() || line[field.size()] != ':' || !reads_as(line.substr(0, field.size()), field)) continue;
    std::string_view rest = line.substr(field.size() + 1);
    accounts.push_back(trimmed(rest));
    std::size_t comma = rest.find(',');
    if (comma == std::string_view::npos) continue;
    for (; comma != std::string_view::npos && accounts.size() <= kAccountsMax; comma = rest.find(',')) {
      accounts.push_back(trimmed(rest.substr(0, comma)));
      rest.remove_prefix(comma + 1);
    }
    accounts.push_back(trimmed(rest));
  }
  return accounts;
}

const HaltOrder* some_account(const HaltView& halts, bool is_cancel) {
  const auto found = std::find_if(halts.orders.begin(), halts.orders.end(),
                                  [&](const HaltOrder& one) { return one.scope == HaltScope::kAccount && !(is_cancel && one.cancels_pass); });
  return found == halts.orders.end() ? nullptr : &*found;
}

}  // namespace

const HaltOrder* Exchange::halted_by() const {
  const HaltView* halts = core_.halts.get();
  const bool to_broker = route_->egress != nullptr;
  // At a broker a tunnel may carry orders; elsewhere a WebSocket is what pages listen to.
  if (halts == nullptr || halts->orders.empty() || (http1::is_safe(method_) && !(to_broker && upgrade_))) return nullptr;
  const bool is_cancel = method_ == http1::Method::kDelete || route_->cancel;
  const auto stops = [&](std::string_view account) {
    return to_broker ? halts->stops_broker(route_->egress->name, account, is_cancel) : halts->stops(route_->name, account, is_cancel);
  };
  const HaltOrder* found = stops({});
  if (found != nullptr || !halts->by_account || halts->account_field.empty()) return found;
  const std::vector<std::string_view> accounts = accounts_in(std::string_view(head_).substr(0, common_bytes_), halts->account_field);
  if (accounts.size() > kAccountsMax) return some_account(*halts, is_cancel);
  for (auto account = accounts.begin(); found == nullptr && account != accounts.end(); ++account) found = stops(*account);
  return found;
}

// An order under a key may have been carried out before the halt: whoever repeats it is told so, not that it was refused.
// @return true: it has been answered, or the ledger is asked
bool Exchange::stop_if_halted() {
  const HaltOrder* halt = halted_by();
  if (halt == nullptr) return false;
  if (down_->accepted().kind == ListenerKind::kPeer) {
    ++core_.counters.halted;
    refuse_to_peer(kHaltedCode);
    return true;
  }
  if (look_before_hold() || look_again()) return true;
  ++core_.counters.halted;
  ++state_->counters.halted;
  reply(503, kHaltedCode, halt->message, kHaltedHint, Outcome::kNotSent);
  return true;
}

// Connected, and nothing written yet: the halt came in between.
bool Exchange::stop_before_first_byte() {
  if (head_sent_ || halted_by() == nullptr) return false;
  drop_attempt(true);
  phase_ = Phase::kNew;
  if (stop_if_halted()) return true;
  dispatch();  // lifted in the same turn
  return true;
}

// Not even cancels may pass: a tunnel ends, since nobody can tell what it carries, and so does what is under way to a broker.
void Exchange::end_if_cut() {
  if (over() || route_ == nullptr || !in_flight_) return;
  const bool to_broker = route_->egress != nullptr, tunnel = phase_ == Phase::kTunnel;
  const bool cut = to_broker ? core_.halts->cuts_broker(route_->egress->name) : core_.halts->cuts_route(route_->name);
  if (!cut || (!tunnel && (!to_broker || halted_by() == nullptr))) return;
  ++core_.counters.halted;
  if (tunnel || may_have_arrived(end_now())) return end_under_lease(kHaltedCode, "everything was halted there while the request was under way");
  drop_attempt(true);
  phase_ = Phase::kNew;
  stop_if_halted();
}

}  // namespace proxy
