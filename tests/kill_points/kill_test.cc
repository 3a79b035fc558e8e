#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "tests/kill_points/cluster.h"

/// kill -9 at every named step of a scripted run, and in the long run at every operation on a file: after each, the
/// cluster starts again, has every write that was acknowledged, and goes on. A step that the script does not reach fails
/// the test, so that the list cannot rot.
namespace kill_points {
namespace {

namespace fs = std::filesystem;

/// Steps with a name; each is crossed twice, before and after it is done.
constexpr const char* kSteps[] = {
    // what the store does
    "load", "founding", "joining", "vote", "append", "apply", "membership", "trim", "acknowledge", "view_open",
    "view_read", "view_close", "stage_begin", "stage_append", "stage_seal", "switch",
    // what the database does to files for it
    "wal.create", "wal.append", "wal.sync", "wal.delete", "manifest.create", "manifest.append", "manifest.sync",
    "current.create", "current.append", "current.sync", "current.rename", "table.create", "table.append", "table.sync",
    "stage.create", "stage.append", "stage.sync", "stage.link", "dir.sync"};

/// What happens to the process at its moment.
enum class Blow : std::uint8_t {
  kKill,   ///< SIGKILL: what reached the page cache survives
  kPower,  ///< and what was not synced is lost, in the middle of a record
};

struct Plan {
  std::string point;         ///< "append.before"; empty = none
  std::uint64_t crossing = 1;
  std::uint64_t operation = 0;  ///< the n-th operation on a file instead; 0 = none
  rocksdb::Status error;        ///< if not OK: that operation fails instead of the process
  Blow blow = Blow::kKill;
};

/// Counts steps, and strikes at the one that was planned.
class Killer final : public Faults {
 public:
  explicit Killer(Plan plan) : plan_(std::move(plan)) {}
  void attach(FaultEnv* env) { env_ = env; }
  rocksdb::Status before(const std::string& point) override {
    const bool of_file = point.find('.') != std::string::npos;
    if (of_file && ++operations_ == plan_.operation) {
      if (plan_.error.ok()) strike();
      return plan_.error;
    }
    cross(point + ".before");
    return rocksdb::Status::OK();
  }
  void after(const std::string& point) override { cross(point + ".after"); }
  [[nodiscard]] std::uint64_t operations() const { return operations_; }

