// The audit's numbers as metric families.
#include "agent/audit.h"

namespace agent {

void AgentAudit::add_metrics(Families& out) const {
  const store::kv::AuditLog& log = store_.core().state().audit();
  out.gauge("audit_head", "Number of the newest entry of the audit", static_cast<double>(log.head().number));
  out.gauge("audit_entries", "Entries of the audit that are kept", static_cast<double>(log.size()));
  out.gauge("audit_contradicted", "1 while this agent's copy is another one than was signed before", keeper_->contradicted() ? 1 : 0);
  const AuditWitness* witness = keeper_->witness();
  out.gauge("audit_disputes", "Peers whose newest signed end contradicts this agent's copy", witness == nullptr ? 0 : static_cast<double>(witness->disputes()));
  out.counter("audit_changes_found_total", "Changes of any copy that \"audit verify\" has named here", changes_found_);
  out.counter("audit_witness_write_failures_total", "Times that the witness file could not be written", keeper_->write_failures());
  const AuditWitness::Counters counters = witness == nullptr ? AuditWitness::Counters{} : witness->counters();
  out.counter("audit_heads_signed_total", "Ends of the own copy that were signed and told", counters.signed_ends);
  out.counter("audit_cosigned_total", "Signatures made for ends of peers", counters.cosigned);
  out.counter("audit_statements_total", "Signed statements of peers that came in", counters.heard);
  out.counter("audit_statements_agreed_total", "Those that say what this copy says", counters.agreed);
  out.counter("audit_statements_disputed_total", "Those that say something else", counters.disputed);
  out.counter("audit_key_changes_total", "Peers that sign with another key than before", counters.key_changes);
  const auto refused = [](const char* reason, std::uint64_t count) {
    return api::MetricSample{{{"reason", reason}}, static_cast<double>(count), {}};
  };
  out.add("audit_statements_refused_total", "Statements of peers that were not looked at, by reason", api::MetricFamily::Type::kCounter,
          {refused("signature", counters.bad_signature), refused("too_often", counters.too_often), refused("too_old", counters.too_old),
           refused("foreign", counters.refused), refused("malformed", keeper_->malformed())});
}

}  // namespace agent
