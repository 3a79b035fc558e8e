#include "agent/kernel_permit.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "agent/io/clock.h"
#include "tests/unit/agent/drivers/fake_instance.h"

namespace agent {
namespace {

using namespace std::chrono_literals;
using drivers::run_until;
using io::look_until;

/// Runs a shell as the program: it writes down what it is told and, where a pipe of that name exists, waits until the pipe is written to.
class KernelPermitTest : public ::testing::Test {
 protected:
  KernelPermitTest() {
    char pattern[] = "/tmp/outrigger-permit-XXXXXX";
    directory = ::mkdtemp(pattern);
    std::ofstream(directory + "/program") << "cd " << directory << R"(
[ ! -e broken ] || { echo "$1" >> tried; exit 3; }
echo "begins $1 $3" >> told
[ ! -p "hold-$1" ] || read -r word < "hold-$1"
echo "$1 $3" >> told
)";
    view.holder = proxy::PrimaryView::Holder::kLocal;
    take(4);
  }
  ~KernelPermitTest() override {
    permit.reset();
    // A shell that was killed may still open its file.
    std::error_code error;
    do std::filesystem::remove_all(directory, error);
    while (error == std::errc::directory_not_empty);
  }
  void begin() {
    KernelPermitConfig config;
    config.exec = {"/bin/sh", directory + "/program"};
    config.timeout = timeout;
    permit.emplace(*loop, config, 600s, [this](std::string_view, const std::string&, bool bad) { faults += bad ? 1 : 0; });
  }
  void take(std::uint64_t epoch) {
    view.epoch = proxy::Epoch{epoch};
    view.lease = lease = std::make_shared<proxy::LeaseView>(proxy::Epoch{epoch});
  }
  void lease_until(io::TimePoint until) {
    lease->valid_until_ns.store(std::chrono::duration_cast<std::chrono::nanoseconds>(until.time_since_epoch()).count());
  }
  void grant() {
    lease_until(io::boottime_now() + 600s);
    permit->follow(view);
    ASSERT_TRUE(run_until(*loop, [&] { return permit->state().granted; }));
  }
  void close_gate() { lease_until({}); }
  void hold(const std::string& run) { ASSERT_EQ(::mkfifo((directory + "/hold-" + run).c_str(), 0600), 0); }
  void let_go(const std::string& run) { std::ofstream(directory + "/hold-" + run) << "go\n"; }
  std::string content(const std::string& file) {
    std::ifstream in(directory + "/" + file);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  bool says(const std::string& line) { return ("\n" + content("told")).find("\n" + line + "\n") != std::string::npos; }
  void break_program() { std::ofstream(directory + "/broken") << "\n"; }
  void mend_program() { std::filesystem::remove(directory + "/broken"); }

  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  std::string directory;
  std::shared_ptr<proxy::LeaseView> lease;
  proxy::PrimaryView view;
  std::optional<KernelPermit> permit;
  io::Milliseconds timeout{600'000};
  int faults = 0;
};

TEST_F(KernelPermitTest, TheReleaseWaitsForTheEndOfTheRevocation) {
  begin();
  grant();
  hold("revoke");
  bool shut = false;
  close_gate();
  permit->shut([&] { shut = true; });
  ASSERT_TRUE(look_until(*loop, [&] { return says("begins revoke 4"); }));
  EXPECT_FALSE(shut) << "the kernel still lets pass";
  let_go("revoke");
  ASSERT_TRUE(run_until(*loop, [&] { return shut; }));
  EXPECT_TRUE(says("revoke 4"));
  EXPECT_FALSE(permit->state().granted);
  bool again = false;
  permit->shut([&] { again = true; });
  EXPECT_TRUE(again) << "nothing to wait for any more";
}

TEST_F(KernelPermitTest, ARenewalThatHangsDoesNotHoldUpTheRevocation) {
  begin();
  grant();
  hold("renew");
  lease_until(io::boottime_now() + 900s);
  permit->follow(view);
  ASSERT_TRUE(look_until(*loop, [&] { return content("told").find("begins renew 4\nrenew 4\nbegins renew 4\n") != std::string::npos; }));
  bool shut = false;
  close_gate();
  permit->shut([&] { shut = true; });
  ASSERT_TRUE(run_until(*loop, [&] { return shut; })) << "long before the time-out of a run";
  EXPECT_TRUE(says("revoke 4"));
  EXPECT_EQ(faults, 0) << "it was ended on purpose";
}

TEST_F(KernelPermitTest, ARevocationThatFailsIsTriedAgain) {
  begin();
  grant();
  break_program();
  bool shut = false;
  close_gate();
  permit->shut([&] { shut = true; });
  ASSERT_TRUE(run_until(*loop, [&] { return permit->state().failed >= 2; }));
  EXPECT_FALSE(shut);
  EXPECT_NE(permit->state().fault.find("exit code 3"), std::string::npos);
  EXPECT_EQ(faults, 1) << "said once";
  mend_program();
  ASSERT_TRUE(run_until(*loop, [&] { return shut; }));
  EXPECT_EQ(permit->state().fault, "");
}

TEST_F(KernelPermitTest, AProgramThatIsNotThereIsNotTriedWithoutPause) {
  KernelPermitConfig config;
  config.exec = {directory + "/nobody"};
  permit.emplace(*loop, config, 600s, [this](std::string_view, const std::string&, bool bad) { faults += bad ? 1 : 0; });
  const auto begun = io::boottime_now();
  lease_until(begun + 600s);
  permit->follow(view);
  ASSERT_TRUE(run_until(*loop, [&] { return permit->state().failed >= 3; }));
  EXPECT_GE(io::boottime_now() - begun, 300ms) << "pauses of 100 ms and 200 ms";
  EXPECT_EQ(faults, 1);
}

TEST_F(KernelPermitTest, ANewLeaseForgetsTheReleaseOfTheOldOne) {
  begin();
  grant();
  hold("revoke");
  bool shut = false;
  close_gate();
  permit->shut([&] { shut = true; });
  take(5);
  lease_until(io::boottime_now() + 600s);
  permit->follow(view);
  let_go("revoke");
  ASSERT_TRUE(look_until(*loop, [&] { return says("renew 5"); }));
  EXPECT_FALSE(shut);
}

}  // namespace
}  // namespace agent
