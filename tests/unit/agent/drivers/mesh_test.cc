#include "agent/drivers/mesh.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/io/crypto.h"
#include "tests/unit/agent/io/loop_until.h"
#include "tests/unit/agent/io/record_sink.h"
#include "tests/unit/agent/io/tls_fixture.h"

namespace agent::drivers {
namespace {

using io::Milliseconds;
using io::run_until;

/// Everything that one mesh reported, and the mesh.
struct Node {
  std::vector<std::pair<store::NodeId, std::string>> frames;
  int connected = 0, lost = 0, refused = 0;
  std::vector<std::pair<io::DetachedStream, std::string>> http;
  std::vector<std::string> log;
  std::function<void(store::NodeId)> on_lost;
  std::unique_ptr<Mesh> mesh;

  [[nodiscard]] std::vector<std::string> bodies() const {
    std::vector<std::string> all;
    for (const auto& [from, body] : frames) all.push_back(body);
    return all;
  }
  [[nodiscard]] bool logged(const std::string& part) const {
    return std::any_of(log.begin(), log.end(), [&](const auto& line) { return line.find(part) != std::string::npos; });
  }
};

struct MeshTest : ::testing::TestWithParam<bool> {
  std::unique_ptr<io::Loop> loop = io::new_loop();
  std::map<int, Node> nodes;

  static constexpr store::NodeId id(int number) { return store::NodeId{static_cast<std::uint64_t>(number)}; }
  static std::string name(int number) { return number == 1 ? "node-a" : "node-b"; }
  static MeshTls tls(int number) {
    auto& files = io::tls_files();
    const std::string file = number == 1 ? "server" : "client";
    auto loaded = MeshTls::load(files.path("ca.pem"), files.path(file + ".pem"), files.path(file + ".key"), io::wall_ms());
    EXPECT_TRUE(loaded) << loaded.error().detail;
    return *loaded;
  }
  [[nodiscard]] bool with_tls() const { return GetParam(); }
  MeshSettings settings(int number) const {
    MeshSettings made;
    made.self = id(number);
    made.name = name(number);
    made.cluster = "desk";
    made.bind = io::Address::loopback(0);
    if (with_tls()) made.tls = tls(number);
    made.chance = io::random_below;
    made.connect_timeout = io::kPatience;
    made.retry_min = Milliseconds(5);
    made.retry_max = Milliseconds(20);
    return made;
  }
  Node& start(int number, const std::function<void(MeshSettings&)>& change = {}) {
    auto made = settings(number);
    if (change) change(made);
    Node& node = nodes[number];
    MeshCallbacks callbacks;
    callbacks.on_frame = [&node](store::NodeId from, std::string_view bytes) { node.frames.emplace_back(from, bytes); };
    callbacks.on_connected = [&node](store::NodeId) { ++node.connected; };
    callbacks.on_lost = [&node](store::NodeId peer) {
      ++node.lost;
      if (node.on_lost) node.on_lost(peer);
    };
    callbacks.on_refused = [&node](store::NodeId) { ++node.refused; };
    callbacks.on_http = [&node](io::DetachedStream stream, std::string client) {
      node.http.emplace_back(std::move(stream), std::move(client));
    };
    callbacks.log = [&node](std::string_view, const std::string& line) { node.log.push_back(line); };
    auto mesh = Mesh::start(*loop, std::move(made), std::move(callbacks));
    EXPECT_TRUE(mesh) << mesh.error().detail;
    node.mesh = std::move(*mesh);
    return node;
  }
  [[nodiscard]] io::Address at(int number) { return nodes[number].mesh->local_address(); }
  void introduce(int from, int to) { nodes[from].mesh->set_peer(id(to), at(to), name(to)); }
  void pair_up() {
    start(1);
    start(2);
    introduce(1, 2);
    introduce(2, 1);
    ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].connected == 1 && nodes[2].connected == 1; }));
  }
  void let_time_pass(int ms) {
    bool over = false;
    io::Timer timer(*loop, [&over] { over = true; });
    timer.arm_after(Milliseconds(ms));
    run_until(*loop, [&over] { return over; });
  }
};

INSTANTIATE_TEST_SUITE_P(Wire, MeshTest, ::testing::Bool(),
                         [](const auto& which) { return which.param ? "Tls" : "Plain"; });

