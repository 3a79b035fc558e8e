#include "agent/drivers/span_exporter.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include "agent/drivers/http_client.h"
#include "agent/io/address.h"
#include "agent/io/crypto.h"
#include "agent/io/gzip.h"
#include "agent/io/resolver.h"
#include "agent/io/timer.h"
#include "agent/io/wall_clock.h"

namespace agent::drivers {
namespace {

constexpr RecordRules kSpanRules{.query = false, .trail = false, .spans = true, .target_bytes_max = 1024};
constexpr int kGzipLevel = 1;  // spans are alike: the fast level takes nine tenths away
constexpr std::size_t kRequestPart = 4;  // of what is kept: one request of an application cannot push all others out
constexpr int kMissesMax = 8;            // smaller spans may fit where one did not
constexpr std::string_view kChunkTail = "]}";

bool may_try_again(int status) { return status == 429 || (status >= 502 && status <= 504); }

}  // namespace

io::Result<CollectorAddress> parse_collector_url(std::string_view url) {
  CollectorAddress to;
  const std::string_view whole = url;
  const auto bad = [&](const std::string& why) { return io::fail(io::Errc::kInvalidArgument, "\"" + std::string(whole) + "\": " + why); };
  if (url.starts_with("https://")) to.https = true;
  else if (!url.starts_with("http://")) return bad("a collector is spoken to over http:// or https://");
  url.remove_prefix(to.https ? 8 : 7);
  if (to.https) to.port = 443;
  const std::size_t slash = url.find('/');
  to.authority = std::string(url.substr(0, slash));
  if (to.authority.find('@') != std::string::npos) return bad("no user belongs here; name an Authorization field instead");
  auto place = io::parse_host_port(to.authority, to.port);
  if (!place) return bad(place.error().detail);
  if (place->port == 0) return bad("the port is 0");
  to.host = place->host;
  to.port = place->port;
  if (slash != std::string_view::npos && slash + 1 < url.size()) to.path = std::string(url.substr(slash));
  for (const std::string* text : {&to.authority, &to.path}) {
    for (const char c : *text)
      if (c <= ' ' || c >= '\x7f' || c == '#') return bad("a byte in it belongs into no URL");
  }
  return to;
}

/// A request of an application, from its coming to its answer. Counts as waiting for as long as it exists, however that ends.
struct SpanExporter::Body {
  Body(std::shared_ptr<std::atomic<std::size_t>> waiting_in, OtlpForm form_in, std::string text_in, std::function<void(const SpanReceipt&)> done_in)
      : waiting(std::move(waiting_in)), form(form_in), text(std::move(text_in)), done(std::move(done_in)), bytes(text.size() + kWaitingOverheadBytes) {
    waiting->fetch_add(bytes, std::memory_order_relaxed);
  }
  ~Body() { waiting->fetch_sub(bytes, std::memory_order_relaxed); }
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  std::shared_ptr<std::atomic<std::size_t>> waiting;
  OtlpForm form;
  std::string text;
  std::function<void(const SpanReceipt&)> done;
  std::size_t bytes;
};

/// The exporter's thread: built, run and destroyed there.
class SpanExporter::Sender {
 public:
  Sender(io::Loop& loop, SpanExporter& owner)
      : loop_(loop), owner_(owner), settings_(owner.settings_), head_(otlp_head(settings_.resource)),
        batches_(settings_.batches, [](std::uint64_t bound) { return io::random_below(bound); }), ring_(settings_.keep_bytes),
        timer_(loop, [this] { look(); }) {
    inbox_.emplace(
        loop, kWaitingBytesMax / kWaitingOverheadBytes,
        [this, answers = owner.answers_.sender()](std::shared_ptr<Body>&& body) {
          SpanReceipt receipt = receive(body->form, std::move(body->text));
          answers.send([body = std::move(body), receipt = std::move(receipt)] { body->done(receipt); });
        },
        1);  // per turn: questions, the rings and the end have theirs in between
    timer_.arm_after(kLook);
  }

  void take(std::shared_ptr<Body> body) { static_cast<void>(inbox_->sender().send(std::move(body))); }

