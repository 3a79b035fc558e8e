#include "agent/api/audit_routes.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/audit_backend.h"
#include "agent/api/consul.h"
#include "agent/api/operator_backend.h"
#include "agent/api/own.h"

/// /outrigger/v1/audit: what was decided about the trade, and whether this agent's copy of it was touched.
namespace agent::api {
namespace {

AuditBackend* audit_of(Api& api, const Call& call) {
  OperatorBackend* operators = api.backend().operators();
  AuditBackend* audit = operators == nullptr ? nullptr : operators->audit();
  if (audit == nullptr) api.fail(call.id, {Errc::kUnsupported, "this agent keeps no audit", {}});
  return audit;
}

Json head_json(const AuditHeadInfo& head) { return {{"number", head.number}, {"hash", head.hash}}; }

void get_audit(Api& api, const Call& call) {
  AuditBackend* audit = audit_of(api, call);
  if (audit == nullptr) return;
  const auto* after = call.query.find("after");
  const auto* limit = call.query.find("limit");
  const auto from = after == nullptr ? std::optional<std::uint64_t>(0) : parse_u64(*after);
  const auto count = limit == nullptr ? std::optional<std::uint64_t>(100) : parse_u64(*limit);
  if (!from || !count || *count == 0 || *count > AuditBackend::kPageMax)
    return api.fail(call.id, {Errc::kBadRequest, "\"after\" is a number of an entry, \"limit\" 1 to 1000", {}});
  const AuditPage page = audit->page(*from, *count);
  Json entries = Json::array();
  for (const AuditEntryInfo& entry : page.entries) {
    entries.push_back({{"number", entry.number}, {"index", number(entry.index)}, {"time_ms", entry.time_ms}, {"kind", entry.kind},
                       {"actor", entry.actor}, {"subject", entry.subject}, {"text", entry.text}, {"before", entry.before}, {"bytes", entry.bytes},
                       {"hash", entry.hash}});
  }
  api.reply(call.id, json_response({{"node", api.backend().self().name}, {"entries", std::move(entries)}, {"head", head_json(page.head)},
                                    {"pruned", head_json(page.pruned)}, {"disputes", page.disputes}, {"contradicted", page.contradicted}}));
}

Json statement_json(const AuditStatementInfo& one) {
  return {{"number", one.number}, {"index", number(one.index)}, {"time_ms", one.time_ms}, {"hash", one.hash}, {"key", one.key}, {"signature", one.signature}};
}

void get_witness(Api& api, const Call& call) {
  AuditBackend* audit = audit_of(api, call);
  if (audit == nullptr) return;
  Json signers = Json::array();
  for (const AuditSignerInfo& signer : audit->witness()) {
    Json kept = Json::array();
    for (const AuditStatementInfo& one : signer.kept) kept.push_back(statement_json(one));
    signers.push_back({{"node", signer.node}, {"id", signer.id}, {"cluster", signer.cluster}, {"key", signer.key}, {"key_changes", signer.key_changes},
                       {"disputed", signer.disputed}, {"dispute", signer.dispute ? statement_json(*signer.dispute) : Json()}, {"kept", std::move(kept)}});
  }
  api.reply(call.id, json_response({{"node", api.backend().self().name}, {"signers", std::move(signers)}}));
}

Json peers_json(const AuditPeersVerdict& peers) {
  Json unreached = Json::array(), findings = Json::array(), undecided = Json::array();
  for (const auto& one : peers.unreached) unreached.push_back({{"node", one.node}, {"why", one.why}});
  for (const auto& one : peers.findings)
    findings.push_back({{"node", one.node}, {"kind", one.kind}, {"number", one.number}, {"last", one.last}, {"by", one.by}, {"text", one.text}});
  for (const auto& one : peers.undecided) undecided.push_back({{"number", one.number}, {"groups", one.groups}});
  return {{"members", peers.members}, {"asked", peers.asked}, {"unreached", std::move(unreached)}, {"findings", std::move(findings)},
          {"undecided", std::move(undecided)}, {"notes", peers.notes}};
}

Json verdict_json(const std::string& node, const AuditVerdict& verdict) {
  Json faults = Json::array();
  for (const AuditFaultInfo& fault : verdict.faults) faults.push_back({{"kind", fault.kind}, {"number", fault.number}, {"last", fault.last}, {"text", fault.text}});
  const bool intact = verdict.faults.empty() && (!verdict.peers || (verdict.peers->findings.empty() && verdict.peers->undecided.empty()));
  Json out{{"node", node}, {"intact", intact}, {"complete", !verdict.peers || verdict.peers->complete}, {"entries", verdict.entries},
           {"head", head_json(verdict.head)}, {"pruned", head_json(verdict.pruned)}, {"faults", std::move(faults)}};
  if (verdict.peers) out["peers"] = peers_json(*verdict.peers);
  return out;
}

void get_verify(Api& api, const Call& call) {
  AuditBackend* audit = audit_of(api, call);
  if (audit == nullptr) return;
  const auto* peers = call.query.find("peers");
  if (peers != nullptr && *peers != "1") return api.fail(call.id, {Errc::kBadRequest, "\"peers\" is 1, or left out", {}});
  audit->verify(peers == nullptr ? AuditScope::kOwn : AuditScope::kPeers,
                api.answer<AuditVerdict>(call.id, [node = api.backend().self().name](const AuditVerdict& verdict) { return json_response(verdict_json(node, verdict)); }));
}

}  // namespace

void add_audit_routes(Router& router) {
  router.add("GET", "/outrigger/v1/audit", get_audit);
  router.add("GET", "/outrigger/v1/audit/verify", get_verify);
  router.add("GET", "/outrigger/v1/audit/witness", get_witness);
}

}  // namespace agent::api