TEST_P(MeshTest, FramesArriveInOrderPerLaneWithTheirSender) {
  pair_up();
  std::vector<std::string> urgent, bulk;
  for (int i = 0; i < 1500; ++i) {
    urgent.push_back("u" + std::to_string(i));
    bulk.push_back("b" + std::to_string(i) + std::string(static_cast<std::size_t>(i), 'x'));
    EXPECT_TRUE(nodes[1].mesh->send(id(2), urgent.back(), Lane::kUrgent));
    EXPECT_TRUE(nodes[1].mesh->send(id(2), bulk.back(), Lane::kBulk));
  }
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[2].frames.size() == 3000; }));
  std::vector<std::string> got_urgent, got_bulk;
  for (const auto& [from, body] : nodes[2].frames) {
    EXPECT_EQ(from, id(1));
    (body[0] == 'u' ? got_urgent : got_bulk).push_back(body);
  }
  EXPECT_EQ(got_urgent, urgent);
  EXPECT_EQ(got_bulk, bulk);
  EXPECT_EQ(nodes[1].mesh->counters().frames_out, 3000U);
  EXPECT_EQ(nodes[2].mesh->counters().frames_in, 3000U);
  EXPECT_EQ(nodes[1].mesh->counters().bytes_out, nodes[2].mesh->counters().bytes_in);
  nodes[2].mesh->send(id(1), "back", true);
  EXPECT_TRUE(run_until(*loop, [&] { return nodes[1].bodies() == std::vector<std::string>{"back"}; }));
}

TEST_P(MeshTest, LargestFramePassesAndOneMoreByteDoesNot) {
  pair_up();
  EXPECT_FALSE(nodes[1].mesh->send(id(2), std::string(kFrameBytesMax + 1, 'x'), Lane::kBulk));
  EXPECT_FALSE(nodes[1].mesh->send(id(2), "", Lane::kBulk));
  EXPECT_TRUE(nodes[1].mesh->send(id(2), std::string(kFrameBytesMax, 'x'), Lane::kBulk));
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[2].frames.size() == 1; }));
  EXPECT_EQ(nodes[2].frames[0].second.size(), kFrameBytesMax);
}

TEST_P(MeshTest, FramesOfOneTurnBeforeTheConnectionStandsAreKept) {
  start(1);
  start(2);
  introduce(1, 2);
  EXPECT_TRUE(nodes[1].mesh->send(id(2), "early", Lane::kUrgent));
  EXPECT_TRUE(run_until(*loop, [&] { return nodes[2].bodies() == std::vector<std::string>{"early"}; }));
}

TEST_P(MeshTest, UnknownPeerIsCounted) {
  start(1);
  EXPECT_FALSE(nodes[1].mesh->send(id(2), "x", Lane::kUrgent));
  nodes[1].mesh->set_peer(id(1), at(1), "myself");
  EXPECT_FALSE(nodes[1].mesh->send(id(1), "x", Lane::kUrgent));
  EXPECT_EQ(nodes[1].mesh->counters().dropped_unknown_peer, 2U);
  EXPECT_TRUE(nodes[1].mesh->peers().empty());
}

TEST_P(MeshTest, FullQueuesRefuseUrgentAndDropOldBulk) {
  start(1, [](MeshSettings& made) { made.urgent_bytes_max = made.bulk_bytes_max = 3000; });
  start(2);
  introduce(1, 2);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(nodes[1].mesh->send(id(2), std::to_string(i) + std::string(900, 'u'), Lane::kUrgent), i < 3);
    EXPECT_TRUE(nodes[1].mesh->send(id(2), std::to_string(i) + std::string(900, 'b'), Lane::kBulk));
  }
  EXPECT_EQ(nodes[1].mesh->counters().dropped_urgent, 2U);
  EXPECT_EQ(nodes[1].mesh->counters().dropped_bulk, 2U);
  EXPECT_LE(nodes[1].mesh->peers()[0].queued_bytes, 6000U);
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[2].frames.size() == 6; }));
  std::string firsts;
  for (const auto& body : nodes[2].bodies()) firsts += body.substr(0, 2).back() == 'b' ? body.substr(0, 1) : "";
  EXPECT_EQ(firsts, "234");
}

TEST_P(MeshTest, GoneProcessIsLostThenRefusedOnce) {
  pair_up();
  const io::Address where = at(2);
  nodes[2].mesh.reset();
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].refused == 1; }));
  EXPECT_EQ(nodes[1].lost, 1);
  const auto dials = nodes[1].mesh->counters().dials;
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].mesh->counters().dials > dials + 3; }));
  EXPECT_EQ(nodes[1].refused, 1);
  EXPECT_FALSE(nodes[1].mesh->peers()[0].connected);
  EXPECT_NE(nodes[1].mesh->peers()[0].last_error, "");
  // Back at the same place: found again by itself.
  start(2, [&](MeshSettings& made) { made.bind = where; });
  EXPECT_TRUE(run_until(*loop, [&] { return nodes[1].connected == 2; }));
  EXPECT_EQ(nodes[1].mesh->peers()[0].last_error, "");
}

