#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/dns/lookup.h"
#include "agent/dns/resolver.h"

/// One query on its way to its answer. Private to agent/dns.
namespace agent::dns {

/// Ownership: lives on the stack of Resolver::answer.
class Resolver::Answer {
 public:
  /// @param limit bytes of the whole message
  Answer(Resolver& resolver, const Query& query, std::size_t limit);
  /// Fills the writer and ends the message. Once.
  std::span<const std::byte> run();

 private:
  enum class Found : std::uint8_t {
    kRecords,  ///< something was written, or would have been if it had fitted
    kNoData,   ///< the name exists, but not for this type
    kNoName,
  };
  using Picks = std::vector<const Instance*>;

  [[nodiscard]] std::optional<Rcode> refusal() const;
  void answer_inside();
  void answer_reverse(const Place& ip);
  Found find(const Name& owner, const Lookup& lookup);
  Found find_apex(const Name& owner, const Lookup& lookup);
  Found find_node(const Name& owner, const Lookup& lookup);
  Found find_service(const Name& owner, const Lookup& lookup);
  [[nodiscard]] bool serves(const Instance& instance, const std::string& tag) const;
  void shuffle(Picks& picks);

  // Each adds what fits of one kind of record to the answer section.
  bool add_service_places(const Name& owner, const Picks& picks, std::uint32_t ttl);
  bool add_service_alias(const Name& owner, const Picks& picks, std::uint32_t ttl);
  bool add_service_ports(const Name& owner, const Picks& picks, std::uint32_t ttl);
  bool add_place(const Name& owner, const Place& place, std::uint32_t ttl);
  bool add_meta(const Name& owner, const Node& node);
  bool add_servers(const Name& owner);
  /// Adds the alias and, as far as its end is in our own domains, what it stands for.
  bool add_alias(const Name& owner, const Name& target, std::uint32_t ttl);
  void add_negative_soa(const Name& domain);
  void add_glue();

  [[nodiscard]] bool wants(Type type) const { return query_.type == type || query_.type == Type::kAny; }
  [[nodiscard]] bool room();  ///< false: the answer is full, by settings or by size
  void note(bool fitted) { truncated_ = truncated_ || !fitted; }
  [[nodiscard]] Soa soa_of(const Name& domain) const;
  void speak_of(const Name& domain);  ///< makes names of ours in this domain from now on
  [[nodiscard]] std::optional<Name> node_name(const std::string& node) const;
  [[nodiscard]] std::optional<Name> address_name(const Place& ip) const;
  [[nodiscard]] std::optional<Name> target_of(const Instance& instance, Place& glue) const;

  Resolver& resolver_;
  const ResolverSettings& settings_;
  const Catalog& catalog_;
  MessageWriter& writer_;
  const Query& query_;
  Name domain_;                      // in which names of ours are made,
  Name node_suffix_, address_suffix_;  // and what stands behind those of nodes and addresses
  Rcode rcode_ = Rcode::kNoError;
  bool authoritative_ = false, truncated_ = false;
  unsigned aliases_ = 0;
  std::vector<std::pair<Name, Place>> glue_;
};

}  // namespace agent::dns