  TraceListing list(const TraceFilter& filter) {
    sweep();
    return {ring_.list(filter), ring_.size()};
  }
  std::optional<TraceText> find(const proxy::TraceId& trace) {
    sweep();
    return ring_.find(trace);
  }
  SpanReceipt receive(OtlpForm form, std::string body) {
    auto groups = read_otlp(form, body);
    SpanReceipt receipt;
    if (!groups) {
      owner_.received_malformed_.fetch_add(1, std::memory_order_relaxed);
      return {SpanReceipt::Outcome::kMalformed, 0, std::move(groups.error())};
    }
    for (const AppSpans& group : *groups) receipt.spans += group.spans.size();
    if (receipt.spans == 0) return receipt;
    const io::TimePoint now = io::boottime_now();
    if (!has_room_for(receipt.spans, now)) {
      owner_.received_over_.fetch_add(receipt.spans, std::memory_order_relaxed);
      return {SpanReceipt::Outcome::kTooMany, 0, "more than " + std::to_string(settings_.received_per_second) + " spans a second; send them later, or sample fewer"};
    }
    owner_.received_.fetch_add(receipt.spans, std::memory_order_relaxed);
    request_room_ = settings_.keep_bytes / kRequestPart;
    for (const AppSpans& group : *groups)
      if (settings_.keep_bytes > 0) keep(group);
    if (settings_.exports) {
      batches_.add_whole(form == OtlpForm::kJson ? SpanBatches::Form::kJson : SpanBatches::Form::kProtobuf, std::move(body), receipt.spans, now);
      timer_.arm_after(io::Milliseconds(0));
    }
    publish();
    return receipt;
  }

  void look() {
    sweep();
    send_next();
    timer_.arm_after(kLook);
  }
  /// No worker writes any more: what is left goes out, as far as the collector takes it now.
  void say_farewell() {
    inbox_.reset();  // whoever sent what waits there has no answer, and knows it
    sweep();
    batches_.hurry();
    bool late = false;
    io::Timer guard(loop_, [&late] { late = true; });
    guard.arm_after(kFarewell);
    send_next();
    while (!batches_.empty() && !late && !failing_ && loop_.run_once()) {
    }
    batches_.give_up();
    publish();
  }

