#include <algorithm>
#include <string>

#include "agent/dns/resolver.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/dns_message.h"

// One DNS message sent by anyone, over both transports, to a resolver with a small catalog. Whatever comes in: at most
// one answer, well-formed as a strict decoder sees it, no larger than allowed, and about the question that was asked.
namespace {

namespace dns = agent::dns;

/// A few nodes and services of every kind of place; "big" does not fit into a datagram.
class SmallCatalog final : public dns::Catalog {
 public:
  SmallCatalog() {
    web_.push_back(instance("n1", "10.0.0.1", "", 80, {"primary", "v1.2"}));
    web_.push_back(instance("n2", "2001:db8::2", "10.0.0.9", 81, {"replica"}));
    front_.push_back(instance("n1", "10.0.0.1", "web.service.consul", 443, {}));
    for (std::uint16_t i = 0; i < 300; ++i)
      big_.push_back(instance("n1", "10.0.0.1", "10.1." + std::to_string(i / 200) + "." + std::to_string(i % 200), i, {}));
    node_.name = "n1";
    node_.place = dns::Place::parse("10.0.0.1");
    node_.meta = {{"rack", std::string(700, 'r')}, {"zone", "a"}};
  }
  [[nodiscard]] bool ready() const override { return true; }
  [[nodiscard]] std::uint64_t version() const override { return 7; }
  [[nodiscard]] std::span<const dns::Instance> instances(std::string_view service) const override {
    if (service == "web" || service == "consul") return web_;
    if (service == "front") return front_;
    return service == "big" ? std::span<const dns::Instance>(big_) : std::span<const dns::Instance>();
  }
  [[nodiscard]] const dns::Node* node(std::string_view name) const override { return name == "n1" ? &node_ : nullptr; }
  [[nodiscard]] std::vector<dns::Resident> residents(const dns::Place& ip) const override {
    if (ip != node_.place) return {};
    return {{dns::Resident::Kind::kNode, "n1"}, {dns::Resident::Kind::kService, "web"}};
  }

 private:
  static dns::Instance instance(const std::string& node, const std::string& at, const std::string& own, std::uint16_t port,
                                std::vector<std::string> tags) {
    return {node, dns::Place::parse(at), dns::Place::parse(own), port, 1, dns::Health::kPassing, std::move(tags)};
  }
  std::vector<dns::Instance> web_, front_, big_;
  dns::Node node_;
};

void check(std::span<const std::byte> query, std::span<const std::byte> answer, std::size_t limit) {
  if (answer.empty()) return fuzz::require(query.size() < 12 || (std::to_integer<int>(query[2]) & 0x80) != 0, "silence has a reason");
  fuzz::require(answer.size() <= limit, "an answer keeps to its limit");
  const auto read = test::dns::decode(answer);
  fuzz::require(read.has_value(), "an answer is well-formed");
  fuzz::require((read->flags & 0x8000) != 0, "an answer says that it is one");
  fuzz::require(std::equal(query.begin(), query.begin() + 2, answer.begin()), "an answer bears the number of its question");
  if (!read->question) return fuzz::require(read->rcode() == 1 || read->rcode() == 4, "only what was not read comes back without its question");
  // The question stands first in both, uncompressed: byte for byte the same.
  const auto end = std::find(query.begin() + 12, query.end(), std::byte{0}) - query.begin();
  const auto bytes = static_cast<std::ptrdiff_t>(std::min<std::size_t>(static_cast<std::size_t>(end), answer.size()));
  fuzz::require(std::equal(query.begin() + 12, query.begin() + bytes, answer.begin() + 12), "the asker's spelling is kept");
  fuzz::require(read->rcode() != 3 || read->authority.size() == 1 || read->truncated(), "a denial names its zone");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const SmallCatalog catalog;
  static dns::Resolver resolver(
      [] {
        dns::ResolverSettings settings;
        settings.domain = *dns::Name::parse("consul");
        settings.alt_domain = *dns::Name::parse("outrigger");
        return settings;
      }(),
      catalog, [](std::uint64_t bound) { return bound / 2; });
  const auto query = fuzz::bytes_of(data, size);
  check(query, resolver.answer(query, dns::Transport::kUdp), 1232);
  check(query, resolver.answer(query, dns::Transport::kTcp), 65535);
  return 0;
}
