#include "store/kv/wire.h"

#include <cassert>
#include <limits>
#include <msgpack.hpp>
#include <vector>

namespace store::kv {
namespace {

// Lets the packer append to a string.
struct StringSink {
  std::string* to;
  void write(const char* data, std::size_t size) { to->append(data, size); }
};

constexpr std::size_t kDepthMax = 3;
constexpr std::size_t kZoneBytes = 512;  // most arrays are small; the zone grows by itself

std::uint32_t length32(std::size_t size) {
  assert(size <= std::numeric_limits<std::uint32_t>::max());
  return static_cast<std::uint32_t>(size);
}

}  // namespace

ArrayWriter::ArrayWriter(std::size_t count) { add_list(count); }

ArrayWriter& ArrayWriter::add(std::uint64_t number) {
  StringSink sink{&bytes_};
  msgpack::packer<StringSink>(sink).pack_uint64(number);
  return *this;
}

ArrayWriter& ArrayWriter::add(std::string_view bytes) {
  StringSink sink{&bytes_};
  msgpack::packer<StringSink> packer(sink);
  packer.pack_bin(length32(bytes.size()));
  packer.pack_bin_body(bytes.data(), length32(bytes.size()));
  return *this;
}

ArrayWriter& ArrayWriter::add_list(std::size_t count) {
  StringSink sink{&bytes_};
  msgpack::packer<StringSink>(sink).pack_array(length32(count));
  return *this;
}

struct ArrayReader::Impl {
  struct Level {
    const msgpack::object_array* array;
    std::uint32_t next;
  };
  msgpack::zone zone{kZoneBytes};
  msgpack::object root;
  std::vector<Level> levels;

  const msgpack::object* take() {
    Level& level = levels.back();
    return level.next < level.array->size ? &level.array->ptr[level.next++] : nullptr;
  }
};

ArrayReader::ArrayReader(std::string_view bytes, std::size_t count_max) : impl_(std::make_unique<Impl>()) {
  // Bytes are referred to, not copied, so only the number of elements costs memory ahead of the input.
  const std::size_t held = bytes.size();
  constexpr std::size_t kAnyLength = std::numeric_limits<std::uint32_t>::max();
  const msgpack::unpack_limit limit(count_max, 0, kAnyLength, kAnyLength, 0, kDepthMax);
  std::size_t offset = 0;
  try {
    const auto by_reference = [](msgpack::type::object_type, std::size_t, void*) { return true; };
    impl_->root = msgpack::unpack(impl_->zone, bytes.data(), held, offset, by_reference, nullptr, limit);
    if (offset != held) {
      reject(Errc::kMalformed, "bytes left over");
    } else if (impl_->root.type != msgpack::type::ARRAY) {
      reject(Errc::kMalformed, "not an array");
    } else {
      impl_->levels.push_back({&impl_->root.via.array, 0});
    }
  } catch (const msgpack::insufficient_bytes&) {
    reject(Errc::kTruncated, "bytes end in the middle of a value");
  } catch (const msgpack::size_overflow& e) {
    reject(Errc::kTooLarge, e.what());
  } catch (const std::exception& e) {
    reject(Errc::kMalformed, e.what());
  }
}

ArrayReader::~ArrayReader() = default;
ArrayReader::ArrayReader(ArrayReader&&) noexcept = default;

std::uint64_t ArrayReader::number() {
  if (error_) return 0;
  const msgpack::object* value = impl_->take();
  if (value == nullptr) return reject(Errc::kTruncated, "too few values"), 0;
  if (value->type != msgpack::type::POSITIVE_INTEGER) return reject(Errc::kMalformed, "not an unsigned number"), 0;
  return value->via.u64;
}

std::uint32_t ArrayReader::number32() {
  const std::uint64_t wide = number();
  if (wide > std::numeric_limits<std::uint32_t>::max()) return reject(Errc::kMalformed, "number above 32 bits"), 0;
  return static_cast<std::uint32_t>(wide);
}

std::string_view ArrayReader::bytes(std::size_t bytes_max) {
  if (error_) return {};
  const msgpack::object* value = impl_->take();
  if (value == nullptr) return reject(Errc::kTruncated, "too few values"), std::string_view();
  std::string_view found;
  if (value->type == msgpack::type::BIN) {
    found = {value->via.bin.ptr, value->via.bin.size};
  } else if (value->type == msgpack::type::STR) {
    found = {value->via.str.ptr, value->via.str.size};
  } else {
    return reject(Errc::kMalformed, "not bytes"), std::string_view();
  }
  if (found.size() > bytes_max) return reject(Errc::kTooLarge, "bytes above their bound"), std::string_view();
  return found;
}

std::size_t ArrayReader::begin_list(std::size_t count_max) {
  if (error_) return 0;
  const msgpack::object* value = impl_->take();
  if (value == nullptr) return reject(Errc::kTruncated, "too few values"), 0;
  if (value->type != msgpack::type::ARRAY) return reject(Errc::kMalformed, "not an array"), 0;
  if (value->via.array.size > count_max) return reject(Errc::kTooLarge, "array above its bound"), 0;
  impl_->levels.push_back({&value->via.array, 0});
  return value->via.array.size;
}

void ArrayReader::end_list() {
  if (error_) return;
  assert(impl_->levels.size() > 1);
  if (!at_end()) return reject(Errc::kMalformed, "values left over");
  impl_->levels.pop_back();
}

bool ArrayReader::at_end() const { return error_ || impl_->levels.back().next == impl_->levels.back().array->size; }

void ArrayReader::reject(Errc code, std::string detail) {
  if (!error_) error_ = Error{code, std::move(detail)};
}

Result<void> ArrayReader::finish() const {
  if (error_) return tl::unexpected<Error>(*error_);
  assert(impl_->levels.size() == 1);
  if (!at_end()) return fail(Errc::kMalformed, "values left over");
  return {};
}

}  // namespace store::kv
