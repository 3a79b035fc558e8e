#include "proxy/static_site.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "proxy/accept_encoding.h"
#include "proxy/http1/fields.h"
#include "proxy/http1/writer.h"
#include "proxy/http_date.h"
#include "proxy/route.h"

namespace proxy {
namespace {

using http1::append_header;

constexpr std::int64_t kSecond = 1'000'000'000;

std::int64_t seconds_of(std::int64_t nanoseconds) {
  return nanoseconds >= 0 ? nanoseconds / kSecond : (nanoseconds - kSecond + 1) / kSecond;
}

// Size and time of the last change: two versions of one size within one nanosecond would be taken for one.
void append_tag(std::string& out, const FileFacts& facts, bool packed) {
  std::array<char, 40> text{};
  char* at = text.data();
  char* const end = text.data() + text.size();
  *at++ = '"';
  at = std::to_chars(at, end, facts.bytes, 16).ptr;
  *at++ = '-';
  at = std::to_chars(at, end, static_cast<std::uint64_t>(facts.modified_ns), 16).ptr;
  out.append(text.data(), at);
  out += packed ? "-gz\"" : "\"";
}

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t value = 0;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || code != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

int hex_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

struct MediaType {
  std::string_view ending, type;
};
// By ending; sorted.
constexpr MediaType kMediaTypes[] = {
    {"avif", "image/avif"}, {"bin", "application/octet-stream"}, {"bmp", "image/bmp"}, {"css", "text/css; charset=utf-8"},
    {"csv", "text/csv; charset=utf-8"}, {"eot", "application/vnd.ms-fontobject"}, {"gif", "image/gif"}, {"gz", "application/gzip"},
    {"htm", "text/html; charset=utf-8"}, {"html", "text/html; charset=utf-8"}, {"ico", "image/vnd.microsoft.icon"},
    {"jpeg", "image/jpeg"}, {"jpg", "image/jpeg"}, {"js", "text/javascript; charset=utf-8"}, {"json", "application/json"},
    {"map", "application/json"}, {"md", "text/markdown; charset=utf-8"}, {"mjs", "text/javascript; charset=utf-8"},
    {"mp3", "audio/mpeg"}, {"mp4", "video/mp4"}, {"ogg", "audio/ogg"}, {"otf", "font/otf"}, {"pdf", "application/pdf"},
    {"png", "image/png"}, {"svg", "image/svg+xml"}, {"tar", "application/x-tar"}, {"tif", "image/tiff"}, {"tiff", "image/tiff"},
    {"ttf", "font/ttf"}, {"txt", "text/plain; charset=utf-8"}, {"wasm", "application/wasm"}, {"wav", "audio/wav"},
    {"webm", "video/webm"}, {"webmanifest", "application/manifest+json"}, {"webp", "image/webp"}, {"woff", "font/woff"},
    {"woff2", "font/woff2"}, {"xhtml", "application/xhtml+xml"}, {"xml", "application/xml"}, {"yaml", "application/yaml"},
    {"yml", "application/yaml"}, {"zip", "application/zip"}};
static_assert(std::is_sorted(std::begin(kMediaTypes), std::end(kMediaTypes), [](const auto& a, const auto& b) { return a.ending < b.ending; }));

// The text of one condition as often as it came, joined as a list.
void collect(const http1::RequestHead& request, std::string_view name, std::string& out) {
  out.clear();
  for (const http1::Header& header : request.headers) {
    if (header.id != http1::HeaderId::kOther || !http1::same_text(header.name, name)) continue;
    if (!out.empty()) out += ", ";
    out += header.value;
  }
}

}  // namespace

bool file_name_of(std::string_view path, std::string_view prefix, std::string& out) {
  out.clear();
  if (prefix.ends_with('/')) prefix.remove_suffix(1);
  if (!path.starts_with(prefix)) return false;
  std::string_view rest = path.substr(prefix.size());
  if (rest.starts_with('/')) rest.remove_prefix(1);
  for (std::size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] != '%') {
      out += rest[i];
      continue;
    }
    const int high = i + 1 < rest.size() ? hex_of(rest[i + 1]) : -1;
    const int low = i + 2 < rest.size() ? hex_of(rest[i + 2]) : -1;
    const int byte = high * 16 + low;
    if (high < 0 || low < 0 || byte == 0 || byte == '/' || byte == '\\') return false;
    out += static_cast<char>(byte);
    i += 2;
  }
  if (out.find('\0') != std::string::npos) return false;
  // A hidden file (.git, .env) is nothing to show; "." and ".." cannot be left, and would not be followed.
  for (std::size_t at = 0; at < out.size();) {
    const std::size_t stop = std::min(out.find('/', at), out.size());
    const std::string_view segment(out.data() + at, stop - at);
    if (segment.empty() || (segment.front() == '.' && segment != ".well-known")) return false;
    at = stop + 1;
  }
  return true;
}

