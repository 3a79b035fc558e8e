#include "proxy/http2/head.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "proxy/http1/head_rules.h"

namespace proxy::http2 {

using http1::Framing;
using http1::Header;
using http1::HeaderId;

namespace {

constexpr std::size_t kKeptBytesMax = 4096;  // of a field list, for the next one

// Fields that only make sense for one HTTP/1 connection (RFC 9113, section 8.2.2).
bool is_connection_field(HeaderId id) {
  switch (id) {
    case HeaderId::kConnection:
    case HeaderId::kKeepAlive:
    case HeaderId::kProxyConnection:
    case HeaderId::kTransferEncoding:
    case HeaderId::kUpgrade: return true;
    default: return false;
  }
}

bool is_blank(char c) { return c == ' ' || c == '\t'; }

// Section 8.2.1, and the bytes that HTTP/1 allows: what is a field here must be the same field there.
Result<void> check_field(std::string_view name, std::string_view value) {
  const bool lower = std::none_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
  if (name.empty() || !lower || !http1::all_token_bytes(name))
    return fail(Errc::kBadHeader, "a field name that is no token in lower case");
  const bool trimmed = value.empty() || (!is_blank(value.front()) && !is_blank(value.back()));
  if (!trimmed || !http1::all_value_bytes(value))
    return fail(Errc::kBadHeader, "forbidden byte in a field value");
  return {};
}

}  // namespace

void HeadBuilder::clear() {
  if (text_.capacity() > kKeptBytesMax) std::string().swap(text_);
  text_.clear();
  spans_.clear();
  headers_.clear();
  cookies_.clear();
  key_.clear();
  method_ = scheme_ = authority_ = path_ = protocol_ = {};
  bytes_ = 0;
  too_large_ = tunnel_ = names_protocol_ = false;
}

void HeadBuilder::add(std::string_view name, std::string_view value, const http1::Limits& limits) {
  bytes_ += name.size() + value.size() + kFieldBytes;
  // The four pseudo fields are what HTTP/1 has in its start line.
  too_large_ = too_large_ || bytes_ > limits.head_bytes_max || spans_.size() >= limits.header_count_max + 4;
  if (too_large_) return;
  names_protocol_ = names_protocol_ || name == ":protocol";
  FieldSpan span;
  span.name = {static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(name.size())};
  text_ += name;
  span.value = {static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(value.size())};
  text_ += value;
  spans_.push_back(span);
}

Result<void> HeadBuilder::finish(http1::RequestHead& head, bool ends, const http1::Limits& limits, std::string_view web_key) {
  head.major = 2;
  if (too_large_) return fail(Errc::kHeadTooLarge, "head over " + std::to_string(limits.head_bytes_max) + " bytes, or too many fields");
  if (auto ok = read_pseudo(head); !ok) return ok;
  if (auto ok = read_fields(); !ok) return ok;
  if (auto ok = read_framing(head, ends); !ok) return ok;
  if (!protocol_.empty()) {
    if (auto ok = begin_tunnel(head, ends, web_key); !ok) return ok;
  }
  head.headers = headers_;
  if (auto ok = read_target(head, limits); !ok) return ok;
  const bool names_host = std::any_of(headers_.begin(), headers_.end(), [](const Header& h) { return h.id == HeaderId::kHost; });
  if (names_host) {
    if (auto ok = http1::read_host(head); !ok) return ok;
  } else if (!http1::is_authority(authority_)) {
    return fail(Errc::kBadHost, authority_.empty() ? "neither :authority nor host" : "malformed :authority");
  }
  for (const Header& header : headers_) {
    if (header.id != HeaderId::kExpect) continue;
    if (!http1::same_text(header.value, "100-continue")) return fail(Errc::kUnknownExpectation, "expect other than 100-continue");
    head.expect_continue = head.framing != Framing::kNone;
  }
  return {};
}

// Section 8.3: known, once each, before every other field.
Result<void> HeadBuilder::read_pseudo(http1::RequestHead& head) {
  struct Known {
    std::string_view name;
    std::string_view* place;
  };
  const Known known[] = {{":method", &method_}, {":scheme", &scheme_}, {":authority", &authority_}, {":path", &path_},
                         {":protocol", &protocol_}};
  bool seen[std::size(known)] = {};
  bool regular = false;
  for (const FieldSpan& span : spans_) {
    const std::string_view name = view(span.name);
    if (!name.starts_with(':')) {
      regular = true;
      continue;
    }
    const auto* found = std::find_if(std::begin(known), std::end(known), [&](const Known& one) { return one.name == name; });
    if (found == std::end(known) || regular) return fail(Errc::kBadHeader, "an unknown pseudo field, or one behind other fields");
    bool& again = seen[found - std::begin(known)];
    if (std::exchange(again, true)) return fail(Errc::kBadHeader, "a pseudo field given twice");
    *found->place = view(span.value);
  }
  if (!http1::is_known_method(method_)) return fail(Errc::kBadRequestLine, "no known method");
  head.method_text = method_;
  head.method = http1::method_of(method_);
  if (head.method == http1::Method::kConnect && !seen[4]) {
    if (seen[1] || seen[3]) return fail(Errc::kBadHeader, "CONNECT with :scheme or :path");
    return {};
  }
  if (seen[4] && head.method != http1::Method::kConnect) return fail(Errc::kBadHeader, ":protocol without CONNECT");
  if (!http1::same_text(scheme_, "http") && !http1::same_text(scheme_, "https")) return fail(Errc::kBadRequestLine, ":scheme is not http or https");
  if (!seen[3]) return fail(Errc::kBadRequestLine, "no :path");
  return {};
}

Result<void> HeadBuilder::read_fields() {
  std::size_t cookie_at = SIZE_MAX;
  std::size_t crumbs = 0;
  for (const FieldSpan& span : spans_) {
    Header header{HeaderId::kOther, view(span.name), view(span.value)};
    if (header.name.starts_with(':')) continue;
    if (auto ok = check_field(header.name, header.value); !ok) return ok;
    header.id = http1::header_id_of(header.name);
    if (is_connection_field(header.id)) return fail(Errc::kBadHeader, "a field that belongs to one HTTP/1 connection");
    if (header.id == HeaderId::kTe && !http1::same_text(header.value, "trailers")) return fail(Errc::kBadHeader, "te other than trailers");
    if (header.name == "cookie") {
      if (crumbs++ == 0) {
        cookie_at = headers_.size();
        headers_.push_back(header);
      }
      if (crumbs > 1) cookies_ += "; ";
      cookies_ += header.value;
      continue;
    }
    headers_.push_back(header);
  }
  if (crumbs > 1) headers_[cookie_at].value = cookies_;
  return {};
}

Result<void> HeadBuilder::read_target(http1::RequestHead& head, const http1::Limits& limits) const {
  const bool plain_connect = head.method == http1::Method::kConnect;
  head.target = plain_connect ? authority_ : path_;
  if (head.target.size() > limits.target_bytes_max)
    return fail(Errc::kTargetTooLong, "request target over " + std::to_string(limits.target_bytes_max) + " bytes");
  // Absolute forms belong to HTTP/1: here the parts come apart already.
  const bool rooted = head.target.starts_with('/') || (head.target == "*" && head.method == http1::Method::kOptions);
  if (!plain_connect && !rooted) return fail(Errc::kBadRequestLine, ":path does not begin with /");
  head.host = authority_;
  return http1::read_target(head);
}

Result<void> HeadBuilder::read_framing(http1::RequestHead& head, bool ends) const {
  bool has_length = false;
  for (const Header& header : headers_) {
    if (header.id != HeaderId::kContentLength) continue;
    const auto length = http1::parse_length(header.value);
    if (has_length || !length) return fail(Errc::kBadFraming, "content-length must be one decimal number");
    has_length = true;
    head.content_length = *length;
  }
  if (ends && head.content_length != 0) return fail(Errc::kBadFraming, "content-length without a body");
  if (ends || (has_length && head.content_length == 0)) head.framing = Framing::kNone;
  else head.framing = has_length ? Framing::kLength : Framing::kChunked;
  return {};
}

// RFC 8441, section 5: what HTTP/1 asks by GET with Upgrade.
Result<void> HeadBuilder::begin_tunnel(http1::RequestHead& head, bool ends, std::string_view web_key) {
  if (!http1::same_text(protocol_, "websocket")) return fail(Errc::kBadRequestLine, "extended CONNECT to something other than a WebSocket");
  if (ends || head.framing == Framing::kLength) return fail(Errc::kBadFraming, "extended CONNECT with a body, or without a stream");
  for (const Header& header : headers_) {
    if (http1::same_text(header.name, "sec-websocket-key")) return fail(Errc::kBadHeader, "sec-websocket-key over HTTP/2");
  }
  key_ = web_key;
  headers_.push_back({HeaderId::kOther, "sec-websocket-key", key_});
  head.method = http1::Method::kGet;
  head.method_text = "GET";
  head.framing = Framing::kNone;
  head.upgrade = tunnel_ = true;
  return {};
}

std::span<const Header> HeadBuilder::trailers() {
  headers_.clear();
  if (too_large_) return {};
  for (const FieldSpan& span : spans_) {
    Header header{HeaderId::kOther, view(span.name), view(span.value)};
    if (!check_field(header.name, header.value)) return {};  // as in HTTP/1: left out as a whole
    header.id = http1::header_id_of(header.name);
    if (http1::is_trailer_field(header)) headers_.push_back(header);
  }
  return headers_;
}

}  // namespace proxy::http2
