#pragma once
/// A proxy over memory: wires instead of sockets, a clock that the test moves, a host that writes everything down.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/http1/writer.h"
#include "proxy/proxy.h"

namespace proxy::testing {

/// The far end of one stream. Survives the stream, so that a test can look at how it ended.
struct Wire {
  StreamSink* sink = nullptr;
  std::string out;               ///< written by the proxy, not yet taken by the test
  std::size_t room = SIZE_MAX;   ///< bytes that the stream still takes
  std::size_t write_calls = 0;
  std::size_t backlog = 0;       ///< of what was taken, kept in user space
  std::size_t in_kernel = 0;     ///< of what was taken, not confirmed by the peer
  bool paused = false, shut = false, finished = false, closed = false, reset = false, destroyed = false;
  Queueing queueing = Queueing::kSome;
  Endpoint endpoint;
  std::function<void()> before_write;

  [[nodiscard]] bool over() const { return closed || reset || destroyed; }
  /// Delivers bytes in memory of their own, so that a view kept too long is found by the sanitizer.
  void send(std::string_view text) {
    while (!text.empty() && sink != nullptr) {
      ASSERT_FALSE(paused) << "bytes for a stream that is not read";
      const std::string slab(text.substr(0, 65536));
      text.remove_prefix(slab.size());
      sink->on_data(http1::bytes_of(slab));
    }
  }
  void connect() { if (sink != nullptr) sink->on_connected(); }
  void eof() { if (sink != nullptr && !paused) sink->on_eof(); }
  void fail(StreamEnd end) { if (sink != nullptr) std::exchange(sink, nullptr)->on_closed(end); }
  void make_room(std::size_t bytes) {
    room = bytes;
    if (sink != nullptr) sink->on_writable();
  }
  std::string take() { return std::exchange(out, {}); }
};

class MemoryStream final : public Stream {
 public:
  explicit MemoryStream(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}
  ~MemoryStream() override {
    wire_->sink = nullptr;
    wire_->destroyed = true;
  }
  void set_sink(StreamSink* sink) override { wire_->sink = sink; }
  std::size_t write(std::span<const Bytes> pieces) override {
    if (wire_->before_write) wire_->before_write();
    ++wire_->write_calls;
    std::size_t taken = 0;
    if (wire_->over() || wire_->sink == nullptr) return 0;
    for (const Bytes piece : pieces) {
      const std::size_t count = std::min(piece.size(), wire_->room);
      wire_->out += http1::text_of(piece.first(count));
      wire_->room -= count;
      taken += count;
      if (count < piece.size()) break;
    }
    return taken;
  }
  [[nodiscard]] std::size_t backlog_bytes() const override { return wire_->backlog; }
  [[nodiscard]] std::size_t unconfirmed_bytes() const override { return wire_->backlog + wire_->in_kernel; }
  void pause_reading() override { wire_->paused = true; }
  void resume_reading() override { wire_->paused = false; }
  void shutdown() override { wire_->shut = true; }
  void close() override { wire_->closed = true; wire_->sink = nullptr; }
  void finish() override { wire_->finished = true; close(); }
  void reset() override { wire_->reset = true; wire_->sink = nullptr; }

 private:
  std::shared_ptr<Wire> wire_;
};

struct SeenAccess {
  std::string method, target, route, request_id, client, endpoint, reason;
  int status = 0;
  std::uint32_t attempts = 0;
  Epoch epoch{};
  Outcome outcome{};
  std::uint64_t request_bytes = 0, response_bytes = 0;
  std::chrono::nanoseconds held{}, total{};
};

/// Packs nothing, but shows where it was made to give everything ('|') and where it ended ('$').
class ShowingPacker final : public Packer {
 public:
  bool pack(Bytes bytes, PackFlush flush, std::string& out) override {
    kept_ += http1::text_of(bytes);
    if (flush == PackFlush::kNone) return true;
    out += std::exchange(kept_, {}) + (flush == PackFlush::kAll ? "|" : "$");
    return true;
  }

