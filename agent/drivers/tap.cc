#include "agent/drivers/tap.h"

#include <utility>

namespace agent::drivers {

bool TapFilter::wants(const proxy::AccessRecord& record) const {
  return (route.empty() || record.route == route) && (method.empty() || record.method == method) &&
         record.target.starts_with(path_prefix) && record.status >= status_min && record.status <= status_max &&
         record.total >= slower_than;
}

Tap::Tap(io::Loop& loop, std::size_t workers, std::string node, std::function<void(const Rings&)> publish)
    : workers_(workers), publish_(std::move(publish)), timer_(loop, [this] { look(); }) {
  append_json_text(node_json_, node);
}

std::shared_ptr<TapReader> Tap::open(TapFilter filter, std::function<void()> on_news) {
  std::erase_if(readers_, [](const auto& reader) { return reader.expired(); });
  if (readers_.size() >= kReadersMax) return nullptr;
  auto reader = std::make_shared<TapReader>(std::move(filter), std::move(on_news));
  readers_.push_back(reader);
  if (rings_.empty()) {
    for (std::size_t i = 0; i < workers_; ++i) rings_.push_back(std::make_shared<RecordRing>(kRingBytes));
    dropped_.assign(workers_, 0);
    publish_(rings_);
    timer_.arm_after(kLook);
  }
  return reader;
}

void Tap::hand_out(const proxy::AccessRecord& record, std::uint64_t target_bytes, const ClockPair& clocks) {
  line_.clear();
  for (const auto& weak : readers_) {
    const auto reader = weak.lock();
    if (reader == nullptr || !reader->filter_.wants(record)) continue;
    if (line_.empty()) {
      append_access_json(line_, record, target_bytes, node_json_, clocks);
      line_ += '\n';
    }
    if (reader->lines_.size() + line_.size() > kBufferBytes) {
      ++reader->missed_;
    } else {
      reader->lines_ += line_;
    }
  }
}

void Tap::look() {
  std::erase_if(readers_, [](const auto& reader) { return reader.expired(); });
  if (readers_.empty()) {
    rings_.clear();
    publish_(rings_);
    return;
  }
  const ClockPair clocks{io::wall_ms(), io::boottime_now()};
  std::uint64_t missed = 0;
  for (std::size_t i = 0; i < rings_.size(); ++i) {
    rings_[i]->drain([&](std::string_view bytes) {
      std::uint64_t target_bytes = 0;
      hand_out(read_record(bytes, target_bytes), target_bytes, clocks);
    });
    missed += rings_[i]->dropped() - std::exchange(dropped_[i], rings_[i]->dropped());
  }
  timer_.arm_after(kLook);
  // A reader may go, and others come, while they are told.
  std::vector<std::shared_ptr<TapReader>> all;
  for (const auto& weak : readers_) all.push_back(weak.lock());
  for (const auto& reader : all) {
    if (reader == nullptr) continue;
    reader->missed_ += missed;
    if (!reader->empty() && reader->on_news_) reader->on_news_();
  }
}

}  // namespace agent::drivers
