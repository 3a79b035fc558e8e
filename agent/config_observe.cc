#include "agent/config_observe.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

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

// Of a collector. The agent's own part looks again, with the grammar that it really uses.
struct Url {
  std::string host;  ///< without brackets
  bool https = false;
};
/// @return what is wrong; empty = nothing
std::string read_url(std::string_view text, Url& url) {
  if (!text.starts_with("http://") && !text.starts_with("https://")) return "a collector is spoken to over http:// or https://";
  url.https = text.starts_with("https://");
  text.remove_prefix(url.https ? 8 : 7);
  for (const char c : text)
    if (c <= ' ' || c >= '\x7f' || c == '#') return "a byte in it belongs into no URL";
  std::string_view place = text.substr(0, text.find('/'));
  if (place.find('@') != std::string_view::npos) return "no user belongs here; use headers";
  const std::size_t bracket = place.starts_with('[') ? place.find(']') : 0;
  const std::size_t colon = bracket == std::string_view::npos ? bracket : place.find(':', bracket);
  if (colon != std::string_view::npos) {
    unsigned port = 0;
    const std::string_view digits = place.substr(colon + 1);
    const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (code != std::errc{} || end != digits.data() + digits.size() || port == 0 || port > 65535) return "the port is none";
    place = place.substr(0, colon);
  }
  if (place.starts_with('[') && place.ends_with(']')) place = place.substr(1, place.size() - 2);
  url.host = std::string(place);
  return url.host.empty() ? "it names no host" : std::string();
}

/// One line of tracing.headers. @return what is wrong; empty = nothing. The value stays out of it: it may be a secret.
std::string header_fault(std::string_view line) {
  const std::size_t colon = line.find(':');
  std::string name(line.substr(0, colon));
  if (colon == std::string_view::npos || !is_field_name(name)) return "a line has no name in front of a colon";
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  static constexpr std::array<std::string_view, 9> kOurs = {"host", "content-type", "content-length", "content-encoding", "transfer-encoding",
                                                            "connection", "user-agent", "expect", "accept-encoding"};
  if (std::find(kOurs.begin(), kOurs.end(), name) != kOurs.end()) return "\"" + name + "\" is written by the agent itself";
  for (const char c : line.substr(colon + 1))
    if (c < ' ' || c > '~') return "the value of \"" + name + "\" holds bytes that no field may have";
  return {};
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
  const std::string beside_data = config_quoted(log.file.string());
  if (reader.path("file", log.file, false)) {
    reader.note_by_others("file", beside_data);
    if (log.file.empty()) reader.problem("file", "the path is empty", "leave the key out for access.log in node.data_dir");
  }
  reader.size("file_bytes_max", log.file_bytes_max, 64 << 10, 1ULL << 40);
  reader.number("files_max", log.files_max, 1, 1000);
  std::string syslog = log.syslog.text();
  if (reader.text("syslog", syslog)) {
    const auto address = parse_host_port(syslog);
    if (!address || (!address->is_unix() && address->port == 0))
      reader.problem("syslog", "\"" + syslog + "\" is no address", "write \"127.0.0.1:514\" (UDP) or \"unix:/dev/log\"");
    else
      reader.note_meaning("syslog", config_quoted((log.syslog = *address).text()));
  }
  reader.boolean("query", log.query);
  reader.size("buffer", log.buffer_bytes, 64 << 10, 256 << 20);
  check_idle_keys(reader, log.to);
  reader.finish(all_keys);
}

void config_read_tracing(ConfigReader reader, const TlsReading& reading, TracingConfig& tracing) {
  reader.boolean("enabled", tracing.enabled);
  reader.choice("accept", tracing.from_anyone, {{"anyone", true}, {"proxies", false}});
  reader.number("sample_every", tracing.sample_every, 0, 1'000'000);
  Url url;
  if (reader.text("endpoint", tracing.endpoint) && !tracing.endpoint.empty()) {
    const std::string fault = read_url(tracing.endpoint, url);
    if (!fault.empty()) reader.problem("endpoint", "\"" + config_url_shown(tracing.endpoint) + "\": " + fault, "write \"http://127.0.0.1:4318/v1/traces\"");
    if (!tracing.enabled) reader.problem("endpoint", "without traces there are no spans to send", "add enabled = true, or remove this key");
  }
  for (const char* key : {"service_name", "headers", "gzip", "batch", "batch_wait", "queue", "timeout", "tls"}) {
    if (reader.has(key) && tracing.endpoint.empty())
      reader.problem(key, "no collector is named that it could be for", "add endpoint, or remove this key");
  }
  if (reader.text("service_name", tracing.service_name, 255) && tracing.service_name.empty())
    reader.problem("service_name", "the name is empty", "leave the key out for \"outrigger\"");
  if (reader.list("headers", tracing.headers, 16)) {
    for (const std::string& line : tracing.headers) {
      if (const std::string fault = header_fault(line); !fault.empty())
        reader.problem("headers", fault, "write \"Authorization: Bearer ...\"");
    }
  }
  reader.boolean("gzip", tracing.gzip);
  reader.number("batch", tracing.batch_spans, 1, 8192);
  reader.duration("batch_wait", tracing.batch_wait, Milliseconds(10), std::chrono::minutes(1));
  reader.size("queue", tracing.queue_bytes, 64 << 10, 256 << 20);
  reader.duration("timeout", tracing.timeout, Milliseconds(100), std::chrono::minutes(5));
  if (url.https && !reader.has("tls")) {
    tracing.tls = config_default_client_tls(url.host);
    const auto fault = reading.opens_files && reading.check_instance ? reading.check_instance(*tracing.tls) : std::nullopt;
    if (fault) reader.problem("endpoint", *fault, "name the authority of its certificate in tracing.tls, or speak http to a collector on this machine");
  }
  if (reader.has("tls") && !url.https && !url.host.empty())
    reader.problem("tls", "the endpoint is spoken to over plain http", "write https:// in endpoint, or remove this table");
  config_read_client_tls(reader, reading, url.host, tracing.tls);
  reader.finish(reading.all_keys);
}

void config_read_request_id(ConfigReader reader, const std::set<std::string>& all_keys, RequestIdConfig& id) {
  if (reader.text("field", id.field, 64) && (!is_field_name(id.field) || is_taken_field(id.field)))
    reader.problem("field", "\"" + id.field + "\" is no name for an id", "write letters, digits and '-', such as \"X-Request-Id\", and no standard field");
  reader.choice("accept", id.from_anyone, {{"proxies", false}, {"anyone", true}});
  reader.boolean("to_client", id.to_client);
  reader.finish(all_keys);
}

}  // namespace agent
