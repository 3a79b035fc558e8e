#include "agent/config_observe.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "agent/config_values.h"

namespace agent {
namespace {

bool is_field_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-';
  });
}

// Fields with a meaning of their own: an id under such a name would break requests.
bool is_taken_field(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  static constexpr std::array<std::string_view, 27> kTaken = {
      "host", "connection", "content-length", "content-type", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive",
      "proxy-connection", "proxy-authenticate", "proxy-authorization", "expect", "forwarded", "x-forwarded-for",
      "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "x-forwarded-client-cert", "authorization", "cookie", "set-cookie",
      "via", "date", "traceparent", "tracestate", "location"};
  return text.starts_with("x-outrigger-") || std::find(kTaken.begin(), kTaken.end(), text) != kTaken.end();
}

// A key that its `to` does not look at is a mistake that would show late.
void check_idle_keys(ConfigReader& reader, LogTarget to) {
  const auto only = [&](const char* key, LogTarget wanted, const char* word) {
    if (reader.has(key) && to != wanted)
      reader.problem(key, "only to = \"" + std::string(word) + "\" looks at it", "set access_log.to, or remove the key");
  };
  only("file", LogTarget::kFile, "file");
  only("file_bytes_max", LogTarget::kFile, "file");
  only("files_max", LogTarget::kFile, "file");
  only("syslog", LogTarget::kSyslog, "syslog");
}

}  // namespace

void config_read_access_log(ConfigReader reader, const std::set<std::string>& all_keys, const std::filesystem::path& data_dir,
                            AccessLogConfig& log) {
  reader.choice("to", log.to, {{"off", LogTarget::kOff}, {"file", LogTarget::kFile}, {"stdout", LogTarget::kStdout}, {"syslog", LogTarget::kSyslog}});
  log.file = data_dir / "access.log";
  if (reader.path("file", log.file, false) && log.file.empty())
    reader.problem("file", "the path is empty", "leave the key out for access.log in node.data_dir");
  reader.size("file_bytes_max", log.file_bytes_max, 64 << 10, 1ULL << 40);
  reader.number("files_max", log.files_max, 1, 1000);
  std::string syslog;
  if (reader.text("syslog", syslog)) {
    const auto address = parse_host_port(syslog);
    if (!address || (!address->is_unix() && address->port == 0))
      reader.problem("syslog", "\"" + syslog + "\" is no address", "write \"127.0.0.1:514\" (UDP) or \"unix:/dev/log\"");
    else
      log.syslog = *address;
  }
  reader.boolean("query", log.query);
  reader.size("buffer", log.buffer_bytes, 64 << 10, 256 << 20);
  check_idle_keys(reader, log.to);
  reader.finish(all_keys);
}

void config_read_tracing(ConfigReader reader, const std::set<std::string>& all_keys, TracingConfig& tracing) {
  reader.boolean("enabled", tracing.enabled);
  reader.choice("accept", tracing.from_anyone, {{"anyone", true}, {"proxies", false}});
  reader.number("sample_every", tracing.sample_every, 0, 1'000'000);
  reader.finish(all_keys);
}

void config_read_request_id(ConfigReader reader, const std::set<std::string>& all_keys, RequestIdConfig& id) {
  if (reader.text("field", id.field, 64) && (!is_field_name(id.field) || is_taken_field(id.field)))
    reader.problem("field", "\"" + id.field + "\" is no name for an id", "write letters, digits and '-', such as \"X-Request-Id\", and no standard field");
  reader.choice("accept", id.from_anyone, {{"proxies", false}, {"anyone", true}});
  reader.boolean("to_client", id.to_client);
  reader.finish(all_keys);
}

}  // namespace agent
