#pragma once
/// Answers of instances kept for other clients, and one request to an instance on behalf of many.
/// Source: RFC 9111 (what may be kept and for how long), RFC 5861 (stale-while-revalidate, stale-if-error), RFC 9211
/// (Cache-Status). It is a shared cache: what is private, or was asked for with credentials, is never in it.
/// Deviations: ages come from the Age field and our own clock (Date is not compared with a clock of ours, the instance
/// stands beside us); there are no heuristics, the route says how long what says nothing is kept; nothing is revalidated
/// by a condition, an instance is asked for the whole answer.
/// Thread: any. Entries are immutable and live behind atomic pointers: no worker ever waits for another one.

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/http1/message.h"
#include "proxy/route.h"
#include "proxy/stream.h"

namespace proxy {

/// One answer. Immutable as soon as it is in a cache, except `used`.
struct StoredAnswer {
  std::string key;                 ///< cache_key()
  std::vector<std::string> vary;   ///< names of request fields that it depends on, lower case
  std::string variant;             ///< their values in the request that brought it
  int status = 200;
  std::string reason, text;        ///< `text` holds what `headers` refer to
  std::vector<http1::Header> headers;
  std::string body, etag;
  std::chrono::seconds age{0};     ///< when it came
  TimePoint since{};               ///< when it came
  TimePoint fresh_until{}, stale_until{}, error_until{};   ///< then usable while another is fetched; when fetching fails
  mutable std::atomic<std::uint32_t> used{0};              ///< asked for since the evicting hand passed by

  [[nodiscard]] std::size_t bytes() const { return sizeof(*this) + key.size() + variant.size() + text.size() + body.size() + headers.size() * sizeof(http1::Header); }
};

/// What a request wants of a cache.
struct CacheWish {
  enum class Kind : std::uint8_t {
    kBypass,   ///< neither answered nor kept: not GET or HEAD, a range, credentials, cookies, no-store
    kReload,   ///< not answered from the cache, but its answer may be kept: no-cache
    kUse,
  } kind = Kind::kBypass;
  std::chrono::seconds age_max{-1};       ///< max-age of the request; -1 = none
  std::chrono::seconds fresh_min{0};      ///< min-fresh
  bool only_if_cached = false;
};
/// @param rules  what they drop of the request does not reach the instance, so its answer cannot depend on it
[[nodiscard]] CacheWish wish_of(const http1::RequestHead& head, const FieldRules& rules);

/// Begins to keep an answer: all but the body. @return null: it must not be kept, or is stale already
/// @param request  upstream head, for the fields that Vary names
[[nodiscard]] std::unique_ptr<StoredAnswer> begin_storing(const CacheRule& rule, const FieldRules& request_rules, std::string_view key,
                                                          std::string_view request, const http1::ResponseHead& head, TimePoint now);
/// Ends it with the length that the body has now. Views of `headers` are valid from here on.
void finish_storing(StoredAnswer& answer);

/// What one answer is found by, beside what Vary names: route, scheme, host and target.
void append_cache_key(std::string& out, std::string_view route, std::string_view scheme, std::string_view host, std::string_view target);
/// The value of a field in the text of a head; several are joined.
[[nodiscard]] std::string field_of(std::string_view head, std::string_view name);

/// Bound: `bytes_max` of all entries together (one more while one is put in), and the entries that fit into its slots.
class ResponseCache {
 public:
  static constexpr std::size_t kWays = 8;          ///< entries that compete for the slots of one hash
  static constexpr std::size_t kClaims = 4096;     ///< fetches on behalf of many at a time; beyond it everybody fetches alone

  ResponseCache(std::uint64_t bytes_max, std::size_t entries_max);

  /// The entry for a request, fresh or not; null = none.
  [[nodiscard]] std::shared_ptr<const StoredAnswer> find(std::string_view key, std::string_view request) const;
  /// @param generation  generation() when its request was sent: one from before a purge is not kept
  void store(std::shared_ptr<const StoredAnswer> answer, std::uint64_t generation, TimePoint now);
  [[nodiscard]] std::uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  /// Drops what has keys of that route (empty = any) with a target that begins with `prefix`. @return how many
  std::size_t purge(std::string_view route, std::string_view prefix);

  /// Who asks the instance.
  enum class Turn : std::uint8_t {
    kFetch,  ///< you, on behalf of those that come meanwhile: release() is owed
    kWait,   ///< somebody is at it
    kAlone,  ///< everybody for himself: such answers are not kept, or too much is going on
  };
  /// @param ticket  for release()  @param until  when a fetch that does not end is given up
  [[nodiscard]] Turn claim(std::string_view key, TimePoint now, TimePoint until, std::uint64_t& ticket);
  /// @param keepable  false: answers to this are not kept; nobody shall wait for one within the next second
  void release(std::string_view key, std::uint64_t ticket, bool keepable, TimePoint now);

  struct Counts {
    std::atomic<std::uint64_t> hits{0}, misses{0}, stale{0}, collapsed{0}, bypassed{0}, stored{0}, evicted{0}, purged{0};
  };
  [[nodiscard]] Counts& counts() { return counts_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t entries() const { return entries_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t bytes_max() const { return bytes_max_; }

 private:
  using Slot = std::atomic<std::shared_ptr<const StoredAnswer>>;
  void put(Slot& slot, std::shared_ptr<const StoredAnswer> answer);
  void make_room(const StoredAnswer* newest);

  std::uint64_t bytes_max_;
  std::size_t sets_;
  std::vector<Slot> slots_;   ///< kWays for each set
  std::array<std::atomic<std::uint64_t>, kClaims> claims_{}, passes_{};   ///< end in ms, then some bits of the hash
  std::atomic<std::uint64_t> bytes_{0}, entries_{0}, generation_{0};
  std::atomic<std::size_t> hand_{0};
  Counts counts_;
};

}  // namespace proxy
