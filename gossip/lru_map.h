#pragma once

#include <cstddef>
#include <list>
#include <unordered_map>
#include <utility>

namespace gossip {

/// A map that forgets the least recently used entry when it is full. Not iterable on purpose: the order of a hash
/// table must not leak into the core's outputs.
/// Invariant: size() <= the capacity last given, >= 1. References stay valid until their entry is forgotten.
template <class Key, class Value, class Hash>
class LruMap {
 public:
  explicit LruMap(std::size_t capacity) : capacity_(capacity) {}
  /// Raises the capacity (it never shrinks: entries in use are not thrown out by a shrinking cluster).
  void grow(std::size_t capacity) {
    if (capacity > capacity_) capacity_ = capacity;
  }
  /// The entry, now the most recently used one; null if unknown.
  Value* find(const Key& key) {
    const auto place = index_.find(key);
    if (place == index_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, place->second);
    return &place->second->second;
  }
  /// The entry, made from Value{} if unknown; may forget the oldest one.
  Value& at(const Key& key) {
    if (Value* known = find(key)) return *known;
    if (entries_.size() >= capacity_) {
      index_.erase(entries_.back().first);
      entries_.pop_back();
    }
    entries_.emplace_front(key, Value{});
    index_.emplace(key, entries_.begin());
    return entries_.front().second;
  }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  std::size_t capacity_;
  std::list<std::pair<Key, Value>> entries_;  // most recently used first
  std::unordered_map<Key, typename std::list<std::pair<Key, Value>>::iterator, Hash> index_;
};

}  // namespace gossip
