#include "proxy/response_cache.h"

#include <algorithm>
#include <charconv>

#include "proxy/http1/fields.h"
#include "proxy/http1/writer.h"
#include "proxy/http_date.h"

namespace proxy {
namespace {

using http1::HeaderId;
using http1::same_text;
using std::chrono::seconds;

constexpr seconds kLongest{365 * 24 * 3600};   // RFC 9111, section 1.2.2: longer than that is as good as for ever
constexpr Milliseconds kPass{1000};            // how long it is remembered that an answer cannot be kept
constexpr std::uint64_t kTagBits = 20, kTagMask = (1U << kTagBits) - 1;

std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  // The low bits choose the slot: mix the high ones in.
  hash ^= hash >> 33;
  return hash * 0xff51afd7ed558ccdULL;
}

std::uint64_t milliseconds(TimePoint at) { return static_cast<std::uint64_t>(std::chrono::duration_cast<Milliseconds>(at.time_since_epoch()).count()); }

// Directives of all Cache-Control fields of a head.
template <class Visit>
void each_directive(std::span<const http1::Header> headers, Visit visit) {
  for (const http1::Header& header : headers) {
    if (header.id != HeaderId::kOther || !same_text(header.name, "Cache-Control")) continue;
    std::string_view rest = header.value;
    while (!rest.empty()) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      const std::string_view one = http1::trim(rest.substr(0, comma));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
      const std::size_t equals = std::min(one.find('='), one.size());
      std::string_view value = one.substr(std::min(equals + 1, one.size()));
      if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
      visit(http1::trim(one.substr(0, equals)), http1::trim(value));
    }
  }
}

// Seconds; what cannot be read is taken for 0: stale (RFC 9111, section 4.2.1).
seconds delta_of(std::string_view text) {
  std::uint64_t value = 0;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code == std::errc::result_out_of_range) return kLongest;
  if (text.empty() || code != std::errc{} || stop != text.data() + text.size()) return seconds{0};
  return seconds{static_cast<std::int64_t>(std::min<std::uint64_t>(value, static_cast<std::uint64_t>(kLongest.count())))};
}

struct ResponseDirectives {
  bool forbidden = false, revalidate = false;
  std::optional<seconds> max_age, shared_max_age, while_revalidate, if_error;

  explicit ResponseDirectives(const http1::ResponseHead& head) {
    each_directive(head.headers, [&](std::string_view name, std::string_view value) {
      // "private" and "no-cache" with a list of fields are rare: taken for the whole.
      if (same_text(name, "no-store") || same_text(name, "private") || same_text(name, "no-cache")) forbidden = true;
      if (same_text(name, "must-revalidate") || same_text(name, "proxy-revalidate")) revalidate = true;
      if (same_text(name, "max-age")) max_age = max_age ? std::min(*max_age, delta_of(value)) : delta_of(value);
      if (same_text(name, "s-maxage")) shared_max_age = shared_max_age ? std::min(*shared_max_age, delta_of(value)) : delta_of(value);
      if (same_text(name, "stale-while-revalidate")) while_revalidate = delta_of(value);
      if (same_text(name, "stale-if-error")) if_error = delta_of(value);
    });
    revalidate = revalidate || shared_max_age.has_value();  // RFC 9111, section 5.2.2.10
  }
};

bool is_kept_status(int status, bool says_how_long) {
  if (status == 200 || status == 203 || status == 301 || status == 308) return true;
  return says_how_long && (status == 204 || status == 404 || status == 410);
}

// How long it is fresh from its making on; nullopt = it does not say.
std::optional<Milliseconds> told_lifetime(const http1::ResponseHead& head, const ResponseDirectives& directives) {
  if (directives.shared_max_age) return *directives.shared_max_age;
  if (directives.max_age) return *directives.max_age;
  const auto expires = head.find("Expires");
  if (!expires) return std::nullopt;
  const auto date = head.find("Date");
  const auto end = parse_http_date(*expires), begin = date ? parse_http_date(*date) : std::nullopt;
  if (!end || !begin || *end <= *begin) return Milliseconds{0};
  return std::min<seconds>(seconds{*end - *begin}, kLongest);
}

