#pragma once
#include <cstdint>
#include <string>

#include "agent/dns/message.h"
#include "agent/dns/name.h"
#include "agent/dns/resolver.h"

/// What a name asks for, by its spelling alone. Private to agent/dns.
/// Grammar (D = a domain of ours, DC = the own datacenter, which may be left out everywhere):
///   D | ns.D | NODE.node[.DC].D | [TAG.]NAME.service[.DC].D | _NAME._TAG.service[.DC].D | HEX.addr[.DC].D
///   and for SRV also _NAME._TAG[.DC].D; reversed addresses below in-addr.arpa and ip6.arpa.
namespace agent::dns {

struct Lookup {
  enum class Kind : std::uint8_t {
    kForeign,  ///< outside of our domains
    kApex,     ///< the domain itself
    kNode,     ///< `name`
    kService,  ///< `name`, and `tag` unless empty
    kAddress,  ///< `ip`, as spelled in the name
    kReverse,  ///< `ip`
    kBranch,   ///< names exist below, but nothing is here (RFC 8020: not "no such name")
    kNothing,  ///< inside of a domain of ours, and of no form that ever holds anything
  };
  Kind kind = Kind::kForeign;
  Name domain;       ///< the domain of ours that it is in, as configured; the root if none
  std::string name;  ///< lower case
  std::string tag;   ///< lower case; may hold dots
  Place ip;
  bool may_be_branch = false;  ///< kService: where such a service is not known, the name still has names below it
};

[[nodiscard]] Lookup look_up(const Name& asked, Type type, const ResolverSettings& settings);

}  // namespace agent::dns
