#include "store/disk/reserve.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <system_error>
#include <utility>

namespace store::disk {
namespace {

std::optional<std::uint64_t> ask_file_system(const std::filesystem::path& directory) {
  struct statvfs info {};
  if (statvfs(directory.c_str(), &info) != 0) return std::nullopt;
  return std::uint64_t{info.f_bavail} * info.f_frsize;
}

}  // namespace

Reserve::Reserve(std::filesystem::path file, std::uint64_t bytes, Free free)
    : file_(std::move(file)), bytes_(bytes), free_(std::move(free)) {
  if (!free_) free_ = [directory = file_.parent_path()] { return ask_file_system(directory); };
  std::error_code code;
  held_ = std::filesystem::exists(file_, code);
  if (bytes_ == 0) give_up_file();
}

// Being short of room lasts until there is an eighth more than what began it.
Space Reserve::judge(std::uint64_t free) const {
  const std::uint64_t slack = bytes_ / 8, full = bytes_ / 4;
  if (free < (space_ == Space::kFull ? full + slack : full)) return Space::kFull;
  return free < (space_ == Space::kPlenty ? bytes_ : bytes_ + slack) ? Space::kLow : Space::kPlenty;
}

Space Reserve::look() {
  if (bytes_ == 0) return Space::kPlenty;
  const auto free = free_();
  if (!free) return space_;
  Space now = judge(*free);
  if (held_ && now == Space::kFull) {
    give_up_file();
    if (const auto more = free_()) now = judge(*more);
    if (now == Space::kPlenty) now = Space::kLow;  // only because the reserve is gone
  } else if (!held_ && now == Space::kPlenty) {
    const bool enough = *free >= bytes_ + bytes_ / 2 + bytes_ / 8;
    if (!enough || !take_file()) now = Space::kLow;
  }
  return space_ = now;
}

bool Reserve::take_file() {
  const int fd = open(file_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  held_ = posix_fallocate(fd, 0, static_cast<off_t>(bytes_ / 2)) == 0;
  close(fd);
  if (!held_) unlink(file_.c_str());
  return held_;
}

void Reserve::give_up_file() {
  unlink(file_.c_str());
  held_ = false;
}

}  // namespace store::disk