// Fields of one hop, or of one way to us; Age is ours to say.
bool is_kept_field(const http1::ResponseHead& head, const http1::Header& header) {
  if (header.id != HeaderId::kOther) return false;
  if (same_text(header.name, "Age") || same_text(header.name, "Cache-Status")) return false;
  return !http1::any_lists(head.headers, HeaderId::kConnection, header.name);
}

std::string variant_of(const std::vector<std::string>& names, std::string_view request) {
  std::string out;
  for (const std::string& name : names) (out += field_of(request, name)) += '\n';
  return out;
}

}  // namespace

CacheWish wish_of(const http1::RequestHead& head, const FieldRules& rules) {
  CacheWish wish;
  const bool reads = head.method == http1::Method::kGet || head.method == http1::Method::kHead;
  const auto hidden = [&](std::string_view name) { return head.find(name).has_value() && !rules.drops(name); };
  if (!reads || head.framing != http1::Framing::kNone || head.upgrade || hidden("Authorization") || hidden("Cookie") || hidden("X-Api-Key") ||
      head.find("Range")) {
    return wish;
  }
  wish.kind = CacheWish::Kind::kUse;
  bool told = false, no_store = false;
  each_directive(head.headers, [&](std::string_view name, std::string_view value) {
    told = true;
    if (same_text(name, "no-store")) no_store = true;
    if (same_text(name, "no-cache")) wish.kind = CacheWish::Kind::kReload;
    if (same_text(name, "max-age")) wish.age_max = delta_of(value);
    if (same_text(name, "min-fresh")) wish.fresh_min = delta_of(value);
    if (same_text(name, "only-if-cached")) wish.only_if_cached = true;
  });
  const auto pragma = head.find("Pragma");
  if (!told && pragma && http1::list_has(*pragma, "no-cache")) wish.kind = CacheWish::Kind::kReload;
  if (no_store) wish.kind = CacheWish::Kind::kBypass;
  return wish;
}

std::unique_ptr<StoredAnswer> begin_storing(const CacheRule& rule, const FieldRules& request_rules, std::string_view key, std::string_view request,
                                            const http1::ResponseHead& head, TimePoint now) {
  const ResponseDirectives directives(head);
  const auto told = told_lifetime(head, directives);
  const Milliseconds lifetime = told.value_or(rule.ttl);
  const auto age_text = head.find("Age");
  const seconds age = age_text ? delta_of(*age_text) : seconds{0};
  const bool large = head.has_content_length && head.content_length > rule.object_bytes_max;
  // A body that ends with its connection may have been cut off: nobody can tell.
  if (directives.forbidden || large || head.framing == http1::Framing::kToEof || lifetime <= age || !is_kept_status(head.status, told.has_value()) || head.find("Set-Cookie") ||
      head.find("Content-Range")) {
    return nullptr;
  }
  auto answer = std::make_unique<StoredAnswer>();
  for (const http1::Header& header : head.headers) {
    if (header.id != HeaderId::kOther || !same_text(header.name, "Vary")) continue;
    std::string_view rest = header.value;
    while (!rest.empty()) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      std::string name(http1::trim(rest.substr(0, comma)));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
      for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      // A field that a rule writes differs with each attempt, and nobody can tell how.
      if (name == "*" || request_rules.drops(name)) return nullptr;
      if (!name.empty()) answer->vary.push_back(std::move(name));
    }
  }
  answer->key = key;
  answer->variant = variant_of(answer->vary, request);
  answer->status = head.status;
  answer->reason = head.reason;
  answer->etag = head.find("ETag").value_or("");
  for (const http1::Header& header : head.headers) {
    if (is_kept_field(head, header)) http1::append_header(answer->text, header.name, header.value);
  }
  answer->age = age;
  answer->since = now;
  answer->fresh_until = now + (lifetime - age);
  const auto until = [&](const std::optional<seconds>& said, Milliseconds otherwise) {
    if (directives.revalidate) return answer->fresh_until;
    return answer->fresh_until + (said ? Milliseconds(*said) : otherwise);
  };
  answer->stale_until = until(directives.while_revalidate, rule.stale_while_revalidate);
  answer->error_until = until(directives.if_error, rule.stale_if_error);
  return answer;
}

