#pragma once
#include <set>
#include <string>

#include "agent/config.h"
#include "agent/config_document.h"
#include "agent/config_tls.h"

/// What an agent writes down about requests: [access_log], [tracing], and their part of [proxy]. Private to config*.cc.
namespace agent {

/// Reads and checks [access_log]; whatever is wrong becomes a problem of the reader.
/// @param data_dir  where the file is unless it is named
void config_read_access_log(ConfigReader reader, const std::set<std::string>& all_keys, const std::filesystem::path& data_dir,
                            AccessLogConfig& log);
/// The same for [tracing], with what it needs to look at files of TLS.
void config_read_tracing(ConfigReader reader, const TlsReading& reading, TracingConfig& tracing);
/// The same for proxy.request_id.
void config_read_request_id(ConfigReader reader, const std::set<std::string>& all_keys, RequestIdConfig& id);

}  // namespace agent
