#include "agent/backend_operator.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "agent/backend.h"
#include "agent/io/crypto.h"
#include "agent/route_content.h"
#include "store/kv/record.h"

namespace agent {
namespace {

constexpr std::size_t kViewPiece = std::size_t{256} << 10;

tl::unexpected<api::Error> failed(api::Errc code, std::string detail) {
  return tl::make_unexpected(api::Error{code, std::move(detail), {}});
}

tl::unexpected<api::Error> failed(const io::Error& error) {
  const bool bad_input = error.code == io::Errc::kInvalidArgument;
  const bool large = error.code == io::Errc::kTooLarge;
  return failed(bad_input ? api::Errc::kBadRequest : large ? api::Errc::kTooLarge : api::Errc::kInternal, error.detail);
}

}  // namespace

// --- jobs -----------------------------------------------------------------------------------------------------------

struct AgentOperator::Save {
  api::ReadMode mode = api::ReadMode::kConsistent;
  api::Completion<api::SnapshotSaved> done;
  api::ReadInfo info;
  store::disk::ViewId view{};
  bool view_open = false;
  std::unique_ptr<SnapshotPacker> packer;  // touched by the helper only, once made
  SnapshotInfo meta;
};

struct AgentOperator::Restore {
  std::shared_ptr<io::Spool> archive;
  bool other_cluster = false;
  api::Completion<api::SnapshotRestored> done;
  store::kv::Uuid id;
  std::uint64_t proposed = 0;  // chunks
  std::uint64_t rows = 0;
  bool begun = false;
  std::string halted;  // by this restore
  // Of the helper.
  std::shared_ptr<io::Spool> state;
  std::uint64_t at = 0;
  store::RowStreamReader reader;
  std::deque<std::string> chunks;

