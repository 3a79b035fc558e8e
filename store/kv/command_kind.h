#pragma once

#include <cstddef>
#include <cstdint>

/// Numbers of commands on the wire and in the log: never reused, never changed. For command*.cc only.
namespace store::kv {

enum class CommandKind : std::uint64_t {
  // KV.
  kSet = 1,
  kCas = 2,
  kDelete = 3,
  kDeleteCas = 4,
  kDeleteTree = 5,
  kLeaseAcquire = 20,
  kLeaseRelease = 21,
  kLeaseExpire = 22,
  kLeaseOpen = 23,
  kLeaseForget = 24,
  kMemberSet = 40,
  kMemberRemove = 41,
  kClusterSet = 42,
  // Locks and sessions.
  kAcquire = 50,
  kRelease = 51,
  kSessionCreate = 52,
  kSessionDestroy = 53,
  kSessionExpire = 54,
  kLockDelayEnd = 55,
  kTxn = 60,
  // Catalog.
  kNodeSet = 70,
  kNodeRemove = 71,
  kServiceSet = 72,
  kServiceRemove = 73,
  kCheckSet = 74,
  kCheckStatusSet = 75,
  kCheckRemove = 76,
  kEventFire = 80,
  kQuotaSet = 85,
  kQuotaRemove = 86,
  kRestoreBegin = 90,
  kRestoreChunk = 91,
  kRestoreCommit = 92,
  kRestoreAbort = 93,
  // Orders.
  kOrderReserve = 100,
  kOrderOutcome = 101,
  kOrderResolve = 102,
  kOrderSweep = 103,
  // Halts, audit.
  kHaltMerge = 110,
  kHaltLift = 111,
  kAuditNote = 112,
};
inline constexpr std::size_t kCommandFieldsMax = 256;  ///< values of one array: the longest is a list of tags

}  // namespace store::kv