std::string_view media_type_of(std::string_view name) {
  const std::size_t dot = name.find_last_of("./");
  if (dot == std::string_view::npos || name[dot] == '/') return "application/octet-stream";
  std::string ending(name.substr(dot + 1));
  for (char& c : ending) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const auto* found = std::lower_bound(std::begin(kMediaTypes), std::end(kMediaTypes), ending,
                                       [](const MediaType& one, const std::string& wanted) { return one.ending < wanted; });
  return found != std::end(kMediaTypes) && found->ending == ending ? found->type : "application/octet-stream";
}

bool is_packable(std::string_view media_type) {
  const std::string_view plain = media_type.substr(0, media_type.find(';'));
  return plain.starts_with("text/") || plain.ends_with("json") || plain.ends_with("xml") || plain == "application/wasm" ||
         plain == "application/yaml" || plain == "font/ttf" || plain == "font/otf" || plain == "image/bmp" ||
         plain == "image/vnd.microsoft.icon" || plain == "application/vnd.ms-fontobject";
}

RangeVerdict parse_range(std::string_view text, std::uint64_t size, ByteRange& out) {
  if (text.size() < 6 || !http1::same_text(text.substr(0, 6), "bytes=")) return RangeVerdict::kIgnore;
  const std::string_view spec = http1::trim(text.substr(6));
  const std::size_t dash = spec.find('-');
  if (dash == std::string_view::npos || spec.find(',') != std::string_view::npos) return RangeVerdict::kIgnore;
  const std::string_view from = spec.substr(0, dash), to = spec.substr(dash + 1);
  const auto last = number_of(to);
  if (from.empty()) {
    if (!last) return RangeVerdict::kIgnore;
    if (*last == 0 || size == 0) return RangeVerdict::kUnsatisfiable;
    out.length = std::min(*last, size);
    out.first = size - out.length;
    return RangeVerdict::kSatisfiable;
  }
  const auto first = number_of(from);
  if (!first || (!to.empty() && (!last || *last < *first))) return RangeVerdict::kIgnore;
  if (*first >= size) return RangeVerdict::kUnsatisfiable;
  out.first = *first;
  out.length = (last ? std::min(*last, size - 1) : size - 1) - *first + 1;
  return RangeVerdict::kSatisfiable;
}

StaticStep StaticAnswer::begin(const StaticSite& site, const http1::RequestHead& request, std::int64_t now) {
  site_ = &site;
  now_ = now;
  looking_ = Looking::kFile;
  fell_back_ = partial_ = unsatisfiable_ = false;
  first_ = length_ = 0;
  keep_alive_ = request.keep_alive;
  is_head_ = request.method == http1::Method::kHead;
  if (request.method != http1::Method::kGet && !is_head_) {
    return reply(405, "Allow: GET, HEAD\r\n", "{\"code\":\"method_not_allowed\",\"message\":\"files can only be read\"}\n");
  }
  const auto path = canonical_path(request.path, scratch_);
  if (!path) return not_found();
  path_ = *path;
  query_ = request.query;
  takes_gzip_ = site.precompressed && accepts_gzip(request.headers);
  collect(request, "If-Match", if_match_);
  collect(request, "If-None-Match", if_none_match_);
  collect(request, "If-Range", if_range_);
  collect(request, "Range", range_);
  modified_since_ = unmodified_since_ = -1;
  if (const auto text = request.find("If-Modified-Since")) modified_since_ = parse_http_date(*text).value_or(-1);
  if (const auto text = request.find("If-Unmodified-Since")) unmodified_since_ = parse_http_date(*text).value_or(-1);
  if (!set_name(path_)) return not_found();
  // The folder of the site itself, asked for without its slash.
  if (name_.empty()) return found({0, 0, true});
  return StaticStep::kOpen;
}

// The name to open first. A path that ends in '/' means the index of a folder.
bool StaticAnswer::set_name(std::string_view path) {
  const bool slash = path.ends_with('/');
  std::string_view bare = path;
  if (slash) bare.remove_suffix(1);
  if (!file_name_of(bare, site_->prefix, name_)) return false;
  if (!slash) return true;
  if (site_->index.empty()) return false;
  looking_ = Looking::kIndex;
  if (!name_.empty()) name_ += '/';
  name_ += site_->index;
  return true;
}

StaticStep StaticAnswer::found(const FileFacts& facts) {
  if (looking_ == Looking::kBeside) {
    packed_facts_ = facts;
    const bool good = !facts.is_folder && facts.modified_ns >= facts_.modified_ns;
    return answer(good);
  }
  if (facts.is_folder) {
    if (looking_ != Looking::kFile || site_->index.empty()) return missing();
    // Relative names in the page would miss without the slash. The path is canonical: it cannot begin with "//".
    std::string fields = "Location: " + path_ + "/";
    if (!query_.empty()) fields += "?" + query_;
    return reply(301, fields + "\r\n", {});
  }
  facts_ = facts;
  file_name_ = name_;
  fell_back_ = looking_ == Looking::kFallback;
  // A part of a packed file is no part of the file.
  if (takes_gzip_ && range_.empty() && is_packable(media_type_of(file_name_))) {
    looking_ = Looking::kBeside;
    name_ += ".gz";
    return StaticStep::kOpenBeside;
  }
  return answer(false);
}

