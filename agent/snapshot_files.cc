#include "agent/snapshot_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "agent/io/archive.h"
#include "agent/io/clock.h"
#include "agent/io/file.h"
#include "store/kv/record.h"

namespace agent {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::size_t kPiece = std::size_t{256} << 10;
constexpr std::size_t kTextBytesMax = std::size_t{1} << 20;  // meta.json, SHA256SUMS
constexpr std::uint64_t kContainerVersion = 1;

tl::unexpected<io::Error> bad(std::string detail) { return io::fail(io::Errc::kInvalidArgument, std::move(detail)); }
std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }
std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Calls `take` with the content, a piece at a time.
io::Result<void> for_each_piece(const io::Spool& spool, const io::ByteSink& take) {
  std::vector<std::byte> buffer(kPiece);
  for (std::uint64_t at = 0; at < spool.size();) {
    auto count = spool.read(at, buffer);
    if (!count) return tl::make_unexpected(count.error());
    if (*count == 0) return io::fail(io::Errc::kIo, "a file on its way became shorter");
    if (auto taken = take(std::span<const std::byte>(buffer).first(*count)); !taken) return taken;
    at += *count;
  }
  return {};
}

std::string uuid_text(std::uint64_t id) { return std::to_string(id); }

Json to_json(const SnapshotInfo& info) {
  Json servers = Json::array();
  for (const auto& server : info.servers) {
    servers.push_back({{"Suffrage", server.voter ? 0 : 1},
                       {"ID", uuid_text(server.id)},
                       {"Address", server.address},
                       {"Name", server.name}});
  }
  return {{"Version", kContainerVersion}, {"ID", info.id},          {"Index", info.index},
          {"Term", info.term},            {"Peers", nullptr},       {"Configuration", {{"Servers", servers}}},
          {"ConfigurationIndex", 0},      {"Size", info.bytes},     {"Format", "outrigger"},
          {"Cluster", info.cluster.hex()}, {"Rows", info.rows},      {"CreatedMs", info.created_ms},
          {"Agent", info.agent},          {"AgentVersion", info.version}};
}

std::uint64_t number_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}
std::string string_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

io::Result<SnapshotInfo> parse_meta(const std::string& text) {
  const Json meta = Json::parse(text, nullptr, false);
  if (!meta.is_object()) return bad("meta.json of the snapshot is damaged");
  if (string_of(meta, "Format") != "outrigger")
    return bad("this snapshot was made by another program; keys of a Consul move over with \"outrigger import consul\"");
  if (const auto version = number_of(meta, "Version"); version > kContainerVersion) {
    return bad("snapshot of version " + std::to_string(version) + ", this agent knows up to " +
               std::to_string(kContainerVersion) + "; use the newer agent");
  }
  SnapshotInfo info;
  info.id = string_of(meta, "ID");
  info.index = number_of(meta, "Index");
  info.term = number_of(meta, "Term");
  info.rows = number_of(meta, "Rows");
  info.bytes = number_of(meta, "Size");
  info.created_ms = static_cast<std::int64_t>(number_of(meta, "CreatedMs"));
  info.agent = string_of(meta, "Agent");
  info.version = string_of(meta, "AgentVersion");
  return info;
}

/// What an archive held, before anybody believed it.
struct Parts {
  std::string meta, sums;
  std::shared_ptr<io::Spool> state;
  std::map<std::string, std::string> found;  // SHA-256 by file
};

io::Result<Parts> read_parts(const io::Spool& archive, const std::string& directory) {
  Parts parts;
  auto state = io::Spool::create(directory);
  if (!state) return tl::make_unexpected(state.error());
  parts.state = *state;
  std::string current;
  std::unique_ptr<io::RunningSha256> sum;
  const auto close = [&] {
    if (sum) parts.found[current] = sum->hex();
    sum.reset();
  };
  io::ArchiveEvents events;
  events.on_file = [&](const std::string& name, std::uint64_t size) -> io::Result<void> {
    close();
    current = name;
    sum = std::make_unique<io::RunningSha256>();
    if (name != "meta.json" && name != "state.bin" && name != "SHA256SUMS")
      return bad("the archive holds '" + name.substr(0, 64) + "': this is no snapshot");
    if (name != "state.bin" && size > kTextBytesMax) return bad(name + " of the snapshot is too large");
    return {};
  };
  events.on_bytes = [&](std::span<const std::byte> bytes) -> io::Result<void> {
    sum->add(bytes);
    if (current == "state.bin") return parts.state->append(bytes);
    (current == "meta.json" ? parts.meta : parts.sums) += text_of(bytes);
    return {};
  };
  io::ArchiveReader reader(std::move(events), kSnapshotUnpackedMax);
  auto read = for_each_piece(archive, [&](std::span<const std::byte> bytes) { return reader.feed(bytes); });
  if (read) read = reader.finish();
  if (!read) return tl::make_unexpected(read.error());
  close();
  return parts;
}

