#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/kv/record.h"
#include "store/kv/session.h"
#include "store/kv/types.h"

/// Transactions: several steps on the KV space, all of them or none.
/// Source: the verbs of Consul's /v1/txn.
namespace store::kv {

enum class TxnVerb : std::uint8_t {
  kSet = 0,
  kCas = 1,             ///< `index` 0 = the key must not exist
  kLock = 2,            ///< as Acquire
  kUnlock = 3,          ///< as Release
  kGet = 4,             ///< fails if the key is missing
  kGetTree = 5,         ///< every key below `key`; none is no failure
  kCheckIndex = 6,      ///< the modify index is `index`
  kCheckSession = 7,    ///< `session` holds the key
  kCheckNotExists = 8,  ///< the key is missing
  kDelete = 9,
  kDeleteCas = 10,      ///< a missing key is no failure, as with DeleteCas
  kDeleteTree = 11,
  kGetOrEmpty = 12,     ///< a missing key yields a result without a value
};
[[nodiscard]] const char* to_string(TxnVerb verb);  ///< "check-not-exists", ...

struct TxnOp {
  TxnVerb verb = TxnVerb::kGet;
  std::string key;  ///< tree verbs: the prefix, may be empty
  std::string value;
  std::uint64_t flags = 0;
  Index index{};
  SessionId session;
  friend bool operator==(const TxnOp&, const TxnOp&) = default;
};

/// A key as one step left or found it.
struct TxnResult {
  std::size_t op = 0;           ///< which step
  std::string key;
  std::optional<Entry> entry;   ///< with its value for gets, without for writes; none: kGetOrEmpty of a missing key
  Lock lock;
};
/// Why a step was refused. The others were still looked at, so that the sender learns everything at once.
struct TxnFailure {
  std::size_t op = 0;
  std::string what;  ///< one sentence, as Consul's clients show it
};

/// What a transaction tells its proposer beyond its Outcome. Never stored: a transaction whose decision reaches the
/// proposer by a snapshot only, or a second time, has an outcome and an index, but no answer.
struct TxnAnswer {
  std::vector<TxnResult> results;    ///< Outcome::kDone; deletes have none
  std::vector<TxnFailure> failures;  ///< any other outcome; at least one
  std::size_t bytes = 0;             ///< keys and values read
};

}  // namespace store::kv
