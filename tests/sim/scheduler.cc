#include "tests/sim/scheduler.h"

#include <algorithm>
#include <utility>

namespace sim {

void Scheduler::at(Nanos when, Task task) {
  heap_.push_back({std::max(when, now_), sequence_++, std::move(task)});
  std::push_heap(heap_.begin(), heap_.end(), Later{});
}

bool Scheduler::run_one() {
  if (heap_.empty()) {
    return false;
  }
  std::pop_heap(heap_.begin(), heap_.end(), Later{});
  Entry entry = std::move(heap_.back());
  heap_.pop_back();
  now_ = entry.when;
  ++executed_;
  entry.task();
  return true;
}

}  // namespace sim
