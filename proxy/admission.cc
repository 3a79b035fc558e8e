#include "proxy/admission.h"

#include <algorithm>
#include <cstring>

#include "proxy/http1/fields.h"
#include "proxy/http1/writer.h"

namespace proxy {
namespace {

std::string_view without_port(std::string_view text) {
  if (text.starts_with('[')) return text.substr(1, std::min(text.find(']'), text.size()) - 1);
  const std::size_t colon = text.find(':');
  return colon != std::string_view::npos && text.find(':', colon + 1) == std::string_view::npos ? text.substr(0, colon) : text;
}

int hex_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::optional<Digest> digest_of_hex(std::string_view text) {
  Digest digest{};
  if (text.size() != 2 * digest.size()) return std::nullopt;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const int high = hex_of(text[2 * i]), low = hex_of(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest[i] = static_cast<std::byte>(high * 16 + low);
  }
  return digest;
}

// RFC 4648 with padding; false for anything else. At most 512 bytes of text: user and password.
bool decode_base64(std::string_view text, std::string& out) {
  static constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  out.clear();
  if (text.empty() || text.size() > 512 || text.size() % 4 != 0) return false;
  std::size_t padding = 0;
  while (padding < 2 && text.ends_with('=')) {
    text.remove_suffix(1);
    ++padding;
  }
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return false;
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    if ((count += 6) < 8) continue;
    out += static_cast<char>((bits >> (count -= 8)) & 0xffU);
  }
  return true;
}

// The rest behind "Scheme ", any case; nullopt = another scheme.
std::optional<std::string_view> after_scheme(std::string_view value, std::string_view scheme) {
  if (value.size() <= scheme.size() || value[scheme.size()] != ' ' || !http1::same_text(value.substr(0, scheme.size()), scheme)) {
    return std::nullopt;
  }
  return http1::trim(value.substr(scheme.size() + 1));
}

void append_member(std::string& out, std::string_view name, std::uint64_t value) {
  out += name;
  http1::append_decimal(out, value);
}

std::uint64_t seconds_up(std::chrono::nanoseconds time) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  return static_cast<std::uint64_t>((std::max<std::int64_t>(time.count(), 0) + kSecond - 1) / kSecond);
}

}  // namespace

// ---- keys ----

std::optional<ClientKey> ClientKey::parse(std::string_view text) {
  if (text == "ip") return ClientKey{Kind::kIp, {}};
  if (text == "path") return ClientKey{Kind::kPath, {}};
  if (text == "route") return ClientKey{Kind::kRoute, {}};
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view name = text.substr(colon + 1);
  if (name.empty() || name.size() > 64 || !http1::all_token_bytes(name)) return std::nullopt;
  if (text.substr(0, colon) == "header") return ClientKey{Kind::kHeader, std::string(name)};
  if (text.substr(0, colon) == "cookie") return ClientKey{Kind::kCookie, std::string(name)};
  return std::nullopt;
}

std::string ClientKey::text() const {
  switch (kind) {
    case Kind::kIp: return "ip";
    case Kind::kHeader: return "header:" + name;
    case Kind::kCookie: return "cookie:" + name;
    case Kind::kPath: return "path";
    case Kind::kRoute: return "route";
  }
  return {};
}

std::optional<std::string_view> cookie_of(const http1::RequestHead& head, std::string_view name) {
  for (const http1::Header& header : head.headers) {
    if (!http1::same_text(header.name, "Cookie")) continue;
    std::string_view rest = header.value;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find(';'), rest.size());
      const std::string_view pair = http1::trim(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      const std::size_t equals = pair.find('=');
      if (equals != std::string_view::npos && pair.substr(0, equals) == name) return pair.substr(equals + 1);
    }
  }
  return std::nullopt;
}

std::string_view client_address(const http1::RequestHead& head, std::string_view peer, const TrustedProxies* trusted) {
  if (trusted == nullptr || !trusted->trusts(peer)) return peer;
  std::string_view best = peer;
  for (auto header = head.headers.rbegin(); header != head.headers.rend(); ++header) {
    if (header->id != http1::HeaderId::kForwardedFor) continue;
    std::string_view rest = header->value;
    while (!rest.empty()) {
      const std::size_t comma = rest.rfind(',');
      const std::string_view one = without_port(http1::trim(comma == std::string_view::npos ? rest : rest.substr(comma + 1)));
      rest = comma == std::string_view::npos ? std::string_view() : rest.substr(0, comma);
      // What is no address was written by nobody that we trust: the last proxy before it is as far as we know.
      if (!parse_ip(one)) return best;
      best = one;
      if (!trusted->trusts(one)) return best;
    }
  }
  return best;
}

std::string_view client_key(const ClientKey& key, const http1::RequestHead& head, std::string_view address,
                            std::string_view path, std::string& scratch) {
  scratch.clear();
  std::optional<std::string_view> value;
  switch (key.kind) {
    case ClientKey::Kind::kRoute: return scratch;
    case ClientKey::Kind::kPath: value = path; break;
    case ClientKey::Kind::kHeader: value = head.find(key.name); break;
    case ClientKey::Kind::kCookie: value = cookie_of(head, key.name); break;
    case ClientKey::Kind::kIp: break;
  }
  if (value) {
    scratch += 'v';
    scratch += *value;
    return scratch;
  }
  scratch += 'a';
  const auto ip = parse_ip(address);
  if (ip) {
    scratch.append(reinterpret_cast<const char*>(ip->bytes), ip->is_v4 ? 16 : 8);
  } else {
    scratch += address;
  }
  return scratch;
}

