#include "agent/config_dns.h"

#include <algorithm>

namespace agent {
namespace {

constexpr std::size_t kDomainBytesMax = 160;  // leaves room for node, datacenter and the words between them
constexpr std::uint16_t kLargeDatagram = 8192, kSafeDatagram = 1232;

/// Labels of 1..63 letters, digits, '-' and '_', with dots between them.
bool is_domain(std::string_view text) {
  if (text.empty() || text.size() > kDomainBytesMax) return false;
  std::size_t label = 0;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (c == '.' ? label == 0 : !letter || label == 63) return false;
    label = c == '.' ? 0 : label + 1;
  }
  return label != 0;
}

void read_domain(ConfigReader& reader, const std::string& key, std::string& domain, bool may_be_empty) {
  if (!reader.text(key, domain)) return;
  std::transform(domain.begin(), domain.end(), domain.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (domain.ends_with('.')) domain.pop_back();
  reader.note_meaning(key, config_quoted(domain));
  if (!is_domain(domain) && !(may_be_empty && domain.empty()))
    reader.problem(key, "\"" + domain + "\" is no domain name", "write a name such as \"consul\" or \"mesh.example.com\"");
}

void read_listen(ConfigReader& reader, DnsConfig& dns) {
  std::string text;
  if (!reader.text("listen", text)) return;
  reader.note_by_others("listen", config_quoted(dns.listen.text()) + " if nobody has it");  // a port that is asked for is wanted
  dns.listen_is_default = false;
  const auto address = text == "off" ? std::optional(HostPort{}) : parse_host_port(text);
  if (!address || address->is_unix()) {
    reader.problem("listen", "\"" + text + "\" is no address for DNS", "write \"127.0.0.1:8600\", \"[::1]:8600\" or \"off\"");
    return;
  }
  dns.enabled = text != "off";
  dns.listen = *address;
  if (dns.enabled) reader.note_meaning("listen", config_quoted(dns.listen.text()));
}

}  // namespace

void config_read_dns(ConfigReader reader, const std::set<std::string>& all_keys, DnsConfig& dns) {
  read_listen(reader, dns);
  reader.boolean("insecure", dns.insecure);
  if (dns.enabled && !dns.listen.is_local() && !dns.insecure)
    reader.problem("listen", dns.listen.text() + " can be reached from other machines, and DNS tells everyone who asks",
                   "listen on 127.0.0.1, or set dns.insecure = true on a network that you trust");
  read_domain(reader, "domain", dns.domain, false);
  read_domain(reader, "alt_domain", dns.alt_domain, true);
  if (dns.alt_domain == dns.domain) dns.alt_domain.clear();
  reader.boolean("only_passing", dns.only_passing);
  reader.duration("ttl", dns.ttl, Milliseconds(0), Milliseconds(std::chrono::hours(24)));
  if (dns.ttl.count() % 1000 != 0)
    reader.problem("ttl", "DNS counts in whole seconds", "write \"" + std::to_string(dns.ttl.count() / 1000 + 1) + "s\"");
  reader.number("answers_max", dns.answers_max, 0, 1000);
  reader.boolean("truncate_flag", dns.truncate_flag);
  dns.udp_bytes_max = dns.listen.is_local() ? kLargeDatagram : kSafeDatagram;
  const std::string by_address = std::to_string(dns.udp_bytes_max);
  if (reader.number("udp_bytes_max", dns.udp_bytes_max, 512, kLargeDatagram)) reader.note_by_others("udp_bytes_max", by_address);
  reader.number("connections_max", dns.connections_max, 1, 10000);
  reader.finish(all_keys);
}

}  // namespace agent