TEST_P(MeshTest, NeverConnectedPeerIsNeverRefused) {
  start(1);
  start(2);
  const io::Address nowhere = at(2);
  nodes[2].mesh.reset();
  nodes[1].mesh->set_peer(id(2), nowhere, name(2));
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].mesh->counters().dials_failed > 3; }));
  EXPECT_EQ(nodes[1].refused, 0);
  EXPECT_EQ(nodes[1].lost, 0);
  EXPECT_EQ(nodes[1].log.size(), 1U) << "one line per change, not per dial";
}

TEST_P(MeshTest, PeerThatDialsUsIsDialledWithoutAPause) {
  start(2);
  const io::Address where = at(2);
  start(1, [](MeshSettings& made) { made.retry_min = made.retry_max = std::chrono::hours(1); });
  nodes[2].mesh.reset();  // now, or the other one might be given its port
  nodes[1].mesh->set_peer(id(2), where, name(2));
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].mesh->counters().dials_failed == 1; }));
  start(2, [&](MeshSettings& made) { made.bind = where; });
  introduce(2, 1);
  EXPECT_TRUE(run_until(*loop, [&] { return nodes[1].connected == 1 && nodes[2].connected == 1; }));
}

/// A listener whose queue is full: the kernel drops every further SYN, as a partition does.
struct DeafListener {
  DeafListener() {
    sockaddr_in local{};
    local.sin_family = AF_INET;
    local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof local;
    for (int& fd : fds) fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ::bind(fds[0], reinterpret_cast<sockaddr*>(&local), size);
    ::listen(fds[0], 0);
    ::getsockname(fds[0], reinterpret_cast<sockaddr*>(&local), &size);
    port = ntohs(local.sin_port);
    for (std::size_t i = 1; i < fds.size(); ++i) ::connect(fds[i], reinterpret_cast<sockaddr*>(&local), size);
  }
  ~DeafListener() {
    for (int fd : fds) ::close(fd);
  }
  std::array<int, 5> fds{};
  std::uint16_t port = 0;
};

TEST_P(MeshTest, SilentNetworkIsAskedAgainSoonAndForLong) {
  DeafListener deaf;
  start(1, [](MeshSettings& made) {
    made.connect_timeout = std::chrono::hours(1);  // of no help here: the answer never comes
    made.retry_max = std::chrono::hours(1);        // nor would doubled pauses be
    made.syn_timeout = Milliseconds(2);
    made.retry_min = Milliseconds(1);
  });
  nodes[1].mesh->set_peer(id(2), io::Address::loopback(deaf.port), name(2));
  EXPECT_TRUE(run_until(*loop, [&] { return nodes[1].mesh->counters().dials_failed >= 15; }));
  EXPECT_EQ(nodes[1].refused, 0);
}

TEST_P(MeshTest, OtherClusterIsRefusedByNameOnBothSides) {
  start(1);
  start(2, [](MeshSettings& made) { made.cluster = "other desk"; });
  introduce(1, 2);
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].logged("'other desk'") && nodes[2].logged("'desk'"); }));
  EXPECT_EQ(nodes[1].connected, 0);
  EXPECT_GE(nodes[2].mesh->counters().refused_cluster, 1U);
  EXPECT_EQ(nodes[2].mesh->counters().frames_in, 0U);
}

TEST_P(MeshTest, AnotherAgentAtTheAddressIsNoPeer) {
  start(1);
  start(2);
  nodes[1].mesh->set_peer(id(7), at(2), "");
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].logged("another agent"); }));
  EXPECT_EQ(nodes[1].connected, 0);
}

TEST_P(MeshTest, KnownNodeUnderAnotherNameIsRefused) {
  start(1);
  start(2);
  nodes[2].mesh->set_peer(id(1), at(1), "someone-else");
  introduce(1, 2);
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[2].mesh->counters().refused_name >= 1; }));
  EXPECT_EQ(nodes[2].mesh->counters().frames_in, 0U);
  EXPECT_TRUE(run_until(*loop, [&] { return nodes[2].logged("calls itself 'node-a'"); }));
}

TEST_P(MeshTest, OurOwnIdFromOutsideIsRefused) {
  start(1);
  start(2, [](MeshSettings& made) { made.self = id(1); });
  nodes[2].mesh->set_peer(id(9), at(1), "");
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].mesh->counters().refused_name == 1; }));
}

