#include "proxy/error.h"

namespace proxy {

std::string_view name_of(Errc code) {
  switch (code) {
    case Errc::kBadRequestLine: return "bad_request_line";
    case Errc::kBadVersion: return "bad_version";
    case Errc::kBadHeader: return "bad_header";
    case Errc::kBadHost: return "bad_host";
    case Errc::kBadFraming: return "bad_framing";
    case Errc::kBadChunk: return "bad_chunk";
    case Errc::kUnknownCoding: return "unknown_coding";
    case Errc::kTargetTooLong: return "target_too_long";
    case Errc::kHeadTooLarge: return "head_too_large";
    case Errc::kBodyTooLarge: return "body_too_large";
    case Errc::kUnknownExpectation: return "unknown_expectation";
    case Errc::kMethodRefused: return "method_refused";
    case Errc::kBadResponse: return "bad_response";
    case Errc::kTruncated: return "truncated";
    case Errc::kBadProxyHeader: return "bad_proxy_header";
    case Errc::kBadRoute: return "bad_route";
    case Errc::kBadAddress: return "bad_address";
  }
  return "unknown";
}

int status_of(Errc code) {
  switch (code) {
    case Errc::kBadRequestLine:
    case Errc::kBadHeader:
    case Errc::kBadHost:
    case Errc::kBadFraming:
    case Errc::kBadProxyHeader:
    case Errc::kBadChunk: return 400;
    case Errc::kBadVersion: return 505;
    case Errc::kUnknownCoding: return 501;
    case Errc::kTargetTooLong: return 414;
    case Errc::kHeadTooLarge: return 431;
    case Errc::kBodyTooLarge: return 413;
    case Errc::kUnknownExpectation: return 417;
    case Errc::kMethodRefused: return 405;
    case Errc::kBadResponse:
    case Errc::kTruncated: return 502;
    case Errc::kBadRoute:
    case Errc::kBadAddress: return 500;
  }
  return 500;
}

}  // namespace proxy
