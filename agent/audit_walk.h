#pragma once
/// Looks at this agent's whole copy of the audit as it is on the disk: read through a frozen view, judged by its own hashes and
/// compared with what the process has in memory, a piece per turn of the loop. What was signed is taken before the view is opened:
/// all of it is on the disk by then, so a copy is never judged by what was signed after it was frozen.
/// Ownership: of AgentAudit; loop and store outlive it. Thread: the control loop.
/// Bounds: one walk at a time; kWaitingMax ask for it together. What was read (at most kv::kAuditBytesMax) is kept while anybody
/// asks for entries of it, and for kKeep after that.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/api/backend.h"
#include "agent/audit_witness.h"
#include "agent/drivers/store_driver.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"

namespace agent {

/// One copy that was looked at.
struct AuditWalked {
  store::kv::AuditLog copy;
  store::kv::Index applied{};                 ///< what it comes from
  std::uint64_t entries = 0;                  ///< looked at
  std::vector<store::kv::AuditFault> faults;  ///< at most kv::kAuditFaultsMax
  AuditSigners kept;                          ///< what was signed and kept before it was frozen
};

class AuditWalk {
 public:
  static constexpr std::size_t kPiece = 2'000;       ///< entries per turn: some milliseconds
  static constexpr std::size_t kReadBytes = 1U << 20;
  static constexpr std::size_t kWaitingMax = 64;
  static constexpr io::Milliseconds kKeep{60'000};
  using Walked = std::shared_ptr<const AuditWalked>;
  using Done = std::function<void(api::Result<Walked>)>;
  using Kept = std::function<AuditSigners()>;

  AuditWalk(io::Loop& loop, drivers::StoreDriver& store, Kept kept);
  ~AuditWalk();
  AuditWalk(const AuditWalk&) = delete;
  AuditWalk& operator=(const AuditWalk&) = delete;

  /// The copy is frozen after this call: who comes while a walk is under way gets the next one, all of them the same.
  /// `done` runs once, never inside the call; not at all when this goes before. Errors: kBusy, kInternal (the disk).
  void start(Done done);
  [[nodiscard]] Walked last();  ///< null: none, or long ago; using it keeps it

 private:
  void open();
  void read_on();
  [[nodiscard]] bool take(const std::vector<store::kv::Record>& rows);
  void step();
  void end(api::Result<Walked> result);

  io::Loop& loop_;
  drivers::StoreDriver& store_;
  Kept kept_;
  std::vector<Done> waiting_, next_;      // for this walk, and for the one after it
  std::shared_ptr<AuditWalked> walking_;  // null: none is under way
  store::kv::AuditLog::Look look_;
  std::uint64_t compared_ = 0;            // with the memory, up to this number
  store::kv::AuditHead head_;             // of the memory when the view was asked for
  store::disk::ViewId view_{};
  bool view_open_ = false;
  Walked last_;
  std::shared_ptr<bool> alive_;
  io::Deferral step_;
  io::Timer forget_;
};

}  // namespace agent
