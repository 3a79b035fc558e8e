#pragma once
/// Orders to stop, as the API gives and lifts them: part of the Backend (backend.h). Thread: the control loop.

#include <cstdint>
#include <string>
#include <vector>

#include "agent/api/backend.h"

namespace agent::api {

struct HaltInfo {
  std::string id;      ///< "9f86d081884c7d65-3"
  std::string scope;   ///< "global", "broker:NAME", "account:ID", "route:NAME"
  std::string reason, who, node;
  std::int64_t time_ms = 0;    ///< wall clock of `node`, Unix ms; for people only
  bool cancels_pass = true;
  bool second_person = false;  ///< two people have to lift it
  bool on_disk = true;         ///< of this agent; false: it stands, and a restart here would forget it (not yet, or it cannot be)
  bool recorded = false;       ///< in the log, too
  std::string proposed_by;     ///< who wants it lifted, where it takes two; empty = nobody
};

struct HaltRequest {
  std::string scope = "global";
  std::string reason, who;
  bool cancels_pass = true;
};

struct ResumeRequest {
  std::vector<std::string> ids;  ///< empty = all that this agent knows of
  std::string who;
  bool confirm = false;          ///< of a halt that takes two: somebody else has proposed it
};
struct ResumeInfo {
  bool lifted = false;           ///< else it is proposed, and somebody else has to confirm it
  std::vector<std::string> ids;
  Index index{};
};

class HaltBackend {
 public:
  virtual ~HaltBackend() = default;
  [[nodiscard]] virtual std::vector<HaltInfo> halts() const = 0;  ///< by id
  /// Stands when this returns, at this agent, and is on its way to the others; needs nobody, and the disk neither: on_disk is false
  /// as a rule. Errors: kBadRequest (what it says), kBusy (a bound).
  virtual Result<HaltInfo> halt(HaltRequest request) = 0;
  /// Tells of a halt that halt() has given when it is known whether this agent's disk has it, or when the disk takes too long.
  virtual void when_kept(HaltInfo given, Completion<HaltInfo> done) = 0;
  /// Needs a majority. Errors: kNotFound (no such halt, or none), kBadRequest, kNoQuorum (refused: halts stand), kConflict (two
  /// people), kOutcomeUnknown, kStopping.
  virtual void resume(ResumeRequest request, Completion<ResumeInfo> done) = 0;
};

}  // namespace agent::api
