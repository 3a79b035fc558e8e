#include "agent/dns/answer.h"

#include <algorithm>
#include <array>

namespace agent::dns {
namespace {

constexpr unsigned kAliasesMax = 4;        // of one answer: a chain of names of our own that goes on is a circle
constexpr std::size_t kNameServersMax = 3;
constexpr std::uint32_t kSoaRefresh = 3600, kSoaRetry = 600, kSoaExpire = 86400;  // nobody transfers this zone
constexpr std::string_view kPlainText = "rfc1035-";  // meta keys whose value alone is the text, as in Consul

bool same_letters(std::string_view a, std::string_view lower) {
  return a.size() == lower.size() && lower_case(a) == lower;
}

bool is_by_role(const std::string& tag) { return tag == "primary" || tag == "replica"; }

const Place& place_of(const Instance& instance) {
  return instance.place.kind == Place::Kind::kNone ? instance.node_place : instance.place;
}

std::string_view text_of(std::span<const std::uint8_t> bytes) {
  const void* raw = bytes.data();
  return {static_cast<const char*>(raw), bytes.size()};
}

}  // namespace

Resolver::Answer::Answer(Resolver& resolver, const Query& query, std::size_t limit)
    : resolver_(resolver),
      settings_(resolver.settings_),
      catalog_(resolver.catalog_),
      writer_(resolver.writer_),
      query_(query) {
  writer_.begin(query, limit);
}

std::span<const std::byte> Resolver::Answer::run() {
  if (const auto refused = refusal())
    rcode_ = *refused;
  else
    answer_inside();
  if (truncated_) ++resolver_.counters_.truncated;
  ++resolver_.counters_.answers[rcode_];
  return writer_.finish(rcode_, {authoritative_, truncated_ && settings_.truncate_flag}, settings_.udp_payload_bytes_max);
}

/// What is refused whatever the name is.
std::optional<Rcode> Resolver::Answer::refusal() const {
  constexpr std::uint16_t kClassAny = 255;
  if (query_.edns && query_.edns->version != 0) return Rcode::kBadVers;
  switch (query_.type) {
    case Type::kOpt:
    case Type::kTkey:
    case Type::kTsig:
      return Rcode::kFormErr;
    case Type::kMailb:
    case Type::kMaila:
      return Rcode::kNotImp;
    case Type::kIxfr:
    case Type::kAxfr:
      return Rcode::kRefused;
    default:
      break;  // any other number is a type that somebody may ask for
  }
  if (query_.klass != kClassIn && query_.klass != kClassAny) return Rcode::kRefused;
  return std::nullopt;
}

void Resolver::Answer::answer_inside() {
  const Lookup lookup = look_up(query_.name, query_.type, settings_);
  if (lookup.kind == Lookup::Kind::kForeign) {
    rcode_ = Rcode::kRefused;
    return;
  }
  if (!catalog_.ready()) {
    rcode_ = Rcode::kServFail;
    return;
  }
  if (lookup.kind == Lookup::Kind::kReverse) return answer_reverse(lookup.ip);
  authoritative_ = true;
  speak_of(lookup.domain);
  const Found found = find(query_.name, lookup);
  if (found == Found::kNoName) rcode_ = Rcode::kNxDomain;
  if (found != Found::kRecords) add_negative_soa(domain_);
  add_glue();
}

/// Only addresses of ours have an answer: the rest of the reversed space is foreign.
void Resolver::Answer::answer_reverse(const Place& ip) {
  const auto residents = catalog_.residents(ip);
  if (residents.empty()) {
    rcode_ = Rcode::kRefused;
    return;
  }
  authoritative_ = true;
  if (!wants(Type::kPtr)) return;
  speak_of(settings_.domain);
  for (const Resident& resident : residents) {
    if (!room()) return;
    const auto name = resident.kind == Resident::Kind::kNode ? node_name(resident.name) : Name::parse(resident.name + ".service", domain_);
    if (name) note(writer_.add_name(Section::kAnswer, query_.name, Type::kPtr, settings_.ttl_seconds, *name));
  }
}

// ---------------------------------------------------------------- what a name holds

Resolver::Answer::Found Resolver::Answer::find(const Name& owner, const Lookup& lookup) {
  switch (lookup.kind) {
    case Lookup::Kind::kApex:
      return find_apex(owner, lookup);
    case Lookup::Kind::kNode:
      return find_node(owner, lookup);
    case Lookup::Kind::kService:
      return find_service(owner, lookup);
    case Lookup::Kind::kAddress:
      return add_place(owner, lookup.ip, settings_.ttl_seconds) ? Found::kRecords : Found::kNoData;
    case Lookup::Kind::kBranch:
      return Found::kNoData;
    case Lookup::Kind::kForeign:
    case Lookup::Kind::kReverse:
    case Lookup::Kind::kNothing:
      break;
  }
  return Found::kNoName;
}

Resolver::Answer::Found Resolver::Answer::find_apex(const Name& owner, const Lookup& lookup) {
  bool found = false;
  if (wants(Type::kSoa)) {
    note(writer_.add_soa(Section::kAnswer, owner, 0, soa_of(lookup.domain)));
    found = true;
  }
  if (wants(Type::kNs) && add_servers(owner)) found = true;
  return found ? Found::kRecords : Found::kNoData;
}

Resolver::Answer::Found Resolver::Answer::find_node(const Name& owner, const Lookup& lookup) {
  const Node* node = catalog_.node(lookup.name);
  if (node == nullptr) return Found::kNoName;
  bool found = wants(Type::kTxt) && node->place.kind != Place::Kind::kHostName && add_meta(owner, *node);
  if (add_place(owner, node->place, settings_.ttl_seconds)) found = true;  // last: an alias may ask the catalog again
  return found ? Found::kRecords : Found::kNoData;
}

Resolver::Answer::Found Resolver::Answer::find_service(const Name& owner, const Lookup& lookup) {
  const auto instances = catalog_.instances(lookup.name);
  if (instances.empty()) return lookup.may_be_branch ? Found::kNoData : Found::kNoName;
  Picks picks;
  for (const Instance& instance : instances)
    if (serves(instance, lookup.tag)) picks.push_back(&instance);
  if (picks.empty()) {
    // A tag with dots: what lies between its labels and the service exists, if only as a branch.
    const auto below = [&lookup](const std::string& tag) { return lower_case(tag).ends_with("." + lookup.tag); };
    const bool branch = !lookup.tag.empty() && std::any_of(instances.begin(), instances.end(), [&below](const Instance& instance) {
      return std::any_of(instance.tags.begin(), instance.tags.end(), below);
    });
    return branch ? Found::kNoData : Found::kNoName;
  }
  shuffle(picks);
  const std::uint32_t ttl = is_by_role(lookup.tag) ? 0 : settings_.ttl_seconds;
  const bool ports = wants(Type::kSrv) && add_service_ports(owner, picks, ttl);
  // An alias stands alone (RFC 1034 section 3.6.2). Last: it may ask the catalog again.
  const bool places = add_service_places(owner, picks, ttl) || (!ports && add_service_alias(owner, picks, ttl));
  return ports || places ? Found::kRecords : Found::kNoData;
}

bool Resolver::Answer::serves(const Instance& instance, const std::string& tag) const {
  if (instance.health == Health::kCritical) return false;
  if (instance.health == Health::kWarning && settings_.only_passing) return false;
  return tag.empty() || std::any_of(instance.tags.begin(), instance.tags.end(),
                                    [&tag](const std::string& one) { return same_letters(one, tag); });
}

void Resolver::Answer::shuffle(Picks& picks) {
  for (std::size_t i = picks.size(); i > 1; --i) std::swap(picks[i - 1], picks[resolver_.chance_(i)]);
}

// ---------------------------------------------------------------- records

bool Resolver::Answer::room() {
  return !truncated_ && (settings_.answers_max == 0 || writer_.count(Section::kAnswer) < settings_.answers_max);
}

bool Resolver::Answer::add_service_places(const Name& owner, const Picks& picks, std::uint32_t ttl) {
  std::set<std::string_view> seen;
  bool found = false;
  for (const Instance* instance : picks) {
    const Place& place = place_of(*instance);
    if (!place.is_ip() || !wants(place.kind == Place::Kind::kIpv4 ? Type::kA : Type::kAaaa)) continue;
    if (!seen.insert(text_of(place.bytes())).second) continue;
    found = true;
    if (!room()) break;
    note(writer_.add_address(Section::kAnswer, owner, ttl, place));
  }
  return found;
}

/// One of the host names, if there are only such: a name with an alias has nothing else, not even a second alias.
bool Resolver::Answer::add_service_alias(const Name& owner, const Picks& picks, std::uint32_t ttl) {
  if (std::any_of(picks.begin(), picks.end(), [](const Instance* one) { return place_of(*one).is_ip(); })) return false;
  const auto host = std::find_if(picks.begin(), picks.end(), [](const Instance* one) {
    return place_of(*one).kind == Place::Kind::kHostName;
  });
  return host != picks.end() && add_alias(owner, place_of(**host).host, ttl);
}

bool Resolver::Answer::add_service_ports(const Name& owner, const Picks& picks, std::uint32_t ttl) {
  std::set<std::pair<std::string_view, std::uint16_t>> seen;
  std::vector<Srv> written;
  written.reserve(picks.size());  // `seen` looks into its names: they must not move
  bool found = false;
  for (const Instance* instance : picks) {
    Place glue;
    auto target = target_of(*instance, glue);
    if (!target) continue;
    const Srv& srv = written.emplace_back(Srv{1, instance->weight, instance->port, std::move(*target)});
    if (!seen.emplace(srv.target.wire(), srv.port).second) continue;
    found = true;
    if (!room()) break;
    const bool fitted = writer_.add_srv(Section::kAnswer, owner, ttl, srv);
    note(fitted);
    if (fitted && glue.is_ip()) glue_.emplace_back(srv.target, glue);
  }
  return found;
}

/// One name with one place: a node, an address spelled as a name.
bool Resolver::Answer::add_place(const Name& owner, const Place& place, std::uint32_t ttl) {
  if (place.kind == Place::Kind::kHostName) return add_alias(owner, place.host, ttl);
  if (!place.is_ip() || !wants(place.kind == Place::Kind::kIpv4 ? Type::kA : Type::kAaaa)) return false;
  if (room()) note(writer_.add_address(Section::kAnswer, owner, ttl, place));
  return true;
}

bool Resolver::Answer::add_meta(const Name& owner, const Node& node) {
  for (const auto& [key, value] : node.meta) {
    if (!room()) break;
    const std::string text = key.starts_with(kPlainText) ? value : key + "=" + value;
    note(writer_.add_txt(Section::kAnswer, owner, settings_.ttl_seconds, text));
  }
  return !node.meta.empty();
}

bool Resolver::Answer::add_servers(const Name& owner) {
  const auto instances = catalog_.instances(lower_case(settings_.server_service));
  Picks picks;
  for (const Instance& instance : instances)
    if (instance.health != Health::kCritical) picks.push_back(&instance);
  shuffle(picks);
  std::set<std::string> seen;
  for (const Instance* instance : picks) {
    const auto name = node_name(instance->node);
    if (!name || !seen.emplace(name->wire()).second) continue;
    if (seen.size() > kNameServersMax || !room()) break;
    note(writer_.add_name(Section::kAnswer, owner, Type::kNs, settings_.ttl_seconds, *name));
    if (instance->node_place.is_ip()) glue_.emplace_back(*name, instance->node_place);
  }
  return !seen.empty();
}

bool Resolver::Answer::add_alias(const Name& owner, const Name& target, std::uint32_t ttl) {
  const Name end = target;  // the catalog's own may go away with the next question
  if (++aliases_ > kAliasesMax) {
    rcode_ = Rcode::kServFail;
    return true;
  }
  if (room()) note(writer_.add_name(Section::kAnswer, owner, Type::kCname, ttl, end));
  if (query_.type == Type::kCname || query_.type == Type::kAny) return true;
  const Lookup lookup = look_up(end, query_.type, settings_);
  if (lookup.kind == Lookup::Kind::kForeign || lookup.kind == Lookup::Kind::kReverse) return true;
  const Found found = find(end, lookup);
  if (found == Found::kNoName) rcode_ = Rcode::kNxDomain;  // RFC 6604 section 3: the code speaks of the chain's end
  if (found != Found::kRecords) add_negative_soa(lookup.domain);
  return true;
}

void Resolver::Answer::add_negative_soa(const Name& domain) {
  note(writer_.add_soa(Section::kAuthority, domain, 0, soa_of(domain)));
}

/// A favour: what does not fit is asked for again, so it is no reason to call the answer cut (RFC 2181 section 9).
void Resolver::Answer::add_glue() {
  std::set<std::string_view> seen;
  for (const auto& [name, ip] : glue_)
    if (seen.insert(name.wire()).second && !writer_.add_address(Section::kAdditional, name, settings_.ttl_seconds, ip)) return;
}

// ---------------------------------------------------------------- names of ours

Soa Resolver::Answer::soa_of(const Name& domain) const {
  Soa soa;
  soa.server = Name::parse("ns", domain).value_or(domain);
  soa.mailbox = Name::parse("hostmaster", domain).value_or(domain);
  soa.serial = static_cast<std::uint32_t>(catalog_.version());
  soa.refresh = kSoaRefresh, soa.retry = kSoaRetry, soa.expire = kSoaExpire;
  return soa;
}

void Resolver::Answer::speak_of(const Name& domain) {
  const std::string datacenter = settings_.datacenter.empty() ? std::string() : "." + settings_.datacenter;
  domain_ = domain;
  node_suffix_ = Name::parse("node" + datacenter, domain).value_or(domain);
  address_suffix_ = Name::parse("addr" + datacenter, domain).value_or(domain);
}

/// nullopt: the node's name has a label that no name may have.
std::optional<Name> Resolver::Answer::node_name(const std::string& node) const {
  return Name::parse(node, node_suffix_);
}

std::optional<Name> Resolver::Answer::address_name(const Place& ip) const {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::array<char, 32> label{};
  std::size_t length = 0;
  for (const std::uint8_t byte : ip.bytes()) {
    label[length++] = kDigits[byte >> 4];
    label[length++] = kDigits[byte & 0xf];
  }
  Name name;
  const bool fits = name.append(std::string_view(label.data(), length)) && name.append(address_suffix_);
  return fits ? std::optional(std::move(name)) : std::nullopt;
}

/// Where SRV sends to. @param glue  the address of that name where we are the ones to know it
std::optional<Name> Resolver::Answer::target_of(const Instance& instance, Place& glue) const {
  const Place& place = place_of(instance);
  if (place.is_ip()) glue = place;
  if (instance.place.kind == Place::Kind::kNone && place.kind != Place::Kind::kUnusable) {
    if (auto name = node_name(instance.node)) return name;
  }
  if (place.is_ip()) return address_name(place);
  return place.kind == Place::Kind::kHostName ? std::optional(place.host) : std::nullopt;
}

}  // namespace agent::dns
