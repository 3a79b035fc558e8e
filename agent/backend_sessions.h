#pragma once
/// Sessions, transactions, the feed of changes and quotas behind the HTTP API: the store's words into the API's.
/// Ownership: a part of AgentBackend, which outlives it; refers to its BackendParts.

#include <memory>
#include <string>
#include <vector>

#include "agent/api/session_backend.h"
#include "agent/backend.h"

namespace agent {

class BackendSessions final : public api::SessionBackend {
 public:
  explicit BackendSessions(const BackendParts& parts);
  ~BackendSessions() override;

  void session_create(api::SessionSpec spec, api::Completion<api::SessionCreated> done) override;
  void session_renew(std::string id, api::Completion<api::SessionInfo> done) override;
  void session_destroy(std::string id, api::Completion<api::Index> done) override;
  [[nodiscard]] api::SessionsAnswer session_info(const std::string& id) const override;
  [[nodiscard]] api::SessionsAnswer session_list() const override;
  [[nodiscard]] api::SessionsAnswer sessions_of_node(const std::string& node) const override;
  [[nodiscard]] api::Index session_index(const api::Topic& topic) const override;
  void txn(std::vector<api::TxnOp> ops, api::Completion<api::TxnAnswer> done) override;
  [[nodiscard]] api::TxnAnswer txn_read(const std::vector<api::TxnOp>& ops) const override;
  [[nodiscard]] api::KvChanges kv_changes(const std::string& prefix, api::Index after, std::size_t bytes_max) const override;
  [[nodiscard]] api::UsageInfo usage() const override;
  void set_quota(api::QuotaInfo quota, api::Completion<api::Index> done) override;

 private:
  [[nodiscard]] const store::kv::StateMachine& state() const;
  [[nodiscard]] io::TimePoint write_deadline() const;
  /// Writes, and completes with `take` of what was decided; errors and refusals are told here.
  template <typename T>
  void write(store::kv::CommandBody command, api::Completion<T> done, api::Result<T> (*take)(const store::Written&));

  const BackendParts& parts_;
  std::shared_ptr<bool> alive_;  ///< false once destroyed: completions that come later find nobody
};

/// One key as the API shows it. `lock` nullptr = never locked.
[[nodiscard]] api::KvEntry entry_of(const std::string& key, const store::kv::Entry& entry, const store::kv::Lock* lock);
/// What an election looks like as a read-only key below api::kDerivedPrefix; nullopt: nobody has ever stood for it.
[[nodiscard]] std::optional<api::KvEntry> derived_entry(const store::kv::StateMachine& state, const std::string& key);
/// Those keys that begin with `prefix`, sorted. A prefix above them ("" or "out") has none: an export holds what was
/// written, and nothing else.
[[nodiscard]] std::vector<api::KvEntry> derived_entries(const store::kv::StateMachine& state, const std::string& prefix);

}  // namespace agent
