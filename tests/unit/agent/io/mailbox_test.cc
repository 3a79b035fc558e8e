#include "agent/io/mailbox.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "agent/io/thread.h"
#include "tests/unit/agent/io/loop_until.h"

namespace agent::io {
namespace {

TEST(Mailbox, KeepsTheOrderOfOneSender) {
  auto loop = new_loop();
  std::vector<int> got;
  Mailbox<int> mailbox(*loop, 100, [&](int&& value) { got.push_back(value); });
  const auto sender = mailbox.sender();
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(sender.send(i));
  EXPECT_TRUE(got.empty());
  ASSERT_TRUE(run_until(*loop, [&] { return got.size() == 50; }));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], i);
}

TEST(Mailbox, RefusesOverItsBoundAndLeavesTheValue) {
  auto loop = new_loop();
  int got = 0;
  Mailbox<std::string> mailbox(*loop, 2, [&](std::string&&) { ++got; });
  const auto sender = mailbox.sender();
  EXPECT_TRUE(sender.send("a"));
  EXPECT_TRUE(sender.send("b"));
  std::string kept = "c";
  EXPECT_FALSE(sender.send(std::move(kept)));
  EXPECT_EQ(kept, "c");
  ASSERT_TRUE(run_until(*loop, [&] { return got == 2; }));
  EXPECT_TRUE(sender.send(std::move(kept)));
  EXPECT_TRUE(run_until(*loop, [&] { return got == 3; }));
}

TEST(Mailbox, SliceOfATurnLeavesTheRestForTheNext) {
  auto loop = new_loop();
  int got = 0;
  Mailbox<int> mailbox(*loop, 100, [&](int&&) { ++got; }, 10);
  for (int i = 0; i < 25; ++i) mailbox.sender().send(i);
  loop->run_once();
  EXPECT_EQ(got, 10);
  EXPECT_TRUE(run_until(*loop, [&] { return got == 25; }));
}

TEST(Mailbox, SenderOutlivesReceiver) {
  auto loop = new_loop();
  Mailbox<int>::Sender sender;
  EXPECT_FALSE(sender.send(1));
  {
    Mailbox<int> mailbox(*loop, 10, [](int&&) { FAIL(); });
    sender = mailbox.sender();
    EXPECT_TRUE(sender.send(1));
  }
  EXPECT_FALSE(sender.send(2));
  loop->run();
}

TEST(Mailbox, ReceiverMayDestroyItInsideACall) {
  auto loop = new_loop();
  int got = 0;
  std::unique_ptr<Mailbox<int>> mailbox;
  mailbox = std::make_unique<Mailbox<int>>(*loop, 10, [&](int&&) {
    ++got;
    mailbox.reset();
  });
  mailbox->sender().send(1);
  mailbox->sender().send(2);
  EXPECT_TRUE(run_until(*loop, [&] { return mailbox == nullptr; }));
  EXPECT_EQ(got, 1);
}

TEST(Mailbox, UnreferencedOneLetsTheLoopEnd) {
  auto loop = new_loop();
  Mailbox<int> mailbox(*loop, 10, [](int&&) {});
  mailbox.unref();
  loop->run();
}

TEST(Mailbox, ManyThreadsLoseNothing) {
  auto loop = new_loop();
  constexpr int kThreads = 4, kEach = 5000;
  std::vector<int> last(kThreads, -1);
  int got = 0;
  bool in_order = true;
  Mailbox<std::pair<int, int>> mailbox(*loop, 64, [&](std::pair<int, int>&& value) {
    int& before = last[static_cast<std::size_t>(value.first)];
    in_order = in_order && value.second == before + 1;
    before = value.second;
    ++got;
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t, sender = mailbox.sender()] {
      for (int i = 0; i < kEach; ++i) {
        while (!sender.send(std::pair(t, i))) std::this_thread::yield();
      }
    });
  }
  EXPECT_TRUE(run_until(*loop, [&] { return got == kThreads * kEach; }, 5 * kPatience));  // it shares the processors with them
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(in_order);
}

TEST(Thread, RunsItsLoopAndStops) {
  auto here = new_loop();
  std::string heard;
  Mailbox<std::string> answers(*here, 10, [&](std::string&& text) { heard = std::move(text); });
  auto thread = Thread::start("worker-with-a-long-name", [](Loop& loop) { loop.run(); });
  ASSERT_TRUE(thread);
  EXPECT_TRUE((*thread)->post([sender = answers.sender()] { sender.send("from there"); }));
  EXPECT_TRUE(run_until(*here, [&] { return heard == "from there"; }));
  (*thread)->stop();
  (*thread)->stop();
  (*thread)->join();
  EXPECT_FALSE((*thread)->post([] {}));
}

TEST(Thread, StopBeforeTheBodyRunsItsLoopIsNotLost) {
  std::atomic<bool> done = false;
  auto thread = Thread::start("early", [&](Loop& loop) {
    loop.run();
    done = true;
  });
  ASSERT_TRUE(thread);
  (*thread)->stop();
  (*thread)->join();
  EXPECT_TRUE(done);
}

}  // namespace
}  // namespace agent::io
