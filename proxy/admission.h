#pragma once
/// Who may use a route, and how often: address lists, credentials, rate and concurrency limits. Pure rules and the few
/// atomics that all workers of an agent share; what a refusal looks like is the exchange's business.
/// Order: addresses (403), credentials (401), rate (429 or a delay), concurrency (503). A request refused by one is not
/// counted by those behind it. Requests from peers have passed all of it at the agent where they came in.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/http1/message.h"
#include "proxy/rate_limit.h"
#include "proxy/rate_share.h"
#include "proxy/trusted_proxies.h"

namespace proxy {

/// What tells one client from another, or one session.
struct ClientKey {
  enum class Kind : std::uint8_t { kIp, kHeader, kCookie, kPath, kRoute };
  Kind kind = Kind::kIp;
  std::string name;   ///< of the header or cookie
  friend bool operator==(const ClientKey&, const ClientKey&) = default;
  /// "ip", "path", "route", "header:NAME", "cookie:NAME"; nullopt when it is none of these.
  [[nodiscard]] static std::optional<ClientKey> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
};

/// The value of a cookie; nullopt = it did not come. Source: RFC 6265, section 4.2 (several Cookie fields are allowed).
[[nodiscard]] std::optional<std::string_view> cookie_of(const http1::RequestHead& head, std::string_view name);
/// The address that the client has as far as it can be believed: of the connection, or, when that is a trusted proxy, the
/// last one in X-Forwarded-For that is none.
/// @param peer  of the connection  @param trusted  null = nobody
[[nodiscard]] std::string_view client_address(const http1::RequestHead& head, std::string_view peer, const TrustedProxies* trusted);
/// The bytes to count or hash by. An IPv6 address counts as its /64, because a host has all of that. A header or cookie
/// that did not come falls back to the address, so that leaving it out buys nothing; both are kept apart by their first byte.
/// @param path  canonical  @param scratch  holds the key; recycled by the caller
[[nodiscard]] std::string_view client_key(const ClientKey& key, const http1::RequestHead& head, std::string_view address,
                                          std::string_view path, std::string& scratch);

using Digest = std::array<std::byte, 32>;
/// SHA-256, from the host: this library has no cryptography of its own.
using DigestFunction = Digest (*)(std::string_view text);

/// Secrets that open a route, as digests: who reads the settings cannot use them.
/// Tokens (`Authorization: Bearer T`, or the field `X-Api-Key: T`) are compared by SHA-256 of the token: they are random and
/// long, so that guessing is hopeless and a slow hash would only let strangers burn our time. Passwords of basic auth are
/// SHA-256 of "salt:user:password"; such a hash does not protect a weak password against somebody who has the file, which
/// is why settings must ask for one of at least 16 characters or be made by a generator (README, "Credentials").
/// Comparison takes the same time whatever is right about a guess: every entry is compared, in full.
struct Credentials {
  struct Entry {
    std::string user;       ///< empty = a token
    std::string name;       ///< whose secret it is: the user, or what a token is called, which may have several secrets; empty = a token without a name
    std::string salt;       ///< of a password
    Digest digest{};
  };
  std::vector<Entry> entries;   ///< empty = everybody may; at most kEntriesMax
  std::string realm = "outrigger";
  static constexpr std::size_t kEntriesMax = 64;   ///< each costs a request one digest
  [[nodiscard]] bool has_users() const;
  /// "sha256:HEX" or "NAME:sha256:HEX" (a token), or "USER:sha256:SALT:HEX"; HEX is 64 digits, SALT 8..64 of [A-Za-z0-9]. nullopt otherwise.
  [[nodiscard]] static std::optional<Entry> parse(std::string_view text);
};
/// The secret that the request carries; null = none of them.
/// @param scratch  recycled by the caller
[[nodiscard]] const Credentials::Entry* credentials_of(const Credentials& credentials, DigestFunction digest, const http1::RequestHead& head,
                                                       std::string& scratch);
/// Who that is, in words that a new secret for the same name does not change: "user bob", "token desk-a", "token" and the digest of one
/// without a name.
[[nodiscard]] std::string principal_of(const Credentials::Entry& entry);
/// 64 hexadecimal digits in lower case.
[[nodiscard]] std::string hex_text(const Digest& digest);
/// True if all bytes are the same; the time does not depend on them.
[[nodiscard]] bool same_digest(const Digest& a, const Digest& b);

/// What all workers know of one route together. Survives a new table that has a route of the same name.
struct RouteShare {
  std::atomic<std::uint32_t> running{0};  ///< requests that count against Admission::concurrency_max
};

/// The rules of one route.
struct Admission {
  AddressBlocks allow, deny;          ///< deny wins; an empty `allow` allows all
  Credentials credentials;
  std::optional<RateRule> rate;
  std::string rate_zone;              ///< routes of one zone count together; empty = the route's name
  ClientKey rate_key;
  std::optional<ClusterRate> cluster;  ///< with `rate`: all agents count together; else each by itself
  std::uint32_t concurrency_max = 0;  ///< requests of the route at a time, over all workers; 0 = no limit
  // Filled by RouteTable::make.
  std::shared_ptr<RateTable> rate_table;
  std::shared_ptr<RateZone> cluster_zone;  ///< null = this agent counts by itself
  std::shared_ptr<RouteShare> share;
  std::string rate_policy;            ///< value of RateLimit-Policy
  [[nodiscard]] bool any() const {
    return rate_table != nullptr || concurrency_max > 0 || !allow.empty() || !deny.empty() || !credentials.entries.empty();
  }
};
/// True if the lists of `admission` let `address` in. A client on a unix socket counts as 127.0.0.1.
[[nodiscard]] bool lets_in(const Admission& admission, std::string_view address);

/// Appends RateLimit-Policy and RateLimit as header lines. Source: draft-ietf-httpapi-ratelimit-headers-10.
void append_rate_fields(std::string& out, const Admission& admission, const RateVerdict& verdict);
/// The policy's value: "zone";q=20;w=10.
[[nodiscard]] std::string rate_policy_of(const std::string& zone, const RateRule& rule);

}  // namespace proxy
