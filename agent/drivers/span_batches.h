#pragma once
/// Spans on their way to a collector: which go together, when they go, and what becomes of them when nobody takes them.
/// A core without socket and clock.
///
/// Source:   opentelemetry-proto, docs/specification.md, "OTLP/HTTP Throttling" and "OTLP/HTTP Connection": what may be
///           tried again is, after Retry-After where there is one, else after a pause that doubles and has chance in it.
/// Contract: add as spans come; whenever next() names a batch, send it and report with answered() before asking again; look
///           again at next_deadline(). Nothing waits for the collector but the spans themselves.
/// Bound:    queue_bytes of text. What does not fit is dropped at once and counted; a batch that could not be delivered for
///           kKeep is dropped too, so that a collector that comes back gets news and no archive.
/// Ownership: a value of its driver.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "agent/io/clock.h"

namespace agent::drivers {

struct SpanBatchSettings {
  std::size_t batch_spans = 512;           ///< a batch is sent as soon as it has so many, > 0
  std::size_t batch_bytes = 512U << 10;    ///< or so much text; one request's spans are never split
  io::Milliseconds wait{1000};             ///< or when its first span has waited so long
  std::size_t queue_bytes = 4U << 20;      ///< of all batches, the one under way included
  io::Milliseconds backoff_min{500};       ///< first pause after a failure, > 0; doubles
  io::Milliseconds backoff_max{30'000};
};

/// Plain numbers; they only grow. Every span that was added ends in one of them.
struct SpanCounters {
  std::uint64_t exported = 0;       ///< taken by the collector
  std::uint64_t dropped_full = 0;   ///< no room in the queue
  std::uint64_t dropped_late = 0;   ///< not delivered within kKeep, or before the end
  std::uint64_t rejected = 0;       ///< the collector does not want them
};

class SpanBatches {
 public:
  static constexpr io::Milliseconds kKeep{300'000};
  /// Uniform number in [0, bound), bound > 0.
  using Chance = std::function<std::uint64_t(std::uint64_t bound)>;

  /// What a batch is made of: spans of ours, or one request of an application, passed on as it came.
  enum class Form : std::uint8_t { kSpans, kJson, kProtobuf };
  struct Batch {
    Form form = Form::kSpans;
    std::string spans;                ///< separated by commas; of another form the whole body
    std::size_t count = 0;
    io::TimePoint begun{};            ///< its first span came
    std::optional<io::TimePoint> first_tried{};
  };
  /// What became of the batch that next() has named.
  struct Delivered { std::uint64_t rejected = 0; };                     ///< 2xx
  struct TryAgain { std::optional<io::Milliseconds> after{}; };         ///< no answer, 429, 502, 503, 504
  struct Refused {};                                                    ///< any other status

  SpanBatches(const SpanBatchSettings& settings, Chance chance) : settings_(settings), chance_(std::move(chance)) {}

  /// The spans of one request. @param count  of them
  void add(std::string_view spans, std::size_t count, io::TimePoint now);
  /// A batch of its own. @param form  not kSpans  @param count  of the spans in it, > 0
  void add_whole(Form form, std::string body, std::size_t count, io::TimePoint now);
  /// The batch that is due. Null: none is, or one is under way. Valid until answered().
  [[nodiscard]] const Batch* next(io::TimePoint now);
  void answered(Delivered what, io::TimePoint now);
  void answered(TryAgain what, io::TimePoint now);
  void answered(Refused what, io::TimePoint now);
  /// From now on everything is due at once, pauses included: the end is near.
  void hurry() { hurried_ = true; }
  /// What is left is lost.
  void give_up();
  /// When next() may have something; max = not before somebody adds or answers.
  [[nodiscard]] io::TimePoint next_deadline() const;
  [[nodiscard]] bool empty() const { return batches_.empty(); }
  [[nodiscard]] const SpanCounters& counters() const { return counters_; }

 private:
  [[nodiscard]] bool is_full(const Batch& batch) const;
  void pop();

  SpanBatchSettings settings_;
  Chance chance_;
  std::deque<Batch> batches_;  // oldest first; the last one takes what comes
  std::size_t bytes_ = 0;
  bool under_way_ = false;     // the first one is
  bool hurried_ = false;
  io::Milliseconds pause_{0};  // the last one; 0 = the last delivery went well
  io::TimePoint not_before_{};
  SpanCounters counters_;
};

}  // namespace agent::drivers
