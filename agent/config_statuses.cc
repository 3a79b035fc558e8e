#include "agent/config_statuses.h"

#include <charconv>

namespace agent {

bool config_read_statuses(ConfigReader& reader, const StatusList& list, std::vector<int>& out) {
  std::vector<std::string> words = config_words(out);
  if (!reader.list(list.key, words, list.max)) return false;
  out.clear();
  for (const std::string& word : words) {
    int status = 0;
    const auto [stop, code] = std::from_chars(word.data(), word.data() + word.size(), status);
    if (code == std::errc{} && stop == word.data() + word.size() && status >= list.least && status <= list.most) out.push_back(status);
    else reader.problem(list.key, "\"" + word + "\" is no status from " + std::to_string(list.least) + " to " + std::to_string(list.most), list.hint);
  }
  reader.note_meaning(list.key, config_quoted(config_words(out)));
  return true;
}

}  // namespace agent
