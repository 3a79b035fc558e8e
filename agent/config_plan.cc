#include "agent/config_plan.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "agent/config_values.h"

namespace agent {
namespace {

constexpr char kOpen = '\x01', kClose = '\x02';  // around the name of an element: in no name that anybody writes
constexpr std::size_t kOrderNamesMax = 20;  // of a list whose order has changed: enough to see where

/// "route[3].timeouts" -> "route[].timeouts".
std::string pattern_of(const std::string& key) {
  std::string out;
  bool inside = false;
  for (const char c : key) {
    if (c == ']') inside = false;
    if (!inside) out += c;
    if (c == '[') inside = true;
  }
  return out;
}

std::string unquoted(const std::string& text) {
  std::string out;
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    if (text[i] == '\\' && i + 2 < text.size()) ++i;
    out += text[i];
  }
  return out;
}

/// Of a registration: its name, or its id.
std::string registered_name(const std::string& json) {
  const auto parsed = nlohmann::json::parse(json, nullptr, false);
  for (const char* key : {"id", "name", "check_id"}) {
    if (parsed.is_object() && parsed.contains(key) && parsed[key].is_string()) return parsed[key].get<std::string>();
  }
  return {};
}

/// What tells the elements of a list apart: the keys that are looked at, the first that is set wins. Others go by their place.
const std::map<std::string, std::vector<std::string>>& identities() {
  static const std::map<std::string, std::vector<std::string>> kKeys = {
      {"listen[]", {"address"}},      {"listen[].sni[]", {"name"}},          {"listen[].tls.certificates[]", {"cert"}},
      {"upstream[]", {"name"}},       {"upstream[].endpoints[]", {"address"}}, {"egress[]", {"name"}},
      {"breaker[]", {"name"}},
  };
  return kKeys;
}

/// A sheet whose elements of lists are named instead of numbered, so that one that moves is still the same.
class NamedSheet {
 public:
  explicit NamedSheet(const ConfigSheet& sheet) : sheet_(sheet) {
    for (const auto& [key, setting] : sheet) named_.emplace(named(key), key);
  }
  /// Named key -> key of the sheet.
  [[nodiscard]] const std::map<std::string, std::string>& keys() const { return named_; }
  [[nodiscard]] const ConfigSetting& at(const std::string& key) const { return sheet_.at(key); }
  [[nodiscard]] bool has(const std::string& named) const { return named_.contains(named); }
  /// Every list with the names of its elements, in order, by the named key of the list.
  [[nodiscard]] const std::map<std::string, std::pair<std::string, std::vector<std::string>>>& lists() const { return lists_; }
  /// A key that is set stands below this one.
  [[nodiscard]] bool has_leaf_below(const std::string& key) const {
    for (auto at = sheet_.upper_bound(key); at != sheet_.end() && at->first.starts_with(key); ++at) {
      const char next = at->first[key.size()];
      if (!at->second.is_table && (next == '.' || next == '[')) return true;
    }
    return false;
  }

 private:
  std::string named(const std::string& key) {
    std::string out;
    std::size_t from = 0;
    for (std::size_t open = key.find('['); open != std::string::npos; open = key.find('[', from)) {
      const std::size_t close = key.find(']', open);
      out += key.substr(from, open - from);
      std::size_t number = 0;
      std::from_chars(key.data() + open + 1, key.data() + close, number);
      const auto& names = names_of(key.substr(0, open), out);
      out += kOpen + (number < names.size() ? names[number] : std::to_string(number)) + kClose;
      from = close + 1;
    }
    return out + key.substr(from);
  }

  /// Elements that would be called the same are counted.
  const std::vector<std::string>& names_of(const std::string& list, const std::string& named_list) {
    auto& [own_key, names] = lists_[named_list];
    if (!own_key.empty()) return names;
    own_key = list;
    std::map<std::string, std::size_t> seen;
    for (std::size_t i = 0;; ++i) {
      const std::string element = list + "[" + std::to_string(i) + "]";
      if (!sheet_.contains(element)) return names;
      std::string name = identity(element);
      const std::size_t before = seen[name]++;
      if (before > 0) name += "#" + std::to_string(before + 1);
      names.push_back(std::move(name));
    }
  }

  std::string identity(const std::string& element) const {
    const std::string pattern = pattern_of(element);
    const ConfigSetting& own = sheet_.at(element);
    if (!own.is_table) return registered_name(own.text);
    if (pattern == "route[]") return route_identity(element);
    const auto known = identities().find(pattern);
    if (known != identities().end()) {
      for (const std::string& key : known->second) {
        if (const auto found = sheet_.find(element + "." + key); found != sheet_.end()) return unquoted(found->second.text);
      }
    }
    return element.substr(element.rfind('[') + 1, element.size() - element.rfind('[') - 2);
  }