io::Result<void> check_sums(const Parts& parts) {
  for (const char* name : {"meta.json", "state.bin"}) {
    const auto found = parts.found.find(name);
    if (found == parts.found.end()) return bad(std::string("the archive holds no ") + name + ": this is no snapshot");
    if (parts.sums.find(found->second + "  " + name + "\n") == std::string::npos)
      return bad(std::string("the snapshot is damaged: the SHA-256 of ") + name + " is another one than SHA256SUMS says");
  }
  return {};
}

io::Result<std::shared_ptr<io::Spool>> spool_of(const std::string& path, const std::string& directory) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return io::fail(io::Errc::kNotFound, path + " cannot be opened");
  auto spool = io::Spool::create(directory);
  std::vector<std::byte> buffer(kPiece);
  ssize_t count = 0;
  while (spool && (count = ::read(fd, buffer.data(), buffer.size())) > 0) {
    auto added = (*spool)->append(std::span<const std::byte>(buffer).first(static_cast<std::size_t>(count)));
    if (!added) spool = tl::make_unexpected(added.error());
  }
  close(fd);
  if (spool && count < 0) return io::fail(io::Errc::kIo, path + " cannot be read");
  return spool;
}

}  // namespace

// --- saving -------------------------------------------------------------------------------------------------------

struct SnapshotPacker::Sum {
  io::RunningSha256 sha;
};

SnapshotPacker::SnapshotPacker(std::string directory, const store::RowStreamHead& head, std::shared_ptr<io::Spool> state)
    : directory_(std::move(directory)), head_(head), writer_(head), state_(std::move(state)), sum_(std::make_shared<Sum>()) {}

io::Result<std::unique_ptr<SnapshotPacker>> SnapshotPacker::create(const std::string& directory,
                                                                   const store::RowStreamHead& head) {
  auto state = io::Spool::create(directory);
  if (!state) return tl::make_unexpected(state.error());
  return std::unique_ptr<SnapshotPacker>(new SnapshotPacker(directory, head, std::move(*state)));
}

io::Result<void> SnapshotPacker::drain(std::size_t keep) {
  while (writer_.size() > keep) {
    const std::string piece = writer_.take(kPiece);
    sum_->sha.add(bytes_of(piece));
    if (auto written = state_->append(bytes_of(piece)); !written) return written;
  }
  return {};
}

io::Result<void> SnapshotPacker::add(const std::vector<store::kv::Record>& records) {
  for (const store::kv::Record& record : records) {
    if (store::kv::is_saved_kind(record.key)) writer_.add(record);
  }
  return drain(kPiece);
}

io::Result<std::shared_ptr<io::Spool>> SnapshotPacker::finish(SnapshotInfo info) {
  info.rows = writer_.rows();
  writer_.finish();
  if (auto drained = drain(0); !drained) return tl::make_unexpected(drained.error());
  info.cluster = head_.cluster;
  info.index = head_.index.value;
  info.term = head_.term.value;
  info.bytes = state_->size();
  info.id = std::to_string(info.term) + "-" + std::to_string(info.index) + "-" + std::to_string(info.created_ms);
  const std::string meta = to_json(info).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  io::RunningSha256 meta_sum;
  meta_sum.add(bytes_of(meta));
  const std::string sums = meta_sum.hex() + "  meta.json\n" + sum_->sha.hex() + "  state.bin\n";
  auto out = io::Spool::create(directory_);
  if (!out) return out;
  io::ArchiveWriter archive([&out](std::span<const std::byte> bytes) { return (*out)->append(bytes); });
  const std::int64_t time = info.created_ms / 1000;
  auto done = archive.begin_file("meta.json", meta.size(), time);
  if (done) done = archive.add(bytes_of(meta));
  if (done) done = archive.begin_file("state.bin", state_->size(), time);
  if (done) done = for_each_piece(*state_, [&](std::span<const std::byte> bytes) { return archive.add(bytes); });
  if (done) done = archive.begin_file("SHA256SUMS", sums.size(), time);
  if (done) done = archive.add(bytes_of(sums));
  if (done) done = archive.finish();
  if (!done) return tl::make_unexpected(done.error());
  return out;
}

