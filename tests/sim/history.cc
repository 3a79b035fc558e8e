#include "tests/sim/history.h"

#include <cassert>
#include <cstdio>

namespace sim {
namespace {

const char* name(OperationKind kind) {
  switch (kind) {
    case OperationKind::kRead: return "read";
    case OperationKind::kPut: return "put";
    case OperationKind::kRemove: return "remove";
    case OperationKind::kCompareAndSwap: return "cas";
    case OperationKind::kCreate: return "create";
    case OperationKind::kEnd: return "end";
    case OperationKind::kRenew: return "renew";
    case OperationKind::kAcquire: return "acquire";
    case OperationKind::kRelease: return "release";
    case OperationKind::kWrite: return "write";
    case OperationKind::kMove: return "move";
    case OperationKind::kLook: return "look";
  }
  return "";
}

const char* name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kPending: return "pending";
    case Outcome::kDone: return "done";
    case Outcome::kMismatch: return "mismatch";
    case Outcome::kUnknown: return "unknown";
    case Outcome::kRefused: return "refused";
  }
  return "";
}

}  // namespace

History::Handle History::invoke(const std::string& key, OperationKind kind, Nanos now, int client, ValueId argument,
                                ValueId expected) {
  std::vector<Operation>& operations = by_key_[key];
  Operation operation;
  operation.kind = kind;
  operation.argument = argument;
  operation.expected = expected;
  operation.invoked = now;
  operation.client = client;
  operations.push_back(operation);
  ++size_;
  return {key, operations.size() - 1};
}

void History::complete(const Handle& handle, Outcome outcome, Nanos now, ValueId result) {
  Operation& operation = by_key_.at(handle.key).at(handle.position);
  assert(operation.outcome == Outcome::kPending);
  operation.outcome = outcome;
  operation.returned = now;
  operation.result = result;
}

std::size_t History::count(Outcome outcome) const {
  std::size_t total = 0;
  for (const auto& [key, operations] : by_key_) {
    for (const Operation& operation : operations) {
      total += operation.outcome == outcome ? 1 : 0;
    }
  }
  return total;
}

std::string describe(const std::string& key, const Operation& operation) {
  const bool finished = operation.outcome == Outcome::kDone || operation.outcome == Outcome::kMismatch;
  char text[240];
  std::snprintf(text, sizeof text, "%s %.60s arg=%llu expected=%llu result=%llu %s [%.6f ms, %.6f ms] by client %d",
                name(operation.kind), key.c_str(), static_cast<unsigned long long>(operation.argument),
                static_cast<unsigned long long>(operation.expected), static_cast<unsigned long long>(operation.result),
                name(operation.outcome), static_cast<double>(operation.invoked) / 1e6,
                finished ? static_cast<double>(operation.returned) / 1e6 : -1.0, operation.client);
  return text;
}

}  // namespace sim
