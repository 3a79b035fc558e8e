#pragma once
/// Settings of what a route makes of heads and answers, as config.h has them.
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace agent {

using Milliseconds = std::chrono::milliseconds;

/// [route.request_headers] and [route.response_headers], each line as "Name: value" with {variables}, `del` names alone.
/// Order of effect: del, set (takes the place of all fields of that name), add. No rule can touch framing or our own fields.
struct HeadersConfig {
  std::vector<std::string> set, add, del;  ///< <= 32 each
  bool security = false;                   ///< preset = "security"; responses only
  std::string csp;                         ///< Content-Security-Policy of the preset; empty = none
  friend bool operator==(const HeadersConfig&, const HeadersConfig&) = default;
};
/// What one line of those does, for ConfigSource::check_header.
enum class HeaderChange { kSetRequest, kAddRequest, kDelRequest, kSetResponse, kAddResponse, kDelResponse };

/// [route.static]: files of a folder in the place of an instance.
struct StaticConfig {
  std::filesystem::path root;           ///< a folder; relative to the file that names it
  std::string index = "index.html";     ///< answers for folders; empty = none
  std::string spa;                      ///< answers for what is not found, beneath root; empty = 404
  Milliseconds cache{0};                ///< max-age, whole seconds; 0 = not said
  std::string cache_control;            ///< put in front of it; empty = "public" when there is a max-age
  bool precompressed = true;            ///< FILE.gz goes in the place of FILE to clients that take gzip
  friend bool operator==(const StaticConfig&, const StaticConfig&) = default;
};

/// [route.compress]: gzip of responses.
struct CompressConfig {
  std::uint32_t level = 6;    ///< 1..9
  std::uint64_t min = 1000;   ///< bytes of an announced length; 0 .. 1 GiB
  std::vector<std::string> types{"text/html", "text/css", "text/plain", "text/xml", "text/csv", "text/javascript",
                                 "application/javascript", "application/json", "application/xml", "application/rss+xml",
                                 "application/manifest+json", "application/wasm", "image/svg+xml"};  ///< <= 64
  friend bool operator==(const CompressConfig&, const CompressConfig&) = default;
};

/// [route.cache]: answers to GET and HEAD kept for all clients of a route.
struct CacheConfig {
  Milliseconds ttl{300'000};                  ///< of answers that do not say how long they are fresh; 0 = those are not kept
  Milliseconds stale_while_revalidate{0};     ///< <= 24 h; an answer that says its own wins
  Milliseconds stale_if_error{0};             ///< the same
  std::uint64_t object_max = 1 << 20;         ///< bytes of one answer; 1 KiB .. 64 MiB
  Milliseconds wait{5000};                    ///< how long requests wait for one that asks on behalf of them; 0 = not at all
  friend bool operator==(const CacheConfig&, const CacheConfig&) = default;
};

}  // namespace agent