 private:
  void sweep() {
    const SpanClock clock{io::wall_ns(), io::boottime_now()};
    for (const auto& lane : owner_.lanes_) {
      lane->ring.drain([&](std::string_view bytes) {
        std::uint64_t target_bytes = 0;
        const proxy::AccessRecord record = read_record(bytes, target_bytes);
        text_.clear();
        const std::size_t count = append_otlp_spans(text_, record, clock, settings_.schemes);
        if (settings_.exports) batches_.add(text_, count, clock.boot);
        if (settings_.keep_bytes > 0) keep(record, clock, count);
      });
    }
    publish();
  }
  /// What is in text_.
  void keep(const proxy::AccessRecord& record, const SpanClock& clock, std::size_t count) {
    const std::string name = otlp_name(record);
    TraceChunk chunk;
    chunk.trace = record.trace.trace;
    chunk.spans = static_cast<std::uint32_t>(count);
    chunk.start_ns = clock.unix_ns(record.started);
    chunk.end_ns = chunk.start_ns + record.total.count();
    chunk.name = name;
    chunk.route = record.route;
    if (record.order.front() != '\0') chunk.order = {record.order.data(), record.order.size()};
    chunk.status = record.status;
    chunk.is_request = true;
    chunk.failed = has_failed(record);
    begin_chunk(settings_.resource.service);
    chunk_text_ += text_;
    add(chunk);
  }
  /// The spans of an application, each trace by itself. Nothing is written that there is no room for: the text of a span can
  /// be many times as long as what came.
  void keep(const AppSpans& group) {
    std::map<proxy::TraceId, std::vector<const AppSpan*>> by_trace;
    for (const AppSpan& span : group.spans) by_trace[span.trace].push_back(&span);
    for (const auto& [trace, spans] : by_trace) {
      TraceChunk chunk;
      chunk.trace = trace;
      chunk.start_ns = spans.front()->start_ns;
      begin_chunk(group.service);
      misses_left_ = kMissesMax;
      for (const AppSpan* span : spans) {
        append_if_room(chunk, *span);
        chunk.start_ns = std::min(chunk.start_ns, span->start_ns);
        chunk.end_ns = std::max(chunk.end_ns, span->end_ns);
        chunk.failed = chunk.failed || span->failed;
      }
      chunk.name = spans.front()->name;
      add(chunk);
    }
  }
  void append_if_room(TraceChunk& chunk, const AppSpan& span) {
    const std::size_t size = chunk_text_.size();
    if (misses_left_ > 0 && request_room_ > 0) {
      if (chunk.spans > 0) chunk_text_ += ',';
      append_app_span(chunk_text_, span);
      const std::size_t added = chunk_text_.size() - size;
      const bool fits = added <= request_room_;
      if (fits && chunk_text_.size() + kChunkTail.size() <= ring_.room_for(chunk.trace)) {
        request_room_ -= added;
        ++chunk.spans;
        return;
      }
      chunk_text_.resize(size);
      --misses_left_;
      if (!fits) request_room_ = 0;
    }
    ++chunk.left_out;
  }
  void begin_chunk(const std::string& service) {
    chunk_text_ = "{\"service\":";
    chunk_text_ += nlohmann::json(service).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    chunk_text_ += ",\"node\":";
    append_json_text(chunk_text_, settings_.resource.instance);
    chunk_text_ += ",\"spans\":[";
  }
  /// @param chunk  its spans stand in chunk_text_, if it has any
  void add(TraceChunk& chunk) {
    chunk_text_ += kChunkTail;
    if (chunk.spans > 0) chunk.text = chunk_text_;
    ring_.add(chunk);
  }
  /// A bucket of twice what may come in a second.
  bool has_room_for(std::size_t spans, io::TimePoint now) {
    const auto rate = static_cast<double>(settings_.received_per_second);
    room_ = std::min(room_ + std::chrono::duration<double>(now - filled_at_).count() * rate, 2 * rate);
    filled_at_ = now;
    if (static_cast<double>(spans) > room_) return false;
    room_ -= static_cast<double>(spans);
    return true;
  }
  void publish() {
    owner_.kept_.store(ring_.size(), std::memory_order_relaxed);
    owner_.kept_bytes_.store(ring_.bytes(), std::memory_order_relaxed);
    const SpanCounters& c = batches_.counters();
    owner_.exported_.store(c.exported, std::memory_order_relaxed);
    owner_.full_.store(c.dropped_full, std::memory_order_relaxed);
    owner_.late_.store(c.dropped_late, std::memory_order_relaxed);
    owner_.rejected_.store(c.rejected, std::memory_order_relaxed);
  }

  void send_next() {
    const SpanBatches::Batch* batch = batches_.next(io::boottime_now());
    if (batch == nullptr) return;
    form_ = batch->form;
    body_ = form_ == SpanBatches::Form::kSpans ? head_ + batch->spans + std::string(kOtlpTail) : batch->spans;
    packed_ = settings_.gzip && pack();
    if (client_) return request();
    resolution_ = io::resolve(loop_, settings_.to.host, settings_.to.port, [this](io::Result<std::vector<io::Address>> found) {
      if (!found || found->empty()) return failed(settings_.to.host + ": " + (found ? std::string("no address") : found.error().detail));
      // The next one after a failure: a name may stand for several collectors, one of them away.
      connect((*found)[failures_ % found->size()]);
    });
  }
  void connect(const io::Address& to) {
    client_.emplace(loop_, to, settings_.to.authority);
    if (settings_.to.https) client_->use_tls(settings_.tls, settings_.server_name, nullptr);
    request();
  }
  bool pack() {
    if (gzip_ == nullptr) gzip_ = io::GzipStream::create(kGzipLevel).value_or(nullptr);
    if (gzip_ == nullptr) return false;
    gzip_->restart();
    text_.clear();
    if (!gzip_->write(std::as_bytes(std::span<const char>(body_)), io::GzipStream::Flush::kFinish, text_)) return false;
    body_.swap(text_);
    return true;
  }
  void request() {
    owner_.requests_.fetch_add(1, std::memory_order_relaxed);
    std::vector<proxy::http1::TextHeader> fields{{"Content-Type", form_ == SpanBatches::Form::kProtobuf ? "application/x-protobuf" : "application/json"},
                                                  {"User-Agent", "outrigger"}};
    if (packed_) fields.push_back({"Content-Encoding", "gzip"});
    for (const auto& [name, value] : settings_.fields) fields.push_back({name, value});
    client_->request("POST", settings_.to.path, fields, body_, io::boottime_now() + settings_.timeout,
                     [this](io::Result<HttpAnswer> answer) { answered(answer); });
  }

