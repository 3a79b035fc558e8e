#include "agent/io/file_tree.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

#include <atomic>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

namespace agent::io {
namespace {

// Non-blocking, so that a pipe with nobody at its other end does not hold us; it is no regular file and goes again.
constexpr std::uint64_t kOpenFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

std::atomic<bool> openat2_missing{false};  // an old kernel, or a filter that forbids it

int open_beneath(int root, const char* name, bool now) {
  open_how how{};
  how.flags = kOpenFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (now ? RESOLVE_CACHED : 0);
  return static_cast<int>(syscall(SYS_openat2, root, name, &how, sizeof how));
}

// Segment by segment, no link followed: slower and stricter, for kernels before 5.6.
int open_by_steps(int root, const std::string& name) {
  int at = root;
  for (std::size_t from = 0;;) {
    const std::size_t slash = name.find('/', from);
    const std::string segment = name.substr(from, slash == std::string::npos ? slash : slash - from);
    const bool last = slash == std::string::npos;
    int next = -1;
    if (segment.empty() || segment == "." || segment == "..") errno = ENOENT;
    else next = openat(at, segment.c_str(), last ? static_cast<int>(kOpenFlags) | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const int number = errno;
    if (at != root) close(at);
    errno = number;
    if (next < 0 || last) return next;
    at = next;
    from = slash + 1;
  }
}

std::int64_t nanoseconds(const timespec& time) { return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec; }

}  // namespace

OpenFile::~OpenFile() { close(fd_); }

bool OpenFile::unchanged() const {
  struct stat now {};
  return fstat(fd_, &now) == 0 && static_cast<std::uint64_t>(now.st_size) == bytes_ && nanoseconds(now.st_mtim) == modified_ns_;
}

Result<std::shared_ptr<const FileTree>> FileTree::open(const std::string& root) {
  const int fd = ::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) return std::shared_ptr<const FileTree>(new FileTree(fd));
  const Errc code = errno == ENOENT    ? Errc::kNotFound
                    : errno == EACCES  ? Errc::kPermission
                    : errno == ENOTDIR ? Errc::kInvalidArgument
                                       : Errc::kLimit;
  return fail(code, root + ": " + std::strerror(errno));
}

FileTree::~FileTree() { close(fd_); }

Result<std::shared_ptr<OpenFile>> FileTree::open_file(const std::string& name, Patience patience) const {
  int fd = -1;
  const bool now = patience == Patience::kNow;
  if (!openat2_missing.load(std::memory_order_relaxed)) {
    do fd = open_beneath(fd_, name.c_str(), now);
    while (fd < 0 && (errno == EINTR || (errno == EAGAIN && !now)));
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) openat2_missing = true;
    // Kernels from 5.6 to 5.11 know openat2, but not RESOLVE_CACHED.
    if (fd < 0 && now && errno == EINVAL) return fail(Errc::kWouldBlock, name);
  }
  if (fd < 0 && openat2_missing.load(std::memory_order_relaxed)) {
    if (now) return fail(Errc::kWouldBlock, name);
    fd = open_by_steps(fd_, name);
  }
  if (fd < 0 && errno == EAGAIN) return fail(Errc::kWouldBlock, name);
  if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) return fail(Errc::kLimit, name + ": " + std::strerror(errno));
  if (fd < 0) return fail(Errc::kNotFound, name + ": " + std::strerror(errno));
  struct stat facts {};
  if (fstat(fd, &facts) != 0 || !(S_ISREG(facts.st_mode) || S_ISDIR(facts.st_mode))) {
    close(fd);
    return fail(Errc::kNotFound, name + ": neither a file nor a folder");
  }
  return std::make_shared<OpenFile>(fd, static_cast<std::uint64_t>(facts.st_size), nanoseconds(facts.st_mtim), S_ISDIR(facts.st_mode));
}

Result<std::size_t> FileTree::read(const OpenFile& file, std::uint64_t offset, std::span<std::byte> into, Patience patience) {
  const iovec place{into.data(), into.size()};
  const int flags = patience == Patience::kNow ? RWF_NOWAIT : 0;
  ssize_t count = -1;
  do count = preadv2(file.fd(), &place, 1, static_cast<off_t>(offset), flags);
  while (count < 0 && errno == EINTR);
  if (count >= 0) return static_cast<std::size_t>(count);
  // Not in memory; or a file system that cannot say (tmpfs of old kernels).
  if (patience == Patience::kNow && (errno == EAGAIN || errno == EOPNOTSUPP)) return fail(Errc::kWouldBlock, "not in memory");
  return fail(Errc::kIo, std::strerror(errno));
}

// --- work on the pool -----------------------------------------------------------------------------------------------

struct FileWork::Job {
  uv_work_t request{};
  FileWork* owner = nullptr;  // null: nobody waits any more
  std::shared_ptr<const FileTree> tree;
  std::string name;
  std::function<void(Result<std::shared_ptr<OpenFile>>)> opened;
  Result<std::shared_ptr<OpenFile>> file = fail(Errc::kIo, "not opened");
  std::uint64_t offset = 0;
  std::vector<std::byte> bytes;
  std::function<void(Result<std::span<const std::byte>>)> read;
  Result<std::size_t> count = std::size_t{0};
};

FileWork::~FileWork() {
  if (job_ != nullptr) job_->owner = nullptr;
}

void FileWork::open(std::shared_ptr<const FileTree> tree, std::string name, std::function<void(Result<std::shared_ptr<OpenFile>>)> done) {
  auto job = std::make_unique<Job>();
  job->tree = std::move(tree);
  job->name = std::move(name);
  job->opened = std::move(done);
  start(std::move(job));
}

void FileWork::read(std::shared_ptr<OpenFile> file, std::uint64_t offset, std::size_t bytes,
                    std::function<void(Result<std::span<const std::byte>>)> done) {
  auto job = std::make_unique<Job>();
  job->file = std::move(file);
  job->offset = offset;
  job->bytes.resize(bytes);
  job->read = std::move(done);
  start(std::move(job));
}

void FileWork::start(std::unique_ptr<Job> job) {
  assert(job_ == nullptr);
  job_ = job.get();
  job->owner = this;
  job->request.data = job.get();
  uv_queue_work(
      loop_.raw(), &job->request,
      [](uv_work_t* request) {
        auto* mine = static_cast<Job*>(request->data);
        if (mine->tree) mine->file = mine->tree->open_file(mine->name, FileTree::Patience::kWait);
        else mine->count = FileTree::read(**mine->file, mine->offset, mine->bytes, FileTree::Patience::kWait);
      },
      [](uv_work_t* request, int) {
        const std::unique_ptr<Job> mine(static_cast<Job*>(request->data));
        if (mine->owner == nullptr) return;
        mine->owner->job_ = nullptr;
        // The completion may destroy the owner; nothing of it is touched afterwards.
        if (mine->opened) mine->opened(std::move(mine->file));
        else if (!mine->count) mine->read(tl::make_unexpected(mine->count.error()));
        else mine->read(std::span<const std::byte>(mine->bytes.data(), *mine->count));
      });
  static_cast<void>(job.release());
}

}  // namespace agent::io
