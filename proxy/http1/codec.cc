#include "proxy/http1/codec.h"

#include <llhttp.h>

#include <algorithm>
#include <cassert>
#include <optional>
#include <string>
#include <vector>

#include "proxy/http1/fields.h"
#include "proxy/http1/head_rules.h"
#include "proxy/http1/writer.h"

namespace proxy::http1 {
namespace {

// Chunk extensions are read and thrown away; nobody sends long ones with good intent.
constexpr std::size_t kChunkExtensionBytesMax = 4096;
// Bytes of a body that are no payload: sizes, line ends, extensions, trailers. One-byte chunks need five each; what goes
// beyond this (endless noughts before a size) serves nobody.
constexpr std::uint64_t kChunkOverheadBytesMax = 16 * 1024;
constexpr std::uint64_t kChunkOverheadPerByteMax = 16;
constexpr std::string_view kTooMuchFraming = "far more chunk framing than payload";
// Interim responses to one request. Nobody needs more than a few.
constexpr std::uint32_t kInterimHeadsMax = 64;

enum class Stage : std::uint8_t { kIdle, kHead, kBody, kTrailers };

// What both directions share: one llhttp parser, and the care for heads that arrive in pieces.
struct Machine {
  Machine(const Limits& given, llhttp_type_t type, const llhttp_settings_t* settings) : limits(given) {
    llhttp_init(&parser, type, settings);
    parser.data = this;
  }
  virtual ~Machine() = default;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  virtual Result<void> head_complete() = 0;           // reports the head to the sink
  virtual void message_complete() = 0;                // reports the end to the sink
  virtual void body(const char* at, std::size_t size) = 0;
  virtual Error translate(llhttp_errno_t code) = 0;   // llhttp's refusal in our words

  void forget_message() {
    llhttp_reset(&parser);
    fields.clear();
    trailer_text.clear();
    stage = Stage::kIdle;
    head_bytes = 0;
    body_bytes = 0;
    extension_bytes = 0;
    overhead_bytes = 0;
    body_from = nullptr;
    blank_cr = false;
    target = {};
    body_limit = limits.body_bytes_max;
    error.reset();
    stopped = false;
    done = false;
    skip_body = false;
  }

  int refuse(Errc code, std::string_view detail) {
    error = Error{code, std::string(detail)};
    return HPE_USER;
  }

  // The trailer fields that may be passed on; a trailer with a forbidden byte is left out as a whole.
  std::span<const Header> trailers() {
    if (trailer_text.empty() || !fields.view(trailer_text.data(), headers)) return {};
    std::erase_if(headers, [](const Header& header) { return !is_trailer_field(header); });
    return headers;
  }

  Result<std::size_t> feed(Bytes bytes);
  // Takes empty lines before a message, or refuses bytes that are no such thing. @return bytes taken
  virtual Result<std::size_t> skip_blank(std::string_view text) = 0;
  // Behind the empty line that ends the head in `base`.
  [[nodiscard]] const char* head_end() const;
  // Counts the bytes from body_from up to `at` as framing. @return false when there is too much of it
  bool count_overhead(const char* at);
  // Runs llhttp over `size` bytes at `data`; offsets count from `data_base`. @return bytes it consumed.
  Result<std::size_t> run(const char* data_base, const char* data, std::size_t size);