// ---- credentials ----

bool Credentials::has_users() const {
  return std::any_of(entries.begin(), entries.end(), [](const Entry& entry) { return !entry.user.empty(); });
}

std::optional<Credentials::Entry> Credentials::parse(std::string_view text) {
  static constexpr std::string_view kMark = "sha256:";
  Entry entry;
  if (!text.starts_with(kMark)) {
    const std::size_t colon = text.find(':');
    if (colon == 0 || colon == std::string_view::npos || colon > 64) return std::nullopt;
    entry.name = text.substr(0, colon);
    text.remove_prefix(colon + 1);
    if (!text.starts_with(kMark)) return std::nullopt;
    text.remove_prefix(kMark.size());
    if (const std::size_t end = text.find(':'); end != std::string_view::npos) {
      if (end < 8 || end > 64) return std::nullopt;
      entry.user = entry.name;
      entry.salt = text.substr(0, end);
      const auto plain = [](unsigned char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
      if (!std::all_of(entry.salt.begin(), entry.salt.end(), plain)) return std::nullopt;
      text.remove_prefix(end + 1);
    }
  } else {
    text.remove_prefix(kMark.size());
  }
  const auto digest = digest_of_hex(text);
  if (!digest) return std::nullopt;
  entry.digest = *digest;
  return entry;
}

bool same_digest(const Digest& a, const Digest& b) {
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference |= std::to_integer<unsigned>(a[i] ^ b[i]);
  // The compiler must not find out that one difference is enough.
  volatile unsigned seen = difference;
  return seen == 0;
}

std::string hex_text(const Digest& digest) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const std::byte byte : digest) out += {kDigits[std::to_integer<unsigned>(byte) >> 4], kDigits[std::to_integer<unsigned>(byte) & 15]};
  return out;
}

std::string principal_of(const Credentials::Entry& entry) {
  if (entry.name.empty()) return "token " + hex_text(entry.digest);
  return (entry.user.empty() ? "token " : "user ") + entry.name;
}

const Credentials::Entry* credentials_of(const Credentials& credentials, DigestFunction digest, const http1::RequestHead& head, std::string& scratch) {
  if (digest == nullptr) return nullptr;
  const auto field = head.find("Authorization");
  std::string_view token = field ? after_scheme(*field, "Bearer").value_or(std::string_view()) : std::string_view();
  if (token.empty()) token = head.find("X-Api-Key").value_or(std::string_view());
  const auto encoded = field ? after_scheme(*field, "Basic") : std::nullopt;
  const Credentials::Entry* found = nullptr;
  if (!token.empty() && token.size() <= 512) {
    const Digest given = digest(token);
    for (const Credentials::Entry& entry : credentials.entries) {
      const bool same = same_digest(given, entry.digest);
      if (same && entry.user.empty()) found = &entry;
    }
  }
  if (encoded && credentials.has_users() && decode_base64(*encoded, scratch)) {
    const std::size_t given_bytes = scratch.size();
    for (const Credentials::Entry& entry : credentials.entries) {
      // "salt:user:password" behind the pair itself, so that nothing is allocated.
      scratch.resize(given_bytes);
      const std::size_t colon = scratch.find(':');
      scratch += entry.salt;
      scratch += ':';
      scratch.append(scratch, 0, given_bytes);
      const Digest given = digest(std::string_view(scratch).substr(given_bytes));
      const bool same = same_digest(given, entry.digest);
      if (same && colon != std::string::npos && !entry.user.empty() && entry.user.size() == colon && scratch.compare(0, colon, entry.user) == 0)
        found = &entry;
    }
    std::fill(scratch.begin(), scratch.end(), '\0');
  }
  return found;
}

// ---- the route ----

bool lets_in(const Admission& admission, std::string_view address) {
  if (admission.allow.empty() && admission.deny.empty()) return true;
  const std::string_view from = address == "unix" ? std::string_view("127.0.0.1") : address;
  if (admission.deny.trusts(from)) return false;
  return admission.allow.empty() || admission.allow.trusts(from);
}

std::string rate_policy_of(const std::string& zone, const RateRule& rule) {
  std::string out = "\"";
  for (const char c : zone) {
    if (c == '"' || c == '\\') out += '\\';
    out += c >= ' ' && c <= '~' ? c : '_';
  }
  append_member(out, "\";q=", rule.count);
  append_member(out, ";w=", seconds_up(rule.period));
  return out;
}

void append_rate_fields(std::string& out, const Admission& admission, const RateVerdict& verdict) {
  const std::string_view policy(admission.rate_policy);
  http1::append_header(out, "RateLimit-Policy", policy);
  out += "RateLimit: ";
  out += policy.substr(0, policy.rfind(";q="));
  append_member(out, ";r=", verdict.admitted ? verdict.remaining : 0);
  append_member(out, ";t=", seconds_up(verdict.admitted ? verdict.reset : verdict.retry_after));
  out += "\r\n";
}

}  // namespace proxy
