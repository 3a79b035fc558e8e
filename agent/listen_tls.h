#pragma once
/// TLS of the listeners and of the instance: settings and files into what the proxy's workers use.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/config.h"
#include "agent/drivers/proxy_driver.h"
#include "agent/io/error.h"
#include "agent/io/tls_tickets.h"

namespace agent {

/// A certificate in use, for the metric that warns before it ends.
struct CertificateStatus {
  std::string listener;  ///< its address as configured
  std::string file, common_name;
  std::int64_t not_after_ms = 0;  ///< Unix time
};

/// The listeners' certificates and ticket keys. A load that fails leaves everything as it was.
/// Ownership: a member of the agent. Thread: the control loop's; a load reads files and checks keys, about 1 ms each.
class ListenTls {
 public:
  /// One policy for each listener, in their order. Ticket keys outlive the load, so that clients keep their sessions.
  /// Errors: kCertificate, kInvalidArgument, naming the file (or the listener) and what to do.
  io::Result<std::vector<drivers::ListenPolicy>> load(const std::vector<ListenConfig>& listeners, std::int64_t wall_ms);
  [[nodiscard]] const std::vector<CertificateStatus>& certificates() const { return certificates_; }
  /// Of all listeners together.
  struct Tickets {
    std::uint64_t issued = 0, accepted = 0, refused = 0;
  };
  [[nodiscard]] Tickets tickets() const;
  /// One sentence for each certificate that ends within `kWarnDays`.
  [[nodiscard]] std::vector<std::string> warnings(std::int64_t wall_ms) const;
  static constexpr std::int64_t kWarnDays = 14;

 private:
  std::vector<CertificateStatus> certificates_;
  std::map<std::string, std::shared_ptr<io::TlsTickets>> tickets_;  // by listener and lifetime
};

/// What the proxy needs to reach the instance over TLS; nullopt = plain. Errors as of ListenTls::load.
[[nodiscard]] io::Result<std::optional<drivers::InstanceTls>> instance_tls(const ServiceConfig& service, std::int64_t wall_ms);

/// The context of a client with these settings. Errors as of TlsContext::load.
[[nodiscard]] io::Result<std::shared_ptr<const io::TlsContext>> client_tls(const InstanceTlsConfig& tls, std::int64_t wall_ms);

/// ConfigSource::check_listen_tls and check_instance_tls.
[[nodiscard]] std::optional<std::string> check_listen_tls(const ListenTlsConfig& tls);
[[nodiscard]] std::optional<std::string> check_instance_tls(const InstanceTlsConfig& tls);

}  // namespace agent
