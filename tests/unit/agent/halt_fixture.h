#pragma once
/// What tests of halts share: agents with their keepers, the mesh between them and the log, all in memory. Values only.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "agent/halt_keeper.h"

namespace agent {

namespace kv = store::kv;
using std::chrono::milliseconds;
using TimePoint = HaltKeeper::TimePoint;

inline kv::Halt halt(const std::string& reason = "prices look wrong") {
  kv::Halt one;
  one.reason = reason;
  one.who = "ada";
  one.node = "n1";
  return one;
}

/// Agents, the mesh between them and the log, all in memory. Time stands still unless the test moves it.
struct World {
  explicit World(std::size_t count, std::uint32_t seed = 1) : chance(seed) {
    for (std::size_t i = 0; i < count; ++i) {
      keepers.push_back(std::make_unique<HaltKeeper>(HaltFile{i + 1, {}}, [this](std::uint64_t bound) { return chance() % bound; }));
      keepers.back()->on_recorded(log, now, true);
      disks.push_back(keepers.back()->file());
    }
    up.assign(count, std::vector<bool>(count, false));
  }
  static store::NodeId id(std::size_t i) { return store::NodeId{i + 1}; }
  void connect(std::size_t a, std::size_t b, bool on) {
    for (const auto& [from, to] : {std::pair(a, b), std::pair(b, a)}) {
      if (up[from][to] == on) continue;
      up[from][to] = on;
      on ? keepers[from]->on_connected(id(to)) : keepers[from]->on_lost(id(to));
    }
    run();
  }
  void connect_all() {
    for (std::size_t a = 0; a < keepers.size(); ++a) {
      for (std::size_t b = a + 1; b < keepers.size(); ++b) connect(a, b, true);
    }
  }
  /// Delivers until nobody says anything more. @return frames
  std::size_t run() {
    std::size_t frames = 0;
    for (bool busy = true; busy;) {
      busy = false;
      for (std::size_t i = 0; i < keepers.size(); ++i) {
        HaltKeeper::Output output = keepers[i]->take_output();
        if (output.changed) disks[i] = keepers[i]->file();
        for (auto& [to, frame] : output.frames) {
          busy = true;
          EXPECT_LT(++frames, 10'000U) << "talk without end";
          if (up[i][to.value - 1]) keepers[to.value - 1]->on_frame(id(i), frame, now);
        }
        if (output.record) {
          const bool written = has_leader;
          EXPECT_TRUE(!written || log.learn(keepers[i]->set()));
          keepers[i]->record_done(written, now);
          if (written) apply_log();
          busy = busy || written;
        }
      }
      if (frames >= 10'000) return frames;
    }
    return frames;
  }
  void apply_log() {
    for (std::size_t i = 0; i < keepers.size(); ++i) {
      if (i >= cut_off) continue;
      keepers[i]->on_recorded(log, now, has_leader);
    }
  }
  void pass(milliseconds time) {
    for (const TimePoint end = now + time; now < end;) {
      now += milliseconds(50);
      for (auto& keeper : keepers) keeper->tick(now);
      run();
    }
  }
  std::mt19937 chance;
  TimePoint now{std::chrono::hours(1)};
  std::vector<std::unique_ptr<HaltKeeper>> keepers;
  std::vector<HaltFile> disks;
  std::vector<std::vector<bool>> up;
  kv::HaltSet log;
  bool has_leader = false;
  std::size_t cut_off = SIZE_MAX;  // agents from here on do not hear of the log
};

}  // namespace agent
