#include "proxy/unasked.h"

#include "proxy/exchange.h"
#include "proxy/trail.h"

namespace proxy {
namespace {

AccessRecord record_of(const Core& core, const Accepted& from, std::string_view reason, std::uint8_t http_version) {
  AccessRecord record;
  record.client = record.peer = from.client;
  record.from_peer = from.kind == ListenerKind::kPeer;
  record.https = from.scheme == Scheme::kHttps;
  record.http_version = http_version;
  record.reason = reason;
  record.started = core.now;
  return record;
}

}  // namespace

std::string answer_unasked(Core& core, const Client& client, const LocalReply& reply, std::uint8_t http_version) {
  const MadeId id(core.chance);
  AccessRecord record = record_of(core, client.accepted(), reply.code, http_version);
  record.request_id = {id.text.data(), id.text.size()};
  record.status = reply.status;
  ++core.counters.requests;
  ++(reply.status < 500 ? core.counters.responses_4xx : core.counters.responses_5xx);
  ResponseFacts facts;
  facts.keep_alive = false;
  facts.hsts = client.hsts();
  facts.id_field = core.settings.request_id.field;
  facts.request_id = record.request_id;
  std::string text;
  append_reply(text, reply, facts, http1::Method::kGet);
  Trail trail;
  if (core.settings.trails) {
    trail.add({}, Step::kAnswer, reply.code, {}, static_cast<std::uint64_t>(reply.status), 0);
    trail.add({}, Step::kEnd, name_of(record.outcome), {}, static_cast<std::uint64_t>(reply.status), 0);
    record.trail = trail.bytes();
  }
  core.host.on_access(record);
  return text;
}

void record_unasked(Core& core, const Accepted& from, std::string_view reason, std::uint8_t http_version, const http1::RequestHead* head) {
  AccessRecord record = record_of(core, from, reason, http_version);
  if (head != nullptr) {
    record.method = head->method_text;
    record.target = head->target;
    record.host = head->host;
  }
  core.host.on_access(record);
}

}  // namespace proxy
