#include "agent/drivers/proxy_driver.h"

#include <gtest/gtest.h>

#include <future>

#include "agent/drivers/http_client.h"
#include "agent/drivers/mesh_wire.h"
#include "agent/io/tcp_listener.h"
#include "tests/unit/agent/drivers/fake_instance.h"
#include "tests/unit/agent/io/tls_fixture.h"

namespace agent::drivers {
namespace {

using namespace std::chrono_literals;

/// Two real workers on real sockets; instance and client live on the test's own loop.
class ProxyDriverTest : public ::testing::Test {
 protected:
  void begin(std::uint32_t threads = 2) {
    ProxyDriverSettings settings;
    settings.threads = threads;
    settings.proxy.node = "n1";
    settings.listeners.push_back({io::Address::loopback(0), nullptr, policy});
    settings.instance_tls = instance_tls;
    settings.peer_preface = kHttpPreface;
    settings.part_idle = io::kPatience;
    ProxyDriverCallbacks callbacks;
    callbacks.on_trouble = [this](const proxy::Endpoint& endpoint, proxy::Trouble trouble) { troubles.emplace_back(endpoint.id, trouble); };
    callbacks.on_orders_drained = [this](const std::string& service, proxy::Epoch epoch) {
      EXPECT_EQ(service, "trader");
      drained.push_back(epoch);
    };
    auto started = ProxyDriver::start(*loop, std::move(settings), std::move(callbacks));
    ASSERT_TRUE(started) << started.error().detail;
    driver = std::move(*started);
    proxy::Route orders;
    orders.name = "orders";
    orders.path = "/orders";
    orders.kind = proxy::PoolKind::kPrimary;
    orders.service = orders.pool = "trader";
    orders.hold = 600s;
    orders.timeouts = {60s, 60s, 60s, 60s, 600s};
    proxy::Route rest;
    rest.timeouts = orders.timeouts;
    rest.name = "rest";
    rest.service = rest.pool = "trader";
    driver->publish_routes(*proxy::RouteTable::make({orders, rest}));
    driver->publish_endpoints({{{"trader", {local()}}}});
  }
  proxy::Endpoint local() const {
    proxy::Endpoint endpoint;
    endpoint.id = proxy::EndpointId{1};
    endpoint.address = instance.address.to_string();
    endpoint.node = "n1";
    return endpoint;
  }
  proxy::PrimaryView view(const std::shared_ptr<proxy::LeaseView>& lease, bool accepts_new = true) const {
    proxy::PrimaryView made;
    made.service = "trader";
    made.epoch = lease->epoch;
    made.holder = proxy::PrimaryView::Holder::kLocal;
    made.endpoint = local();
    made.lease = lease;
    made.accepts_new = accepts_new;
    return made;
  }
  static std::shared_ptr<proxy::LeaseView> lease_for(std::uint64_t epoch, io::Milliseconds time) {
    auto lease = std::make_shared<proxy::LeaseView>(proxy::Epoch{epoch});
    lease->valid_until_ns = std::chrono::duration_cast<std::chrono::nanoseconds>((io::boottime_now() + time).time_since_epoch()).count();
    return lease;
  }
  struct Call {
    explicit Call(std::unique_ptr<HttpClient> made) : client(std::move(made)) {}
    std::unique_ptr<HttpClient> client;
    std::optional<io::Result<HttpAnswer>> answer;
    [[nodiscard]] int status() const { return answer && *answer ? (*answer)->status : 0; }
  };
  std::unique_ptr<Call> call(const std::string& method, const std::string& target, std::shared_ptr<const io::TlsContext> tls = nullptr,
                             const std::string& name = {}) {
    // The place is known also when nobody listens there any more.
    if (const auto places = driver->listen_addresses(); !places.empty()) entry_ = places[0];
    auto made = std::make_unique<Call>(std::make_unique<HttpClient>(*loop, entry_, "h"));
    if (tls) made->client->use_tls(std::move(tls), name, nullptr);
    made->client->request(method, target, {}, method == "POST" ? "order" : "", in_good_time(),
                          [call = made.get()](io::Result<HttpAnswer> answer) { call->answer = std::move(answer); });
    return made;
  }
  static ListenPolicy patient() {
    ListenPolicy made;
    made.handshake_timeout = io::kPatience;
    return made;
  }
  static io::TlsOptions listener_options() {
    io::TlsOptions options = io::tls_files().options(io::TlsRole::kServer, "server");
    options.verify = io::TlsVerify::kNone;
    options.min_version = io::TlsVersion::kTls12;
    options.alpn = {"http/1.1"};
    return options;
  }
  /// A client that takes any certificate.
  static std::shared_ptr<const io::TlsContext> trusting() {
    io::TlsOptions options;
    options.role = io::TlsRole::kClient;
    options.verify = io::TlsVerify::kNone;
    return io::TlsFixture::load(options);
  }
  int finish(Call& call) {
    EXPECT_TRUE(run_until(*loop, [&] { return call.answer.has_value(); }));
    return call.status();
  }
  /// @param hung  so many workers will not answer; whoever else is late is asked again
  ProxyTotals totals(std::size_t hung = 0) {
    for (const io::TimePoint end = in_good_time();;) {
      std::optional<ProxyTotals> got;
      driver->totals([&](ProxyTotals one) { got = std::move(one); });
      EXPECT_FALSE(got);
      EXPECT_TRUE(run_until(*loop, [&] { return got.has_value(); }));
      if (!got || got->workers_missing <= hung || io::boottime_now() > end) return got.value_or(ProxyTotals{});
    }
  }

  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  FakeInstance instance{*loop};
  ListenPolicy policy = patient();
  std::optional<InstanceTls> instance_tls;
  std::vector<std::pair<proxy::EndpointId, proxy::Trouble>> troubles;
  std::vector<proxy::Epoch> drained;
  std::unique_ptr<ProxyDriver> driver;
  io::Address entry_;
};

TEST_F(ProxyDriverTest, RequestsReachTheInstanceThroughWorkersAndAreCounted) {
  instance.body = "from the instance";
  begin();
  for (int i = 0; i < 8; ++i) {
    auto one = call("GET", "/x");
    EXPECT_EQ(finish(*one), 200);
    EXPECT_EQ((*one->answer)->body, "from the instance");
  }
  EXPECT_EQ(instance.requests.size(), 8u);
  const ProxyTotals sum = totals();
  EXPECT_EQ(sum.counters.requests, 8u);
  ASSERT_EQ(sum.endpoints.size(), 1u) << "one endpoint, however many workers have it";
  EXPECT_EQ(sum.endpoints[0].requests, 8u);
}

// Who looks at an agent while something is wrong with it must not wait for what is wrong.
TEST_F(ProxyDriverTest, FiguresOfAWorkerThatHangsAreThoseThatItToldLast) {
  begin();
  for (int i = 0; i < 8; ++i) {
    auto one = call("GET", "/x");
    EXPECT_EQ(finish(*one), 200);
  }
  ASSERT_EQ(totals().counters.requests, 8U);
  std::promise<void> waked;
  ASSERT_TRUE(driver->tell(1, [until = waked.get_future().share()](proxy::Proxy&) { until.wait(); }));
  const ProxyTotals sum = totals(1);
  EXPECT_EQ(sum.workers_missing, 1U);
  EXPECT_EQ(sum.counters.requests, 8U) << "a counter does not go down";
  std::optional<std::size_t> missing;
  driver->recent("none", [&](const std::optional<std::string>&, std::size_t of) { missing = of; });
  EXPECT_TRUE(run_until(*loop, [&] { return missing.has_value(); }));
  EXPECT_EQ(missing, 1U);
  waked.set_value();
  EXPECT_TRUE(run_until(*loop, [&] { return totals(1).workers_missing == 0; }));
}

TEST_F(ProxyDriverTest, AnOrderIsHeldUntilALeaseIsThereAndStopsWhenTheGateCloses) {
  begin();
  auto held = call("POST", "/orders");
  ASSERT_TRUE(run_until(*loop, [&] { return totals().counters.held_now == 1; }));
  EXPECT_TRUE(instance.requests.empty());
  const auto lease = lease_for(3, 600s);
  driver->publish_primary(view(lease));
  EXPECT_EQ(finish(*held), 200);
  EXPECT_EQ(instance.requests.at(0), "POST /orders order");
  lease->valid_until_ns = 0;  // what the control loop does on a yield, without asking any worker
  auto late = call("POST", "/orders");
  ASSERT_TRUE(run_until(*loop, [&] { return totals().counters.held_now == 1; }));
  EXPECT_EQ(instance.requests.size(), 1u) << "not one byte under a lease that is over";
  const auto next = lease_for(4, 600s);
  driver->publish_primary(view(next));
  EXPECT_EQ(finish(*late), 200);
  EXPECT_EQ(totals().counters.late_lease_writes, 0u);
}

TEST_F(ProxyDriverTest, DrainedMeansEveryWorkerHasSaidSo) {
  begin(3);
  const auto lease = lease_for(5, 600s);
  driver->publish_primary(view(lease));
  instance.answers = false;
  auto order = call("POST", "/orders");
  ASSERT_TRUE(run_until(*loop, [&] { return instance.requests.size() == 1; }));
  driver->publish_primary(view(lease, false));
  ASSERT_EQ(totals().counters.open_exchanges, 1u);
  EXPECT_TRUE(drained.empty()) << "an order is still at the instance";
  instance.die();
  finish(*order);
  ASSERT_TRUE(run_until(*loop, [&] { return !drained.empty(); }));
  EXPECT_EQ(drained, std::vector{proxy::Epoch{5}});
}

TEST_F(ProxyDriverTest, ARefusedInstanceIsReportedToTheControlLoop) {
  begin();
  instance.die();
  auto one = call("GET", "/x");
  EXPECT_EQ(finish(*one), 502);
  ASSERT_TRUE(run_until(*loop, [&] { return !troubles.empty(); }));
  EXPECT_EQ(troubles[0], std::make_pair(proxy::EndpointId{1}, proxy::Trouble::kRefused));
}

TEST_F(ProxyDriverTest, APeersStreamIsServedByTheLocalInstanceOnly) {
  begin();
  // The control loop accepts the peer, sees what it speaks, and hands the open stream to a worker.
  auto listener = io::TcpListener::listen(*loop, io::Address::loopback(0), {}, [this](std::unique_ptr<io::TcpStream> stream) {
    auto detached = stream->detach();
    ASSERT_TRUE(detached);
    driver->hand_over(std::move(*detached), "127.0.0.1");
  });
  ASSERT_TRUE(listener);
  HttpClient peer(*loop, (*listener)->local_address(), "h");
  std::optional<io::Result<HttpAnswer>> got;
  const auto keep = [&](io::Result<HttpAnswer> answer) { got = std::move(answer); };
  peer.request("GET", "/x", {{"X-Outrigger-Hop", "1"}}, "", in_good_time(), keep);
  ASSERT_TRUE(run_until(*loop, [&] { return got.has_value(); }));
  ASSERT_TRUE(*got) << got->error().detail;
  EXPECT_EQ((*got)->status, 200);
  got.reset();
  peer.request("POST", "/orders", {{"X-Outrigger-Hop", "1"}}, "o", in_good_time(), keep);
  ASSERT_TRUE(run_until(*loop, [&] { return got.has_value(); }));
  ASSERT_TRUE(*got) << got->error().detail;
  EXPECT_EQ((*got)->status, 421) << "not the primary, and a peer's request never hops again";
  EXPECT_EQ(instance.requests.size(), 1u);
}

TEST_F(ProxyDriverTest, ClientsAreServedOverTlsAndCounted) {
  policy.tls = io::TlsFixture::load(listener_options());
  begin();
  auto one = call("GET", "/x", trusting());
  EXPECT_EQ(finish(*one), 200);
  auto plain = call("GET", "/x");
  finish(*plain);
  EXPECT_FALSE(*plain->answer) << "no TLS, no service";
  ASSERT_TRUE(run_until(*loop, [&] { return totals().tls.protocol == 1; }));
  EXPECT_EQ(totals().tls.tls13, 1U);
  EXPECT_EQ(instance.requests.size(), 1U);
}

TEST_F(ProxyDriverTest, NewCertificatesAreForNewConnections) {
  policy.tls = io::TlsFixture::load(listener_options());
  begin();
  auto old = call("GET", "/x", trusting());
  EXPECT_EQ(finish(*old), 200);
  ListenPolicy renewed = patient();
  io::TlsOptions options = listener_options();
  options.certificates = {{io::tls_files().path("client.pem"), io::tls_files().path("client.key"), {}}};
  renewed.tls = io::TlsFixture::load(options);
  const io::Address place = driver->listen_addresses()[0];
  ASSERT_TRUE(driver->publish_listeners({{io::Address::loopback(0), nullptr, renewed}}));
  EXPECT_EQ(driver->listen_addresses()[0], place) << "the same listener, under newer settings";
  static_cast<void>(totals());  // every worker answers behind what it was told before
  // The kept connection goes on under the certificate that it began with.
  old->answer.reset();
  old->client->request("GET", "/y", {}, "", in_good_time(), [&](io::Result<HttpAnswer> answer) { old->answer = std::move(answer); });
  EXPECT_EQ(finish(*old), 200);
  io::TlsOptions strict = io::tls_files().options(io::TlsRole::kClient, "");
  auto fresh = call("GET", "/z", io::TlsFixture::load(strict), "node-b");
  EXPECT_EQ(finish(*fresh), 200) << "the new one carries node-b";
}

TEST_F(ProxyDriverTest, ASilentClientIsLetGoAtTheDeadlineOfItsHandshake) {
  policy.tls = io::TlsFixture::load(listener_options());
  policy.handshake_timeout = 30ms;
  begin(1);
  struct Silent : io::StreamSink {
    void on_read(std::span<const std::byte>) override {}
    void on_end() override { over = true; }
    void on_error(const io::Error&) override { over = true; }
    bool over = false;
  } sink;
  auto silent = io::TcpStream::connect(*loop, driver->listen_addresses()[0], in_good_time(), &sink);
  silent->read_start();
  EXPECT_TRUE(run_until(*loop, [&] { return sink.over; }));
  EXPECT_EQ(totals().tls.timed_out, 1U);
}

TEST_F(ProxyDriverTest, TheInstanceIsSpokenToOverTlsUnderTheSameLease) {
  instance.tls = io::TlsFixture::load(listener_options());
  instance_tls = InstanceTls{io::TlsFixture::load(io::tls_files().options(io::TlsRole::kClient, "")), "node-a"};
  begin();
  auto read = call("GET", "/x");
  EXPECT_EQ(finish(*read), 200);
  const auto lease = lease_for(3, 600s);
  driver->publish_primary(view(lease));
  auto order = call("POST", "/orders");
  EXPECT_EQ(finish(*order), 200);
  EXPECT_EQ(instance.requests.back(), "POST /orders order");
  lease->valid_until_ns = 0;
  const std::size_t before = instance.requests.size();
  auto late = call("POST", "/orders");
  ASSERT_TRUE(run_until(*loop, [&] { return totals().counters.held_now == 1; }));
  EXPECT_EQ(instance.requests.size(), before) << "not one byte under a lease that is over";
  EXPECT_EQ(totals().counters.late_lease_writes, 0u);
}

TEST_F(ProxyDriverTest, AnInstanceOfAnotherNameGetsNothing) {
  instance.tls = io::TlsFixture::load(listener_options());
  instance_tls = InstanceTls{io::TlsFixture::load(io::tls_files().options(io::TlsRole::kClient, "")), "node-z"};
  begin();
  auto read = call("GET", "/x");
  EXPECT_GE(finish(*read), 502);
  EXPECT_TRUE(instance.requests.empty());
}

TEST_F(ProxyDriverTest, ADrainEndsWhenTheClientsAreGone) {
  begin();
  auto one = call("GET", "/x");
  EXPECT_EQ(finish(*one), 200);
  bool over = false;
  driver->drain(in_good_time(), [&] { over = true; });
  EXPECT_TRUE(run_until(*loop, [&] { return over; })) << "the idle keep-alive connection is closed";
  auto refused = call("GET", "/x");
  finish(*refused);
  EXPECT_FALSE(*refused->answer) << "the listeners are closed";
}

TEST_F(ProxyDriverTest, ListenersComeAndGoWhileTheRestServes) {
  begin();
  const auto first = std::vector<ProxyListen>{{io::Address::loopback(0), nullptr, policy}};
  const io::Address other = *io::Address::ip("127.0.0.3", 0);
  auto kept = call("GET", "/kept");
  EXPECT_EQ(finish(*kept), 200);
  auto both = first;
  both.push_back({other, nullptr, policy});
  ASSERT_TRUE(driver->publish_listeners(both));
  ASSERT_EQ(driver->listen_addresses().size(), 2U);
  auto on_new = std::make_unique<Call>(std::make_unique<HttpClient>(*loop, driver->listen_addresses()[1], "h"));
  const auto ask = [&](Call& call, const std::string& target) {
    call.answer.reset();
    call.client->request("GET", target, {}, "", in_good_time(), [&call](io::Result<HttpAnswer> answer) { call.answer = std::move(answer); });
    return finish(call);
  };
  EXPECT_EQ(ask(*on_new, "/new"), 200);
  const io::Address gone = driver->listen_addresses()[1];
  ASSERT_TRUE(driver->publish_listeners(first));
  EXPECT_EQ(ask(*on_new, "/one-more"), 200) << "an idle connection may still bring a request";
  EXPECT_EQ(ask(*kept, "/kept"), 200) << "other listeners' connections notice nothing";
  ASSERT_TRUE(run_until(*loop, [&] {
    HttpClient client(*loop, gone, "h");
    std::optional<io::Result<HttpAnswer>> answer;
    client.request("GET", "/x", {}, "", in_good_time(), [&](io::Result<HttpAnswer> got) { answer = std::move(got); });
    EXPECT_TRUE(run_until(*loop, [&] { return answer.has_value(); }));
    return !*answer;
  })) << "and then nobody listens there";
  EXPECT_EQ(driver->listen_addresses().size(), 1U);
}

TEST_F(ProxyDriverTest, ANewListenerThatCannotBeOpenedChangesNothing) {
  begin();
  auto taken = std::move(*io::TcpListener::listen(*loop, io::Address::loopback(0), {}, [](auto) {}));
  const auto refused = driver->publish_listeners({{*io::Address::ip("127.0.0.3", 0), nullptr, policy}, {taken->local_address(), nullptr, policy}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, io::Errc::kAddressInUse);
  EXPECT_EQ(driver->listen_addresses().size(), 1U);
  auto one = call("GET", "/x");
  EXPECT_EQ(finish(*one), 200);
}

TEST_F(ProxyDriverTest, ARetiringDriverServesWhatItHasAndLeavesItsSocketsOpen) {
  begin();
  auto kept = call("GET", "/x");
  EXPECT_EQ(finish(*kept), 200);
  bool over = false;
  driver->retire(in_good_time(), in_good_time(), [&] { over = true; });
  kept->answer.reset();
  kept->client->request("GET", "/y", {}, "", in_good_time(), [&](io::Result<HttpAnswer> answer) { kept->answer = std::move(answer); });
  EXPECT_EQ(finish(*kept), 200);
  EXPECT_TRUE(run_until(*loop, [&] { return over; })) << "that answer has ended the connection";
  EXPECT_EQ(driver->listen_addresses().size(), 1U) << "a successor has them now; this process only stops to accept";
}

TEST_F(ProxyDriverTest, AnAddressThatSomebodyElseUsesIsRefusedAlthoughWorkersShareTheirs) {
  begin();
  ProxyDriverSettings settings;
  settings.listeners.push_back({driver->listen_addresses()[0], nullptr, {}});
  const auto second = ProxyDriver::start(*loop, std::move(settings), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, io::Errc::kAddressInUse);
}

}  // namespace
}  // namespace agent::drivers
