#include "agent/config_tls.h"

#include <algorithm>
#include <set>

#include "agent/config_sources.h"

namespace agent {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

constexpr std::size_t kCertificatesMax = 32;
constexpr const char* kSystemAuthorities = "/etc/ssl/certs/ca-certificates.crt";  // where Debian and Ubuntu keep them

/// A file that must be readable now, so that the fault is found here with its line and not at the first connection.
/// @return whether it is, as far as may be looked
bool check_file(const TlsReading& reading, ConfigReader& reader, const std::string& key, const std::filesystem::path& path) {
  if (!reading.opens_files || path.empty()) return true;
  const auto text = config_read_file(path, kConfigFileBytesMax);
  if (text) return true;
  reader.problem(key, "cannot read " + path.string() + ": " + text.error(), "check the path and that the agent's user may read it");
  return false;
}

bool read_certificates(ConfigReader& reader, const TlsReading& reading, ListenTlsConfig& tls) {
  bool sound = true;
  for (auto& one : reader.tables("certificates", kCertificatesMax)) {
    CertificateConfig pair;
    for (const auto& [key, place] : {std::pair{"cert", &pair.cert}, std::pair{"key", &pair.key}}) {
      one.path(key, *place, true);
      if (!one.present()) continue;
      if (place->empty()) {
        one.problem(key, "certificate and key belong together", "write { cert = \"site.pem\", key = \"site.key\" }");
        sound = false;
      } else {
        sound = check_file(reading, one, key, *place) && sound;
      }
    }
    one.path("ocsp", pair.ocsp, true);
    sound = check_file(reading, one, "ocsp", pair.ocsp) && sound;
    one.finish(reading.all_keys);
    tls.certificates.push_back(std::move(pair));
  }
  if (tls.certificates.empty() && reader.present()) {
    reader.problem("certificates", "TLS without a certificate", "add certificates = [{ cert = \"site.pem\", key = \"site.key\" }]");
    return false;
  }
  return sound;
}

void read_alpn(ConfigReader& reader, ListenTlsConfig& tls) {
  reader.list("alpn", tls.alpn, 8);
  for (const std::string& name : tls.alpn)
    if (name != "http/1.1" && name != "h2")
      reader.problem("alpn", "\"" + name + "\" is not spoken here", "write [\"h2\", \"http/1.1\"], one of the two, or leave the key out");
}

void read_curves(ConfigReader& reader, ListenTlsConfig& tls) {
  static const std::vector<std::string> kCurves{"X25519", "secp256r1", "secp384r1", "secp521r1"};  // both TLS libraries have these
  if (!reader.list("curves", tls.curves, 8)) return;
  std::set<std::string> seen;
  for (const std::string& curve : tls.curves) {
    const bool known = std::find(kCurves.begin(), kCurves.end(), curve) != kCurves.end();
    const std::string near = nearest_word(curve, kCurves);
    if (!known) reader.problem("curves", "\"" + curve + "\" is no curve that is spoken here", near.empty() ? "write X25519, secp256r1, secp384r1, secp521r1" : "did you mean \"" + near + "\"?");
    else if (!seen.insert(curve).second) reader.problem("curves", "\"" + curve + "\" is listed twice", "remove one");
  }
  if (tls.curves.empty()) reader.problem("curves", "without a curve no handshake could succeed", "name some, or remove the key");
}

void read_listen_table(ConfigReader reader, const TlsReading& reading, ConfigReader& above, ListenConfig& listen) {
  ListenTlsConfig tls;
  bool sound = read_certificates(reader, reading, tls);
  read_alpn(reader, tls);
  reader.choice("client_certificates", tls.client_certificates,
                {{"off", ClientCertificates::kOff}, {"optional", ClientCertificates::kOptional}, {"required", ClientCertificates::kRequired}});
  reader.path("client_ca", tls.client_ca, true);
  sound = check_file(reading, reader, "client_ca", tls.client_ca) && sound;
  reader.boolean("tell_client_certificate", tls.tell_client_certificate);
  const bool asks = tls.client_certificates != ClientCertificates::kOff;
  if (asks && tls.client_ca.empty()) {
    reader.problem("client_certificates", "nobody is named who may have signed them", "add client_ca = \"clients.pem\"");
    sound = false;
  }
  if (!asks && !tls.client_ca.empty())
    reader.problem("client_ca", "clients are not asked for a certificate", "add client_certificates = \"optional\" or \"required\"");
  if (!asks && tls.tell_client_certificate)
    reader.problem("tell_client_certificate", "clients are not asked for a certificate", "add client_certificates = \"optional\" or \"required\"");
  read_curves(reader, tls);
  reader.boolean("tickets", tls.tickets);
  reader.duration("ticket_lifetime", tls.ticket_lifetime, seconds(1), hours(24 * 7));
  reader.duration("handshake_timeout", tls.handshake_timeout, Milliseconds(100), seconds(60));
  reader.finish(reading.all_keys);
  if (!reader.present()) return;
  if (sound && reading.opens_files && reading.check_listen)
    if (const auto fault = reading.check_listen(tls)) above.problem("tls", *fault, {});
  listen.tls = std::move(tls);
}

}  // namespace