 private:
  void cross(const std::string& point) {
    if (point == plan_.point && ++crossed_ == plan_.crossing) strike();
  }
  [[noreturn]] void strike() {
    if (plan_.blow == Blow::kPower) env_->lose_power();
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
  Plan plan_;
  FaultEnv* env_ = nullptr;
  std::atomic<std::uint64_t> operations_{0}, crossed_{0};
};

/// Acknowledged writes, on a file that outlives the process: a line each.
class Ledger {
 public:
  explicit Ledger(const fs::path& file) : fd_(open(file.c_str(), O_CREAT | O_APPEND | O_WRONLY, 0600)) {}
  void add(const std::string& key, const std::string& value) {
    const std::string line = key + "=" + value + "\n";
    if (write(fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::abort();
  }
  static std::map<std::string, std::string> read(const fs::path& file) {
    std::map<std::string, std::string> writes;
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
      const std::size_t equals = line.find('=');
      writes[line.substr(0, equals)] = line.substr(equals + 1);
    }
    return writes;
  }

 private:
  int fd_;
};

/// The script: founding, joining, replication, trimming, a follower seeded by a snapshot, hand-over, removal.
/// @return what went wrong, empty if nothing
std::string script(Cluster& cluster) {
  int n = 0;
  const auto put = [&](std::uint64_t at, std::size_t bytes) {
    const std::string key = "k" + std::to_string(++n);
    return cluster.put(at, key, std::string(bytes, static_cast<char>('a' + n % 26)) + std::to_string(n));
  };
  if (auto bad = cluster.start(1); !bad.empty()) return bad;
  if (auto bad = cluster.bootstrap(1); !bad.empty()) return bad;
  if (!cluster.await([&] { return cluster.leader() == 1; })) return "no leader: " + cluster.failure();
  for (int i = 0; i < 3; ++i) {
    if (!put(1, 10)) return "a write alone: " + cluster.failure();
  }
  for (const std::uint64_t id : {2, 3}) {
    if (auto bad = cluster.start(id); !bad.empty()) return bad;
  }
  if (!cluster.await([&] { return cluster.voters_are({1, 2, 3}); })) return "no three voters: " + cluster.failure();
  for (std::uint64_t i = 0; i < 9; ++i) {
    if (!put(i % 3 + 1, 100)) return "a write at any node: " + cluster.failure();
  }
  cluster.stop(3);
  for (int i = 0; i < 150; ++i) {
    if (!put(1, 2048)) return "a write with two of three: " + cluster.failure();
  }
  if (auto bad = cluster.start(3); !bad.empty()) return bad;
  if (!cluster.await([&] { return cluster.store(3)->state().applied() == cluster.store(1)->state().applied(); }))
    return "node 3 does not catch up: " + cluster.failure();
  if (cluster.store(3)->counters().snapshots_installed == 0) return "node 3 was not seeded by a snapshot";
  if (!cluster.transfer(2) || !cluster.await([&] { return cluster.leader() == 2; }))
    return "no hand-over: " + cluster.failure();
  if (!cluster.remove(1)) return "no removal: " + cluster.failure();
  if (!cluster.await([&] { return cluster.voters_are({1, 2, 3}); })) return "not taken in again: " + cluster.failure();
  for (std::uint64_t i = 0; i < 6; ++i) {
    if (!put(i % 3 + 1, 100)) return "a write at the end: " + cluster.failure();
  }
  return {};
}

/// After the blow: everything that was acknowledged is there, and the cluster goes on with every node.
std::string verify(const fs::path& root, Faults* faults) {
  FaultEnv env(faults);
  Cluster cluster(root, &env, faults, [](const auto&, const auto&) {});
  std::set<std::uint64_t> ids;
  for (std::uint64_t id = 1; id <= 3; ++id) {
    if (!fs::exists(root / std::to_string(id))) continue;
    if (auto bad = cluster.start(id); !bad.empty()) return "node " + std::to_string(id) + " does not start: " + bad;
    ids.insert(id);
  }
  if (ids.empty()) return {};
  const std::map<std::string, std::string> acknowledged = Ledger::read(root / "acknowledged");
  if (cluster.store(1)->cluster_id().is_none() && acknowledged.empty()) {
    if (auto bad = cluster.bootstrap(1); !bad.empty()) return bad;
  }
  if (!cluster.await([&] { return cluster.leader() != 0; })) return "no leader: " + cluster.failure();
  const auto& state = cluster.store(cluster.leader())->state();
  for (const auto& [key, value] : acknowledged) {
    const auto* entry = state.get(key);
    if (entry == nullptr || entry->value != value) return "lost: the acknowledged write of " + key;
  }
  if (!cluster.await([&] { return cluster.voters_are(ids) || ids.size() == 2; })) return "voters: " + cluster.failure();
  for (const std::uint64_t id : ids) {
    if (!cluster.put(id, "after" + std::to_string(id), "x")) return "no write after the restart: " + cluster.failure();
  }
  cluster.run(store::Milliseconds(300));
  for (const std::uint64_t id : ids) {
    if (cluster.store(id)->state().content_hash() != state.content_hash()) return "replicas differ";
  }
  return cluster.failure();
}

struct End {
  bool killed = false;
  int code = 0;
  std::string text;
};

/// Runs `body` in a child process; what it returns comes back as text.
End in_child(const fs::path& root, const std::function<std::string()>& body) {
  const fs::path note = root / "note";
  const pid_t child = fork();
  if (child == 0) {
    alarm(600);  // a hang is a failure, not a wait
    const std::string text = body();
    std::ofstream(note) << text;
    _exit(text.empty() ? 0 : 1);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  End end;
  end.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  end.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  std::ifstream in(note);
  std::getline(in, end.text, '\0');
  if (WIFSIGNALED(status) && !end.killed) end.text = "died of signal " + std::to_string(WTERMSIG(status));
  fs::remove(note);
  return end;
}

/// Long: every operation on a file, not only the first of its name. OUTRIGGER_KILL_STRIDE = 1 for all of them.
std::uint64_t stride() {
  const char* text = std::getenv("OUTRIGGER_KILL_STRIDE");
  return text == nullptr ? 400 : std::max(1ULL, std::strtoull(text, nullptr, 10));
}

class KillTest : public testing::Test {
 protected:
  void SetUp() override {
    // Memory, if there is some: what a loss of power would take is modelled, not waited for.
    const fs::path base = fs::exists("/dev/shm") ? "/dev/shm" : fs::temp_directory_path();
    std::string pattern = (base / "outrigger-kill-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }

  End run_script(const Plan& plan) {
    fs::remove_all(root_);
    fs::create_directories(root_);
    return in_child(root_, [&] {
      Ledger ledger(root_ / "acknowledged");
      Killer killer(plan);
      FaultEnv env(&killer);
      killer.attach(&env);
      std::string text;
      {
        Cluster cluster(root_, &env, &killer,
                        [&](const std::string& key, const std::string& value) { ledger.add(key, value); });
        text = script(cluster);
      }
      std::ofstream(root_ / "operations") << killer.operations();
      return text;
    });
  }
  std::string run_verify() {
    const End end = in_child(root_, [&] {
      Killer quiet{Plan{}};
      return verify(root_, &quiet);
    });
    return end.code == 0 ? "" : end.text.empty() ? "the check ended with " + std::to_string(end.code) : end.text;
  }
  std::uint64_t operations_of_script() {
    EXPECT_EQ(run_script({}).text, "");
    std::uint64_t count = 0;
    std::ifstream(root_ / "operations") >> count;
    return count;
  }
  fs::path root_;
};

TEST_F(KillTest, TheScriptRunsThroughAndLosesNothing) {
  const End end = run_script({});
  EXPECT_EQ(end.text, "");
  EXPECT_EQ(end.code, 0);
  EXPECT_EQ(Ledger::read(root_ / "acknowledged").size(), 168U);
  EXPECT_EQ(run_verify(), "");
}

TEST_F(KillTest, EveryNamedStepIsCrossedAndSurvived) {
  std::size_t points = 0;
  for (const char* step : kSteps) {
    for (const char* side : {".before", ".after"}) {
      ++points;
      // By default one blow each, the harder one before the step; in the long run both.
      for (const Blow blow : {Blow::kKill, Blow::kPower}) {
        if (stride() != 1 && (blow == Blow::kPower) != (side == std::string(".before"))) continue;
        Plan plan;
        plan.point = std::string(step) + side;
        plan.crossing = blow == Blow::kKill ? 1 : 2;  // the first crossing, and a later one with what came before it
        plan.blow = blow;
        End end = run_script(plan);
        if (!end.killed && plan.crossing == 2) {
          plan.crossing = 1;  // a step that is taken only once
          end = run_script(plan);
        }
        EXPECT_TRUE(end.killed) << plan.point << " was not reached: " << end.text;
        EXPECT_EQ(run_verify(), "") << plan.point << (blow == Blow::kPower ? " with the power lost" : "");
      }
    }
  }
  EXPECT_GE(points, 40U);
  std::cout << points << " kill-points crossed\n";
}

TEST_F(KillTest, KilledAtOperationsOfTheWholeRun) {
  const std::uint64_t count = operations_of_script();
  ASSERT_GT(count, 500U);
  std::uint64_t crossed = 0;
  for (std::uint64_t n = 1; n < count * 9 / 10; n += stride()) {
    Plan plan;
    plan.operation = n;
    plan.blow = n % 2 == 0 ? Blow::kKill : Blow::kPower;
    End end = run_script(plan);
    for (int again = 0; !end.killed && end.code == 0 && again < 10; ++again) end = run_script(plan);  // threads in the background came late, and had less to do
    ASSERT_TRUE(end.killed) << n << " of " << count << ": " << end.text;
    ASSERT_EQ(run_verify(), "") << "operation " << n << " of " << count;
    ++crossed;
  }
  std::cout << crossed << " of " << count << " operations, 0 acknowledged writes lost\n";
}

TEST_F(KillTest, AFailingOperationStopsTheNodeAndLosesNothing) {
  const std::uint64_t count = operations_of_script();
  std::uint64_t stopped = 0, tried = 0;
  for (const bool full : {false, true}) {
    for (std::uint64_t n = 2 + stride() / 2; n < count * 9 / 10; n += stride()) {
      Plan plan;
      plan.operation = n;
      plan.error = full ? rocksdb::Status::NoSpace("No space left on device") : rocksdb::Status::IOError("Input/output error");
      const End end = run_script(plan);
      EXPECT_FALSE(end.killed);
      ++tried;
      stopped += end.code == 0 ? 0 : 1;  // some failures are no matter: a file that is not deleted, say
      ASSERT_EQ(run_verify(), "") << "operation " << n << " of " << count << " failed: " << end.text;
    }
  }
  EXPECT_GE(stopped * 4, tried) << "a failure of the disk stops the node that met it, unless it is no matter";
}

}  // namespace
}  // namespace kill_points