// --- reading ------------------------------------------------------------------------------------------------------

io::Result<void> read_snapshot_rows(const io::Spool& state,
                                    const std::function<io::Result<void>(std::vector<store::kv::Record>)>& take) {
  store::RowStreamReader reader;
  auto read = for_each_piece(state, [&](std::span<const std::byte> bytes) -> io::Result<void> {
    auto rows = reader.feed(text_of(bytes));
    if (!rows) return bad(rows.error().detail);
    return take(std::move(*rows));
  });
  if (read && !reader.finished()) return bad("the snapshot was cut short");
  return read;
}

io::Result<SnapshotContent> unpack_snapshot(const io::Spool& archive, const std::string& directory) {
  auto parts = read_parts(archive, directory);
  if (!parts) return tl::make_unexpected(parts.error());
  auto info = parts->meta.empty() ? io::Result<SnapshotInfo>(bad("the archive holds no meta.json: this is no snapshot"))
                                  : parse_meta(parts->meta);
  if (!info) return tl::make_unexpected(info.error());
  if (auto sums = check_sums(*parts); !sums) return tl::make_unexpected(sums.error());
  store::RowStreamReader reader;
  auto read = for_each_piece(*parts->state, [&](std::span<const std::byte> bytes) -> io::Result<void> {
    auto rows = reader.feed(text_of(bytes));
    if (!rows) return bad(rows.error().detail);
    for (const store::kv::Record& record : *rows) {
      auto row = store::kv::decode_row(record.key, record.value.value_or(""));
      if (!row) return bad("a row of the snapshot cannot be read: " + row.error().detail);
      if (!store::kv::is_saved_kind(record.key)) return bad("the snapshot holds rows that none may hold");
    }
    return {};
  });
  if (!read) return tl::make_unexpected(read.error());
  if (!reader.finished()) return bad("the snapshot was cut short");
  info->cluster = reader.head()->cluster;
  if (reader.head()->index.value != info->index || reader.rows() != info->rows)
    return bad("meta.json speaks of another state than state.bin holds");
  return SnapshotContent{std::move(*info), std::move(parts->state)};
}

io::Result<std::string> describe_snapshot(const std::string& path, const std::string& directory) {
  auto spool = spool_of(path, directory);
  if (!spool) return tl::make_unexpected(spool.error());
  auto content = unpack_snapshot(**spool, directory);
  if (!content) return tl::make_unexpected(io::Error{content.error().code, path + ": " + content.error().detail});
  const SnapshotInfo& info = content->info;
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> kinds;  // rows and bytes by kind
  auto read = read_snapshot_rows(*content->state, [&](std::vector<store::kv::Record> rows) -> io::Result<void> {
    for (const store::kv::Record& record : rows) {
      auto& [count, bytes] = kinds[record.key.substr(0, 1)];
      ++count;
      bytes += record.key.size() + record.value->size();
    }
    return {};
  });
  if (!read) return tl::make_unexpected(read.error());
  Json counts = Json::array();
  for (const auto& [kind, numbers] : kinds)
    counts.push_back({{"kind", kind}, {"rows", numbers.first}, {"bytes", numbers.second}});
  return Json{{"ok", true},
              {"id", info.id},
              {"cluster_id", info.cluster.hex()},
              {"index", info.index},
              {"term", info.term},
              {"rows", info.rows},
              {"bytes", info.bytes},
              {"archive_bytes", (*spool)->size()},
              {"created_ms", info.created_ms},
              {"agent", info.agent},
              {"version", info.version},
              {"kinds", counts}}
      .dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace agent
