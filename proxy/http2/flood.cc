#include "proxy/http2/flood.h"

namespace proxy::http2 {

std::uint64_t FloodGuard::limit_of(Flood kind) const {
  switch (kind) {
    case Flood::kResets: return limits_.resets_max;
    case Flood::kControl: return limits_.control_frames_max;
    case Flood::kEmptyData: return limits_.empty_data_max;
    case Flood::kWindowUpdates: return limits_.window_updates_max + sent_bytes_ / kWindowUpdateBytes;
    case Flood::kHeadFrames:
    case Flood::kNone: break;
  }
  return UINT64_MAX;  // not counted by time
}

bool FloodGuard::count(Flood kind, TimePoint now) {
  if (now - start_ >= limits_.window) {
    start_ = now;
    counts_ = {};
    sent_bytes_ = 0;
  }
  return ++counts_[static_cast<std::size_t>(kind)] <= limit_of(kind);
}

}  // namespace proxy::http2
