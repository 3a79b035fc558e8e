#include "proxy/compress.h"

#include <algorithm>

#include "proxy/http1/fields.h"

namespace proxy {
namespace {

constexpr std::string_view kEvents = "text/event-stream";

bool has_field(const http1::ResponseHead& head, std::string_view name) { return head.find(name).has_value(); }

bool is_bare_status(int status) { return status < 200 || status == 204 || status == 205 || status == 206 || status == 304; }

bool is_untouchable(const http1::ResponseHead& head) {
  for (const http1::Header& header : head.headers) {
    if (http1::same_text(header.name, "Cache-Control") && http1::list_has(header.value, "no-transform")) return true;
  }
  return has_field(head, "Content-Encoding") || has_field(head, "Content-Range");
}

}  // namespace

bool is_type(std::string_view content_type, std::string_view type) {
  return http1::same_text(http1::trim(content_type.substr(0, content_type.find(';'))), type);
}

bool is_packed_by(const CompressRule& rule, const http1::ResponseHead& head, bool head_request) {
  if (rule.level == 0 || head_request || head.framing == http1::Framing::kNone || is_bare_status(head.status)) return false;
  if (head.has_content_length && head.content_length < rule.bytes_min) return false;
  const auto type = head.find("Content-Type");
  if (!type || is_type(*type, kEvents)) return false;
  const bool listed = std::any_of(rule.types.begin(), rule.types.end(), [&](const std::string& one) { return is_type(*type, one); });
  return listed && !is_untouchable(head);
}

}  // namespace proxy
