#pragma once
/// A saved state as one file, in Consul's container: a gzip tar of meta.json, state.bin and SHA256SUMS. state.bin is the
/// row stream of store/row_stream.h with the rows that a restore takes.
/// Everything here blocks and belongs to a helper thread or to the command line, never to the loop.
/// Decision record: 0024.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/io/error.h"
#include "agent/io/spool.h"
#include "store/kv/types.h"
#include "store/row_stream.h"

namespace agent {

inline constexpr std::uint64_t kSnapshotUnpackedMax = std::uint64_t{4} << 30U;

/// What meta.json says. Consul's tools read Version, ID, Index, Term, Peers, Configuration; the rest is ours.
struct SnapshotInfo {
  std::string id;  ///< "term-index-milliseconds", as Consul names them
  store::kv::ClusterId cluster;
  std::uint64_t index = 0, term = 0, rows = 0, bytes = 0;  ///< bytes of state.bin
  std::int64_t created_ms = 0;
  std::string agent;    ///< name of the agent that saved it
  std::string version;  ///< of that agent
  struct Server {
    std::uint64_t id = 0;
    std::string name, address;
    bool voter = false;
  };
  std::vector<Server> servers;
};

/// Gathers the rows of a state and makes the archive of them. Thread: one helper thread.
class SnapshotPacker {
 public:
  /// @param directory  for the files on the way
  static io::Result<std::unique_ptr<SnapshotPacker>> create(const std::string& directory, const store::RowStreamHead& head);
  /// Rows that a restore does not take are left out. Errors: kDiskFull, kIo.
  io::Result<void> add(const std::vector<store::kv::Record>& records);
  /// The whole archive. @param info  bytes, rows, index, term and cluster are filled in here
  io::Result<std::shared_ptr<io::Spool>> finish(SnapshotInfo info);

 private:
  SnapshotPacker(std::string directory, const store::RowStreamHead& head, std::shared_ptr<io::Spool> state);
  io::Result<void> drain(std::size_t keep);
  struct Sum;
  std::string directory_;
  store::RowStreamHead head_;
  store::RowStreamWriter writer_;
  std::shared_ptr<io::Spool> state_;
  std::shared_ptr<Sum> sum_;
};

/// A snapshot that was read and found whole.
struct SnapshotContent {
  SnapshotInfo info;
  std::shared_ptr<io::Spool> state;  ///< state.bin
};
/// Reads and verifies all of it: gzip, tar, sums, the row stream with its own checksum, and that they agree.
/// Errors: kInvalidArgument (detail says what is wrong: no snapshot, cut short, damaged, of a newer version), kTooLarge,
/// kDiskFull, kIo.
io::Result<SnapshotContent> unpack_snapshot(const io::Spool& archive, const std::string& directory);
/// The rows of a verified state, a piece at a time, in order.
io::Result<void> read_snapshot_rows(const io::Spool& state,
                                    const std::function<io::Result<void>(std::vector<store::kv::Record>)>& take);

/// For the command line: everything about the snapshot in `path`, as JSON. @param directory for files on the way
io::Result<std::string> describe_snapshot(const std::string& path, const std::string& directory);

}  // namespace agent
