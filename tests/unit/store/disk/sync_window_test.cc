#include "store/disk/sync_window.h"

#include <gtest/gtest.h>

namespace store::disk {
namespace {

using namespace std::chrono_literals;
const raft::TimePoint kStart = raft::TimePoint{} + 1h;

TEST(SyncWindowTest, PercentilesAreAtMostAFifthTooHigh) {
  SyncWindow window;
  for (int i = 1; i <= 1000; ++i) window.add(std::chrono::microseconds(i * 10), kStart);
  EXPECT_EQ(window.count(kStart), 1000U);
  EXPECT_GE(*window.percentile(50, kStart), 5000us);
  EXPECT_LE(*window.percentile(50, kStart), 6000us);
  EXPECT_GE(*window.percentile(99, kStart), 9900us);
  EXPECT_LE(*window.percentile(99, kStart), 11880us);
}

TEST(SyncWindowTest, NothingMeasuredIsNotZero) {
  SyncWindow window;
  EXPECT_FALSE(window.percentile(50, kStart));
}

TEST(SyncWindowTest, WhatIsOldIsForgotten) {
  SyncWindow window;
  for (int i = 0; i < 100; ++i) window.add(1s, kStart);
  window.add(100us, kStart + 50s);
  EXPECT_GE(*window.percentile(50, kStart + 50s), 1s);
  EXPECT_LE(*window.percentile(99, kStart + 61s), 120us);
  EXPECT_FALSE(window.percentile(50, kStart + 120s));
}

TEST(SyncWindowTest, ExtremesFitIntoTheLastBucket) {
  SyncWindow window;
  window.add(0ns, kStart);
  EXPECT_EQ(*window.percentile(100, kStart), 10us);
  window.add(3600s, kStart);
  EXPECT_GT(*window.percentile(100, kStart), 15s);
}

}  // namespace
}  // namespace store::disk
