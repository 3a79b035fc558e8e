#pragma once
/// Carries out what AuditWitness decides: this agent's key, the witness file, the words to and from peers.
///
/// Files in the data directory, outside the store's: `audit.key` (private, 0600; made at the first start) and `audit.witness`
/// (0600; replaced whole by a thread of its own, at most every kWriteEvery and at the end). A witness file that was damaged is put
/// aside under a free name as `audit.witness.damaged` (`.damaged.1`, ...), one of another cluster as `audit.witness.old`, and a new one is begun;
/// while it cannot be put aside nothing is written.
/// Ownership: of AgentAudit; what its parts call outlives it. Thread: the control loop.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/audit_witness.h"
#include "agent/drivers/store_driver.h"
#include "agent/io/mailbox.h"
#include "agent/io/signing.h"
#include "agent/io/thread.h"
#include "agent/io/timer.h"

namespace agent {

struct AuditParts {
  store::NodeId self{};
  std::string name;                ///< of this agent
  std::string directory;           ///< the data directory
  std::function<std::set<store::NodeId>()> peers;  ///< that the mesh reaches now
  std::function<std::string(store::NodeId)> name_of;
  std::function<bool(store::NodeId to, std::string frame)> send;
  std::function<void(std::string_view event, const std::string& detail)> log;
};

class AuditKeeper {
 public:
  static constexpr io::Milliseconds kLookEvery{500};
  static constexpr io::Milliseconds kWriteEvery{5000};

  /// Reads or makes the key. Errors: those of SigningKey::load_or_create.
  static io::Result<std::unique_ptr<AuditKeeper>> start(io::Loop& loop, drivers::StoreDriver& store, AuditParts parts);
  ~AuditKeeper();  ///< writes what is to be written
  AuditKeeper(const AuditKeeper&) = delete;
  AuditKeeper& operator=(const AuditKeeper&) = delete;

  void on_connected(store::NodeId peer);
  void on_statement(store::NodeId from, const AuditStatement& statement, bool wants_answer);
  void on_malformed() { ++malformed_; }

  [[nodiscard]] const AuditWitness* witness() const { return witness_ ? &*witness_ : nullptr; }  ///< null: no cluster yet
  [[nodiscard]] const AuditParts& parts() const { return parts_; }
  [[nodiscard]] const io::SigningKey& key() const { return key_; }
  /// What was signed says something else than this copy did at the last look at it.
  [[nodiscard]] bool contradicted() const { return contradicted_; }
  [[nodiscard]] std::uint64_t malformed() const { return malformed_; }
  [[nodiscard]] std::uint64_t write_failures() const { return write_failures_; }

 private:
  AuditKeeper(io::Loop& loop, drivers::StoreDriver& store, AuditParts parts, io::SigningKey key);
  void tick();
  void begin(const store::kv::ClusterId& cluster);
  [[nodiscard]] AuditSigners read(const store::kv::ClusterId& cluster);
  void put_aside(const std::string& as, std::string_view event, const std::string& why);
  void settle(const AuditWitness::Copy& now);
  void check();
  void carry_out();
  void tell(const AuditWitness::Event& event);
  void write();
  [[nodiscard]] AuditWitness::Copy copy() const;
  [[nodiscard]] std::string path() const { return parts_.directory + "/audit.witness"; }

  drivers::StoreDriver& store_;
  AuditParts parts_;
  io::SigningKey key_;
  std::optional<AuditWitness> witness_;
  bool contradicted_ = false, dirty_ = false, writing_ = false, failing_ = false, may_write_ = true;
  io::TimePoint write_at_{};
  std::uint64_t malformed_ = 0, write_failures_ = 0;
  std::optional<store::kv::AuditHead> checked_;  // the end of the copy at the last check
  store::kv::AuditHead seen_;          // at the last tick
  std::uint64_t settled_ = 0;          // number for which a view was opened last
  bool settling_ = false;
  std::shared_ptr<bool> alive_;
  io::Timer timer_;
  io::Mailbox<io::Result<void>> written_;
  std::unique_ptr<io::Thread> writer_;  // started by the first write; last: joined before anything above goes
};

}  // namespace agent