  void answered(const io::Result<HttpAnswer>& answer) {
    if (!answer) return failed(answer.error().detail);
    const io::TimePoint now = io::boottime_now();
    const std::string status = "answered " + std::to_string(answer->status);
    if (may_try_again(answer->status)) {
      batches_.answered(SpanBatches::TryAgain{read_retry_after(answer->retry_after, io::wall_ms())}, now);
      note(status);
    } else if (answer->status < 300) {
      const OtlpRejection rejection = form_ == SpanBatches::Form::kProtobuf ? read_otlp_protobuf_answer(answer->body) : read_otlp_answer(answer->body);
      batches_.answered(SpanBatches::Delivered{rejection.spans}, now);
      note(rejection.spans > 0 ? "does not take " + std::to_string(rejection.spans) + " spans: " + rejection.message : std::string());
    } else {
      batches_.answered(SpanBatches::Refused{}, now);
      note(status + ", which means that it does not want these spans");
    }
    after_answer();
  }
  void failed(const std::string& why) {
    ++failures_;
    batches_.answered(SpanBatches::TryAgain{}, io::boottime_now());
    note(why);
    client_.reset();  // the next try looks the name up again
    after_answer();
  }
  void after_answer() {
    publish();
    timer_.arm_after(io::Milliseconds(0));  // the next batch, from a turn of its own
  }
  /// Says when it begins to go wrong and when it ends, not every time.
  void note(const std::string& why) {
    const bool fails = !why.empty();
    if (fails == std::exchange(failing_, fails)) return;
    owner_.problems_.sender().send(fails ? "the collector at " + settings_.to.authority + ": " + why : std::string());
  }

