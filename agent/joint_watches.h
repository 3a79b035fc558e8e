#pragma once
/// Waits for the first change of any of several topics of the store: what an answer made of several rows needs.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "agent/drivers/store_driver.h"

namespace agent {

/// Ownership: of the backend; the store driver outlives it. Bound: that of the store's own table of waits.
class JointWatches {
 public:
  explicit JointWatches(drivers::StoreDriver& store) : store_(store) {}
  ~JointWatches();
  JointWatches(const JointWatches&) = delete;
  JointWatches& operator=(const JointWatches&) = delete;

  /// `woken` runs once, as soon as one of the topics is above `after`, never inside this call.
  /// @return its number, from 1; nullopt: the table of waits is full, and nothing is left behind.
  std::optional<std::uint64_t> add(const std::vector<store::kv::Topic>& topics, store::kv::Index after, std::function<void()> woken);
  void cancel(std::uint64_t number);  ///< unknown or woken ones are ignored

 private:
  struct Joint {
    std::vector<store::kv::WatchId> ids;
    std::function<void()> woken;
  };
  void wake(std::uint64_t number);

  drivers::StoreDriver& store_;
  std::map<std::uint64_t, Joint> joints_;
  std::uint64_t count_ = 0;
};

}  // namespace agent
