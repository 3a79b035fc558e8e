#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <ostream>

#include "agent/cli/session.h"

/// The replicated state as a file: saved from and restored to a running cluster, looked into without one.
namespace agent::cli {
namespace {

/// A file that has its name only once it is whole: a failed save leaves nothing that looks like a backup.
class NewFile {
 public:
  explicit NewFile(std::string path) : path_(std::move(path)), part_(path_ + ".part") {
    fd_ = open(part_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  }
  ~NewFile() {
    if (fd_ >= 0) close(fd_);
    if (!kept_) unlink(part_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  bool add(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = write(fd_, bytes.data(), bytes.size());
      if (count <= 0) return good_ = false;
      size_ += static_cast<std::uint64_t>(count);
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] const std::string& part() const { return part_; }
  bool keep() { return kept_ = fsync(fd_) == 0 && rename(part_.c_str(), path_.c_str()) == 0; }

 private:
  std::string path_, part_;
  int fd_ = -1;
  bool good_ = true, kept_ = false;
  std::uint64_t size_ = 0;
};

tl::expected<Json, std::string> describe(Session& session, const std::string& path) {
  if (!session.host.describe_snapshot) return tl::make_unexpected("this build cannot read snapshots");
  auto text = session.host.describe_snapshot(path);
  if (!text) return tl::make_unexpected(text.error());
  return Json::parse(*text, nullptr, false);
}

int run_save(Session& session, const std::string& path, bool stale) {
  NewFile file(path);
  if (!file.is_open()) return session.fail(path + " cannot be written", "choose another place");
  HttpRequest request;
  request.method = "GET";
  request.target = stale ? "/v1/snapshot?stale" : "/v1/snapshot";
  request.timeout = std::chrono::milliseconds(session.timeout_ms);
  const auto reply = http_call(session.api, request);
  if (!reply) return session.fail(reply.error());
  if (reply->status != 200) return session.fail("the agent answered " + std::to_string(reply->status) + ": " + reply->body);
  if (!file.add(reply->body)) return session.fail(path + " cannot be written", "is the disk full?");
  const auto found = describe(session, file.part());
  if (!found) return session.fail("what came is no whole snapshot: " + found.error(), "try again");
  if (!file.keep()) return session.fail(path + " cannot be written", "is the disk full?");
  if (session.json()) return session.print(*found), kExitOk;
  session.host.out << "saved " << path << ": index " << cell(*found, "index") << ", " << cell(*found, "rows") << " rows, "
                   << file.size() << " bytes, verified\n";
  return kExitOk;
}

int run_restore(Session& session, const std::string& path, bool force) {
  if (const auto found = describe(session, path); !found)
    return session.fail(found.error(), "nothing was changed");
  std::ifstream in(path, std::ios::binary);
  HttpRequest request;
  request.method = "PUT";
  request.target = force ? "/v1/snapshot?force" : "/v1/snapshot";
  request.body.assign(std::istreambuf_iterator<char>(in), {});
  request.timeout = std::chrono::milliseconds(session.timeout_ms);
  const auto reply = http_call(session.api, request);
  if (!reply) return session.fail(reply.error());
  if (reply->status != 200) return session.fail("not restored: " + reply->body, "the state is as it was");
  if (session.json()) return session.print({{"ok", true}, {"halted", reply->halted.empty() ? Json(nullptr) : Json(reply->halted)}}), kExitOk;
  session.host.out << "restored " << path << "\n";
  if (!reply->halted.empty()) {
    session.host.out << "The ledger of orders is empty, and a snapshot has none: what was sent before would be sent again. So everything is halted: look at the "
                        "brokers, then \"outrigger resume " << reply->halted << "\".\n";
  }
  return kExitOk;
}

int run_inspect(Session& session, const std::string& path, bool verify_only) {
  const auto found = describe(session, path);
  if (!found) return session.fail(found.error(), "take another copy");
  if (session.json()) return session.print(*found), kExitOk;
  if (verify_only) {
    session.host.out << path << " is whole: index " << cell(*found, "index") << ", " << cell(*found, "rows") << " rows\n";
    return kExitOk;
  }
  for (const char* key : {"id", "cluster_id", "index", "term", "rows", "bytes", "archive_bytes", "created_ms", "agent", "version"})
    session.host.out << key << ": " << cell(*found, key) << "\n";
  std::vector<std::vector<std::string>> rows{{"KIND", "ROWS", "BYTES"}};
  for (const auto& kind : field(*found, "kinds")) rows.push_back({cell(kind, "kind"), cell(kind, "rows"), cell(kind, "bytes")});
  session.print_table(rows);
  return kExitOk;
}

}  // namespace

void add_snapshot_verbs(CLI::App& app, Session& session) {
  CLI::App& snapshot = *app.add_subcommand("snapshot", "the replicated state as a file");
  snapshot.require_subcommand(1);
  const auto path = std::make_shared<std::string>();
  const auto flag = std::make_shared<bool>(false);
  const auto verb = [&](const std::string& name, const std::string& help, bool client) -> CLI::App& {
    CLI::App& made = *snapshot.add_subcommand(name, help);
    if (client) session.add_client_options(made);
    else session.add_output_option(made);
    made.add_option("file", *path, "the snapshot")->required();
    return made;
  };
  CLI::App& save = verb("save", "write the state of the cluster into a file, verified", true);
  save.add_flag("--stale", *flag, "from this agent alone, also without a leader");
  save.callback([&session, path, flag] { session.chosen = [&session, path, flag] { return run_save(session, *path, *flag); }; });
  CLI::App& restore = verb("restore", "replace the state of the cluster by that of a file", true);
  restore.add_flag("--force", *flag, "also if it was saved in another cluster");
  restore.callback(
      [&session, path, flag] { session.chosen = [&session, path, flag] { return run_restore(session, *path, *flag); }; });
  verb("inspect", "what a file holds", false).callback([&session, path] {
    session.chosen = [&session, path] { return run_inspect(session, *path, false); };
  });
  verb("verify", "whether a file is whole", false).callback([&session, path] {
    session.chosen = [&session, path] { return run_inspect(session, *path, true); };
  });
}

}  // namespace agent::cli