  llhttp_t parser{};
  Limits limits;
  std::uint64_t body_limit = UINT64_MAX;
  Stage stage = Stage::kIdle;
  Fields fields;
  std::vector<Header> headers;   // views of `fields`, recycled
  Span target;
  std::string carry;             // beginning of a head whose end has not come yet
  std::string trailer_text;
  const char* base = nullptr;
  std::size_t head_bytes = 0;    // of the present head, blank lines before it included
  std::uint64_t body_bytes = 0;
  std::size_t extension_bytes = 0;
  std::uint64_t overhead_bytes = 0;
  const char* body_from = nullptr;  // of a chunked body, in the present run: first byte not counted yet
  bool blank_cr = false;         // the first half of an empty line has come
  std::optional<Error> error;
  bool stopped = false;          // the sink has said kStop
  bool done = false;             // the message is complete
  bool skip_body = false;        // answer to HEAD
};

Machine& machine_of(llhttp_t* parser) { return *static_cast<Machine*>(parser->data); }

int on_url(llhttp_t* parser, const char* at, std::size_t size) {
  Machine& m = machine_of(parser);
  m.target.extend(static_cast<std::uint32_t>(at - m.base), static_cast<std::uint32_t>(size));
  if (m.target.size > m.limits.target_bytes_max) {
    return m.refuse(Errc::kTargetTooLong, "request target over " + std::to_string(m.limits.target_bytes_max) + " bytes");
  }
  return 0;
}

int on_status(llhttp_t* parser, const char* at, std::size_t size) {
  Machine& m = machine_of(parser);
  m.target.extend(static_cast<std::uint32_t>(at - m.base), static_cast<std::uint32_t>(size));
  return 0;
}

// Trailers may be torn anywhere, and the bytes around them are long gone: they are copied.
int add_trailer(Machine& m, const char* at, std::size_t size, bool is_name) {
  if (m.trailer_text.size() + size > m.limits.head_bytes_max) return m.refuse(Errc::kHeadTooLarge, "trailer too large");
  const auto offset = static_cast<std::uint32_t>(m.trailer_text.size());
  m.trailer_text.append(at, size);
  is_name ? m.fields.add_name(offset, static_cast<std::uint32_t>(size))
          : m.fields.add_value(offset, static_cast<std::uint32_t>(size));
  return 0;
}

int on_header_field(llhttp_t* parser, const char* at, std::size_t size) {
  Machine& m = machine_of(parser);
  if (m.stage == Stage::kBody) m.stage = Stage::kTrailers;
  if (m.stage == Stage::kTrailers) {
    const int code = add_trailer(m, at, size, true);
    if (code != 0) return code;
  } else {
    m.fields.add_name(static_cast<std::uint32_t>(at - m.base), static_cast<std::uint32_t>(size));
  }
  if (m.fields.size() > m.limits.header_count_max) {
    return m.refuse(Errc::kHeadTooLarge, "more than " + std::to_string(m.limits.header_count_max) + " fields");
  }
  return 0;
}

int on_header_value(llhttp_t* parser, const char* at, std::size_t size) {
  Machine& m = machine_of(parser);
  if (m.stage == Stage::kTrailers) return add_trailer(m, at, size, false);
  m.fields.add_value(static_cast<std::uint32_t>(at - m.base), static_cast<std::uint32_t>(size));
  return 0;
}

int on_header_value_complete(llhttp_t* parser) {
  machine_of(parser).fields.end_value();
  return 0;
}

int on_message_begin(llhttp_t* parser) {
  machine_of(parser).stage = Stage::kHead;
  return 0;
}

int on_headers_complete(llhttp_t* parser) {
  Machine& m = machine_of(parser);
  if (!m.fields.view(m.base, m.headers)) {
    m.error = Error{Errc::kBadHeader, "forbidden byte in a header field"};
    return -1;
  }
  if (auto result = m.head_complete(); !result) {
    m.error = result.error();
    return -1;
  }
  m.stage = Stage::kBody;
  if ((parser->flags & F_CHUNKED) != 0) m.body_from = m.head_end();
  m.fields.clear();
  if (m.stopped) return -1;
  return m.skip_body ? 1 : 0;
}

int on_body(llhttp_t* parser, const char* at, std::size_t size) {
  Machine& m = machine_of(parser);
  if (m.body_from != nullptr) {
    if (!m.count_overhead(at)) return m.refuse(Errc::kBadChunk, kTooMuchFraming);
    m.body_from = at + size;
  }
  m.body_bytes += size;
  if (m.body_bytes > m.body_limit) {
    return m.refuse(Errc::kBodyTooLarge, "body over " + std::to_string(m.body_limit) + " bytes");
  }
  m.body(at, size);
  return 0;
}

int on_chunk_extension(llhttp_t* parser, const char*, std::size_t size) {
  Machine& m = machine_of(parser);
  m.extension_bytes += size;
  return m.extension_bytes > kChunkExtensionBytesMax ? m.refuse(Errc::kBadChunk, "chunk extensions too long") : 0;
}

int on_message_complete(llhttp_t* parser) {
  machine_of(parser).done = true;
  return HPE_PAUSED;
}

const llhttp_settings_t& settings_of_all() {
  static const llhttp_settings_t settings = [] {
    llhttp_settings_t s;
    llhttp_settings_init(&s);
    s.on_message_begin = on_message_begin;
    s.on_url = on_url;
    s.on_status = on_status;
    s.on_header_field = on_header_field;
    s.on_header_value = on_header_value;
    s.on_header_value_complete = on_header_value_complete;
    s.on_headers_complete = on_headers_complete;
    s.on_body = on_body;
    s.on_chunk_extension_name = on_chunk_extension;
    s.on_chunk_extension_value = on_chunk_extension;
    s.on_message_complete = on_message_complete;
    return s;
  }();
  return settings;
}

Result<std::size_t> Machine::run(const char* data_base, const char* data, std::size_t size) {
  base = data_base;
  const bool in_chunks = stage != Stage::kIdle && stage != Stage::kHead && (parser.flags & F_CHUNKED) != 0;
  body_from = in_chunks ? data : nullptr;
  const llhttp_errno_t code = llhttp_execute(&parser, data, size);
  if (error) return tl::unexpected<Error>(*error);
  const char* position = code == HPE_OK ? data + size : llhttp_get_error_pos(&parser);
  const std::size_t consumed = position == nullptr ? size : static_cast<std::size_t>(position - data);
  const bool fits = body_from == nullptr || (code != HPE_OK && !done) || count_overhead(data + consumed);
  body_from = nullptr;
  if (!fits) {
    error = Error{Errc::kBadChunk, std::string(kTooMuchFraming)};
    return tl::unexpected<Error>(*error);
  }
  if (code == HPE_OK || done || stopped) return consumed;
  error = translate(code);
  return tl::unexpected<Error>(*error);
}

const char* Machine::head_end() const {
  static constexpr std::string_view kEnd = "\r\n\r\n";
  const char* at = base + target.at + target.size;
  if (!headers.empty()) {
    const Header& last = headers.back();
    // An empty value may be reported anywhere up to the next line.
    const std::string_view part = last.value.empty() ? last.name : last.value;
    at = part.data() + part.size();
  }
  while (std::string_view(at, kEnd.size()) != kEnd) ++at;  // it is there: the parser below has just passed it
  return at + kEnd.size();
}

// The same result however the bytes are torn: overhead only grows between two bytes of payload.
bool Machine::count_overhead(const char* at) {
  if (at > body_from) overhead_bytes += static_cast<std::uint64_t>(at - body_from);
  body_from = at;
  return overhead_bytes <= kChunkOverheadBytesMax + limits.head_bytes_max + kChunkOverheadPerByteMax * body_bytes;
}

Result<std::size_t> Machine::feed(Bytes bytes) {
  if (error) return tl::unexpected<Error>(*error);
  if (stage != Stage::kHead) carry.clear();  // views into it were promised until now
  const std::string_view text = text_of(bytes);
  std::size_t consumed = 0;
  while (consumed < text.size() && !done && !stopped) {
    std::string_view rest = text.substr(consumed);
    if (stage == Stage::kBody || stage == Stage::kTrailers) {
      auto count = run(rest.data(), rest.data(), rest.size());
      if (!count) return count;
      consumed += *count;
      continue;
    }
    rest = rest.substr(0, limits.head_bytes_max - head_bytes);
    if (stage == Stage::kIdle && (blank_cr || rest.front() == '\r' || rest.front() == '\n')) {
      auto count = skip_blank(rest);
      if (!count) {
        error = count.error();
        return count;
      }
      consumed += *count;
      head_bytes += *count;
      if (head_bytes < limits.head_bytes_max) continue;
      error = Error{Errc::kHeadTooLarge, "nothing but empty lines"};
      return tl::unexpected<Error>(*error);
    }
    const bool in_pieces = !carry.empty();
    const std::size_t carried = carry.size();
    if (in_pieces) carry += rest;
    auto count = in_pieces ? run(carry.data(), carry.data() + carried, rest.size())
                           : run(rest.data(), rest.data(), rest.size());
    if (!count) return count;
    consumed += *count;
    head_bytes += *count;
    if (stage == Stage::kBody || stage == Stage::kTrailers || done) continue;
    if (head_bytes >= limits.head_bytes_max) {
      error = Error{Errc::kHeadTooLarge, "head over " + std::to_string(limits.head_bytes_max) + " bytes"};
      return tl::unexpected<Error>(*error);
    }
    if (stage == Stage::kHead && !in_pieces) carry.assign(rest);
  }
  return consumed;
}

}  // namespace

// The list is that of the parser below; a few of its names are of other protocols.
bool is_known_method(std::string_view text) {
  static constexpr llhttp_method_t kMethods[] = {
#define OUTRIGGER_METHOD(NUM, NAME, STRING) HTTP_##NAME,
      HTTP_METHOD_MAP(OUTRIGGER_METHOD)
#undef OUTRIGGER_METHOD
  };
  return std::any_of(std::begin(kMethods), std::end(kMethods), [&](llhttp_method_t method) {
    return method != HTTP_PRI && text == llhttp_method_name(method);
  });
}

// ---- requests ----

struct RequestParser::State final : Machine {
  explicit State(const Limits& given) : Machine(given, HTTP_REQUEST, &settings_of_all()) { body_limit = given.body_bytes_max; }

