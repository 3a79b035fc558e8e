#include "agent/audit_keeper.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "agent/io/clock.h"
#include "agent/io/file.h"
#include "agent/io/wall_clock.h"

namespace agent {
namespace {

namespace kv = store::kv;

std::uint64_t wall_now() { return static_cast<std::uint64_t>(io::wall_ms()); }
std::string short_hex(const kv::Digest& digest) { return kv::hex(digest).substr(0, 16); }
constexpr int kAsideMax = 99;
constexpr std::string_view kFind = "; \"outrigger audit verify --peers\" finds out whose copy was changed";

}  // namespace

io::Result<std::unique_ptr<AuditKeeper>> AuditKeeper::start(io::Loop& loop, drivers::StoreDriver& store, AuditParts parts) {
  auto key = io::SigningKey::load_or_create(parts.directory + "/audit.key");
  if (!key) return tl::make_unexpected(key.error());
  if (key->fresh()) parts.log("audit_key_made", parts.directory + "/audit.key: what this agent says of the audit is signed with it");
  return std::unique_ptr<AuditKeeper>(new AuditKeeper(loop, store, std::move(parts), std::move(*key)));
}

AuditKeeper::AuditKeeper(io::Loop& loop, drivers::StoreDriver& store, AuditParts parts, io::SigningKey key)
    : store_(store), parts_(std::move(parts)), key_(std::move(key)), alive_(std::make_shared<bool>(true)), timer_(loop, [this] { tick(); }),
      written_(loop, 4, [this](io::Result<void>&& done) {
        writing_ = false;
        if (!done) {
          ++write_failures_;
          dirty_ = true;
          if (!failing_) parts_.log("audit_witness_not_kept", done.error().detail + "; what peers have signed since is lost with this process");
        }
        failing_ = !done;
      }) {
  tick();
}

AuditKeeper::~AuditKeeper() {
  *alive_ = false;
  if (writer_) {
    writer_->stop();
    writer_->join();
  }
  if (witness_ && may_write_ && (dirty_ || writing_)) {
    const auto written = io::replace_file(path(), encode_witness(witness_->signers(), witness_->cluster()), 0600);
    if (!written) parts_.log("audit_witness_not_kept", written.error().detail);
  }
}

AuditWitness::Copy AuditKeeper::copy() const {
  const store::Store& core = store_.core();
  return {&core.state().audit(), core.state().applied(), kv::Index{core.durable_applied().value}};
}

AuditSigners AuditKeeper::read(const kv::ClusterId& cluster) {
  const auto bytes = io::read_file(path(), kWitnessFileBytesMax);
  if (!bytes && bytes.error().code == io::Errc::kNotFound) {
    // This agent has signed before: then there was a file.
    if (!key_.fresh() && store_.core().state().audit().begun())
      parts_.log("audit_witness_missing", path() + " is not there, though this agent is not new: what was signed before is known to its peers alone");
    return {};
  }
  auto file = bytes ? decode_witness(*bytes) : std::nullopt;
  if (file && file->cluster == cluster) return std::move(file->signers);
  if (file) put_aside(path() + ".old", "audit_witness_foreign", path() + " is of another cluster");
  else put_aside(path() + ".damaged", "audit_witness_damaged", path() + (bytes ? " is cut or changed" : " cannot be read: " + bytes.error().detail));
  return {};
}

/// Under a name that is free: what was put aside before is evidence, too.
void AuditKeeper::put_aside(const std::string& as, std::string_view event, const std::string& why) {
  std::string to = as;
  std::error_code failed;
  for (int i = 1; i <= kAsideMax && std::filesystem::exists(to, failed); ++i) to = as + "." + std::to_string(i);
  may_write_ = !std::filesystem::exists(to, failed) && !failed;
  if (may_write_) std::filesystem::rename(path(), to, failed);
  may_write_ = may_write_ && !failed;
  if (may_write_) return parts_.log(event, why + "; it is put aside as " + to + " and begun anew");
  parts_.log(event, why + ", and cannot be put aside as " + to + (failed ? ": " + failed.message() : std::string(": too many are there")) +
                        "; nothing is written until it is moved away and this agent is started again");
}

void AuditKeeper::begin(const kv::ClusterId& cluster) {
  AuditSigners signers = read(cluster);
  AuditWitness::Keys keys;
  keys.own = key_.public_key();
  keys.sign = [this](std::string_view text) { return key_.sign(text); };
  keys.check = io::is_signed_by;
  witness_.emplace(parts_.self, cluster, std::move(keys), std::move(signers));
}

void AuditKeeper::tick() {
  timer_.arm_after(kLookEvery);
  const kv::ClusterId& cluster = store_.core().cluster_id();
  if (!witness_ && !cluster.is_none()) begin(cluster);
  if (!witness_) return;
  std::set<store::NodeId> members;
  for (const store::ServerStatus& server : store_.core().status(io::boottime_now()).servers) members.insert(server.id);
  witness_->set_members(std::move(members));
  const AuditWitness::Copy now = copy();
  check();
  settle(now);
  witness_->look(now, parts_.peers().size(), io::boottime_now(), wall_now());
  carry_out();
  if (dirty_ && !writing_ && may_write_ && io::boottime_now() >= write_at_) write();
}

/// Only what is on the disk is signed, and the newest rows wait in memory while nothing else is written: a view brings them there.
void AuditKeeper::settle(const AuditWitness::Copy& now) {
  const bool quiet = std::exchange(seen_, now.log->head()) == now.log->head();
  if (!quiet || settling_ || now.applied <= now.durable || settled_ == seen_.number) return;
  settling_ = true;
  auto view = std::make_shared<store::disk::ViewId>();
  *view = store_.open_view([this, alive = alive_, view, number = seen_.number](const auto& opened) {
    if (!*alive) return;
    settling_ = false;
    if (!opened) return;  // again at the next tick
    settled_ = number;
    store_.close_view(*view);
  }, kv::audit_ends_key());
}

/// Whether this copy still is what it was when statements about it were kept. Told once, and again when it is over.
void AuditKeeper::check() {
  const kv::AuditLog& log = store_.core().state().audit();
  if (checked_ && log.head() == *checked_) return;
  checked_ = log.head();
  const auto found = witness_->check(log);
  if (std::exchange(contradicted_, !found.empty()) == contradicted_) return;
  if (found.empty()) return parts_.log("audit_agrees_again", "this copy is again what was signed of it");
  for (const AuditContradiction& one : found) {
    const std::string who = parts_.name_of(one.by.signer) + " signed entry " + std::to_string(one.by.number) + " as " + short_hex(one.by.hash);
    if (one.fault.kind == kv::AuditFault::Kind::kTruncated)
      parts_.log("audit_truncated", "this copy ends with entry " + std::to_string(log.head().number) + ", and " + who + std::string(kFind));
    else
      parts_.log("audit_changed", "this copy was changed between entry " + std::to_string(one.agreed + 1) + " and " + std::to_string(one.fault.number) + ": " + who + std::string(kFind));
  }
}

void AuditKeeper::on_connected(store::NodeId peer) {
  if (!witness_) return;
  witness_->on_connected(peer);
  carry_out();
}

void AuditKeeper::on_statement(store::NodeId from, const AuditStatement& statement, bool wants_answer) {
  if (!witness_) return;
  witness_->on_statement(from, statement, wants_answer, copy(), io::boottime_now(), wall_now());
  carry_out();
}

void AuditKeeper::carry_out() {
  AuditWitness::Output output = witness_->take_output();
  dirty_ = dirty_ || output.changed;
  for (auto& [to, word] : output.words) {
    const std::string frame = encode_audit(word);
    if (to) static_cast<void>(parts_.send(*to, frame));  // not queued: it is said again when the stream stands anew
    else for (const store::NodeId peer : parts_.peers()) static_cast<void>(parts_.send(peer, frame));
  }
  for (const AuditWitness::Event& event : output.events) tell(event);
}

void AuditKeeper::tell(const AuditWitness::Event& event) {
  const std::string name = parts_.name_of(event.node), number = std::to_string(event.statement.number);
  switch (event.kind) {
    case AuditWitness::Event::Kind::kDisputed:
      return parts_.log("audit_forked", name + " signed entry " + number + " of the audit as " + short_hex(event.statement.hash) + ", this copy has " +
                                            (event.ours ? short_hex(*event.ours) : std::string("no such entry")) + " there" + std::string(kFind));
    case AuditWitness::Event::Kind::kAgreesAgain:
      return parts_.log("audit_agrees_again", name + "'s copy of the audit and this one are the same again, as far as entry " + number);
    case AuditWitness::Event::Kind::kKeyChanged:
      return parts_.log("audit_key_changed", name + " signs the audit with another key than before; was its data directory, or audit.key in it, replaced? "
                                                 "What it signed with the old one is kept");
    case AuditWitness::Event::Kind::kBadSignature:
      return parts_.log("audit_bad_signature", "what " + name + " says of entry " + number + " of the audit is not signed by the key that it names");
  }
}

void AuditKeeper::write() {
  if (!writer_) {
    auto started = io::Thread::start("audit", [](io::Loop& loop) { loop.run(); });
    if (!started) return;  // again at the next tick
    writer_ = std::move(*started);
  }
  write_at_ = io::boottime_now() + kWriteEvery;
  std::string bytes = encode_witness(witness_->signers(), witness_->cluster());
  writing_ = writer_->post([to = path(), bytes = std::move(bytes), sender = written_.sender()] { sender.send(io::replace_file(to, bytes, 0600)); });
  dirty_ = !writing_;
}

}  // namespace agent
