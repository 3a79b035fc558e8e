#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "store/kv/error.h"

/// The msgpack arrays of kv, disk and store, behind two small classes so that wire.cc alone includes the codec.
namespace store::kv {

/// Appends to one msgpack array. Ownership: the bytes, until take().
class ArrayWriter {
 public:
  /// @param count  how many values follow; exactly so many must be added before take()
  explicit ArrayWriter(std::size_t count);
  ArrayWriter& add(std::uint64_t number);
  ArrayWriter& add(std::string_view bytes);  ///< as bin
  ArrayWriter& add_list(std::size_t count);  ///< begins a nested array of so many values
  [[nodiscard]] std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

/// Reads one msgpack array of unsigned numbers, bins (or strings) and nested arrays, from any bytes.
/// Bounds: nesting 3, elements per array count_max, nothing is copied or reserved beyond the input's own size.
/// Errors stick: after the first one every further value is empty; ask finish() or error() once at the end.
class ArrayReader {
 public:
  /// @param bytes  must outlive the reader; views returned point into it
  ArrayReader(std::string_view bytes, std::size_t count_max);
  ~ArrayReader();
  ArrayReader(ArrayReader&&) noexcept;
  ArrayReader& operator=(ArrayReader&&) = delete;
  ArrayReader(const ArrayReader&) = delete;
  ArrayReader& operator=(const ArrayReader&) = delete;

  [[nodiscard]] std::uint64_t number();
  [[nodiscard]] std::uint32_t number32();                       ///< kMalformed above 2^32-1
  [[nodiscard]] std::string_view bytes(std::size_t bytes_max);  ///< kTooLarge above
  [[nodiscard]] std::size_t begin_list(std::size_t count_max);  ///< descends; end_list() comes back
  void end_list();
  [[nodiscard]] bool at_end() const;           ///< no value left in the array being read
  void reject(Errc code, std::string detail);  ///< the caller found a value unusable
  [[nodiscard]] bool ok() const { return !error_; }
  /// Errors: the first one met; kMalformed if values are left over (a format that grows takes a new version).
  [[nodiscard]] Result<void> finish() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::optional<Error> error_;
};

}  // namespace store::kv
