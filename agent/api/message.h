#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/io/spool.h"

/// One request to the API and its answer, free of sockets and parsers.
namespace agent::api {

enum class ExchangeId : std::uint64_t {};  ///< one request and its answer; never used twice while the agent lives

struct Request {
  std::string method{};            ///< as received, "GET"
  std::string path{};              ///< as received, percent-encoded, without query; begins with '/'
  std::string query{};             ///< as received, without '?'
  std::string body{};              ///< whole; the server bounds it
  std::shared_ptr<io::Spool> file{};  ///< instead of `body` on paths that take more than memory should hold
  std::string host{};              ///< Host header, with port if it has one
  std::string origin{};            ///< Origin header; only browsers send it
  std::string fetch_site{};        ///< Sec-Fetch-Site header; only browsers send it
  std::string accept{};            ///< Accept header
  std::string content_type{};      ///< Content-Type header
  std::string last_event_id{};     ///< Last-Event-ID header: where a client of an event stream was
  bool from_this_machine = false;  ///< came over loopback or a unix socket
};

struct Response {
  int status = 200;
  std::string content_type;  ///< empty = no Content-Type header
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::shared_ptr<const io::Spool> file{};  ///< instead of `body`, for what is too large for memory
};

/// What the core wants done for one exchange. Order within an exchange matters.
struct Output {
  enum class Kind {
    kReply,        ///< `response` is the whole answer; the exchange is over
    kStreamBegin,  ///< `response` without its body is the head of an endless answer
    kStreamData,   ///< `response.body` is the next piece of it
    kStreamEnd,    ///< the answer ends after all; the exchange is over
  };
  ExchangeId exchange{};
  Kind kind = Kind::kReply;
  Response response;
};

}  // namespace agent::api