  std::string route_identity(const std::string& element) const {
    const auto text = [&](const char* key) {
      const auto found = sheet_.find(element + "." + key);
      return found == sheet_.end() ? std::string() : found->second.text;
    };
    if (const std::string name = text("name"); !name.empty()) return unquoted(name);
    std::string out;
    for (const char c : text("methods")) {
      if (c != '[' && c != ']' && c != '"') out += c;
    }
    if (!out.empty()) out += ' ';
    const std::string path = unquoted(text("path"));
    return out + unquoted(text("host")) + (path.empty() ? "/" : path);
  }

  const ConfigSheet& sheet_;
  std::map<std::string, std::string> named_;
  std::map<std::string, std::pair<std::string, std::vector<std::string>>> lists_;
};

/// The innermost element of a list that a key stands in.
std::string element_of(const std::string& named) {
  const std::size_t open = named.rfind(kOpen);
  return open == std::string::npos ? std::string() : named.substr(open + 1, named.find(kClose, open) - open - 1);
}

/// The table around a key; empty = it stands at the top, or is an element of a list there.
std::string above(const std::string& named) {
  bool inside = false;
  for (std::size_t at = named.size(); at-- > 0;) {
    if (named[at] == kClose) inside = true;
    if (named[at] == kOpen) inside = false;
    if (named[at] == '.' && !inside) return named.substr(0, at);
  }
  return {};
}

std::string above_key(const std::string& key) { return key.substr(0, key.rfind('.') == std::string::npos ? 0 : key.rfind('.')); }

/// Whether without a table of that name its keys have their defaults. @param named  empty = the top
bool is_there(const NamedSheet& side, const std::string& named, const std::string& key) {
  if (named.empty() || side.has(named)) return true;
  return config_table_is_always_there(pattern_of(key)) && is_there(side, above(named), above_key(key));
}

/// One side's key that the other side does not have. Nothing, where saying it would change nothing.
void add_lone(const NamedSheet& side, const NamedSheet& other, const std::string& named, const std::string& key, PlanVerb verb,
              const ReloadRule* rule, std::vector<PlanChange>& out) {
  const ConfigSetting& setting = side.at(key);
  if (setting.is_table && (side.has_leaf_below(key) || is_there(other, named, key))) return;
  const bool table_stays = is_there(other, above(named), above_key(key));
  if (!setting.is_table && setting.text == setting.otherwise && !setting.by_others && table_stays) return;
  PlanChange change{verb, key, element_of(named), {}, {}, {}, rule};
  (verb == PlanVerb::kAdded ? change.after : change.before) = plan_shown(key, setting.text);
  if (table_stays) change.otherwise = plan_shown(key, setting.otherwise);
  out.push_back(std::move(change));
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < kOrderNamesMax; ++i) out += (i == 0 ? "" : ", ") + names[i];
  return names.size() > kOrderNamesMax ? out + ", ..." : out;
}

/// Lists whose elements stand in another order: the first route that fits wins.
void add_orders(const NamedSheet& old_side, const NamedSheet& new_side, const std::set<const ReloadRule*>& differing, std::vector<PlanChange>& out) {
  for (const auto& [named, list] : new_side.lists()) {
    const auto old = old_side.lists().find(named);
    const ReloadRule* rule = reload_rule_of(list.first);
    if (old == old_side.lists().end() || !differing.contains(rule)) continue;
    const auto shared = [](const std::vector<std::string>& names, const std::vector<std::string>& others) {
      const std::set<std::string> known(others.begin(), others.end());
      std::vector<std::string> both;
      std::copy_if(names.begin(), names.end(), std::back_inserter(both), [&](const std::string& name) { return known.contains(name); });
      return both;
    };
    const auto before = shared(old->second.second, list.second), after = shared(list.second, old->second.second);
    if (before != after) out.push_back({PlanVerb::kChanged, list.first, {}, joined(before), joined(after), {}, rule, true});
  }
}

