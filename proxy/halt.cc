#include "proxy/halt.h"

#include <algorithm>

namespace proxy {
namespace {

const HaltOrder* first(const std::vector<HaltOrder>& orders, HaltScope place, std::string_view name, std::string_view account, bool is_cancel) {
  const auto found = std::find_if(orders.begin(), orders.end(), [&](const HaltOrder& one) {
    if (is_cancel && one.cancels_pass) return false;
    if (one.scope == HaltScope::kGlobal) return true;
    if (one.scope == HaltScope::kAccount) return !account.empty() && one.name == account;
    return one.scope == place && one.name == name;
  });
  return found == orders.end() ? nullptr : &*found;
}

bool cuts(const std::vector<HaltOrder>& orders, HaltScope place, std::string_view name) {
  return std::any_of(orders.begin(), orders.end(), [&](const HaltOrder& one) {
    return !one.cancels_pass && (one.scope == HaltScope::kGlobal || (one.scope == place && one.name == name));
  });
}

}  // namespace

const HaltOrder* HaltView::stops(std::string_view route, std::string_view account, bool is_cancel) const {
  return first(orders, HaltScope::kRoute, route, account, is_cancel);
}

const HaltOrder* HaltView::stops_broker(std::string_view broker, std::string_view account, bool is_cancel) const {
  return first(orders, HaltScope::kBroker, broker, account, is_cancel);
}

bool HaltView::cuts_broker(std::string_view broker) const { return cuts(orders, HaltScope::kBroker, broker); }
bool HaltView::cuts_route(std::string_view route) const { return cuts(orders, HaltScope::kRoute, route); }

}  // namespace proxy
