// Frames between nodes over simulated streams: order, reconnection, and the difference between "lost" and "gone".

#include "tests/sim/mesh.h"

#include <gtest/gtest.h>

#include <string>

namespace sim {
namespace {

/// One machine with nothing but a mesh.
class Station : public Endpoint {
 public:
  Station(int machine, Network* network, Scheduler* scheduler)
      : random(static_cast<std::uint64_t>(machine)),
        mesh(machine, static_cast<RaftId>(machine + 1), network, scheduler, &random,
             {[this](RaftId from, Bytes frame) { add(std::to_string(from) + ":" + text(frame)); },
              [this](RaftId peer) { add("up" + std::to_string(peer)); },
              [this](RaftId peer) { add("lost" + std::to_string(peer)); },
              [this](RaftId peer) { add("gone" + std::to_string(peer)); }},
             [](const std::function<void()>& task) { task(); }) {}
  void on_datagram(int, Bytes) override {}
  void on_datagram_refused(int) override {}
  void on_accepted(ConnectionId id, int, Port) override { mesh.on_accepted(id); }
  void on_connected(ConnectionId id) override { mesh.on_connected(id); }
  void on_received(ConnectionId id, Bytes bytes) override { mesh.on_received(id, bytes); }
  void on_closed(ConnectionId id, CloseReason reason) override { mesh.on_closed(id, reason); }

  static std::string text(const Bytes& bytes) {
    std::string out;
    for (const std::byte b : bytes) out += static_cast<char>(b);
    return out;
  }
  void add(const std::string& what) { log += (log.empty() ? "" : " ") + what; }
  std::string take() { return std::exchange(log, {}); }

  support::Random random;
  std::string log;
  Mesh mesh;
};

Bytes frame(const std::string& text) {
  Bytes out;
  for (const char c : text) out.push_back(static_cast<std::byte>(c));
  return out;
}

class MeshTest : public ::testing::Test {
 protected:
  MeshTest() : network(2, &scheduler, &trace, 3), a(0, &network, &scheduler) {
    network.up(0, &a);
    start();
    a.mesh.set_peer(2, 1);
    run(kSecond);
    a.take();
    b->take();
  }
  void start() {
    b = std::make_unique<Station>(1, &network, &scheduler);
    network.up(1, b.get());
    b->mesh.set_peer(1, 0);
  }
  void run(Nanos duration) {
    const Nanos end = scheduler.now() + duration;
    scheduler.at(end, [] {});
    while (!scheduler.empty() && scheduler.next_time() <= end) scheduler.run_one();
  }

  Scheduler scheduler;
  Trace trace;
  Network network;
  Station a;
  std::unique_ptr<Station> b;
};

TEST_F(MeshTest, FramesOfOneStreamArriveInOrder) {
  for (const char* text : {"1", "2", "3"}) a.mesh.send(2, frame(text), true);
  run(kSecond);
  EXPECT_EQ(b->take(), "1:1 1:2 1:3");
}

TEST_F(MeshTest, KilledPeerIsReportedGoneOnceAndComesBack) {
  network.down(1, true);
  b.reset();
  run(3 * kSecond);
  EXPECT_EQ(a.take(), "lost2 gone2");
  a.mesh.send(2, frame("waited"), true);
  start();
  run(3 * kSecond);
  EXPECT_EQ(a.take(), "up2");
  EXPECT_EQ(b->take(), "up1 1:waited");
}

TEST_F(MeshTest, SilentPeerIsNeverReportedGone) {
  network.link(0, 1).blocked = true;
  network.link(1, 0).blocked = true;
  a.mesh.send(2, frame("x"), true);
  run(30 * kSecond);
  EXPECT_EQ(a.take(), "lost2");
  network.link(0, 1).blocked = false;
  network.link(1, 0).blocked = false;
  run(5 * kSecond);
  EXPECT_EQ(a.take(), "up2");
}

TEST_F(MeshTest, QueueIsBoundedAndTheOldestGoes) {
  network.down(1, false);
  b.reset();
  run(10 * kSecond);
  for (std::size_t i = 0; i < Mesh::kQueueFramesMax + 5; ++i) a.mesh.send(2, frame("x"), false);
  run(5 * kSecond);
  for (std::size_t i = 0; i < Mesh::kQueueFramesMax + 5; ++i) a.mesh.send(2, frame("x"), false);
  EXPECT_GE(a.mesh.dropped(), 5U);
  EXPECT_EQ(a.mesh.queued_max(), Mesh::kQueueFramesMax);
  a.mesh.send(7, frame("to nobody"), true);
  EXPECT_GE(a.mesh.dropped(), 6U);
}

}  // namespace
}  // namespace sim
