#pragma once

#include <string>
#include <vector>

#include "store/raft/raft.h"
#include "store/raft/wire.h"
#include "tests/script/raft_vectors/datadriven.h"

/// Raft values as text, in the words of the public vectors.
namespace script {

using namespace store::raft;  // NOLINT: test vocabulary

inline std::string name_of(NodeId id) { return std::to_string(id.value); }

inline std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

inline std::string describe(const ConfChange& change) {
  static constexpr char kLetters[] = {'v', 'r', 'u', 'l'};
  std::string out;
  for (const ConfChangeStep& step : change.steps) {
    out += (out.empty() ? "" : " ") + std::string(1, kLetters[static_cast<std::size_t>(step.kind)]) + name_of(step.node);
  }
  return out;
}

/// A change proposed as "v1" carries this context: the vectors tell both forms apart, our entries have one.
inline constexpr const char* kFormerFormat = "v1";

inline std::string describe(const Entry& entry) {
  std::string out = std::to_string(entry.term.value) + "/" + std::to_string(entry.index.value);
  if (entry.kind == EntryKind::kNormal) return out + " EntryNormal " + quoted(entry.data.view());
  const auto change = decode_conf_change(entry.data.view());
  if (!change) return out + " EntryConfChange(unreadable)";
  out += change->context == kFormerFormat ? " EntryConfChange" : " EntryConfChangeV2";
  const std::string steps = describe(*change);
  return steps.empty() ? out : out + " " + steps;
}

inline std::string describe(const std::vector<Entry>& entries) {
  std::string out;
  for (const Entry& entry : entries) out += describe(entry) + "\n";
  return out;
}

inline std::string describe(const std::vector<NodeId>& nodes) {
  std::string out = "[";
  for (NodeId id : nodes) out += (out.size() > 1 ? " " : "") + name_of(id);
  return out + "]";
}

inline std::string describe(const ConfState& conf) {
  return "Voters:" + describe(conf.voters) + " VotersOutgoing:" + describe(conf.voters_outgoing) +
         " Learners:" + describe(conf.learners) + " LearnersNext:" + describe(conf.learners_next) +
         " AutoLeave:" + (conf.auto_leave ? "true" : "false");
}

inline std::string describe(const SnapshotMeta& snapshot) {
  return "Index:" + std::to_string(snapshot.index.value) + " Term:" + std::to_string(snapshot.term.value) +
         " ConfState:" + describe(snapshot.conf);
}

inline std::string describe(const HardState& state) {
  std::string out = "Term:" + std::to_string(state.term.value);
  if (state.vote) out += " Vote:" + name_of(state.vote);
  return out + " Commit:" + std::to_string(state.commit.value);
}

inline std::string describe(const SoftState& state) {
  return "Lead:" + name_of(state.leader) + " State:" + to_string(state.role);
}

inline std::string describe_entries_field(const std::vector<Entry>& entries) {
  if (entries.empty()) return {};
  if (entries.size() == 1) return " Entries:[" + describe(entries[0]) + "]";
  return " Entries:[\n" + indent(describe(entries)) + "]";
}

/// Without a newline at the end.
inline std::string describe(const Message& m) {
  std::string out = name_of(m.from) + "->" + name_of(m.to) + " " + to_string(m.kind) +
                    " Term:" + std::to_string(m.term.value) + " Log:" + std::to_string(m.log_term.value) + "/" +
                    std::to_string(m.index.value);
  if (m.reject) out += " Rejected (Hint: " + std::to_string(m.reject_hint.value) + ")";
  if (m.commit.value > 0) out += " Commit:" + std::to_string(m.commit.value);
  out += describe_entries_field(m.entries);
  if (m.snapshot) out += "\n  Snapshot: " + describe(*m.snapshot);
  return out;
}

}  // namespace script