void finish_storing(StoredAnswer& answer) {
  http1::append_header(answer.text, "Content-Length", answer.body.size());
  answer.body.shrink_to_fit();
  const std::string_view text(answer.text);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find("\r\n", at), colon = text.find(':', at);
    const std::string_view name = text.substr(at, colon - at);
    answer.headers.push_back({http1::header_id_of(name), name, text.substr(colon + 2, end - colon - 2)});
    at = end + 2;
  }
}

void append_cache_key(std::string& out, std::string_view route, std::string_view scheme, std::string_view host, std::string_view target) {
  // No part can hold a line end, so that no two requests have one key by chance of their parts.
  for (const std::string_view part : {route, scheme}) (out += part) += '\n';
  for (const char c : host) out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  (out += '\n') += target;
}

std::string field_of(std::string_view head, std::string_view name) {
  std::string out;
  std::size_t at = head.find("\r\n");
  while (at != std::string_view::npos && at + 2 < head.size()) {
    const std::size_t begin = at + 2, colon = head.find(':', begin);
    at = head.find("\r\n", begin);
    if (colon == std::string_view::npos || at == std::string_view::npos) break;
    if (colon < at && same_text(head.substr(begin, colon - begin), name)) {
      if (!out.empty()) out += ", ";
      out += http1::trim(head.substr(colon + 1, at - colon - 1));
    }
  }
  return out;
}

ResponseCache::ResponseCache(std::uint64_t bytes_max, std::size_t entries_max)
    : bytes_max_(bytes_max), sets_(std::max<std::size_t>(1, entries_max / kWays)), slots_(sets_ * kWays) {}

std::shared_ptr<const StoredAnswer> ResponseCache::find(std::string_view key, std::string_view request) const {
  const std::size_t first = (hash_of(key) % sets_) * kWays;
  for (std::size_t i = first; i < first + kWays; ++i) {
    auto answer = slots_[i].load(std::memory_order_acquire);
    if (answer == nullptr || answer->key != key || answer->variant != variant_of(answer->vary, request)) continue;
    answer->used.store(1, std::memory_order_relaxed);
    return answer;
  }
  return nullptr;
}

void ResponseCache::put(Slot& slot, std::shared_ptr<const StoredAnswer> answer) {
  const StoredAnswer* fresh = answer.get();
  const std::uint64_t bytes = fresh == nullptr ? 0 : fresh->bytes();
  bytes_.fetch_add(bytes, std::memory_order_relaxed);
  if (fresh != nullptr) entries_.fetch_add(1, std::memory_order_relaxed);
  const auto old = slot.exchange(std::move(answer), std::memory_order_acq_rel);
  if (old == nullptr) return;
  bytes_.fetch_sub(old->bytes(), std::memory_order_relaxed);
  entries_.fetch_sub(1, std::memory_order_relaxed);
}

