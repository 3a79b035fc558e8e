#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/kv/error.h"
#include "store/kv/types.h"
#include "store/raft/ids.h"

/// A whole state as one stream of bytes: what travels to a follower in chunks and what a saved snapshot holds.
/// Format: items, each [u32 key size][u32 value size][key][value], sizes big-endian. An item with an empty key speaks of
///   the stream itself and its value is a msgpack array: the first one is ["outrigger-state", version, cluster (bin 16),
///   index, term], the last one ["end", count of rows, hash of everything before it]. Between them are the rows of the
///   state in the order of their keys.
/// So a stream that was cut short has no end, one that was flipped has a wrong hash, and one of another cluster says so
/// before its first row.
namespace store {

inline constexpr std::uint64_t kRowStreamVersion = 1;
inline constexpr std::size_t kRowKeyBytesMax = std::size_t{8} << 10;     ///< above every key of a row
inline constexpr std::size_t kRowValueBytesMax = std::size_t{4} << 20;   ///< above every value of a row

/// 64-bit FNV-1a, to be fed piece by piece: against defects and accidents, not against anybody.
class RunningHash {
 public:
  void add(std::string_view bytes);
  [[nodiscard]] std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325ULL;
};

/// What the state of a stream is. Ownership: a value.
struct RowStreamHead {
  kv::ClusterId cluster;
  raft::Index index;  ///< the state is as of this entry
  raft::Term term;
  friend bool operator==(const RowStreamHead&, const RowStreamHead&) = default;
};

/// Rows to bytes. Ownership: holds what was written and not yet taken; its user bounds that by taking as it adds.
class RowStreamWriter {
 public:
  explicit RowStreamWriter(const RowStreamHead& head);
  void add(const kv::Record& record);  ///< with a value; keys grow from call to call
  void finish();                       ///< once, after the last row
  [[nodiscard]] std::size_t size() const { return bytes_.size() - taken_; }
  [[nodiscard]] std::string take(std::size_t bytes_max);  ///< from the front
  [[nodiscard]] std::uint64_t rows() const { return rows_; }

 private:
  void item(std::string_view key, std::string_view value);
  std::string bytes_;
  std::size_t taken_ = 0;
  std::uint64_t rows_ = 0;
  RunningHash hash_;
};

/// Bytes to rows, from any bytes, a piece at a time.
/// Bound: keeps at most one row that is not complete (kRowKeyBytesMax + kRowValueBytesMax).
class RowStreamReader {
 public:
  /// @return the rows that are complete now, in order. After an error every further call answers the same.
  /// Errors: kMalformed (no such stream, keys out of order, wrong hash or count, bytes after the end),
  /// kUnknownVersion (written by a newer agent), kTooLarge.
  kv::Result<std::vector<kv::Record>> feed(std::string_view bytes);
  [[nodiscard]] const std::optional<RowStreamHead>& head() const { return head_; }
  /// The end was seen and everything fits. Without it the stream was cut short.
  [[nodiscard]] bool finished() const { return finished_; }
  [[nodiscard]] std::uint64_t rows() const { return rows_; }

 private:
  kv::Result<void> take_item(std::string_view key, std::string_view value, std::vector<kv::Record>& to);
  kv::Result<void> take_note(std::string_view value);
  std::string waiting_;
  std::optional<RowStreamHead> head_;
  std::optional<kv::Error> error_;
  std::string last_key_;
  std::uint64_t rows_ = 0;
  RunningHash hash_;
  bool finished_ = false;
};

}  // namespace store