/// "route[10]" behind "route[2]".
bool comes_before(const std::string& a, const std::string& b) {
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    if (digit(a[i]) && digit(b[j])) {
      std::uint64_t left = 0, right = 0;
      i = static_cast<std::size_t>(std::from_chars(a.data() + i, a.data() + a.size(), left).ptr - a.data());
      j = static_cast<std::size_t>(std::from_chars(b.data() + j, b.data() + b.size(), right).ptr - b.data());
      if (left != right) return left < right;
      continue;
    }
    if (a[i] != b[j]) return a[i] < b[j];
    ++i, ++j;
  }
  return a.size() < b.size();
}

}  // namespace

std::string plan_shown(const std::string& key, const std::string& text) {
  static const std::set<std::string> kSecrets = {"mesh.gossip_key", "route[].auth.tokens", "route[].auth.users", "egress[].inject", "tracing.headers",
                                                 "services[]", "checks[]"};
  if (text.empty()) return {};
  const std::string pattern = pattern_of(key);
  const std::string_view last = std::string_view(pattern).substr(pattern.rfind('.') + 1);
  const bool field_line = (last == "set" || last == "add") && (pattern.starts_with("route[].request_headers.") || pattern.starts_with("route[].response_headers."));
  if (kSecrets.contains(pattern) || field_line) return text == "[]" || text == "\"\"" ? text : "(hidden)";
  static const std::set<std::string_view> kUrls = {"url", "endpoint", "http", "metrics"};
  if (kUrls.contains(last) || pattern == "service.health.path") return config_url_shown(text);
  if (last != "exec") return text;
  // A program is worth seeing; its arguments may be passwords, also those of somebody who took argv for a shell's line.
  const std::size_t first = std::min(text.find("\", \""), text.find(' '));
  return first == std::string::npos ? text : text.substr(0, first) + "\", (arguments hidden)]";
}

std::vector<PlanChange> plan_changes(const Config& running, const ConfigSheet& running_sheet, const ReadSettings& fresh) {
  std::set<const ReloadRule*> differing, told;
  for (const ReloadRule& rule : reload_rules()) {
    if (!rule.same(running, fresh.config)) differing.insert(&rule);
  }
  const NamedSheet before(running_sheet), after(fresh.sheet);
  std::vector<PlanChange> out;
  for (const auto& [named, key] : after.keys()) {
    const ReloadRule* rule = reload_rule_of(key);
    if (!differing.contains(rule)) continue;
    const auto old = before.keys().find(named);
    if (old == before.keys().end()) {
      add_lone(after, before, named, key, PlanVerb::kAdded, rule, out);
    } else if (const ConfigSetting &was = before.at(old->second), &is = after.at(key); was.text != is.text) {
      out.push_back({PlanVerb::kChanged, key, element_of(named), plan_shown(key, was.text), plan_shown(key, is.text), {}, rule});
    }
  }
  for (const auto& [named, key] : before.keys()) {
    const ReloadRule* rule = reload_rule_of(key);
    if (differing.contains(rule) && !after.has(named)) add_lone(before, after, named, key, PlanVerb::kRemoved, rule, out);
  }
  add_orders(before, after, differing, out);
  for (const PlanChange& change : out) told.insert(change.rule);
  // What a file holds that the settings name, or what follows from other keys.
  for (const ReloadRule* rule : differing) {
    if (!told.contains(rule)) out.push_back({PlanVerb::kChanged, std::string(rule->name), {}, {}, {}, {}, rule});
  }
  std::stable_sort(out.begin(), out.end(), [](const PlanChange& a, const PlanChange& b) {
    return a.rule != b.rule ? a.rule < b.rule : comes_before(a.key, b.key);
  });
  return out;
}

ConfigPlan plan_of(const Config& running, const ConfigSheet& running_sheet, const ReadSettings& read) {
  const Config& fresh = read.config;
  const ConfigDifference difference(running, fresh);
  ConfigPlan plan;
  plan.changes = plan_changes(running, running_sheet, read);
  plan.at_once = difference.names(TakenBy::kReload);
  plan.needs_restart = difference.names(TakenBy::kRestart);
  plan.concerns = plan_concerns(running, fresh);
  const bool tls = std::any_of(fresh.listeners.begin(), fresh.listeners.end(), [](const ListenConfig& one) { return one.tls.has_value(); });
  if (tls) plan.notes.emplace_back("certificates of listeners are read again: new connections get them, HTTP/2 clients are asked to come again");
  for (const UpstreamConfig& upstream : fresh.upstreams) {
    if (upstream.tls) plan.notes.push_back("upstream " + upstream.name + ": its certificates are read again, so idle connections to it close and its checks begin anew");
  }
  if (!fresh.egress.empty()) plan.notes.emplace_back("credentials that egress reads from files are read again");
  return plan;
}

}  // namespace agent