void ResponseCache::store(std::shared_ptr<const StoredAnswer> answer, std::uint64_t generation, TimePoint now) {
  if (answer->bytes() > bytes_max_ || generation != this->generation()) return;
  const StoredAnswer* newest = answer.get();
  const std::size_t first = (hash_of(answer->key) % sets_) * kWays;
  // Its own older version, else a free slot, else the one of least use: over, then longest without being asked for.
  std::size_t best = first;
  int best_rank = -1;
  TimePoint best_since = TimePoint::max();
  for (std::size_t i = first; i < first + kWays; ++i) {
    const auto other = slots_[i].load(std::memory_order_acquire);
    int rank = 4;
    TimePoint since{};
    if (other != nullptr) {
      const bool same = other->key == answer->key && other->vary == answer->vary && other->variant == answer->variant;
      const bool over = std::max({other->fresh_until, other->stale_until, other->error_until}) <= now;
      rank = same ? 5 : over ? 3 : other->used.load(std::memory_order_relaxed) == 0 ? 2 : 1;
      since = other->since;
    }
    if (rank > best_rank || (rank == best_rank && since < best_since)) best = i, best_rank = rank, best_since = since;
  }
  if (best_rank < 4 && best_rank > 0) counts_.evicted.fetch_add(1, std::memory_order_relaxed);
  put(slots_[best], std::move(answer));
  counts_.stored.fetch_add(1, std::memory_order_relaxed);
  make_room(newest);
}

// A hand goes round: what was asked for since it came by last is spared once.
void ResponseCache::make_room(const StoredAnswer* newest) {
  for (std::size_t steps = 0; bytes() > bytes_max_ && steps < 2 * slots_.size(); ++steps) {
    Slot& slot = slots_[hand_.fetch_add(1, std::memory_order_relaxed) % slots_.size()];
    const auto answer = slot.load(std::memory_order_acquire);
    if (answer == nullptr || answer.get() == newest || answer->used.exchange(0, std::memory_order_relaxed) != 0) continue;
    put(slot, nullptr);
    counts_.evicted.fetch_add(1, std::memory_order_relaxed);
  }
}

std::size_t ResponseCache::purge(std::string_view route, std::string_view prefix) {
  generation_.fetch_add(1, std::memory_order_acq_rel);  // first: what is under way now was asked for before
  std::size_t count = 0;
  for (Slot& slot : slots_) {
    const auto answer = slot.load(std::memory_order_acquire);
    if (answer == nullptr) continue;
    const std::string_view key(answer->key);
    const std::string_view target = key.substr(key.rfind('\n') + 1);
    if ((!route.empty() && key.substr(0, key.find('\n')) != route) || !target.starts_with(prefix)) continue;
    put(slot, nullptr);
    ++count;
  }
  counts_.purged.fetch_add(count, std::memory_order_relaxed);
  return count;
}

ResponseCache::Turn ResponseCache::claim(std::string_view key, TimePoint now, TimePoint until, std::uint64_t& ticket) {
  const std::uint64_t hash = hash_of(key), tag = (hash >> 40) & kTagMask, at = milliseconds(now);
  const std::uint64_t pass = passes_[hash % kClaims].load(std::memory_order_relaxed);
  if ((pass & kTagMask) == tag && pass >> kTagBits > at) return Turn::kAlone;
  auto& place = claims_[hash % kClaims];
  std::uint64_t word = place.load(std::memory_order_acquire);
  if (word >> kTagBits > at) return (word & kTagMask) == tag ? Turn::kWait : Turn::kAlone;
  ticket = milliseconds(until) << kTagBits | tag;
  return place.compare_exchange_strong(word, ticket, std::memory_order_acq_rel) ? Turn::kFetch : Turn::kWait;
}

void ResponseCache::release(std::string_view key, std::uint64_t ticket, bool keepable, TimePoint now) {
  const std::uint64_t hash = hash_of(key), tag = (hash >> 40) & kTagMask;
  // Marked first: whoever finds the claim gone must find the mark.
  if (!keepable) passes_[hash % kClaims].store(milliseconds(now + kPass) << kTagBits | tag, std::memory_order_release);
  claims_[hash % kClaims].compare_exchange_strong(ticket, 0, std::memory_order_acq_rel);
}

}  // namespace proxy
