#pragma once

#include <algorithm>
#include <map>
#include <string>

#include "store/raft/confchange.h"
#include "tests/script/raft_vectors/describe.h"

/// The vectors of pure functions: quorum (commit and vote counting) and confchange.
namespace script {

inline std::vector<NodeId> ids_of(const Command& command, const std::string& key) {
  std::vector<NodeId> ids;
  const Arg* arg = command.find(key);
  if (arg == nullptr) return ids;
  for (const std::string& value : arg->values) {
    if (value != "zero") ids.push_back(NodeId{std::strtoull(value.c_str(), nullptr, 10)});
  }
  return ids;
}

/// Gives the values in order to the nodes of both halves, each node once; "_" gives nothing.
inline std::map<NodeId, std::string> assign(const Command& command, const std::string& key) {
  std::vector<NodeId> ids = ids_of(command, "cfg");
  const std::vector<NodeId> other = ids_of(command, "cfgj");
  ids.insert(ids.end(), other.begin(), other.end());
  const Arg* arg = command.find(key);
  std::map<NodeId, std::string> assigned;
  std::size_t next = 0;
  for (NodeId id : ids) {
    if (arg == nullptr || assigned.contains(id) || next >= arg->values.size()) continue;
    assigned.emplace(id, arg->values[next++]);
  }
  std::erase_if(assigned, [](const auto& pair) { return pair.second == "_"; });
  return assigned;
}

inline std::string describe_acked(const VoterSet& voters, const std::map<NodeId, Index>& acked) {
  if (voters.empty()) return "<empty majority quorum>";
  const auto index_of = [&](NodeId id) { return acked.contains(id) ? acked.at(id) : Index{}; };
  std::vector<NodeId> by_index(voters.begin(), voters.end());
  std::stable_sort(by_index.begin(), by_index.end(), [&](NodeId a, NodeId b) { return index_of(a) < index_of(b); });
  std::map<NodeId, std::size_t> bars;
  for (std::size_t i = 0; i < by_index.size(); ++i) {
    const bool higher = i > 0 && index_of(by_index[i - 1]) < index_of(by_index[i]);
    bars[by_index[i]] = higher ? i : (i > 0 ? bars[by_index[i - 1]] : 0);
  }
  const std::size_t n = voters.size();
  std::string out = std::string(n, ' ') + "    idx\n";
  for (NodeId id : voters) {
    const std::size_t bar = bars[id];
    out += acked.contains(id) ? std::string(bar, 'x') + ">" + std::string(n - bar, ' ') : "?" + std::string(n, ' ');
    const std::string number = std::to_string(index_of(id).value);
    out += " " + std::string(number.size() < 5 ? 5 - number.size() : 0, ' ') + number + "    (id=" + name_of(id) + ")\n";
  }
  return out;
}

inline std::string run_quorum(const Command& command) {
  const auto first = ids_of(command, "cfg");
  const auto second = ids_of(command, "cfgj");
  const VoterSet voters(first.begin(), first.end());
  const VoterSet outgoing(second.begin(), second.end());
  if (command.name == "vote") {
    std::map<NodeId, bool> votes;
    for (const auto& [id, vote] : assign(command, "votes")) votes.emplace(id, vote == "y");
    const VoteResult result =
        command.has("cfgj") ? vote_result(voters, outgoing, votes) : vote_result(voters, votes);
    return std::string(to_string(result)) + "\n";
  }
  std::map<NodeId, Index> acked;
  for (const auto& [id, index] : assign(command, "idx")) {
    acked.emplace(id, Index{std::strtoull(index.c_str(), nullptr, 10)});
  }
  const AckedIndex lookup = [&](NodeId id) {
    return acked.contains(id) ? std::optional(acked.at(id)) : std::nullopt;
  };
  VoterSet all = voters;
  all.insert(outgoing.begin(), outgoing.end());
  const Index index =
      command.has("cfgj") ? committed_index(voters, outgoing, lookup) : committed_index(voters, lookup);
  const std::string number = index == kIndexUnlimited ? "∞" : std::to_string(index.value);
  return describe_acked(all, acked) + number + "\n";
}

inline std::vector<ConfChangeStep> parse_steps(const std::string& text) {
  std::vector<ConfChangeStep> steps;
  for (const std::string& word : words(text)) {
    ConfChangeStep step;
    step.kind = word[0] == 'v'   ? ConfChangeKind::kAddVoter
                : word[0] == 'l' ? ConfChangeKind::kAddLearner
                : word[0] == 'r' ? ConfChangeKind::kRemove
                                 : ConfChangeKind::kUpdate;
    step.node = NodeId{std::strtoull(word.c_str() + 1, nullptr, 10)};
    steps.push_back(step);
  }
  return steps;
}

/// One file of confchange vectors: a configuration that lives from command to command.
class ConfChangeScript {
 public:
  std::string run(const Command& command) {
    const Changer changer(configuration_, 10, Index{commands_++});
    const auto steps = parse_steps(command.input);
    const auto leave = command.truth("autoleave") ? Changer::Leave::kAuto : Changer::Leave::kExplicit;
    auto result = command.name == "simple"        ? changer.simple(steps)
                  : command.name == "enter-joint" ? changer.enter_joint(leave, steps)
                                                  : changer.leave_joint();
    if (!result) return result.error().detail + "\n";
    configuration_ = std::move(*result);
    std::string out = configuration_.members.describe() + "\n";
    for (const auto& [id, progress] : configuration_.progress) out += name_of(id) + ": " + progress.describe() + "\n";
    return out;
  }

 private:
  Configuration configuration_;
  std::uint64_t commands_ = 0;
};

}  // namespace script
