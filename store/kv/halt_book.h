#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "store/kv/halt_set.h"
#include "store/kv/journal.h"
#include "store/kv/record.h"

namespace store::kv {

struct HaltLift;

/// The halts as the log has them: what a majority knows survives everybody's restart, and only here they are lifted.
/// Invariant: what stands here leaves by the tags of a HaltLift and in no other way; a set that somebody tells adds to it, or makes
///            a halt stricter. A halt that needs two people is lifted by one after another one has proposed it, as it stands.
/// Bound:     that of HaltSet; a proposal per halt.
/// Ownership: a value inside StateMachine.
class HaltBook {
 public:
  struct Verdict {
    Outcome outcome = Outcome::kDone;
    std::string detail;
    std::vector<Halt> raised, lifted, proposed;  ///< by this command; for the audit
  };
  [[nodiscard]] const HaltSet& set() const { return set_; }
  [[nodiscard]] const HaltProposal* proposal(const HaltTag& tag) const;  ///< null = nobody has asked to lift it
  [[nodiscard]] Index index() const { return std::max(index_, Index{1}); }  ///< of the last change

  /// Only what is shown counts as seen: whoever shows a halt and hides an earlier one of the same replica leaves a gap, into which
  /// that one still fits. Nobody's word makes one that was never written down here count as lifted.
  Verdict merge(Index index, const HaltSet& told, Journal& journal);
  Verdict lift(Index index, const HaltLift& command, Journal& journal);

  void load(HaltRow row);
  void load(HaltSeenRow row);
  [[nodiscard]] bool consistent(Index applied) const;
  void append_rows(std::vector<Record>& rows) const;  ///< sorted by key

 private:
  void write(Index index, const HaltSet::Change& change, Journal& journal);
  void write_seen(Index index, std::uint64_t replica, Journal& journal);
  [[nodiscard]] std::string row_of(const Halt& halt) const;

  HaltSet set_;
  std::map<HaltTag, HaltProposal> proposals_;
  std::map<std::uint64_t, Index> changed_;  // by replica: the last entry that changed anything of its
  Index index_{};
};

}  // namespace store::kv