 private:
  std::string kept_;
};

class TestHost final : public Host, public Connector {
 public:
  std::unique_ptr<Packer> lend_packer(int) override {
    if (packers_lent == packers_max) return nullptr;
    ++packers_lent;
    return std::make_unique<ShowingPacker>();
  }
  void take_packer(std::unique_ptr<Packer>) override { --packers_lent; }
  TimePoint now() override { return clock + (clock_step += step_per_read); }
  void on_access(const AccessRecord& r) override {
    if (quiet) return;
    accesses.push_back({std::string(r.method), std::string(r.target), std::string(r.route), std::string(r.request_id),
                        std::string(r.client), std::string(r.endpoint), std::string(r.reason), r.status, r.attempt_count,
                        r.epoch, r.outcome, r.request_body_bytes, r.response_body_bytes, r.held, r.total});
  }
  void on_trouble(const Endpoint& endpoint, Trouble trouble) override { troubles.emplace_back(endpoint.id, trouble); }
  void on_orders_drained(std::string_view service, Epoch epoch) override {
    drained.emplace_back(std::string(service), epoch);
  }
  void on_health_news() override { ++health_news; }
  OrderLedger* orders() override { return ledger; }
  std::unique_ptr<Stream> connect(const Endpoint& endpoint, Queueing queueing, StreamSink&) override {
    auto wire = std::make_shared<Wire>();
    wire->endpoint = endpoint;
    wire->queueing = queueing;
    upstreams.push_back(wire);
    return std::make_unique<MemoryStream>(wire);
  }
  TimePoint clock{std::chrono::hours(1)};
  std::chrono::nanoseconds clock_step{0}, step_per_read{0};
  bool quiet = false;   ///< keep no records
  std::size_t health_news = 0;
  OrderLedger* ledger = nullptr;
  std::size_t packers_lent = 0, packers_max = 2;
  std::vector<SeenAccess> accesses;
  std::vector<std::pair<EndpointId, Trouble>> troubles;
  std::vector<std::pair<std::string, Epoch>> drained;
  std::vector<std::shared_ptr<Wire>> upstreams;   ///< in order of connecting
};

inline Endpoint endpoint(std::uint64_t id, EndpointKind kind = EndpointKind::kLocal) {
  Endpoint e;
  e.id = EndpointId{id};
  e.kind = kind;
  e.address = "10.0.0." + std::to_string(id) + ":9000";
  e.node = "node" + std::to_string(id);
  return e;
}

/// Routes: POST /orders and everything under /primary to the primary of "trader"; everything else to the pool "all".
class ProxyTest : public ::testing::Test {
 protected:
  ProxyTest() {
    settings.node = "node1";
    settings.request_id.to_client = false;  // answers that can be compared whole; naming_test.cc looks at the field
  }

  void start() {
    proxy = std::make_unique<Proxy>(settings, host, host, [this](std::uint64_t bound) { return chance(bound); });
    set_routes();
  }
  void set_routes() {
    Route orders;
    orders.name = "orders";
    orders.methods = {http1::Method::kPost, http1::Method::kDelete};
    orders.path = "/orders";
    orders.kind = PoolKind::kPrimary;
    orders.service = "trader";
    orders.timeouts = timeouts;
    orders.body_bytes_max = body_bytes_max;
    orders.hold = hold;
    Route primary = orders;
    primary.name = "primary";
    primary.path = "/primary";
    primary.methods = MethodSet::every();
    Route all;
    all.name = "all";
    all.kind = PoolKind::kAll;
    all.pool = "all";
    all.service = "trader";
    all.timeouts = timeouts;
    all.body_bytes_max = body_bytes_max;
    all.retry = retry;
    Route narrow = all;
    narrow.name = "narrow";
    narrow.path = "/narrow";
    narrow.match = PathMatch::kExact;
    narrow.methods = {http1::Method::kGet, http1::Method::kPut};
    std::vector<Route> routes = {orders, primary, narrow};
    if (catch_all) routes.push_back(all);
    auto table = RouteTable::make(routes);
    ASSERT_TRUE(table) << table.error().detail;
    proxy->set_routes(*table);
  }
  void set_pool(std::vector<Endpoint> endpoints) { proxy->set_endpoints({{PoolEndpoints{"all", std::move(endpoints)}}}); }

