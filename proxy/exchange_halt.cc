// Requests that a halt refuses (halt.h).
#include "proxy/egress.h"
#include "proxy/exchange.h"
#include "proxy/halt.h"

namespace proxy {
namespace {

// The value of a field in a head as it goes upstream; the last one, if a client repeats it.
std::string_view field_in(std::string_view head, std::string_view name) {
  std::string_view value;
  while (!head.empty()) {
    const std::size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end == std::string_view::npos ? head.size() : end + 2);
    if (line.size() <= name.size() || line[name.size()] != ':' || !http1::same_text(line.substr(0, name.size()), name)) continue;
    value = line.substr(name.size() + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  }
  return value;
}

}  // namespace

const HaltOrder* Exchange::halted_by() const {
  const HaltView* halts = core_.halts.get();
  const bool to_broker = route_->egress != nullptr;
  // At a broker a tunnel may carry orders; elsewhere a WebSocket is what pages listen to.
  if (halts == nullptr || halts->orders.empty() || (http1::is_safe(method_) && !(to_broker && upgrade_))) return nullptr;
  const bool by_account = halts->by_account && !halts->account_field.empty();
  const std::string_view account = by_account ? field_in(std::string_view(head_).substr(0, common_bytes_), halts->account_field) : std::string_view();
  const bool is_cancel = method_ == http1::Method::kDelete || route_->cancel;
  return to_broker ? halts->stops_broker(route_->egress->name, account, is_cancel) : halts->stops(route_->name, account, is_cancel);
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
  if (look_before_hold()) return true;
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