TEST_P(MeshTest, PeerThatMovesIsDialedAtItsNewPlace) {
  pair_up();
  nodes[2].mesh.reset();
  nodes[2] = Node{};
  start(2);
  introduce(1, 2);
  EXPECT_TRUE(run_until(*loop, [&] { return nodes[1].connected == 2; }));
  EXPECT_EQ(nodes[1].lost, 1);
}

TEST_P(MeshTest, RemovedPeerIsLostAndSilent) {
  pair_up();
  nodes[1].mesh->remove_peer(id(2));
  nodes[1].mesh->remove_peer(id(2));
  EXPECT_EQ(nodes[1].lost, 1);
  EXPECT_FALSE(nodes[1].mesh->send(id(2), "x", Lane::kUrgent));
  const auto dials = nodes[1].mesh->counters().dials;
  let_time_pass(30);
  EXPECT_EQ(nodes[1].mesh->counters().dials, dials);
  nodes[2].mesh->send(id(1), "still heard", true);  // what the peer has dialed stays
  EXPECT_TRUE(run_until(*loop, [&] { return nodes[1].frames.size() == 1; }));
}

TEST_P(MeshTest, CallbackMayRemoveThePeerThatWasLost) {
  pair_up();
  nodes[1].on_lost = [&](store::NodeId peer) { nodes[1].mesh->remove_peer(peer); };
  nodes[2].mesh.reset();
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].lost == 1; }));
  EXPECT_TRUE(nodes[1].mesh->peers().empty());
  EXPECT_EQ(nodes[1].refused, 0);
}

TEST_P(MeshTest, HttpStreamIsHandedOverWithItsFirstBytes) {
  start(1);
  io::RecordSink client_sink, worker_sink;
  std::unique_ptr<io::ByteStream> client;
  io::TlsOffload pool(*loop);
  auto tcp = io::TcpStream::connect(*loop, at(1), io::in_good_time(), nullptr);
  if (with_tls()) {
    client = io::TlsStream::client(tls(2).http_dialer, std::move(tcp), "", io::in_good_time(), &pool, &client_sink);
  } else {
    tcp->set_sink(&client_sink);
    client = std::move(tcp);
    ASSERT_TRUE(client->write(io::bytes_of(kHttpPreface)));
  }
  ASSERT_TRUE(client->write(io::bytes_of("GET /orders HTTP/1.1\r\n")));
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].http.size() == 1; }));
  EXPECT_EQ(nodes[1].http[0].second, with_tls() ? "node-b" : "127.0.0.1");
  auto adopted = io::adopt(*loop, std::move(nodes[1].http[0].first));
  adopted->set_sink(&worker_sink);
  adopted->read_start();
  ASSERT_TRUE(run_until(*loop, [&] { return worker_sink.data == "GET /orders HTTP/1.1\r\n"; }));
  client->read_start();
  ASSERT_TRUE(adopted->write(io::bytes_of("200")));
  EXPECT_TRUE(run_until(*loop, [&] { return client_sink.data == "200"; }));
  EXPECT_EQ(nodes[1].mesh->counters().http, 1U);
}

TEST_P(MeshTest, NonsenseIsClosedAndCounted) {
  start(1);
  io::RecordSink sink;
  auto tcp = io::TcpStream::connect(*loop, at(1), io::in_good_time(), &sink);
  tcp->read_start();
  ASSERT_TRUE(tcp->write(io::bytes_of("GET / HTTP/1.1\r\n\r\n")));
  ASSERT_TRUE(run_until(*loop, [&] { return sink.ended || sink.error; }));
  const auto& counters = nodes[1].mesh->counters();
  EXPECT_EQ(with_tls() ? counters.refused_tls : counters.refused_hello, 1U);
  EXPECT_TRUE(nodes[1].http.empty());
  EXPECT_EQ(nodes[1].log.size(), 1U);
}

TEST_P(MeshTest, SilentConnectionIsClosedAtItsDeadline) {
  start(1, [](MeshSettings& made) { made.connect_timeout = Milliseconds(20); });
  io::RecordSink sink;
  auto tcp = io::TcpStream::connect(*loop, at(1), io::in_good_time(), &sink);
  tcp->read_start();
  EXPECT_TRUE(run_until(*loop, [&] { return sink.ended || sink.error; }));
}

