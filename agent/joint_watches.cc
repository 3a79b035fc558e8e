#include "agent/joint_watches.h"

#include <utility>

namespace agent {

JointWatches::~JointWatches() {
  for (const auto& [number, joint] : joints_)
    for (const auto id : joint.ids) store_.unwatch(id);
}

std::optional<std::uint64_t> JointWatches::add(const std::vector<store::kv::Topic>& topics, store::kv::Index after, std::function<void()> woken) {
  const std::uint64_t number = ++count_;
  Joint& joint = joints_[number];
  joint.woken = std::move(woken);
  for (const auto& topic : topics) {
    const auto id = store_.watch(topic, after, [this, number] { wake(number); });
    if (!id) {
      cancel(number);
      return std::nullopt;
    }
    joint.ids.push_back(*id);
  }
  return number;
}

void JointWatches::cancel(std::uint64_t number) {
  const auto it = joints_.find(number);
  if (it == joints_.end()) return;
  const Joint joint = std::move(it->second);
  joints_.erase(it);
  for (const auto id : joint.ids) store_.unwatch(id);
}

void JointWatches::wake(std::uint64_t number) {
  const auto it = joints_.find(number);
  if (it == joints_.end()) return;
  const auto woken = std::move(it->second.woken);
  cancel(number);
  woken();
}

}  // namespace agent
