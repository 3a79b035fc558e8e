#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "agent/dns/catalog.h"
#include "agent/dns/message.h"
#include "agent/dns/writer.h"

/// The DNS server without sockets: the bytes of a query in, the bytes of the answer out.
namespace agent::dns {

enum class Transport : std::uint8_t { kUdp, kTcp };

struct ResolverSettings {
  Name domain;                               ///< answered with authority, e.g. "consul."
  Name alt_domain;                           ///< answered alike, in its own words; the root = none
  std::string datacenter = "dc1";            ///< may stand in names and stands in those that we make; empty = none
  std::string server_service = "consul";     ///< the service whose instances are the zone's name servers
  bool only_passing = false;                 ///< leaves out instances with a warning too
  std::uint32_t ttl_seconds = 0;             ///< of answers; names by role and negative answers always have 0
  std::size_t answers_max = 0;               ///< records of an answer; 0 = as many as fit
  bool truncate_flag = true;                 ///< false: TC is not set on what did not fit into a datagram, as in Consul
  std::uint16_t udp_payload_bytes_max = 1232;  ///< 512..65535; the client's own wish counts when it is smaller
};

struct ResolverCounters {
  std::array<std::uint64_t, 2> queries{};  ///< by Transport; everything that came in
  std::map<Rcode, std::uint64_t> answers;
  std::map<Fault, std::uint64_t> malformed;  ///< answered or not
  std::uint64_t silent = 0;                  ///< malformed ones that got no answer
  std::uint64_t truncated = 0;               ///< answers with TC
};

/// Answers from the catalog. Authoritative for two domains, refuses every other name, never asks anybody.
/// Rules:     README.md in this folder, one by one; the dialect is that of Consul where it does not hurt.
/// Source:    RFC 1034, 1035, 2181, 2308, 2782, 4343, 6891, 8020.
/// Invariant: at most one answer per query, never larger than the asker takes; same catalog, query and chance, same bytes.
/// Ownership: the catalog must outlive it. Thread: one.
class Resolver {
 public:
  /// @param chance  uniform below its argument: shuffles answers
  Resolver(ResolverSettings settings, const Catalog& catalog, std::function<std::uint64_t(std::uint64_t)> chance);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// @param query  one message, sent by anyone.
  /// @return the answer, valid until the next call; empty: say nothing.
  std::span<const std::byte> answer(std::span<const std::byte> query, Transport transport);
  [[nodiscard]] const ResolverCounters& counters() const { return counters_; }

 private:
  class Answer;  // one query on its way (answer.h)
  ResolverSettings settings_;
  const Catalog& catalog_;
  std::function<std::uint64_t(std::uint64_t)> chance_;
  MessageWriter writer_;
  ResolverCounters counters_;
};

}  // namespace agent::dns
