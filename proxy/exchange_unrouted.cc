// Answers to requests that no route takes, or that have to come over https.
#include <algorithm>

#include "proxy/exchange.h"

namespace proxy {

/// The same place over https. A method with a body keeps it (308); what fetches may be remembered by everybody (301).
void Exchange::answer_elsewhere(const http1::RequestHead& head, std::uint16_t port) {
  const std::string_view host = head.host;
  // "[::1]:8080" -> "[::1]"; a colon outside of brackets begins the port.
  const std::size_t end = host.find(':', host.starts_with('[') ? std::min(host.find(']'), host.size()) : 0);
  if (host.empty() || head.path == "*") {
    early_.status = 400;
    early_.code = "no_host";
    early_.message = "this listener only redirects to https, and the request does not say where to";
    early_.hint = "send a Host field, or use https";
    keep_client_ = false;
    return;
  }
  early_text_ = "https://";
  early_text_ += host.substr(0, end);
  if (port != 443) early_text_ += ":" + std::to_string(port);
  early_text_ += head.path;
  if (!head.query.empty()) (early_text_ += '?') += head.query;
  early_.status = http1::is_safe(method_) ? 301 : 308;
  early_.code = "https_only";
  early_.message = "this service is spoken to over https";
  early_.hint = "use the address in Location";
  early_.location = early_text_;
}

void Exchange::answer_unroutable(const RouteMatch& match) {
  if (!match.path_known) {
    early_.status = 404;
    early_.code = "no_route";
    early_.message = "no route of this agent takes that path";
    early_.hint = "see the routes section of the settings";
    return;
  }
  early_text_.clear();
  for (int i = 0; i < static_cast<int>(http1::Method::kTrace); ++i) {
    const auto method = static_cast<http1::Method>(i);
    if (!match.allowed.has(method)) continue;
    if (!early_text_.empty()) early_text_ += ", ";
    early_text_ += http1::name_of(method);
  }
  early_.status = 405;
  early_.code = "method_not_allowed";
  early_.message = "the path has a route, but not for this method";
  early_.allow = early_text_;
}

}  // namespace proxy