TEST_P(MeshTest, UnprovedConnectionsAreBounded) {
  start(1, [](MeshSettings& made) { made.unproved_max = 3; });
  std::vector<std::unique_ptr<io::RecordSink>> sinks;
  std::vector<std::unique_ptr<io::TcpStream>> streams;
  for (int i = 0; i < 5; ++i) {
    sinks.push_back(std::make_unique<io::RecordSink>());
    streams.push_back(io::TcpStream::connect(*loop, at(1), io::in_good_time(), sinks.back().get()));
    streams.back()->read_start();
  }
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].mesh->counters().accepted == 3; }));
  EXPECT_FALSE(run_until(*loop, [&] { return nodes[1].mesh->counters().accepted > 3; }, Milliseconds(50))) << "the others wait in the socket's queue";
  streams[0]->reset();
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].mesh->counters().accepted == 4; })) << "until one of the first is gone";
  EXPECT_EQ(nodes[1].mesh->counters().refused_limit, 0U);
}

TEST_P(MeshTest, SecondStreamOfAPeerReplacesTheFirst) {
  pair_up();
  // A twin of node 2 (its process restarted before the old streams were noticed to be dead).
  auto made = settings(2);
  std::vector<std::string> heard;
  MeshCallbacks callbacks;
  callbacks.on_frame = [](store::NodeId, std::string_view) {};
  auto twin = Mesh::start(*loop, std::move(made), std::move(callbacks));
  ASSERT_TRUE(twin);
  (*twin)->set_peer(id(1), at(1), name(1));
  (*twin)->send(id(1), "from the twin", true);
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].frames.size() == 1; }));
  // The first one's streams were closed; it dials again by itself.
  EXPECT_TRUE(run_until(*loop, [&] { return nodes[2].lost >= 1; }));
}

TEST_P(MeshTest, TakenPortIsNamed) {
  start(1);
  auto made = settings(2);
  made.bind = at(1);
  MeshCallbacks callbacks;
  callbacks.on_frame = [](store::NodeId, std::string_view) {};
  const auto second = Mesh::start(*loop, made, callbacks);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, io::Errc::kAddressInUse);
  made.self = store::NodeId{};
  EXPECT_EQ(Mesh::start(*loop, made, callbacks).error().code, io::Errc::kInvalidArgument);
}

struct TlsMesh : MeshTest {};
INSTANTIATE_TEST_SUITE_P(Wire, TlsMesh, ::testing::Values(true));

TEST_P(TlsMesh, CertificateOfAnotherNameIsRefused) {
  start(1);
  start(2, [](MeshSettings& made) { made.name = "node-c"; });  // its certificate says node-b
  nodes[2].mesh->set_peer(id(1), at(1), name(1));
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].mesh->counters().refused_name >= 1; }));
  EXPECT_TRUE(run_until(*loop, [&] { return nodes[1].logged("which its certificate does not carry"); }));
  nodes[1].mesh->set_peer(id(2), at(2), "");
  EXPECT_TRUE(run_until(*loop, [&] { return nodes[1].logged("does not carry the name 'node-c'"); }));
}

TEST_P(TlsMesh, NamesAreNotCheckedWhenToldSo) {
  start(1, [](MeshSettings& made) { made.check_names = false; });
  start(2, [](MeshSettings& made) {
    made.name = "node-c";
    made.check_names = false;
  });
  nodes[2].mesh->set_peer(id(1), at(1), name(1));
  EXPECT_TRUE(run_until(*loop, [&] { return nodes[2].connected == 1; }));
}

TEST_P(TlsMesh, PlainPeerOfATlsMeshGetsNowhere) {
  start(1);
  start(2, [](MeshSettings& made) { made.tls = {}; });
  nodes[2].mesh->set_peer(id(1), at(1), name(1));
  ASSERT_TRUE(run_until(*loop, [&] { return nodes[1].mesh->counters().refused_tls >= 1; }));
  EXPECT_EQ(nodes[2].connected, 0);
  nodes[1].mesh->set_peer(id(2), at(2), name(2));
  EXPECT_TRUE(run_until(*loop, [&] { return nodes[2].logged("is TLS set up on one side only?"); }));
}

TEST_P(TlsMesh, RenewedCertificatesServeNewStreams) {
  pair_up();
  nodes[1].mesh->set_tls(tls(1));
  nodes[1].mesh->set_tls({});  // TLS does not silently become plain
  nodes[1].mesh->remove_peer(id(2));
  introduce(1, 2);
  EXPECT_TRUE(run_until(*loop, [&] { return nodes[1].connected == 2; }));
}

}  // namespace
}  // namespace agent::drivers
