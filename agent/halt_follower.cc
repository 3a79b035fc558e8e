#include "agent/halt_follower.h"

#include <utility>

#include "agent/halt_driver.h"
#include "agent/io/file.h"

namespace agent {

HaltFollower::HaltFollower(io::Loop& loop, HaltFollowerParts parts, store::kv::HaltSet known)
    : parts_(std::move(parts)), known_(std::move(known)), timer_(loop, [this] { look(); }) {
  look();
}

void HaltFollower::look() {
  timer_.arm_after(kLookEvery);
  auto bytes = io::read_file(parts_.path, kHaltFileBytesMax);
  if (bytes && *bytes == bytes_) return;
  const auto file = bytes ? decode_halt_file(*bytes) : store::kv::Result<HaltFile>(store::kv::fail(store::kv::Errc::kMalformed, bytes.error().detail));
  if (!file) {
    if (std::exchange(readable_, false)) parts_.log("halts_unreadable", parts_.path + ": " + file.error().detail + "; what stood goes on standing for the clients that are left here");
    return;
  }
  readable_ = true;
  bytes_ = std::move(*bytes);
  const store::kv::HaltSet before = known_;
  const auto change = known_.follow(file->set);
  for (const store::kv::HaltTag& tag : change.added) {
    const store::kv::Halt& halt = *known_.find(tag);
    parts_.log("halted", tag.text() + ", " + scope_text(halt) + " by " + halt.who + ": " + halt.reason + "; for the clients that are left here");
  }
  for (const store::kv::HaltTag& tag : change.removed) parts_.log("resumed", tag.text() + ", " + scope_text(*before.find(tag)) + "; for the clients that are left here");
  if (known_.halts() == before.halts()) return;
  parts_.publish(std::make_shared<const proxy::HaltView>(halt_view(known_, parts_.settings)));
}

}  // namespace agent