  /// This node holds the lease until `valid_for` from now.
  void become_primary(std::uint64_t epoch, Milliseconds valid_for = Milliseconds{1500}) {
    plan_primary(epoch, valid_for);
    proxy->set_primary(view);
  }
  // The view of become_primary, which the proxy is not told yet.
  void plan_primary(std::uint64_t epoch, Milliseconds valid_for = Milliseconds{1500}) {
    lease = std::make_shared<LeaseView>(Epoch{epoch});
    extend_lease(valid_for);
    view = PrimaryView{};
    view.service = "trader";
    view.epoch = Epoch{epoch};
    view.holder = PrimaryView::Holder::kLocal;
    view.endpoint = endpoint(1);
    view.lease = lease;
  }
  void extend_lease(Milliseconds valid_for) {
    lease->valid_until_ns = std::chrono::nanoseconds((host.clock + valid_for).time_since_epoch()).count();
  }
  void peer_is_primary(std::uint64_t epoch, std::uint64_t id) {
    view = PrimaryView{};
    view.service = "trader";
    view.epoch = Epoch{epoch};
    view.holder = PrimaryView::Holder::kPeer;
    view.endpoint = endpoint(id, EndpointKind::kPeer);
    proxy->set_primary(view);
  }
  void nobody_is_primary(std::uint64_t epoch) {
    view = PrimaryView{};
    view.service = "trader";
    view.epoch = Epoch{epoch};
    proxy->set_primary(view);
  }

  std::shared_ptr<Wire> client(ListenerKind kind = ListenerKind::kDownstream, const TrustedProxies* trusted = nullptr) {
    auto wire = std::make_shared<Wire>();
    proxy->accept(std::make_unique<MemoryStream>(wire), {kind, Scheme::kHttp, "192.0.2.9", {std::shared_ptr<const void>(), trusted}});
    return wire;
  }
  [[nodiscard]] Wire& up(std::size_t index) { return *host.upstreams.at(index); }
  /// Moves time on in steps as a driver would: ticks at each deadline that comes due.
  void advance(Milliseconds by) {
    const TimePoint end = host.clock + by;
    for (int rounds = 0; rounds < 100000; ++rounds) {
      const TimePoint next = proxy->next_deadline();
      if (next > end) break;
      host.clock = std::max(host.clock, next);
      proxy->tick(host.clock);
    }
    host.clock = end;
    proxy->tick(end);
  }
  [[nodiscard]] const Counters& counters() const { return proxy->counters(); }

  Settings settings;
  RouteTimeouts timeouts;
  Milliseconds hold{5000};
  std::uint64_t body_bytes_max = 1 << 20;
  bool retry = true, catch_all = true;
  TestHost host;
  std::function<std::uint64_t(std::uint64_t)> chance = [n = std::uint64_t{0}](std::uint64_t bound) mutable {
    return (n = n * 6364136223846793005ULL + 1442695040888963407ULL) % bound;
  };
  std::unique_ptr<Proxy> proxy;
  std::shared_ptr<LeaseView> lease;
  PrimaryView view;
};

inline bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }
inline std::string get(std::string_view path) { return "GET " + std::string(path) + " HTTP/1.1\r\nHost: h\r\n\r\n"; }
inline std::string post(std::string_view path, std::string_view body) {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + std::string(body);
}
inline std::string ok(std::string_view body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}
inline std::string body_of(std::string_view message) { return std::string(message.substr(message.find("\r\n\r\n") + 4)); }
inline std::string status_line_of(std::string_view message) { return std::string(message.substr(0, message.find("\r\n"))); }

}  // namespace proxy::testing