StaticStep StaticAnswer::missing() {
  if (looking_ == Looking::kBeside) return answer(false);
  return not_found();
}

StaticStep StaticAnswer::not_found() {
  if (!site_->fallback.empty() && looking_ != Looking::kFallback) {
    looking_ = Looking::kFallback;
    name_ = site_->fallback;
    return StaticStep::kOpen;
  }
  return reply(404, {}, "{\"code\":\"no_file\",\"message\":\"there is no such file\"}\n");
}

// RFC 9110, section 13.2.2: the order of the conditions. @return status
int StaticAnswer::judge(std::string_view tag) const {
  const std::int64_t modified = seconds_of(facts_.modified_ns);
  if (!if_match_.empty()) {
    if (!matches_strongly(if_match_, tag)) return 412;
  } else if (unmodified_since_ >= 0 && modified > unmodified_since_) {
    return 412;
  }
  if (!if_none_match_.empty()) return matches_weakly(if_none_match_, tag) ? 304 : 200;
  return modified_since_ >= 0 && modified <= modified_since_ ? 304 : 200;
}

void StaticAnswer::choose_range(std::string_view tag) {
  if (range_.empty() || is_head_) return;
  if (!if_range_.empty()) {
    const bool is_tag = if_range_.find('"') != std::string::npos;
    const auto date = is_tag ? std::nullopt : parse_http_date(if_range_);
    // A date is a strong validator only if the file has not changed within that second for long enough.
    const bool same = is_tag ? if_range_ == tag : date && *date == seconds_of(facts_.modified_ns) && now_ - *date > 60;
    if (!same) return;
  }
  ByteRange range;
  const RangeVerdict verdict = parse_range(range_, facts_.bytes, range);
  if (verdict == RangeVerdict::kIgnore) return;
  partial_ = verdict == RangeVerdict::kSatisfiable;
  unsatisfiable_ = !partial_;
  if (!partial_) return;
  first_ = range.first;
  length_ = range.length;
}

StaticStep StaticAnswer::answer(bool packed) {
  const FileFacts& sent = packed ? packed_facts_ : facts_;
  std::string tag;
  append_tag(tag, sent, packed);
  length_ = sent.bytes;
  int status = judge(tag);
  if (status == 200) choose_range(tag);
  if (status == 200 && partial_) status = 206;
  if (status == 200 && unsatisfiable_) status = 416;
  if (status == 412) return reply(412, {}, "{\"code\":\"changed\",\"message\":\"the file is not what the request names\"}\n");
  if (status == 416) {
    std::string fields = "Content-Range: bytes */";
    http1::append_decimal(fields, facts_.bytes);
    return reply(416, fields + "\r\n", "{\"code\":\"no_range\",\"message\":\"the file has no such bytes\"}\n");
  }
  begin_head(status);
  const std::string_view type = media_type_of(file_name_);
  if (status != 304) {
    append_header(head_, "Content-Type", type);
    append_header(head_, "Content-Length", length_);
    if (packed) append_header(head_, "Content-Encoding", "gzip");
    if (!packed) append_header(head_, "Accept-Ranges", "bytes");
  }
  if (status == 206) {
    head_ += "Content-Range: bytes ";
    http1::append_decimal(head_, first_);
    head_ += '-';
    http1::append_decimal(head_, first_ + length_ - 1);
    head_ += '/';
    http1::append_decimal(head_, facts_.bytes);
    head_ += "\r\n";
  }
  append_header(head_, "ETag", tag);
  head_ += "Last-Modified: ";
  append_http_date(head_, seconds_of(facts_.modified_ns));
  head_ += "\r\n";
  if (site_->precompressed && is_packable(type)) append_header(head_, "Vary", "Accept-Encoding");
  const std::string_view keep = fell_back_ ? StaticSite::kFallbackCacheControl : std::string_view(site_->cache_control);
  if (!keep.empty()) append_header(head_, "Cache-Control", keep);
  http1::append_end_of_head(head_);
  if (status == 304 || is_head_) length_ = 0;
  if (length_ == 0) return StaticStep::kReply;
  return looking_ == Looking::kBeside && !packed ? StaticStep::kSendKept : StaticStep::kSend;
}

void StaticAnswer::begin_head(int status) {
  head_.clear();
  http1::append_status_line(head_, status, http1::reason_of(status));
  head_ += "Date: ";
  append_http_date(head_, now_);
  head_ += "\r\n";
  if (!keep_alive_) append_header(head_, "Connection", "close");
}

StaticStep StaticAnswer::reply(int status, std::string_view fields, std::string_view body) {
  begin_head(status);
  head_ += fields;
  if (!body.empty()) append_header(head_, "Content-Type", "application/json");
  append_header(head_, "Content-Length", body.size());
  http1::append_end_of_head(head_);
  if (!is_head_) head_ += body;
  length_ = 0;
  return StaticStep::kReply;
}

}  // namespace proxy
