#include "agent/listen_tls.h"

#include <algorithm>
#include <utility>

#include "agent/io/clock.h"

namespace agent {
namespace {

io::TlsOptions server_options(const ListenTlsConfig& config) {
  io::TlsOptions options;
  options.role = io::TlsRole::kServer;
  options.min_version = io::TlsVersion::kTls12;
  switch (config.client_certificates) {
    case ClientCertificates::kOff: options.verify = io::TlsVerify::kNone; break;
    case ClientCertificates::kOptional: options.verify = io::TlsVerify::kOptional; break;
    case ClientCertificates::kRequired: options.verify = io::TlsVerify::kRequired; break;
  }
  options.ca_file = config.client_ca.string();
  for (const CertificateConfig& one : config.certificates)
    options.certificates.push_back({one.cert.string(), one.key.string(), one.ocsp.string()});
  options.alpn = config.alpn;
  options.groups = config.curves;
  return options;
}

io::TlsOptions client_options(const InstanceTlsConfig& config) {
  io::TlsOptions options;
  options.role = io::TlsRole::kClient;
  options.min_version = io::TlsVersion::kTls12;
  options.verify = config.verify ? io::TlsVerify::kRequired : io::TlsVerify::kNone;
  options.ca_file = config.ca.string();
  if (!config.cert.empty()) options.certificates = {{config.cert.string(), config.key.string(), {}}};
  options.alpn = {"http/1.1"};
  return options;
}

std::shared_ptr<const proxy::ListenerRules> rules_of(const ListenConfig& config) {
  if (!config.redirect_https && config.hsts.count() == 0) return nullptr;
  auto rules = std::make_shared<proxy::ListenerRules>();
  if (config.redirect_https) rules->redirect_https_port = config.redirect_port;
  if (config.hsts.count() > 0) {
    rules->hsts = "max-age=" + std::to_string(config.hsts.count() / 1000) + (config.hsts_subdomains ? "; includeSubDomains" : "");
  }
  return rules;
}

}  // namespace

io::Result<std::vector<drivers::ListenPolicy>> ListenTls::load(const std::vector<ListenConfig>& listeners, std::int64_t wall_ms) {
  std::vector<drivers::ListenPolicy> policies;
  std::vector<CertificateStatus> certificates;
  std::map<std::string, std::shared_ptr<io::TlsTickets>> tickets;
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    drivers::ListenPolicy& policy = policies.emplace_back();
    policy.rules = rules_of(listeners[i]);
    policy.h2c = listeners[i].h2c;
    if (!listeners[i].tls) continue;
    const ListenTlsConfig& config = *listeners[i].tls;
    policy.handshake_timeout = config.handshake_timeout;
    policy.tell_client_certificate = config.tell_client_certificate;
    io::TlsOptions options = server_options(config);
    if (config.tickets && config.client_certificates == ClientCertificates::kOff) {
      const auto lifetime = std::max(std::chrono::seconds(1), std::chrono::duration_cast<std::chrono::seconds>(config.ticket_lifetime));
      const std::string name = listeners[i].address.text() + " " + std::to_string(lifetime.count());
      if (const auto old = tickets_.find(name); old != tickets_.end()) {
        options.tickets = old->second;
      } else {
        auto made = io::TlsTickets::create(lifetime);
        if (!made) return tl::make_unexpected(made.error());
        options.tickets = *made;
      }
      tickets[name] = options.tickets;
    }
    auto context = io::TlsContext::load(options, wall_ms);
    if (!context) return io::fail(context.error().code, "listen[" + std::to_string(i) + "].tls: " + context.error().detail);
    for (const io::TlsCertificateInfo& one : (*context)->certificates())
      certificates.push_back({listeners[i].address.text(), one.file, one.common_name, one.not_after_ms});
    policy.tls = std::move(*context);
  }
  certificates_ = std::move(certificates);
  tickets_ = std::move(tickets);
  return policies;
}

ListenTls::Tickets ListenTls::tickets() const {
  Tickets sum;
  for (const auto& [name, one] : tickets_) {
    sum.issued += one->counters().issued;
    sum.accepted += one->counters().accepted;
    sum.refused += one->counters().refused;
  }
  return sum;
}

std::vector<std::string> ListenTls::warnings(std::int64_t wall_ms) const {
  constexpr std::int64_t kDayMs = 24 * 3600 * 1000;
  std::vector<std::string> out;
  for (const CertificateStatus& one : certificates_) {
    const std::int64_t left = one.not_after_ms - wall_ms;
    if (left < kWarnDays * kDayMs)
      out.push_back(one.file + " (" + one.common_name + ") of " + one.listener + " ends in " + std::to_string(std::max<std::int64_t>(0, left / kDayMs)) +
                    " days; put a new one in its place and reload (SIGHUP)");
  }
  return out;
}

io::Result<std::optional<drivers::InstanceTls>> instance_tls(const ServiceConfig& service, std::int64_t wall_ms) {
  if (!service.tls) return std::optional<drivers::InstanceTls>();
  auto context = io::TlsContext::load(client_options(*service.tls), wall_ms);
  if (!context) return io::fail(context.error().code, "service.tls: " + context.error().detail);
  return std::optional(drivers::InstanceTls{std::move(*context), service.tls->server_name});
}

io::Result<std::shared_ptr<const io::TlsContext>> client_tls(const InstanceTlsConfig& tls, std::int64_t wall_ms) {
  return io::TlsContext::load(client_options(tls), wall_ms);
}

std::optional<std::string> check_listen_tls(const ListenTlsConfig& tls) {
  const auto context = io::TlsContext::load(server_options(tls), io::wall_ms());
  return context ? std::nullopt : std::optional(context.error().detail);
}

std::optional<std::string> check_instance_tls(const InstanceTlsConfig& tls) {
  const auto context = io::TlsContext::load(client_options(tls), io::wall_ms());
  return context ? std::nullopt : std::optional(context.error().detail);
}

}  // namespace agent
