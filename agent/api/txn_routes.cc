#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "agent/api/consul.h"
#include "agent/api/json_body.h"
#include "agent/api/session_backend.h"

/// PUT /v1/txn in Consul's dialect (docs: api.md section 4): several operations on keys, all of them or none.
namespace agent::api {
namespace {

using Verb = TxnOp::Verb;

/// What a verb is called, and what it does besides reading.
struct VerbRow {
  std::string_view name;
  Verb verb;
  bool writes = false, is_tree = false, needs_index = false, needs_session = false;
};
constexpr std::array<VerbRow, 12> kVerbs{{
    {"set", Verb::kSet, true},
    {"cas", Verb::kCas, true, false, true},
    {"lock", Verb::kLock, true, false, false, true},
    {"unlock", Verb::kUnlock, true, false, false, true},
    {"get", Verb::kGet},
    {"get-tree", Verb::kGetTree, false, true},
    {"check-index", Verb::kCheckIndex, false, false, true},
    {"check-session", Verb::kCheckSession, false, false, false, true},
    {"check-not-exists", Verb::kCheckNotExists},
    {"delete", Verb::kDelete, true},
    {"delete-cas", Verb::kDeleteCas, true, false, true},
    {"delete-tree", Verb::kDeleteTree, true, true},
}};
const VerbRow* verb_row(std::string_view name) {
  const auto* row = std::find_if(kVerbs.begin(), kVerbs.end(), [name](const VerbRow& r) { return r.name == name; });
  return row == kVerbs.end() ? nullptr : row;
}

/// The operations of a body, and whether any of them writes.
struct Transaction {
  std::vector<TxnOp> ops;
  bool writes = false;
};

// ---------------------------------------------------------------- answers

/// @param info  given for transactions of reads alone, which tell how fresh they are
Response txn_response(const TxnAnswer& answer, const ReadInfo* info) {
  Response response{answer.faults.empty() ? 200 : 409, "application/json", {}, "{\"Results\":"};
  std::string& out = response.body;
  if (answer.faults.empty()) {
    out += '[';
    for (const auto& result : answer.results) {
      if (out.back() != '[') out += ',';
      out += "{\"KV\":";
      append_kv_entry(out, result.entry, result.with_value ? ShowValue::kYes : ShowValue::kNo);
      out += '}';
    }
    out += "],\"Errors\":null";
  } else {
    out += "null,\"Errors\":[";
    for (const auto& fault : answer.faults) {
      if (out.back() != '[') out += ',';
      out += "{\"OpIndex\":" + std::to_string(fault.op) + ",\"What\":";
      append_json_string(out, fault.what);
      out += '}';
    }
    out += ']';
  }
  if (info != nullptr) {
    out += ",\"Index\":" + std::to_string(static_cast<std::uint64_t>(answer.index));
    out += ",\"LastContact\":" + std::to_string(info->last_contact.count());
    out += std::string(",\"KnownLeader\":") + (info->known_leader ? "true" : "false");
    add_consul_headers(response, answer.index, *info);
  } else {
    add_write_index(response, answer.index);
  }
  out += '}';
  return response;
}

// ---------------------------------------------------------------- the body

Error bad(std::string text) { return {Errc::kBadRequest, std::move(text), {}}; }

/// One operation. `fault` gets what the state would say of it: the transaction as a whole is well-formed but cannot
/// apply.
std::optional<Error> read_op(const Limits& limits, const Json& item, TxnOp& op, const VerbRow*& row,
                             std::string& fault) {
  JsonFields outer(item, "Op.");
  const auto* inner = outer.object("KV");
  if (!outer.fault().empty()) return bad("Failed to parse body: " + outer.fault());
  if (inner == nullptr) return bad("Failed to parse body: an operation without \"KV\"; others are not offered");
  JsonFields kv(*inner, "KV.");
  const std::string verb = kv.text("Verb"), value = kv.text("Value");
  op.key = kv.text("Key");
  op.flags = kv.number("Flags");
  op.index = Index{kv.number("Index")};
  op.session = kv.text("Session");
  auto bytes = decode_base64(value);
  if (!bytes) kv.refuse("Value", "must be Base64");
  if (op.key.find('\0') != std::string::npos) kv.refuse("Key", "holds a NUL");
  if (op.key.size() > limits.key_bytes_max)
    kv.refuse("Key", "is longer than " + std::to_string(limits.key_bytes_max) + " bytes");
  if (!kv.fault().empty()) return bad("Failed to parse body: " + kv.fault());
  if (bytes->size() > limits.value_bytes_max)
    return Error{Errc::kTooLarge,
                 "Value for key \"" + op.key + "\" is too large (" + std::to_string(bytes->size()) + " > " +
                     std::to_string(limits.value_bytes_max) + " bytes)",
                 {}};
  op.value = std::move(*bytes);
  row = verb_row(verb);
  if (row == nullptr) {
    fault = "unknown KV verb \"" + verb.substr(0, 100) + "\"";
    return std::nullopt;
  }
  op.verb = row->verb;
  if (op.key.empty() && !row->is_tree) fault = "Must provide key";
  if (row->needs_session && op.session.empty()) fault = "missing session";
  if (row->writes && is_read_only(op.key)) fault = read_only_text(op.key);
  return std::nullopt;
}

/// @return nothing after an answer that says why.
std::optional<Transaction> read_transaction(Api& api, const Call& call) {
  const auto refuse = [&api, &call](Error error) {
    api.fail(call.id, error);
    return std::nullopt;
  };
  const Limits& limits = api.limits();
  if (call.request.body.size() > limits.value_bytes_max)
    return refuse({Errc::kTooLarge,
                   "Request body(" + std::to_string(call.request.body.size()) +
                       " bytes) too large, max size: " + std::to_string(limits.value_bytes_max) + " bytes",
                   {}});
  std::string fault;
  const auto body = parse_json(call.request.body, fault);
  if (!body || !body->is_array()) return refuse(bad("Failed to parse body: " + (body ? "it must be an array" : fault)));
  if (body->size() > limits.txn_ops_max)
    return refuse({Errc::kTooLarge,
                   "Transaction contains too many operations (" + std::to_string(body->size()) + " > " +
                       std::to_string(limits.txn_ops_max) + ")",
                   {}});
  Transaction out;
  TxnAnswer refused;
  for (const auto& item : *body) {
    const VerbRow* row = nullptr;
    std::string op_fault;
    if (auto error = read_op(limits, item, out.ops.emplace_back(), row, op_fault)) return refuse(std::move(*error));
    if (!op_fault.empty()) refused.faults.push_back({out.ops.size() - 1, std::move(op_fault)});
    out.writes = out.writes || (row != nullptr && row->writes);
  }
  if (refused.faults.empty()) return out;
  api.reply(call.id, txn_response(refused, nullptr));
  return std::nullopt;
}

void put_txn(Api& api, const Call& call) {
  SessionBackend* state = api.backend().sessions();
  if (state == nullptr) return api.fail(call.id, {Errc::kUnsupported, "this agent has no transactions", {}});
  auto transaction = read_transaction(api, call);
  if (!transaction) return;
  if (!transaction->writes) {
    api.permit(call, [&api, state, id = call.id, ops = std::move(transaction->ops)](const ReadInfo& info) {
      const TxnAnswer answer = state->txn_read(ops);
      api.reply(id, txn_response(answer, &info));
    });
    return;
  }
  state->txn(std::move(transaction->ops),
             api.answer<TxnAnswer>(call.id, [](const TxnAnswer& answer) { return txn_response(answer, nullptr); }));
}

}  // namespace

void add_txn_routes(Router& router) { router.add("PUT", "/v1/txn", put_txn); }

}  // namespace agent::api
