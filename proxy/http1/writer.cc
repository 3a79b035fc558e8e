#include "proxy/http1/writer.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace proxy::http1 {

std::string_view reason_of(int status) {
  switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 103: return "Early Hints";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    default: return "Unknown";
  }
}

void append_decimal(std::string& out, std::uint64_t value) {
  std::array<char, 20> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append(digits.data(), end);
}

void append_request_line(std::string& out, std::string_view method, std::string_view target) {
  out += method;
  out += ' ';
  out += target;
  out += " HTTP/1.1\r\n";
}

void append_status_line(std::string& out, int status, std::string_view reason) {
  out += "HTTP/1.1 ";
  append_decimal(out, static_cast<std::uint64_t>(status));
  out += ' ';
  out += reason;
  out += "\r\n";
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  out += value;
  out += "\r\n";
}

void append_header(std::string& out, std::string_view name, std::uint64_t value) {
  out += name;
  out += ": ";
  append_decimal(out, value);
  out += "\r\n";
}

void append_chunk_size(std::string& out, std::uint64_t bytes) {
  std::array<char, 16> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), bytes, 16).ptr;
  out.append(digits.data(), end);
  out += "\r\n";
}

void append_last_chunk(std::string& out, std::span<const Header> trailers) {
  out += "0\r\n";
  for (const Header& trailer : trailers) append_header(out, trailer.name, trailer.value);
  out += "\r\n";
}

void append_response(std::string& out, int status, std::span<const TextHeader> headers, std::string_view body,
                     BodyPart part) {
  append_status_line(out, status, reason_of(status));
  for (const TextHeader& header : headers) append_header(out, header.name, header.value);
  if (status != 204 && status != 304 && status >= 200) append_header(out, "Content-Length", body.size());
  append_end_of_head(out);
  if (part == BodyPart::kSend) out += body;
}

void append_request(std::string& out, std::string_view method, std::string_view target, std::string_view host,
                    std::span<const TextHeader> headers, std::string_view body) {
  append_request_line(out, method, target);
  append_header(out, "Host", host);
  for (const TextHeader& header : headers) append_header(out, header.name, header.value);
  const bool expects_body = method == "POST" || method == "PUT" || method == "PATCH";
  if (!body.empty() || expects_body) append_header(out, "Content-Length", body.size());
  append_end_of_head(out);
  out += body;
}

}  // namespace proxy::http1