  Result<void> head_complete() override;
  Result<std::size_t> skip_blank(std::string_view text) override;
  Result<void> read_start_line(const RequestHead& head) const;
  Result<void> read_expect(RequestHead& head) const;
  Result<void> read_framing(RequestHead& head) const;
  void message_complete() override {
    sink->on_end(trailers());
  }
  void body(const char* at, std::size_t size) override { sink->on_body(bytes_of({at, size})); }
  Error translate(llhttp_errno_t code) override;

  RequestSink* sink = nullptr;
};

// RFC 9112, section 2.2: empty lines before a request are passed over; they end with CR LF like every line.
Result<std::size_t> RequestParser::State::skip_blank(std::string_view text) {
  std::size_t count = 0;
  while (count < text.size() && (blank_cr || text[count] == '\r' || text[count] == '\n')) {
    if (text[count] != (blank_cr ? '\n' : '\r')) return fail(Errc::kBadRequestLine, "bare CR or LF before the request");
    blank_cr = !blank_cr;
    ++count;
  }
  return count;
}

// RFC 9112, section 3: one blank between the parts and no other protocol; the parser below is more generous.
Result<void> RequestParser::State::read_start_line(const RequestHead& head) const {
  static constexpr std::string_view kProtocol = " HTTP/";
  const std::size_t end = target.at + target.size;
  const bool exact = target.at == head.method_text.size() + 1 && std::string_view(base + end, kProtocol.size()) == kProtocol;
  if (!exact) return fail(Errc::kBadRequestLine, "the request line is not METHOD TARGET HTTP/VERSION with single blanks");
  return {};
}

Result<void> RequestParser::State::read_expect(RequestHead& head) const {
  if (head.minor == 0) return {};
  for (const Header& header : head.headers) {
    if (header.id != HeaderId::kExpect) continue;
    if (!same_text(header.value, "100-continue")) return fail(Errc::kUnknownExpectation, "Expect other than 100-continue");
    head.expect_continue = head.framing != Framing::kNone;
  }
  return {};
}

Result<void> RequestParser::State::head_complete() {
  RequestHead head;
  const int major = llhttp_get_http_major(&parser);
  head.minor = llhttp_get_http_minor(&parser);
  if (major != 1 || head.minor > 1) return fail(Errc::kBadVersion, "only HTTP/1.0 and HTTP/1.1 are served here");
  head.method_text = llhttp_method_name(static_cast<llhttp_method_t>(llhttp_get_method(&parser)));
  head.method = method_of(head.method_text);
  head.target = {base + target.at, target.size};
  head.headers = headers;
  if (auto ok = read_start_line(head); !ok) return ok;
  if (auto ok = read_framing(head); !ok) return ok;
  if (auto ok = read_target(head); !ok) return ok;
  if (auto ok = read_host(head); !ok) return ok;
  if (auto ok = read_expect(head); !ok) return ok;
  head.keep_alive = llhttp_should_keep_alive(&parser) != 0;
  head.upgrade = head.minor == 1 && head.framing == Framing::kNone && any_lists(headers, HeaderId::kConnection, "upgrade") &&
                 any_lists(headers, HeaderId::kUpgrade, "websocket");
  if (head.framing == Framing::kLength && head.content_length > body_limit) {
    return fail(Errc::kBodyTooLarge, "body over " + std::to_string(body_limit) + " bytes");
  }
  stopped = sink->on_head(head) == Flow::kStop;
  if (!stopped && head.framing == Framing::kLength && head.content_length > body_limit) {
    return fail(Errc::kBodyTooLarge, "body over " + std::to_string(body_limit) + " bytes");
  }
  return {};
}

Result<void> RequestParser::State::read_framing(RequestHead& head) const {
  bool has_length = false;
  bool has_coding = false;
  for (const Header& header : head.headers) {
    if (header.id == HeaderId::kContentLength) {
      const auto length = parse_length(header.value);
      if (has_length || !length) return fail(Errc::kBadFraming, "Content-Length must be one decimal number");
      has_length = true;
      head.content_length = *length;
    } else if (header.id == HeaderId::kTransferEncoding) {
      if (has_coding) return fail(Errc::kBadFraming, "Transfer-Encoding given twice");
      if (auto ok = check_coding(header.value); !ok) return ok;
      has_coding = true;
    }
  }
  if (has_length && has_coding) return fail(Errc::kBadFraming, "Content-Length beside Transfer-Encoding");
  if (has_coding && head.minor == 0) return fail(Errc::kBadFraming, "Transfer-Encoding in an HTTP/1.0 request");
  head.framing = has_coding                                 ? Framing::kChunked
                 : has_length && head.content_length != 0   ? Framing::kLength
                                                            : Framing::kNone;
  return {};
}

Error RequestParser::State::translate(llhttp_errno_t code) {
  const char* reason = llhttp_get_error_reason(&parser);
  const std::string detail = reason == nullptr || *reason == '\0' ? llhttp_errno_name(code) : reason;
  switch (code) {
    case HPE_INVALID_METHOD:
    case HPE_INVALID_URL:
    case HPE_INVALID_CONSTANT: return {Errc::kBadRequestLine, detail};
    case HPE_INVALID_VERSION:
      // Also said of a good version that a bare LF follows.
      return {llhttp_get_http_major(&parser) == 1 && llhttp_get_http_minor(&parser) <= 1 ? Errc::kBadRequestLine
                                                                                        : Errc::kBadVersion, detail};
    case HPE_PAUSED_H2_UPGRADE: return {Errc::kBadVersion, detail};
    case HPE_UNEXPECTED_CONTENT_LENGTH:
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_INVALID_TRANSFER_ENCODING: return {Errc::kBadFraming, detail};
    case HPE_INVALID_CHUNK_SIZE: return {Errc::kBadChunk, detail};
    // In a trailer, too: its first byte may have come with the last chunk, or in a read of its own.
    case HPE_INVALID_HEADER_TOKEN:
      if (stage == Stage::kBody) return {Errc::kBadHeader, detail};
      break;
    default: break;
  }
  if (stage == Stage::kBody) return {Errc::kBadChunk, detail};
  if (stage == Stage::kIdle || target.size == 0) return {Errc::kBadRequestLine, detail};
  return {Errc::kBadHeader, detail};
}

RequestParser::RequestParser(const Limits& limits) : state_(std::make_unique<State>(limits)) {}
RequestParser::~RequestParser() = default;

Result<std::size_t> RequestParser::feed(Bytes bytes, RequestSink& sink) {
  state_->sink = &sink;
  auto consumed = state_->feed(bytes);
  if (consumed && state_->done) {
    state_->message_complete();
    state_->forget_message();
  }
  return consumed;
}

void RequestParser::reset() {
  state_->forget_message();
  state_->carry.clear();
}
void RequestParser::set_body_limit(std::uint64_t bytes) { state_->body_limit = bytes; }
bool RequestParser::in_message() const { return state_->stage != Stage::kIdle; }
bool RequestParser::in_head() const { return state_->stage == Stage::kHead; }

// ---- responses ----

struct ResponseParser::State final : Machine {
  explicit State(const Limits& given) : Machine(given, HTTP_RESPONSE, &settings_of_all()) { body_limit = given.body_bytes_max; }