void config_read_listen_tls(ConfigReader& reader, const TlsReading& reading, ListenConfig& listen) {
  read_listen_table(reader.section("tls"), reading, reader, listen);
  reader.boolean("h2c", listen.h2c);
  if (listen.h2c && listen.tls)
    reader.problem("h2c", "this listener speaks TLS, where clients choose by ALPN", "remove it; alpn = [\"h2\", \"http/1.1\"] is the default");
  reader.boolean("redirect_https", listen.redirect_https);
  reader.number("redirect_port", listen.redirect_port, 1, 65535);
  reader.duration("hsts", listen.hsts, Milliseconds(0), hours(24 * 366 * 2));
  reader.boolean("hsts_subdomains", listen.hsts_subdomains);
  if (listen.redirect_https && listen.tls)
    reader.problem("redirect_https", "this listener speaks TLS already: it would send everybody back to itself",
                   "put it on the listener for plain http");
  if (listen.hsts.count() > 0 && !listen.tls)
    reader.problem("hsts", "Strict-Transport-Security means nothing over plain http (RFC 6797)", "put it on the listener with tls");
  if (listen.hsts.count() % 1000 != 0) reader.problem("hsts", "browsers count in whole seconds", "write \"8760h\" for a year");
  if (listen.hsts_subdomains && listen.hsts.count() == 0)
    reader.problem("hsts_subdomains", "hsts is not set", "add hsts = \"8760h\" (a year), or remove this key");
}

void config_read_instance_tls(ConfigReader& above, const TlsReading& reading, ServiceConfig& service) {
  config_read_client_tls(above, reading, service.address.is_unix() ? std::string() : service.address.host, service.tls);
}

InstanceTlsConfig config_default_client_tls(const std::string& host) {
  InstanceTlsConfig tls;
  tls.ca = kSystemAuthorities;
  tls.server_name = host;
  return tls;
}

void config_read_client_tls(ConfigReader& above, const TlsReading& reading, const std::string& host, std::optional<InstanceTlsConfig>& out) {
  ConfigReader reader = above.section("tls");
  InstanceTlsConfig tls;
  reader.boolean("verify", tls.verify);
  const bool own_authority = reader.path("ca", tls.ca, true);
  bool sound = check_file(reading, reader, "ca", tls.ca);
  if (own_authority && !tls.verify)
    reader.problem("ca", "verify = false: the other side's certificate is not looked at", "remove one of the two");
  if (tls.verify && tls.ca.empty()) tls.ca = kSystemAuthorities;
  if (!tls.verify) tls.ca.clear();
  tls.server_name = host;
  if (reader.text("server_name", tls.server_name, 255)) reader.note_by_others("server_name", config_quoted(host));
  reader.path("cert", tls.cert, true);
  reader.path("key", tls.key, true);
  sound = check_file(reading, reader, "cert", tls.cert) && check_file(reading, reader, "key", tls.key) && sound;
  if (tls.cert.empty() != tls.key.empty()) {
    reader.problem(tls.cert.empty() ? "cert" : "key", "certificate and key belong together", "give both or none");
    sound = false;
  }
  if (reader.present() && tls.verify && tls.server_name.empty()) {
    reader.problem("server_name", "a unix socket has no name that a certificate could carry", "add server_name, or verify = false");
    sound = false;
  }
  reader.finish(reading.all_keys);
  if (!reader.present()) return;
  if (sound && reading.opens_files && reading.check_instance)
    if (const auto fault = reading.check_instance(tls)) above.problem("tls", *fault, {});
  out = std::move(tls);
}

}  // namespace agent
