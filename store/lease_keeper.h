#pragma once

#include <map>
#include <string>
#include <vector>

#include "store/kv/command.h"
#include "store/kv/state_machine.h"
#include "store/raft/ids.h"

namespace store {

/// The leader's clockwork for leases: when was each holder last heard, and when may its lease be taken away.
/// Lives on the leader only, in memory only: a renewal is not logged.
/// Source:    design, section 5, rules 2 and 3; leases after Gray and Cheriton (1989): the granter counts from what
///            it received, the holder from what it sent, so the holder's period always ends first.
/// Invariant: an expire is proposed only when lease + margin have passed since this leader took office, applied the
///            acquire, and received the last renewal, whichever was latest. While one is in flight, no renewal counts.
/// Bound:     kv::kServicesMax leases.
class LeaseKeeper {
 public:
  using TimePoint = raft::TimePoint;
  using Leases = std::map<std::string, kv::Lease, std::less<>>;

  /// This node leads from now on: every lease gets one full fresh period.
  void take_office(const Leases& leases, TimePoint now);
  void leave_office();
  [[nodiscard]] bool in_office() const { return in_office_; }

  /// The row of a lease changed by an applied entry; nullptr = forgotten.
  void on_lease(const std::string& service, const kv::Lease* lease, TimePoint now);
  /// A renewal arrived. Counts at once, whether it can be answered or not: that only makes the lease last longer.
  void on_renewal(std::string_view service, kv::Epoch epoch, TimePoint now);
  /// May a renewal of this epoch be answered? No, if it is not current or its end is being decided.
  [[nodiscard]] bool renewable(std::string_view service, kv::Epoch epoch) const;

  /// What must be proposed by now: LeaseExpire and LeaseOpen; each is in flight from here on.
  [[nodiscard]] std::vector<kv::CommandBody> due(TimePoint now);
  /// The proposal of a command of due() was not appended, for sure: it will come again after `retry`.
  void not_proposed(const kv::CommandBody& command, TimePoint retry);
  [[nodiscard]] TimePoint next_deadline() const;  ///< TimePoint::max() if nothing will be due

 private:
  struct Watch {
    kv::Epoch epoch{};
    bool held = false;        // else: vacant and reserved for somebody
    raft::Duration period{};  // lease + margin while held, lease while reserved
    TimePoint heard;
    TimePoint not_before;  // a proposal failed: not again before this
    bool in_flight = false;
    [[nodiscard]] TimePoint due() const { return std::max(heard + period, not_before); }
  };
  void place(const std::string& service, const kv::Lease& lease, TimePoint now);

  bool in_office_ = false;
  std::map<std::string, Watch, std::less<>> watches_;
};

}  // namespace store
