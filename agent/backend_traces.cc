#include "agent/backend_traces.h"

#include <algorithm>
#include <utility>

namespace agent {
namespace {

template <class T>
void refuse(const api::Completion<T>& done, api::Errc code, std::string message) {
  done(tl::unexpected(api::Error{code, std::move(message), {}}));
}

template <std::size_t N>
std::string text_of(const std::array<char, N>& id) {
  return std::string(id.data(), id.size());
}

proxy::TraceId trace_id_of(std::string_view text) {
  proxy::TraceId id{};
  std::copy(text.begin(), text.end(), id.begin());
  return id;
}

api::TraceInfo info_of(const drivers::TraceSummary& one) {
  api::TraceInfo info{text_of(one.trace), one.name, one.route, one.order, one.status, one.start_ns / 1000, 0, one.spans, one.left_out, one.failed};
  info.duration_us = one.end_ns / 1000 - info.start_us;
  return info;
}

constexpr const char* kBehind = "the thread that keeps spans is behind; ask again";

}  // namespace

AgentTraces::AgentTraces(io::Loop& loop, TraceParts parts) : loop_(loop), parts_(std::move(parts)) {}
AgentTraces::~AgentTraces() { *alive_ = false; }

void AgentTraces::list(api::TraceQuery query, api::Completion<api::TraceListInfo> done) {
  drivers::TraceFilter filter{std::chrono::nanoseconds(query.min).count(), query.status_min, query.status_max, std::move(query.route), std::move(query.orders), query.limit};
  const bool asked = parts_.spans->list(std::move(filter), [alive = alive_, done](const drivers::TraceListing& found) {
    if (!*alive) return;
    api::TraceListInfo info;
    info.kept = found.kept;
    for (const auto& one : found.traces) info.traces.push_back(info_of(one));
    done(std::move(info));
  });
  if (!asked) refuse(done, api::Errc::kBusy, kBehind);
}

void AgentTraces::find(std::string id, api::Completion<api::TraceSpansInfo> done) {
  if (questions_.size() >= kAskingMax) return refuse(done, api::Errc::kBusy, std::to_string(kAskingMax) + " traces are being looked for already");
  const std::uint64_t number = ++last_number_;
  Question& question = questions_[number];
  question.id = id;
  question.done = std::move(done);
  question.deadline = std::make_unique<io::Timer>(loop_, [this, number] { finish(number); });
  question.deadline->arm_after(parts_.wait);
  for (auto& [node, name] : parts_.peers()) {
    if (parts_.send(node, encode_trace_word({number, false, id, 0, {}}))) question.awaited.emplace(node, name);
    else question.found.silent.push_back(name);
  }
  const bool asked = parts_.spans->find(trace_id_of(id), [this, alive = alive_, number](std::optional<drivers::TraceText> text) {
    if (!*alive) return;
    const auto found = questions_.find(number);
    if (found == questions_.end()) return;
    found->second.own_awaited = false;
    if (text) take(number, parts_.node, std::move(text->chunks), text->left_out);
    finish_if_all(number);
  });
  if (asked) return;
  const auto refused = std::move(question.done);
  questions_.erase(number);
  refuse(refused, api::Errc::kBusy, kBehind);
}

void AgentTraces::take(std::uint64_t number, const std::string& node, std::string chunks, std::uint32_t left_out) {
  api::TraceSpansInfo& found = questions_.at(number).found;
  if (chunks.empty() && left_out == 0) return;
  found.nodes.push_back(node);
  found.left_out += left_out;
  if (chunks.empty()) return;
  if (!found.chunks.empty()) found.chunks += ',';
  found.chunks += chunks;
}

void AgentTraces::finish_if_all(std::uint64_t number) {
  const Question& question = questions_.at(number);
  if (!question.own_awaited && question.awaited.empty()) finish(number);
}

void AgentTraces::finish(std::uint64_t number) {
  auto found = questions_.extract(number);
  Question& question = found.mapped();
  for (const auto& [node, name] : question.awaited) question.found.silent.push_back(name);
  if (question.own_awaited) question.found.silent.push_back(parts_.node);
  std::sort(question.found.silent.begin(), question.found.silent.end());
  if (!question.found.nodes.empty()) return question.done(std::move(question.found));
  // Whoever asks here must not be told that a trace is gone which may be in this agent.
  if (question.own_awaited) return refuse(question.done, api::Errc::kBusy, kBehind);
  std::string message = "no agent that has answered keeps a trace " + question.id;
  for (std::size_t i = 0; i < question.found.silent.size(); ++i) message += (i == 0 ? "; silent: " : ", ") + question.found.silent[i];
  refuse(question.done, api::Errc::kNotFound, std::move(message));
}

void AgentTraces::receive(api::SpanForm form, std::string body, api::Completion<std::size_t> done) {
  const bool asked = parts_.spans->receive(form == api::SpanForm::kJson ? drivers::OtlpForm::kJson : drivers::OtlpForm::kProtobuf, std::move(body),
                                           [alive = alive_, done](const drivers::SpanReceipt& receipt) {
    if (!*alive) return;
    if (receipt.outcome == drivers::SpanReceipt::Outcome::kMalformed) return refuse(done, api::Errc::kBadRequest, receipt.fault);
    if (receipt.outcome == drivers::SpanReceipt::Outcome::kTooMany) return refuse(done, api::Errc::kBusy, receipt.fault);
    done(receipt.spans);
  });
  if (!asked) refuse(done, api::Errc::kBusy, "more spans wait than can be read now; send them later, or sample fewer");
}

void AgentTraces::on_frame(store::NodeId from, std::string_view frame) {
  const auto word = decode_trace_word(frame);
  if (!word) return;
  if (!word->is_answer) return answer(from, *word);
  const auto found = questions_.find(word->number);
  if (found == questions_.end()) return;
  const auto awaited = found->second.awaited.find(from);
  if (awaited == found->second.awaited.end()) return;
  const std::string name = awaited->second;
  found->second.awaited.erase(awaited);
  take(word->number, name, word->chunks, word->left_out);
  finish_if_all(word->number);
}

void AgentTraces::answer(store::NodeId to, const TraceWord& question) {
  const auto say = [this, to, number = question.number](const std::optional<drivers::TraceText>& text) {
    static_cast<void>(parts_.send(to, encode_trace_word({number, true, {}, text ? text->left_out : 0, text ? text->chunks : std::string()})));
  };
  if (parts_.spans == nullptr) return say(std::nullopt);
  static_cast<void>(parts_.spans->find(trace_id_of(question.trace), [alive = alive_, say](const std::optional<drivers::TraceText>& text) {
    if (*alive) say(text);
  }));
}

}  // namespace agent
