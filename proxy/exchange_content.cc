// What the route of a request makes of heads on their way.
#include "proxy/accept_encoding.h"
#include "proxy/exchange.h"
#include "proxy/http1/writer.h"

namespace proxy {

using http1::Framing;

// The head was written before the route was known: once more, without what the rules leave out. Their own fields follow
// with each attempt, because the epoch may change until then.
void Exchange::note_content(const http1::RequestHead& head, const Origin& origin) {
  shaped_ = true;
  const Accepted& from = down_->accepted();
  client_text_ = client_address(head, from.client, from.trusted.get());
  takes_gzip_ = route_->compress.level > 0 && accepts_gzip(head.headers);
  if (!route_->request_fields.empty()) rewrite_head(head, origin);
  if (route_->cache != nullptr) note_cache(head);
}

void Exchange::rewrite_head(const http1::RequestHead& head, const Origin& origin) {
  const std::string id(request_id());
  const std::string trace = head_.substr(id_.at + id_.size + 2);  // behind the line of the id
  head_.clear();
  id_ = append_request_head(head_, head, origin, naming(id), &route_->request_fields);
  head_ += trace;
  common_bytes_ = head_.size();
}

// By way of a scratch: the facts are views into the head that grows.
void Exchange::append_request_fields() {
  early_text_.clear();
  route_->request_fields.append(early_text_, field_facts());
  head_ += early_text_;
}

Framing Exchange::shape_response(const http1::ResponseHead& head, ResponseFacts& facts) {
  Framing framing = client_framing(head, client_minor_);
  if (!shaped_) return framing;
  facts.rules = &route_->response_fields;
  if (is_packed_by(route_->compress, head, method_ == http1::Method::kHead)) {
    // Also for this client's sake who takes nothing packed: a cache between us must not give its answer to the others.
    const auto vary = head.find("Vary");
    if (!vary || !(http1::list_has(*vary, "Accept-Encoding") || *vary == "*")) admission_text_ += "Vary: Accept-Encoding\r\n";
    if (takes_gzip_) packer_ = core_.host.lend_packer(route_->compress.level);
    if (takes_gzip_ && packer_ == nullptr) ++state_->counters.packed_denied;
  }
  if (packer_ != nullptr) {
    ++state_->counters.packed;
    facts.packed = true;
    admission_text_ += "Content-Encoding: gzip\r\n";
    framing = client_minor_ == 0 ? Framing::kToEof : Framing::kChunked;
  }
  if (route_->cache != nullptr) append_cache_fields();
  route_->response_fields.append(admission_text_, field_facts());
  return framing;
}

// What one read has brought goes through the packer as a whole. When the instance pauses, all of it is made to come out: a
// client must not wait for bytes that we have.
void Exchange::pack_response() {
  const PackFlush flush = response_complete_ ? PackFlush::kFinish : short_read_ ? PackFlush::kAll : PackFlush::kNone;
  packed_.clear();
  bool good = true;
  std::size_t taken = 0;
  for (const Bytes piece : response_body_.pieces()) {
    taken += piece.size();
    const bool last = taken == response_body_.size();
    good = good && packer_->pack(piece, last ? flush : PackFlush::kNone, packed_);
  }
  if (taken == 0 && response_complete_) good = packer_->pack({}, PackFlush::kFinish, packed_);
  // A packer breaks only by a fault of ours or of memory; what it gave is no whole answer then.
  if (!good) pack_broken_ = true;
  state_->counters.packed_bytes_in += response_body_.size();
  state_->counters.packed_bytes_out += packed_.size();
  response_body_.clear();
  response_body_.add(http1::bytes_of(packed_));
  response_body_bytes_ += packed_.size();
  if (response_complete_) stop_packing();
}

void Exchange::stop_packing() {
  if (packer_ != nullptr) core_.host.take_packer(std::move(packer_));
}

// From the head as it goes upstream: method, target and Host stand at its beginning, and no rule can touch them.
FieldFacts Exchange::field_facts() const {
  const std::string_view head(head_);
  FieldFacts facts;
  facts.client = client_text_;
  facts.request_id = request_id();
  facts.node = core_.settings.node;
  facts.route = route_->name;
  facts.method = head.substr(0, method_bytes_);
  const std::string_view target = head.substr(method_bytes_ + 1, target_bytes_);
  facts.path = target.substr(0, target.find('?'));
  const std::string_view host = head.substr(head.find("\r\nHost: ") + 8);
  facts.host = host.substr(0, host.find('\r'));
  facts.scheme = down_->accepted().scheme == Scheme::kHttps ? "https" : "http";
  if (service_ != nullptr) facts.epoch = service_->view.epoch;
  return facts;
}

}  // namespace proxy
