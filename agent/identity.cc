#include "agent/identity.h"

#include "agent/io/crypto.h"

namespace agent {
namespace {

constexpr std::size_t kIdFileBytesMax = 64;

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

io::Result<gossip::MemberId> read_or_draw_id(const std::string& path) {
  auto text = io::read_file(path, kIdFileBytesMax);
  if (text) {
    auto id = gossip::MemberId::parse(trimmed(*text));
    if (id && !id->is_none()) return *id;
    return io::fail(io::Errc::kInvalidArgument, path + " is damaged: it must hold 32 hex digits; restore it from a backup, or move the "
                                                "whole data directory away to start as a new node");
  }
  if (text.error().code != io::Errc::kNotFound) return tl::make_unexpected(text.error());
  gossip::MemberId id;
  io::random_bytes(std::as_writable_bytes(std::span(id.bytes)));
  if (auto written = io::replace_file(path, id.to_string() + "\n", 0600); !written) return tl::make_unexpected(written.error());
  return id;
}

}  // namespace

io::Result<Identity> open_identity(const std::filesystem::path& data_dir) {
  Identity identity;
  identity.data_dir = data_dir;
  if (auto made = io::make_directories(data_dir.string(), 0700); !made) return tl::make_unexpected(made.error());
  auto lock = io::LockFile::acquire((data_dir / "lock").string());
  if (!lock) {
    if (lock.error().code == io::Errc::kLocked) {
      lock.error().detail += "; stop that agent, or give this one its own node.data_dir";
    }
    return tl::make_unexpected(lock.error());
  }
  identity.lock = std::move(*lock);
  auto id = read_or_draw_id((data_dir / "node-id").string());
  if (!id) return tl::make_unexpected(id.error());
  identity.id = *id;
  return identity;
}

}  // namespace agent
