#pragma once
/// Finding out, after a callback, whether it has destroyed the object that made the call.

namespace agent::io {

/// Member of the object that may die. Its destruction tells every LifeMark on the stack.
class Life {
 public:
  Life() = default;
  ~Life();
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;

 private:
  friend class LifeMark;
  class LifeMark* innermost_ = nullptr;
};

/// On the stack of a member function that calls out; nests.
class LifeMark {
 public:
  explicit LifeMark(Life& life);
  ~LifeMark();
  LifeMark(const LifeMark&) = delete;
  LifeMark& operator=(const LifeMark&) = delete;
  [[nodiscard]] bool alive() const { return life_ != nullptr; }  ///< false: `this` of the caller is gone

 private:
  friend class Life;
  Life* life_;
  LifeMark* outer_;
};

}  // namespace agent::io
