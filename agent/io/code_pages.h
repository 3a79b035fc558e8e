#pragma once
/// Pages of code and constants that only the start of the program needed.
#include <cstddef>

namespace agent::io {

/// Unmaps nothing: tells the kernel that no page of code and constants (segments of the program and of its libraries that
/// are never written) is in use now, so that they stop counting as this process's memory. What runs again comes back from
/// the page cache with a minor fault, some microseconds for each 64 KiB. A start runs through far more of a big library than
/// a day of work does: RocksDB's alone holds 8 MB.
/// For any thread, also while others run; cheap enough for once after the start, not for a loop.
/// Source: madvise(2), MADV_DONTNEED on shared file mappings and on private ones that were never written.
/// @return bytes of address space that were given back, resident or not; never an error: what the kernel refuses stays
std::size_t release_code_pages();

}  // namespace agent::io