  Result<void> head_complete() override;
  Result<std::size_t> skip_blank(std::string_view) override {
    return fail(Errc::kBadResponse, "an empty line before the status line");
  }
  Result<void> read_framing(ResponseHead& head) const;
  void message_complete() override {
    if (interim) return;
    sink->on_end(trailers());
  }
  void body(const char* at, std::size_t size) override { sink->on_body(bytes_of({at, size})); }
  Error translate(llhttp_errno_t code) override {
    const char* reason = llhttp_get_error_reason(&parser);
    return {Errc::kBadResponse, reason == nullptr || *reason == '\0' ? llhttp_errno_name(code) : reason};
  }

  ResponseSink* sink = nullptr;
  Method method = Method::kGet;
  Framing framing = Framing::kNone;
  bool interim = false;
  std::uint32_t interim_count = 0;   // to the present request
};

Result<void> ResponseParser::State::head_complete() {
  ResponseHead head;
  head.status = llhttp_get_status_code(&parser);
  head.minor = llhttp_get_http_minor(&parser);
  if (llhttp_get_http_major(&parser) != 1 || head.minor > 1) return fail(Errc::kBadResponse, "not HTTP/1.x");
  if (head.status < 100 || head.status > 599) return fail(Errc::kBadResponse, "status out of range");
  if (std::string_view(base, 5) != "HTTP/") return fail(Errc::kBadResponse, "not HTTP");
  head.reason = trim({base + target.at, target.size});
  if (!all_value_bytes(head.reason)) return fail(Errc::kBadResponse, "bad reason phrase");
  head.headers = headers;
  if (auto ok = read_framing(head); !ok) return ok;
  framing = head.framing;
  interim = head.interim();
  if (interim && ++interim_count > kInterimHeadsMax) return fail(Errc::kBadResponse, "too many interim responses");
  skip_body = method == Method::kHead;
  head.keep_alive = llhttp_should_keep_alive(&parser) != 0 || (skip_body && head.minor == 1);
  for (const Header& header : head.headers) {
    if (header.id == HeaderId::kConnection && list_has(header.value, "close")) head.keep_alive = false;
  }
  if (framing == Framing::kToEof || head.status == 101) head.keep_alive = false;
  stopped = sink->on_head(head) == Flow::kStop;
  return {};
}

Result<void> ResponseParser::State::read_framing(ResponseHead& head) const {
  bool chunked = false;
  for (const Header& header : head.headers) {
    if (header.id == HeaderId::kContentLength) {
      const auto length = parse_length(header.value);
      if (head.has_content_length || !length) return fail(Errc::kBadResponse, "Content-Length must be one decimal number");
      head.has_content_length = true;
      head.content_length = *length;
    } else if (header.id == HeaderId::kTransferEncoding) {
      if (chunked || !same_text(header.value, "chunked")) return fail(Errc::kBadResponse, "unknown transfer coding");
      chunked = true;
    }
  }
  if (chunked && head.has_content_length) return fail(Errc::kBadResponse, "Content-Length beside Transfer-Encoding");
  if (chunked && head.minor == 0) return fail(Errc::kBadResponse, "Transfer-Encoding in an HTTP/1.0 response");
  const bool bodiless = head.status < 200 || head.status == 204 || head.status == 304 || method == Method::kHead;
  if (bodiless) {
    head.framing = Framing::kNone;
  } else if (chunked) {
    head.framing = Framing::kChunked;
  } else if (head.has_content_length) {
    head.framing = head.content_length == 0 ? Framing::kNone : Framing::kLength;
  } else {
    head.framing = Framing::kToEof;
  }
  return {};
}

ResponseParser::ResponseParser(const Limits& limits) : state_(std::make_unique<State>(limits)) {}
ResponseParser::~ResponseParser() = default;

void ResponseParser::expect(Method request_method) {
  state_->method = request_method;
  state_->interim_count = 0;
}

Result<std::size_t> ResponseParser::feed(Bytes bytes, ResponseSink& sink) {
  state_->sink = &sink;
  std::size_t consumed = 0;
  // Interim heads are messages to llhttp but not to our caller: go on behind them.
  while (consumed < bytes.size()) {
    auto count = state_->feed(bytes.subspan(consumed));
    if (!count) return count;
    consumed += *count;
    if (state_->stopped || !state_->done) break;
    const bool final_message = !state_->interim;
    state_->message_complete();
    state_->forget_message();
    if (final_message) break;
  }
  return consumed;
}

Result<void> ResponseParser::finish(ResponseSink& sink) {
  if (state_->error) return tl::unexpected<Error>(*state_->error);
  if (state_->stage == Stage::kBody && state_->framing == Framing::kToEof) {
    sink.on_end({});
    reset();
    return {};
  }
  if (in_message()) return fail(Errc::kTruncated, "connection ended inside a response");
  return {};
}

void ResponseParser::reset() {
  state_->forget_message();
  state_->carry.clear();
}
bool ResponseParser::in_message() const { return state_->stage != Stage::kIdle; }

}  // namespace proxy::http1
