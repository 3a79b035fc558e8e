// The audit's wires; and what it is told of this agent's settings: a digest of everything that they were read from, at each start
// and reload.
#include "agent/io/crypto.h"
#include "agent/io/file.h"
#include "agent/io/wall_clock.h"
#include "agent/log.h"
#include "agent/running.h"

namespace agent {
namespace {

constexpr std::size_t kFileBytesMax = 4U << 20;
constexpr Milliseconds kNoteAgain{1000};

/// Files in their order, our variables, flags: the same digest means the same settings.
std::string digest_of(const Config& config, const ConfigSource& source) {
  std::string all;
  const auto add = [&all](std::string_view name, std::string_view value) {
    all += std::to_string(name.size()) + ":";
    all += name;
    all += std::to_string(value.size()) + ":";
    all += value;
  };
  for (const auto& file : config.files) {
    const auto bytes = io::read_file(file.string(), kFileBytesMax);
    add(file.string(), bytes ? std::string_view(*bytes) : std::string_view());
  }
  for (const auto& [name, value] : source.environment) {
    if (name.starts_with("OUTRIGGER_")) add(name, value);
  }
  for (const auto& [name, value] : source.flags) add(name, value);
  return io::hex_encode(io::sha256(std::as_bytes(std::span(all))));
}

}  // namespace

io::Result<void> Agent::start_audit() {
  AuditParts parts;
  parts.self = raft_id_;
  parts.name = config_.node.name;
  parts.directory = identity_.data_dir.string();
  parts.peers = [this] {
    std::set<store::NodeId> reached = mesh_up_;
    for (const store::NodeId cut : cut_off_.peers) reached.erase(cut);
    return reached;
  };
  parts.name_of = [this](store::NodeId id) {
    const auto& names = store_->core().state().members();
    if (const auto found = names.find(store::kv::NodeId{id.value}); found != names.end()) return found->second;
    const gossip::Member* member = gossip_ ? member_with(id) : nullptr;
    return member != nullptr ? member->name : "agent " + std::to_string(id.value);
  };
  parts.send = [this](store::NodeId to, std::string frame) { return send_to_peer(to, std::move(frame), drivers::Lane::kBulk); };
  parts.log = [this](std::string_view event, const std::string& detail) {
    log_line(event == "audit_key_made" || event == "audit_agrees_again" ? LogLevel::kInfo : LogLevel::kError, event, detail);
    note(event, 0, {}, detail);
  };
  auto audit = AgentAudit::start(*loop_, *store_, std::move(parts));
  if (!audit) return io::fail(audit.error().code, "audit: " + audit.error().detail);
  audit_ = std::move(*audit);
  return {};
}

void Agent::note_settings(const char* when) {
  note_ = store::kv::AuditNote{store::kv::AuditKind::kConfig, static_cast<std::uint64_t>(io::wall_ms()), config_.node.name, "settings",
                               std::string(when) + ", version " + OUTRIGGER_VERSION + ", sha256 " + digest_of(config_, source_)};
  ++note_count_;
  write_note(note_count_);
}

/// Again and again until there is a leader, or a newer note.
void Agent::write_note(std::uint64_t number) {
  if (phase_ != Phase::kRunning || !store_ || number != note_count_) return;
  store_->write(note_, io::boottime_now() + config_.raft.write_timeout, [this, number](const store::Result<store::Written>& written) {
    if (!written) later(io::boottime_now() + kNoteAgain, [this, number] { write_note(number); });
  });
}

}  // namespace agent
