#include "agent/recover.h"

#include <array>
#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/cluster.h"
#include "agent/halt_keeper.h"
#include "agent/io/clock.h"
#include "agent/io/crypto.h"
#include "agent/io/file.h"
#include "gossip/member.h"
#include "store/disk/rocks_store.h"
#include "store/recovery.h"

namespace agent {
namespace {

using Json = nlohmann::ordered_json;

std::string stamp() {
  const std::time_t now = static_cast<std::time_t>(io::wall_ms() / 1000);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &parts);
  return text.data();
}

io::Result<store::NodeId> read_id(const std::filesystem::path& data_dir) {
  auto text = io::read_file((data_dir / "node-id").string(), 64);
  if (!text) return tl::make_unexpected(text.error());
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  const auto id = gossip::MemberId::parse(*text);
  if (!id || id->is_none()) return io::fail(io::Errc::kInvalidArgument, (data_dir / "node-id").string() + " is damaged");
  return raft_id_of(*id);
}

Json report_of(const store::RecoveryPlan& plan, const store::kv::ClusterId& id, const RecoverOrder& order) {
  Json dropped = Json::array();
  const auto add = [&](const std::vector<store::NodeId>& ids, std::size_t first_name, bool voter) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      dropped.push_back({{"id", std::to_string(ids[i].value)}, {"name", plan.names[first_name + i]}, {"voter", voter}});
    }
  };
  add(plan.dropped_voters, 0, true);
  add(plan.dropped_learners, plan.dropped_voters.size(), false);
  return {{"ok", true},
          {"what", "alone"},
          {"applied", order.apply},
          {"data_dir", order.data_dir.string()},
          {"node_id", std::to_string(plan.self.value)},
          {"old_cluster_id", plan.old_cluster.hex()},
          {"new_cluster_id", order.apply ? Json(id.hex()) : Json(nullptr)},
          {"term", plan.term.value},
          {"applied_index", plan.applied.value},
          {"commit_index", plan.commit.value},
          {"last_index", plan.last.value},
          {"uncommitted", plan.last.value - plan.commit.value},
          {"keys", plan.keys},
          {"halt", order.halt},
          {"dropped", dropped}};
}

// What the lost majority acknowledged may be missing in the ledger, and a key that it does not know would be sent again. So nobody sends
// until a person has looked. Under a new replica: what the old one gave last nobody here knows. A file that cannot be read halts everything anyway.
io::Result<void> leave_halt(const std::filesystem::path& data_dir) {
  const std::string path = (data_dir / kHaltFileName).string();
  HaltFile file;
  if (auto bytes = io::read_file(path, kHaltFileBytesMax); bytes) {
    auto known = decode_halt_file(*bytes);
    if (!known) return {};
    file = std::move(*known);
  } else if (bytes.error().code != io::Errc::kNotFound) {
    return tl::make_unexpected(bytes.error());
  }
  store::kv::Halt all;
  all.reason = "recovered without its majority: look at the brokers for orders that the ledger does not know, then resume";
  all.who = "raft recover";
  all.time_ms = static_cast<std::uint64_t>(io::wall_ms());
  file.replica = 1 + io::random_below(UINT64_MAX);
  if (auto added = file.set.add(file.replica, std::move(all)); !added) return io::fail(io::Errc::kInvalidArgument, path + ": " + added.error().detail);
  return io::replace_file(path, encode(file), 0600);
}

io::Result<std::string> go_on_alone(const RecoverOrder& order) {
  auto self = read_id(order.data_dir);
  if (!self) return tl::make_unexpected(self.error());
  store::disk::RocksOptions options;
  options.directory = order.data_dir / "store";
  options.node = *self;
  options.accept_torn_tail = order.accept_torn_tail;
  if (!std::filesystem::exists(options.directory))
    return io::fail(io::Errc::kNotFound, options.directory.string() + " is not there: is this the data directory of an agent?");
  auto disk = store::disk::RocksStore::open(options);
  if (!disk) return io::fail(io::Errc::kIo, "store: " + disk.error().detail);
  auto loaded = (*disk)->load();
  if (!loaded) return io::fail(io::Errc::kIo, "store: " + loaded.error().detail);
  if (auto whole = store::disk::read_all(*loaded); !whole) return io::fail(io::Errc::kIo, "store: " + whole.error().detail);
  store::kv::ClusterId id;
  io::random_bytes(std::as_writable_bytes(std::span(id.bytes)));
  id.bytes[0] |= 1U;  // never none
  auto recovery = store::plan_recovery(*self, *loaded, id);
  if (!recovery) return io::fail(io::Errc::kInvalidArgument, recovery.error().detail);
  if (order.apply) {
    if (order.halt) {  // first: wherever this is cut short, it is too much rather than too little
      if (auto left = leave_halt(order.data_dir); !left) return tl::make_unexpected(left.error());
    }
    recovery->batch.seq = store::disk::BatchSeq{1};
    if (auto written = (*disk)->write(recovery->batch); !written)
      return io::fail(io::Errc::kIo, "store: " + written.error().detail);
  }
  return report_of(recovery->plan, id, order).dump(2, ' ', false, Json::error_handler_t::replace);
}

io::Result<std::string> reseed(const RecoverOrder& order) {
  const std::filesystem::path aside = order.data_dir / ("store.aside-" + stamp());
  const bool there = std::filesystem::exists(order.data_dir / "store");
  if (!there && !std::filesystem::exists(order.data_dir / "node-id"))
    return io::fail(io::Errc::kNotFound, order.data_dir.string() + " is no data directory of an agent");
  if (order.apply) {
    // The mark first: from then on a start joins, and founds nothing, wherever this is cut short.
    const std::string mark = (order.data_dir / kReseedMark).string();
    if (auto marked = io::replace_file(mark, "this agent waits to be seeded by its peers\n", 0600); !marked)
      return tl::make_unexpected(marked.error());
    std::error_code code;
    if (there) std::filesystem::rename(order.data_dir / "store", aside, code);
    if (code) return io::fail(io::Errc::kIo, aside.string() + ": " + code.message());
    if (!there) std::filesystem::create_directory(aside, code);
    std::filesystem::rename(order.data_dir / "node-id", aside / "node-id", code);  // a new node, with a vote of its own
  }
  return Json{{"ok", true},
              {"what", "reseed"},
              {"applied", order.apply},
              {"data_dir", order.data_dir.string()},
              {"aside", aside.string()}}
      .dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

io::Result<std::string> recover(const RecoverOrder& order) {
  if (!std::filesystem::is_directory(order.data_dir))
    return io::fail(io::Errc::kNotFound, order.data_dir.string() + " is no directory");
  auto lock = io::LockFile::acquire((order.data_dir / "lock").string());
  if (!lock) {
    if (lock.error().code == io::Errc::kLocked) lock.error().detail += "; stop the agent first";
    return tl::make_unexpected(lock.error());
  }
  return order.reseed ? reseed(order) : go_on_alone(order);
}

}  // namespace agent
