#pragma once
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "agent/config.h"
#include "agent/config_document.h"

/// What the settings say about TLS: [[listen]] and [service]. Private to config*.cc.
namespace agent {

/// What both readers need beside their section.
struct TlsReading {
  const std::set<std::string>& all_keys;  ///< every key that the file may hold, for the hints to unknown ones
  bool opens_files;                       ///< false for text that nobody vouches for
  const std::function<std::optional<std::string>(const ListenTlsConfig&)>& check_listen;  ///< may be empty
  const std::function<std::optional<std::string>(const InstanceTlsConfig&)>& check_instance;  ///< may be empty
};

/// Reads and checks the keys of one [[listen]] that are about TLS; whatever is wrong becomes a problem of the reader.
void config_read_listen_tls(ConfigReader& reader, const TlsReading& reading, ListenConfig& listen);
/// The same for [service]; `service.address` has been read.
void config_read_instance_tls(ConfigReader& reader, const TlsReading& reading, ServiceConfig& service);
/// What is meant where nothing is said: verified by what the system trusts.
[[nodiscard]] InstanceTlsConfig config_default_client_tls(const std::string& host);
/// The table `tls` of whoever speaks TLS to somebody else; left as it is when there is none.
/// @param host  name that the certificate must carry unless the table says another; empty = it has to say one
void config_read_client_tls(ConfigReader& above, const TlsReading& reading, const std::string& host, std::optional<InstanceTlsConfig>& tls);

}  // namespace agent
