#include "agent/io/code_pages.h"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace agent::io {
namespace {

// ELF: segments that are never written hold code, constants and tables of symbols; relocations go to the writable ones.
int release_object(dl_phdr_info* object, std::size_t, void* total) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (std::size_t i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    const std::uintptr_t begin = (object->dlpi_addr + segment.p_vaddr) / page * page;
    const std::uintptr_t end = object->dlpi_addr + segment.p_vaddr + segment.p_memsz;
    void* at = reinterpret_cast<void*>(begin);
    if (::madvise(at, end - begin, MADV_DONTNEED) == 0) *static_cast<std::size_t*>(total) += end - begin;
  }
  return 0;
}

}  // namespace

std::size_t release_code_pages() {
  std::size_t total = 0;
  ::dl_iterate_phdr(release_object, &total);
  return total;
}

}  // namespace agent::io