  io::Loop& loop_;
  SpanExporter& owner_;
  const SpanExportSettings& settings_;
  std::string head_, text_, chunk_text_, body_;  // text_ and chunk_text_ are scratch; body_ is under way
  SpanBatches::Form form_ = SpanBatches::Form::kSpans;  // of what is under way
  double room_ = 2 * static_cast<double>(settings_.received_per_second);  // for spans of applications
  io::TimePoint filled_at_ = io::boottime_now();
  bool packed_ = false, failing_ = false;
  std::size_t failures_ = 0;
  std::size_t request_room_ = 0;  // of the request that is read: bytes of text that may still be kept of it
  int misses_left_ = 0;           // of the trace that is written: spans that may still be written in vain
  SpanBatches batches_;
  TraceRing ring_;
  std::unique_ptr<io::GzipStream> gzip_;
  std::unique_ptr<io::Resolution> resolution_;
  std::optional<HttpClient> client_;
  std::optional<io::Mailbox<std::shared_ptr<Body>>> inbox_;  // shared with the task that brought it, which is over at once
  io::Timer timer_;
};

SpanExporter::SpanExporter(io::Loop& loop, SpanExportSettings settings, std::function<void(const std::string&)> on_problem)
    : settings_(std::move(settings)),
      read_room_(static_cast<double>(settings_.read_bytes_per_second)),
      problems_(loop, 64, [tell = std::move(on_problem)](std::string&& what) { tell(what); }),
      answers_(loop, kWaitingBytesMax / kWaitingOverheadBytes + kQuestionsMax, [](std::function<void()>&& answer) { answer(); }),
      sender_(std::make_shared<Sender*>(nullptr)) {
  problems_.unref();
  answers_.unref();
  for (std::size_t i = 0; i < settings_.workers; ++i) lanes_.push_back(std::make_unique<Lane>(settings_.ring_bytes));
}

io::Result<std::unique_ptr<SpanExporter>> SpanExporter::start(io::Loop& loop, SpanExportSettings settings,
                                                              std::function<void(const std::string&)> on_problem) {
  std::unique_ptr<SpanExporter> exporter(new SpanExporter(loop, std::move(settings), std::move(on_problem)));
  auto thread = io::Thread::start("span-export", [&self = *exporter, slot = exporter->sender_](io::Loop& own) {
    Sender sender(own, self);
    *slot = &sender;
    own.run();
    *slot = nullptr;
    sender.say_farewell();
  });
  if (!thread) return tl::make_unexpected(thread.error());
  exporter->thread_ = std::move(*thread);
  return exporter;
}

SpanExporter::~SpanExporter() {
  if (thread_ == nullptr) return;
  thread_->stop();
  thread_->join();
}

void SpanExporter::take(std::size_t worker, const proxy::AccessRecord& record) {
  Lane& lane = *lanes_[worker];
  lane.scratch.clear();
  append_record(lane.scratch, record, kSpanRules);
  if (!lane.ring.push(lane.scratch)) lane.dropped.fetch_add(1 + record.span_count, std::memory_order_relaxed);
  const bool full = lane.ring.half_full();
  // Once per filling: the thread may have gone to sleep for longer than the ring lasts.
  if (full && !lane.kicked) {
    thread_->post([slot = sender_] {
      if (*slot != nullptr) (*slot)->look();
    });
  }
  lane.kicked = full;
}

bool SpanExporter::ask(std::function<std::function<void()>(Sender&)> work) {
  if (questions_ >= kQuestionsMax) return false;
  const bool asked = thread_->post([this, slot = sender_, work = std::move(work), answers = answers_.sender()] {
    if (*slot == nullptr) return;
    answers.send([this, answer = work(**slot)] {
      --questions_;
      answer();
    });
  });
  if (asked) ++questions_;
  return asked;
}

bool SpanExporter::list(TraceFilter filter, std::function<void(const TraceListing&)> done) {
  return ask([filter = std::move(filter), done = std::move(done)](Sender& sender) { return [done, found = sender.list(filter)] { done(found); }; });
}

bool SpanExporter::find(const proxy::TraceId& trace, std::function<void(std::optional<TraceText>)> done) {
  return ask([trace, done = std::move(done)](Sender& sender) { return [done, found = sender.find(trace)] { done(found); }; });
}

bool SpanExporter::admit(std::size_t bytes) {
  const io::TimePoint now = io::boottime_now();
  const auto rate = static_cast<double>(settings_.read_bytes_per_second);
  read_room_ = std::min(read_room_ + std::chrono::duration<double>(now - read_filled_at_).count() * rate, rate);
  read_filled_at_ = now;
  // Only this loop adds, so it can only have become less.
  if (read_room_ <= 0 || waiting_bytes() + bytes > kWaitingBytesMax) return false;
  read_room_ -= static_cast<double>(bytes);
  return true;
}

bool SpanExporter::receive(OtlpForm form, std::string body, std::function<void(const SpanReceipt&)> done) {
  if (admit(body.size() + kWaitingOverheadBytes)) {
    auto waiting = std::make_shared<Body>(waiting_bytes_, form, std::move(body), std::move(done));
    const bool posted = thread_->post([slot = sender_, waiting = std::move(waiting)] {
      if (*slot != nullptr) (*slot)->take(waiting);
    });
    if (posted) return true;
  }
  received_unread_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

SpanExportCounters SpanExporter::counters() const {
  SpanExportCounters out;
  out.exports = settings_.exports;
  out.received = received_.load(std::memory_order_relaxed);
  out.received_over = received_over_.load(std::memory_order_relaxed);
  out.received_malformed = received_malformed_.load(std::memory_order_relaxed);
  out.received_unread = received_unread_.load(std::memory_order_relaxed);
  out.traces_kept = kept_.load(std::memory_order_relaxed);
  out.trace_bytes_kept = kept_bytes_.load(std::memory_order_relaxed);
  out.spans = {exported_.load(std::memory_order_relaxed), full_.load(std::memory_order_relaxed), late_.load(std::memory_order_relaxed),
               rejected_.load(std::memory_order_relaxed)};
  out.requests = requests_.load(std::memory_order_relaxed);
  for (const auto& lane : lanes_) out.dropped_behind += lane->dropped.load(std::memory_order_relaxed);
  return out;
}

}  // namespace agent::drivers
