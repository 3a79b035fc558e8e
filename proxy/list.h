#pragma once
/// An intrusive list of exchanges: joining and leaving cost two stores and no memory. Private to the library.

namespace proxy {

class Exchange;

/// One membership. Leaves its list when destroyed.
class Link {
 public:
  explicit Link(Exchange* owner) : owner_(owner) {}
  ~Link() { unlink(); }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  [[nodiscard]] bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (next_ == nullptr) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = nullptr;
  }

 private:
  friend class LinkList;
  Exchange* owner_;
  Link* prev_ = nullptr;
  Link* next_ = nullptr;
};

/// In order of joining. Must be empty when destroyed. Not movable: members point at it.
class LinkList {
 public:
  LinkList() : head_(nullptr) { head_.prev_ = head_.next_ = &head_; }
  LinkList(const LinkList&) = delete;
  LinkList& operator=(const LinkList&) = delete;
  [[nodiscard]] bool empty() const { return head_.next_ == &head_; }
  [[nodiscard]] Exchange* front() const { return empty() ? nullptr : head_.next_->owner_; }
  /// Joins at the end; leaves its former list first.
  void push_back(Link& link) {
    link.unlink();
    link.prev_ = head_.prev_;
    link.next_ = &head_;
    head_.prev_->next_ = &link;
    head_.prev_ = &link;
  }
  /// Takes over all members of `other`, so that a walk is not disturbed by members that join again.
  void take(LinkList& other) {
    while (!other.empty()) push_back(*other.head_.next_);
  }
  /// The first member, now in no list; null = empty.
  Exchange* pop_front() {
    if (empty()) return nullptr;
    Exchange* owner = head_.next_->owner_;
    head_.next_->unlink();
    return owner;
  }

 private:
  Link head_;
};

}  // namespace proxy
