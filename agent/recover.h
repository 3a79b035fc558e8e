#pragma once
/// `outrigger raft recover`: what is done to a data directory while its agent is stopped. Two cases, one verb:
///   alone    a majority of the voters' disks is lost for good: this node goes on as a cluster of its own
///            (store/recovery.h says what happens and why nothing old can disturb it);
///   reseed   this node's own disk is damaged, or it belongs to a cluster that was left behind: the directory is put
///            aside and the agent joins again as a new, empty node, which its peers seed as a learner.
/// Nothing is changed unless `apply` is set; without it the report says what would be done.

#include <filesystem>
#include <string>

#include "agent/io/error.h"

namespace agent {

struct RecoverOrder {
  std::filesystem::path data_dir;
  bool reseed = false;
  bool accept_torn_tail = false;  ///< open although the log ends in the middle of a batch (site-wide power cut)
  bool apply = false;
  bool halt = true;  ///< leave a halt of everything behind when going on alone: the ledger of orders may lack some
};

/// The file in a data directory that keeps the agent from founding a cluster of its own until it has joined one.
inline constexpr const char* kReseedMark = "reseeding";

/// @return the report as JSON. Errors: kLocked (the agent runs), kNotFound, kIo and those of the store, with advice.
io::Result<std::string> recover(const RecoverOrder& order);

}  // namespace agent
