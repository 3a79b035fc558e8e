#pragma once
#include <string>
#include <vector>

#include "agent/config_document.h"

namespace agent {

/// A list of HTTP statuses as words: key = ["401", "403"].
struct StatusList {
  const char* key;
  int least, most;   ///< inclusive
  std::size_t max;   ///< how many
  const char* hint;  ///< for a word that is none of them
};
/// Reads it into `out`, and notes what it means for the sheet. What is no status is a problem and left out.
/// @param out  the default; as it was where the key is not there. @return the key is there, with a list
bool config_read_statuses(ConfigReader& reader, const StatusList& list, std::vector<int>& out);

}  // namespace agent