  /// The next chunk of commands' size; empty = the end. Reads no further than that takes.
  io::Result<std::string> next_chunk() {
    std::vector<std::byte> buffer(store::kv::kRestoreChunkBytesMax / 2);
    while (chunks.empty() && at < state->size()) {
      auto count = state->read(at, buffer);
      if (!count) return tl::make_unexpected(count.error());
      if (*count == 0) break;
      at += *count;
      auto records = reader.feed({reinterpret_cast<const char*>(buffer.data()), *count});
      if (!records) return io::fail(io::Errc::kInvalidArgument, records.error().detail);
      for (std::string& chunk : store::kv::chunk_rows(*records)) {
        if (!records->empty()) chunks.push_back(std::move(chunk));
      }
    }
    if (chunks.empty()) return std::string();
    std::string chunk = std::move(chunks.front());
    chunks.pop_front();
    return chunk;
  }
};

AgentOperator::AgentOperator(OperatorParts parts)
    : parts_(std::move(parts)),
      alive_(std::make_shared<bool>(true)),
      finished_(*parts_.loop, 1024, [](Finish&& finish) { finish(); }) {}

AgentOperator::~AgentOperator() {
  *alive_ = false;
  if (helper_) {
    helper_->stop();
    helper_->join();
  }
}

bool AgentOperator::on_helper(std::function<Finish()> work) {
  if (!helper_) {
    auto started = io::Thread::start("snapshot", [](io::Loop& loop) { loop.run(); });
    if (!started) return false;
    helper_ = std::move(*started);
  }
  return helper_->post([work = std::move(work), sender = finished_.sender()] { sender.send(work()); });
}

// --- saving ---------------------------------------------------------------------------------------------------------

void AgentOperator::snapshot_save(api::ReadMode mode, api::Completion<api::SnapshotSaved> done) {
  if (saves_ >= kJobsMax) {
    parts_.loop->post([done = std::move(done)] { done(failed(api::Errc::kBusy, "other snapshots are being saved")); });
    return;
  }
  ++saves_;
  auto save = std::make_shared<Save>();
  save->mode = mode;
  save->done = std::move(done);
  const auto consistency = mode == api::ReadMode::kStale ? store::Consistency::kStale : store::Consistency::kConsistent;
  parts_.store->read(consistency, io::boottime_now() + parts_.write_timeout,
                     [this, alive = alive_, save](store::Result<store::Readable> read) {
                       if (!*alive) return;
                       if (!read) return end_save(save, tl::make_unexpected(api_error_of(read.error())));
                       save->info.known_leader = read->known_leader;
                       save->info.last_contact = std::chrono::duration_cast<api::Milliseconds>(read->last_contact);
                       open_view(save);
                     });
}

void AgentOperator::open_view(const std::shared_ptr<Save>& save) {
  save->view = parts_.store->open_view([this, alive = alive_, save](store::disk::Result<store::disk::TaskAnswer> opened) {
    if (!*alive) return;
    if (!opened) return end_save(save, failed(api::Errc::kInternal, opened.error().detail));
    save->view_open = true;
    save->info.applied = api::Index{opened->mark.index.value};
    save->meta.created_ms = io::wall_ms();
    save->meta.agent = parts_.name;
    save->meta.version = parts_.version;
    for (const api::RaftPeer& peer : parts_.raft().peers)
      save->meta.servers.push_back({static_cast<std::uint64_t>(peer.id), peer.name, peer.address, peer.is_voter});
    auto packer = SnapshotPacker::create(parts_.spool_directory, {parts_.store->core().cluster_id(), opened->mark.index, opened->mark.term});
    if (!packer) return end_save(save, failed(packer.error()));
    save->packer = std::move(*packer);
    read_on(save);
  });
}

void AgentOperator::read_on(const std::shared_ptr<Save>& save) {
  parts_.store->read_view(save->view, kViewPiece, [this, alive = alive_, save](store::disk::Result<store::disk::TaskAnswer> read) {
    if (!*alive) return;
    if (!read) return end_save(save, failed(api::Errc::kInternal, read.error().detail));
    if (read->records.empty()) return pack(save);
    add_rows(save, std::move(read->records));
  });
}

void AgentOperator::add_rows(const std::shared_ptr<Save>& save, std::vector<store::kv::Record> records) {
  auto rows = std::make_shared<std::vector<store::kv::Record>>(std::move(records));
  const bool posted = on_helper([this, alive = alive_, save, rows]() -> Finish {
    const auto added = save->packer->add(*rows);
    return [this, alive, save, added] {
      if (!*alive) return;
      if (!added) return end_save(save, failed(added.error()));
      read_on(save);
    };
  });
  if (!posted) end_save(save, failed(api::Errc::kBusy, "no thread for the snapshot"));
}

void AgentOperator::pack(const std::shared_ptr<Save>& save) {
  const bool posted = on_helper([this, alive = alive_, save]() -> Finish {
    auto packed = save->packer->finish(save->meta);
    return [this, alive, save, packed] {
      if (!*alive) return;
      if (!packed) return end_save(save, failed(packed.error()));
      end_save(save, api::SnapshotSaved{*packed, 0, save->info});
    };
  });
  if (!posted) end_save(save, failed(api::Errc::kBusy, "no thread for the snapshot"));
}

void AgentOperator::end_save(const std::shared_ptr<Save>& save, api::Result<api::SnapshotSaved> result) {
  --saves_;
  if (save->view_open) parts_.store->close_view(save->view);
  save->view_open = false;
  const auto done = std::move(save->done);
  done(std::move(result));
}

// --- restoring ------------------------------------------------------------------------------------------------------

void AgentOperator::snapshot_restore(std::shared_ptr<io::Spool> archive, bool other_cluster,
                                     api::Completion<api::SnapshotRestored> done) {
  auto restore = std::make_shared<Restore>();
  restore->archive = std::move(archive);
  restore->other_cluster = other_cluster;
  restore->done = std::move(done);
  io::random_bytes(std::as_writable_bytes(std::span(restore->id.bytes)));
  const bool posted = !restoring_ && on_helper([this, alive = alive_, restore]() -> Finish {
    auto content = unpack_snapshot(*restore->archive, parts_.spool_directory);
    restore->archive = nullptr;
    return [this, alive, restore, content]() {
      if (!*alive) return;
      if (!content) return end_restore(restore, failed(content.error()));
      const store::kv::ClusterId& ours = parts_.store->core().cluster_id();
      if (content->info.cluster != ours && !restore->other_cluster) {
        return end_restore(restore, failed(api::Errc::kBadRequest,
                                           "the snapshot is of cluster " + content->info.cluster.hex() + ", this is " + ours.hex() +
                                               "; to take its state all the same: ?force, or --force"));
      }
      restore->state = content->state;
      restore->rows = content->info.rows;
      begin_restore(restore);
    };
  });
  if (posted) {
    restoring_ = true;
    return;
  }
  parts_.loop->post([restore] { restore->done(failed(api::Errc::kBusy, "another snapshot is being restored")); });
}

void AgentOperator::begin_restore(const std::shared_ptr<Restore>& restore) {
  propose(restore, store::kv::RestoreBegin{restore->id}, [this, restore](store::kv::Index) {
    restore->begun = true;
    propose_next(restore);
  });
}

void AgentOperator::propose_next(const std::shared_ptr<Restore>& restore) {
  const bool posted = on_helper([this, alive = alive_, restore]() -> Finish {
    auto chunk = restore->next_chunk();
    return [this, alive, restore, chunk] {
      if (!*alive) return;
      if (!chunk) return end_restore(restore, failed(chunk.error()));
      if (chunk->empty()) return halt_before(restore);
      propose(restore, store::kv::RestoreChunk{restore->id, restore->proposed++, *chunk},
              [this, restore](store::kv::Index) { propose_next(restore); });
    };
  });
  if (!posted) end_restore(restore, failed(api::Errc::kBusy, "no thread for the restore"));
}

// A snapshot has no orders. In a cluster that lives they stay as they are; one that begins anew with a copy has none, and would send again what
// the old one has sent. So it comes back halted, as the old one would have, until somebody has looked.
void AgentOperator::halt_before(const std::shared_ptr<Restore>& restore) {
  const auto routes = parts_.routes ? parts_.routes() : nullptr;
  const bool takes_orders = routes != nullptr && std::any_of(routes->routes().begin(), routes->routes().end(), [](const auto& route) { return route.order.has_value(); });
  if (!takes_orders || parts_.store->core().state().orders().size() > 0 || halts() == nullptr) return commit(restore);
  auto halt = halts()->halt({"global", "restored from a snapshot, which has no orders, into an empty ledger: look at the brokers for orders of before, then resume",
                             "snapshot restore", true});
  if (!halt) return end_restore(restore, tl::make_unexpected(halt.error()));
  restore->halted = halt->id;
  halts()->when_kept(std::move(*halt), [this, alive = alive_, restore](const auto&) {
    if (*alive) commit(restore);
  });
}

void AgentOperator::commit(const std::shared_ptr<Restore>& restore) {
  propose(restore, store::kv::RestoreCommit{restore->id, restore->proposed}, [this, restore](store::kv::Index index) {
    restore->begun = false;
    end_restore(restore, api::SnapshotRestored{api::Index{store::kv::value(index)}, restore->rows, restore->halted});
  });
}

void AgentOperator::propose(const std::shared_ptr<Restore>& restore, store::kv::CommandBody body,
                            std::function<void(store::kv::Index)> then) {
  // A chunk is large and the disk may be slow: five times the patience of an ordinary write.
  parts_.store->write(std::move(body), io::boottime_now() + 5 * parts_.write_timeout,
                      [this, alive = alive_, restore, then = std::move(then)](store::Result<store::Written> written) {
                        if (!*alive) return;
                        if (!written) return end_restore(restore, tl::make_unexpected(api_error_of(written.error())));
                        if (written->outcome == store::kv::Outcome::kDone) return then(written->index);
                        const std::string why = written->detail.empty() ? store::kv::to_string(written->outcome) : written->detail;
                        const bool full = written->outcome == store::kv::Outcome::kFull;
                        end_restore(restore, failed(full ? api::Errc::kTooLarge : api::Errc::kBadRequest, "not restored: " + why));
                      });
}

void AgentOperator::end_restore(const std::shared_ptr<Restore>& restore, api::Result<api::SnapshotRestored> result) {
  restoring_ = false;
  if (restore->begun && !result) {
    parts_.store->write(store::kv::RestoreAbort{restore->id}, io::boottime_now() + parts_.write_timeout, [](const auto&) {});
  }
  const auto done = std::move(restore->done);
  done(std::move(result));
}

// --- voters ---------------------------------------------------------------------------------------------------------

api::Result<store::NodeId> AgentOperator::resolve(const std::string& server) const {
  if (server.empty()) return store::NodeId{};
  for (const api::RaftPeer& peer : parts_.raft().peers) {
    const auto number = static_cast<std::uint64_t>(peer.id);
    std::string hex;
    for (int shift = 60; shift >= 0; shift -= 4) hex += "0123456789abcdef"[(number >> static_cast<unsigned>(shift)) & 15U];
    if (server == peer.name || server == std::to_string(number) || server == hex) return store::NodeId{number};
  }
  return failed(api::Errc::kNotFound, "no server of the configuration has the name or id \"" + server + "\"");
}

namespace {

drivers::StoreDriver::Done plain(const std::shared_ptr<bool>& alive, api::Completion<std::monostate> done) {
  return [alive, done = std::move(done)](store::Result<void> result) {
    if (!*alive) return;
    if (!result) return done(tl::make_unexpected(api_error_of(result.error())));
    done(std::monostate{});
  };
}

}  // namespace

void AgentOperator::raft_transfer(std::string server, api::Completion<std::monostate> done) {
  const auto id = resolve(server);
  if (!id) return parts_.loop->post([done = std::move(done), error = id.error()] { done(tl::make_unexpected(error)); });
  parts_.store->transfer_leadership(*id, plain(alive_, std::move(done)));
}

void AgentOperator::raft_remove(std::string server, api::Completion<std::monostate> done) {
  const auto id = resolve(server);
  if (!id) return parts_.loop->post([done = std::move(done), error = id.error()] { done(tl::make_unexpected(error)); });
  parts_.store->remove_server(*id, plain(alive_, std::move(done)));
}

api::Result<std::size_t> AgentOperator::purge_cache(const std::string& route, const std::string& prefix) {
  const auto table = parts_.routes ? parts_.routes() : nullptr;
  const auto named = [&](const proxy::Route& one) { return one.cache != nullptr && (route.empty() || one.name == route); };
  if (table == nullptr || std::none_of(table->routes().begin(), table->routes().end(), named)) return OperatorBackend::purge_cache(route, prefix);
  return cache_of(table.get())->purge(route, prefix);
}

void AgentOperator::raft_figures(api::Completion<api::RaftInfo> done) {
  parts_.store->figures([this, alive = alive_, done = std::move(done)](store::Result<store::Figures> figures) {
    if (!*alive) return;
    api::RaftInfo info = parts_.raft();
    if (!figures) return done(std::move(info));  // without a leader nobody knows more than this agent
    for (api::RaftPeer& peer : info.peers) {
      const auto found = std::find_if(figures->servers.begin(), figures->servers.end(), [&peer](const store::ServerFigures& one) {
        return one.id.value == static_cast<std::uint64_t>(peer.id);
      });
      if (found == figures->servers.end()) continue;
      peer.match_index = found->match.value;
      peer.last_contact = found->last_contact;
      if (found->fsync_p99.count() > 0) {
        peer.fsync_p50 = found->fsync_p50;
        peer.fsync_p99 = found->fsync_p99;
      }
    }
    done(std::move(info));
  });
}

}  // namespace agent
