#include "agent/drivers/proxy_driver.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <utility>

#include "agent/drivers/file_stream.h"
#include "agent/drivers/packers.h"
#include "agent/drivers/proxy_stream.h"
#include "agent/drivers/recent_requests.h"
#include "agent/io/crypto.h"
#include "agent/io/tcp_listener.h"
#include "agent/io/tls_stream.h"

namespace agent::drivers {
namespace {

constexpr std::size_t kNewsMax = 65'536;  // a worker reports at most a few per request; beyond it news are dropped
constexpr io::Milliseconds kTroubleEvery{20};  // of one endpoint and worker

using News = io::Mailbox<std::function<void()>>::Sender;

}  // namespace

/// One worker, built, run and destroyed on its own thread.
class ProxyWorker final : public proxy::Host, public proxy::Connector, public StreamHost, public FileHost {
 public:
  struct Reports {
    News news;
    std::function<void(const proxy::Endpoint&, proxy::Trouble)> on_trouble;               ///< runs on the control loop
    std::function<void(const std::string& service, proxy::Epoch epoch)> on_orders_drained;  ///< the same
    std::function<void()> on_health_news;  ///< the same
    AccessLog* access_log = nullptr;  ///< null = none; outlives the worker
    std::size_t number = 0;           ///< of the worker
  };

  ProxyWorker(io::Loop& loop, const ProxyDriverSettings& settings, Reports reports)
      : loop_(loop),
        settings_(settings),
        reports_(std::move(reports)),
        closing_(loop),
        timer_(loop, [this] {
          core_.tick(io::boottime_now());
          touched();
        }),
        after_turn_(loop, [this] { end_turn(); }),
        handshakes_([this](std::unique_ptr<io::ByteStream> stream, proxy::Accepted accepted) { accept(std::move(stream), std::move(accepted)); }),
        packers_(std::max<std::size_t>(1, settings.compress_streams_max / settings.threads)),
        recent_(settings.trail_bytes, settings.rules),
        core_(settings.proxy, *this, *this, [](std::uint64_t bound) { return io::random_below(bound); }) {
    for (const ProxyListen& listen : settings.listeners) policies_.push_back(listen.policy);
  }

  /// The port is known to be free; a failure here means that the system is out of something.
  io::Result<void> listen(const std::vector<io::Address>& addresses) {
    for (std::size_t i = 0; i < addresses.size(); ++i) {
      io::TcpListener::Options options;
      options.reuse_port = !addresses[i].is_unix();
      auto listener = io::TcpListener::listen(loop_, addresses[i], options, [this, i](std::unique_ptr<io::TcpStream> stream) {
        proxy::Accepted accepted;
        const io::Address peer = stream->peer_address();
        accepted.client = peer.empty() || peer.is_unix() ? "unix" : peer.host();
        accepted.trusted = &settings_.listeners[i].trusted;
        accepted.rules = policies_[i].rules;
        if (policies_[i].h2c) accepted.protocol = proxy::Protocol::kEither;
        if (!policies_[i].tls) return accept(std::move(stream), std::move(accepted));
        accepted.scheme = proxy::Scheme::kHttps;
        handshakes_.begin(std::move(stream), policies_[i], std::move(accepted));
      });
      if (!listener) return tl::make_unexpected(listener.error());
      listeners_.push_back(std::move(*listener));
    }
    return {};
  }
  void accept(std::unique_ptr<io::ByteStream> stream, proxy::Accepted accepted) {
    auto adapted = std::make_unique<ProxyStream>(*this, proxy::Queueing::kSome);
    adapted->attach_open(std::move(stream));
    core_.accept(std::move(adapted), std::move(accepted));
    touched();
  }
  void adopt(io::DetachedStream stream, std::string client) {
    proxy::Accepted accepted;
    accepted.kind = proxy::ListenerKind::kPeer;
    accepted.client = std::move(client);
    accept(io::adopt(loop_, std::move(stream)), std::move(accepted));
  }
  void set_policies(const std::vector<ListenPolicy>& policies) {
    policies_ = policies;
    core_.renew_clients();  // one connection may live for days: it comes again under the new rules
  }
  void drain(io::TimePoint deadline, std::function<void()> idle) {
    listeners_.clear();
    handshakes_.clear();  // nothing has been asked yet
    idle_ = std::move(idle);
    core_.drain(deadline);
    touched();
  }
  void set_tap(std::shared_ptr<RecordRing> ring) { tap_ = std::move(ring); }
  [[nodiscard]] std::optional<std::string> find_recent(std::string_view request_id) const { return recent_.find(request_id); }
  [[nodiscard]] proxy::Proxy& core() { return core_; }
  [[nodiscard]] const TlsCounters& tls_counters() const { return handshakes_.counters(); }

  // proxy::Host
  proxy::TimePoint now() override { return io::boottime_now(); }
  void on_access(const proxy::AccessRecord& record) override {
    if (reports_.access_log != nullptr && record.logged) reports_.access_log->take(reports_.number, record);
    if (settings_.trail_bytes > 0) recent_.add(record);
    if (tap_ == nullptr) return;
    scratch_.clear();
    append_record(scratch_, record, settings_.rules);
    (void)tap_->push(scratch_);  // counted there
  }
  void on_trouble(const proxy::Endpoint& endpoint, proxy::Trouble trouble) override {
    if (endpoint.site) return;  // no instance that could be checked
    const io::TimePoint time = io::boottime_now();
    io::TimePoint& last = troubled_[endpoint.id];
    if (time - last < kTroubleEvery) return;
    last = time;
    reports_.news.send([tell = reports_.on_trouble, endpoint, trouble] { tell(endpoint, trouble); });
  }
  void on_orders_drained(std::string_view service, proxy::Epoch epoch) override {
    reports_.news.send([tell = reports_.on_orders_drained, service = std::string(service), epoch] { tell(service, epoch); });
  }

  void on_health_news() override { reports_.news.send(reports_.on_health_news); }

  std::unique_ptr<proxy::Packer> lend_packer(int level) override { return packers_.lend(level); }
  void take_packer(std::unique_ptr<proxy::Packer> packer) override { packers_.take(std::move(packer)); }

  // proxy::Connector
  std::unique_ptr<proxy::Stream> connect(const proxy::Endpoint& endpoint, proxy::Queueing queueing,
                                         proxy::StreamSink& sink) override {
    if (endpoint.site) return std::make_unique<FileStream>(*this, endpoint.site, sink);
    auto stream = std::make_unique<ProxyStream>(*this, queueing);
    stream->set_sink(&sink);
    // An address that cannot be read makes an empty one, whose connect fails in the usual way.
    const io::Address to = io::Address::parse(endpoint.address).value_or(io::Address());
    // The proxy has its own, shorter limit; this one only keeps a forgotten attempt from staying for ever.
    const io::TimePoint deadline = io::boottime_now() + settings_.peer_connect_timeout * 10;
    if (endpoint.kind == proxy::EndpointKind::kPeer && settings_.peer_tls) {
      stream->attach_connecting(io::TlsStream::client(settings_.peer_tls, io::TcpStream::connect(loop_, to, deadline, nullptr), "",
                                                      deadline, nullptr, stream->io_sink()), {});
      return stream;
    }
    if (endpoint.kind == proxy::EndpointKind::kLocal && settings_.instance_tls) {
      const InstanceTls& tls = *settings_.instance_tls;
      stream->attach_connecting(io::TlsStream::client(tls.context, io::TcpStream::connect(loop_, to, deadline, nullptr), tls.server_name,
                                                      deadline, nullptr, stream->io_sink()), {});
      return stream;
    }
    stream->attach_connecting(io::TcpStream::connect(loop_, to, deadline, stream->io_sink()),
                              endpoint.kind == proxy::EndpointKind::kPeer ? settings_.peer_preface : "");
    return stream;
  }

  // StreamHost
  void touched() override { after_turn_.schedule(); }
  ClosingStreams& closing() override { return closing_; }

  // FileHost
  io::Loop& loop() override { return loop_; }
  void file_event() override { touched(); }
  std::span<std::byte> file_slab() override {
    if (file_slab_.empty()) file_slab_.resize(proxy::kReadBytesMax);
    return file_slab_;
  }
  std::shared_ptr<const io::FileTree> tree_of(const proxy::StaticSite& site) override {
    auto& tree = trees_[site.root];
    if (tree == nullptr) tree = io::FileTree::open(site.root).value_or(nullptr);  // asked again while it cannot be
    return tree;
  }

 private:
  void end_turn() {
    core_.send_gathered();
    const io::TimePoint deadline = core_.next_deadline();
    if (deadline == io::TimePoint::max()) timer_.disarm();
    else if (!timer_.armed() || timer_.deadline() != deadline) timer_.arm(deadline);
    if (idle_ && core_.idle() && closing_.size() == 0) std::exchange(idle_, nullptr)();
  }

  io::Loop& loop_;
  const ProxyDriverSettings& settings_;
  Reports reports_;
  ClosingStreams closing_;
  io::Timer timer_;
  io::Deferral after_turn_;
  std::map<proxy::EndpointId, io::TimePoint> troubled_;  // bounded by the endpoints that ever were
  std::vector<ListenPolicy> policies_;  // same places as settings_.listeners
  TlsAcceptor handshakes_;
  Packers packers_;
  std::vector<std::byte> file_slab_;  // 64 KiB as soon as any file is shown
  std::map<std::string, std::shared_ptr<const io::FileTree>> trees_;  // bounded by the folders that settings ever named
  std::vector<std::unique_ptr<io::TcpListener>> listeners_;
  std::function<void()> idle_;
  RecentRequests recent_;
  std::shared_ptr<RecordRing> tap_;  // null: nobody looks on
  std::string scratch_;
  proxy::Proxy core_;
};

ProxyDriver::ProxyDriver(io::Loop& loop, ProxyDriverSettings settings, ProxyDriverCallbacks callbacks)
    : settings_(std::move(settings)),
      callbacks_(std::move(callbacks)),
      news_(loop, kNewsMax, [](std::function<void()>&& news) { news(); }),
      tap_(loop, std::max<std::uint32_t>(settings_.threads, 1), settings_.proxy.node, [this](const Tap::Rings& rings) {
        for (std::size_t i = 0; i < workers_.size(); ++i) {
          post(i, [ring = i < rings.size() ? rings[i] : nullptr](ProxyWorker& worker) { worker.set_tap(ring); });
        }
      }) {
  settings_.threads = std::max<std::uint32_t>(settings_.threads, 1);
  settings_.proxy.connections_max = std::max<std::uint32_t>(1, settings_.proxy.connections_max / settings_.threads);
}

ProxyDriver::~ProxyDriver() {
  for (Worker& worker : workers_) worker.thread->stop();
  for (Worker& worker : workers_) worker.thread->join();
}

io::Result<std::unique_ptr<ProxyDriver>> ProxyDriver::start(io::Loop& loop, ProxyDriverSettings settings,
                                                            ProxyDriverCallbacks callbacks) {
  std::unique_ptr<ProxyDriver> driver(new ProxyDriver(loop, std::move(settings), std::move(callbacks)));
  if (auto bound = driver->bind_listeners(); !bound) return tl::make_unexpected(bound.error());
  if (driver->settings_.access_log) {
    driver->settings_.access_log->workers = driver->settings_.threads;
    auto log = AccessLog::start(loop, std::move(*driver->settings_.access_log), [self = driver.get()](const std::string& why) {
      if (self->callbacks_.on_access_log) self->callbacks_.on_access_log(why);
    });
    if (!log) return tl::make_unexpected(log.error());
    driver->access_log_ = std::move(*log);
  }
  for (std::size_t i = 0; i < driver->settings_.threads; ++i) {
    if (auto started = driver->start_worker(i); !started) return tl::make_unexpected(started.error());
  }
  return driver;
}

/// Finds out, before any worker starts, whether each address is free: a listener without SO_REUSEPORT fails where the
/// workers' own, which share the port, would silently share it with a stranger too.
io::Result<void> ProxyDriver::bind_listeners() {
  auto probe_loop = io::Loop::create();
  if (!probe_loop) return tl::make_unexpected(probe_loop.error());
  for (const ProxyListen& listen : settings_.listeners) {
    auto probe = io::TcpListener::listen(**probe_loop, listen.address, {}, [](std::unique_ptr<io::TcpStream>) {});
    if (!probe) return tl::make_unexpected(probe.error());
    addresses_.push_back((*probe)->local_address());
  }
  return {};
}

io::Result<void> ProxyDriver::start_worker(std::size_t number) {
  Worker worker;
  worker.core = std::make_shared<ProxyWorker*>(nullptr);
  ProxyWorker::Reports reports{
      news_.sender(), [this](const proxy::Endpoint& endpoint, proxy::Trouble trouble) { callbacks_.on_trouble(endpoint, trouble); },
      [this, number](const std::string& service, proxy::Epoch epoch) { on_worker_drained(number, service, epoch); },
      [this] {
        if (callbacks_.on_health_news) callbacks_.on_health_news();
      },
      access_log_.get(), number};
  // Unix sockets cannot be shared between listeners: the first worker has them all.
  std::vector<io::Address> addresses = addresses_;
  if (number > 0) std::erase_if(addresses, [](const io::Address& address) { return address.is_unix(); });
  // start() must not return before clients can connect: the worker says once how its listeners fared.
  struct Readiness {
    io::Result<void> listening;
    std::atomic<bool> told{false};
  };
  const auto readiness = std::make_shared<Readiness>();
  auto thread = io::Thread::start("proxy-" + std::to_string(number),
                                  [&settings = settings_, reports, addresses, slot = worker.core, readiness](io::Loop& loop) {
                                    ProxyWorker core(loop, settings, reports);
                                    readiness->listening = core.listen(addresses);
                                    *slot = &core;
                                    readiness->told = true;
                                    readiness->told.notify_all();
                                    loop.run();
                                    *slot = nullptr;
                                  });
  if (!thread) return tl::make_unexpected(thread.error());
  worker.thread = std::move(*thread);
  workers_.push_back(std::move(worker));
  readiness->told.wait(false);
  return readiness->listening;
}

bool ProxyDriver::post(std::size_t worker, std::function<void(ProxyWorker&)> task) {
  const bool posted = workers_[worker].thread->post([slot = workers_[worker].core, task = std::move(task)] {
    if (*slot == nullptr) return;
    task(**slot);
    (*slot)->touched();
  });
  if (!posted) ++messages_lost_;
  return posted;
}

void ProxyDriver::post_all(const std::function<void(ProxyWorker&)>& task) {
  for (std::size_t i = 0; i < workers_.size(); ++i) post(i, task);
}

void ProxyDriver::publish_routes(std::shared_ptr<const proxy::RouteTable> routes) {
  post_all([routes](ProxyWorker& worker) { worker.core().set_routes(routes); });
}

void ProxyDriver::publish_endpoints(proxy::EndpointTable endpoints) {
  std::map<proxy::EndpointId, std::shared_ptr<proxy::EndpointShare>> kept;
  for (proxy::PoolEndpoints& pool : endpoints.pools) {
    for (proxy::Endpoint& endpoint : pool.endpoints) {
      auto& share = kept[endpoint.id];
      if (share == nullptr) share = shares_[endpoint.id];
      if (share == nullptr) share = std::make_shared<proxy::EndpointShare>();
      endpoint.share = share;
    }
  }
  if (const auto holder = shares_.find(holder_); holder != shares_.end()) kept.insert(*holder);
  shares_ = std::move(kept);
  const auto shared = std::make_shared<const proxy::EndpointTable>(std::move(endpoints));
  post_all([shared](ProxyWorker& worker) { worker.core().set_endpoints(*shared); });
}

std::shared_ptr<proxy::EndpointShare> ProxyDriver::share_of(proxy::EndpointId id) const {
  const auto found = shares_.find(id);
  return found == shares_.end() ? nullptr : found->second;
}

void ProxyDriver::publish_listeners(std::vector<ListenPolicy> policies) {
  if (policies.size() != settings_.listeners.size()) return;  // listeners come and go with a restart
  const auto shared = std::make_shared<const std::vector<ListenPolicy>>(std::move(policies));
  post_all([shared](ProxyWorker& worker) { worker.set_policies(*shared); });
}

void ProxyDriver::publish_primary(proxy::PrimaryView view) {
  // Whichever of view and table comes first: the workers share one memory of the endpoint.
  if (view.holder != proxy::PrimaryView::Holder::kNone) {
    holder_ = view.endpoint.id;
    auto& share = shares_[holder_];
    if (share == nullptr) share = std::make_shared<proxy::EndpointShare>();
    view.endpoint.share = share;
  }
  const auto shared = std::make_shared<const proxy::PrimaryView>(std::move(view));
  const bool asked = shared->holder == proxy::PrimaryView::Holder::kLocal && !shared->accepts_new;
  // The same view may be published again; a worker answers it once.
  if (!asked || !drained_.asked || drained_.epoch != shared->epoch) drained_ = {shared->service, shared->epoch, asked, {}};
  post_all([shared](ProxyWorker& worker) { worker.core().set_primary(*shared); });
}

void ProxyDriver::on_worker_drained(std::size_t worker, const std::string& service, proxy::Epoch epoch) {
  if (!drained_.asked || service != drained_.service || epoch != drained_.epoch) return;
  drained_.workers.insert(worker);
  if (drained_.workers.size() == workers_.size()) callbacks_.on_orders_drained(service, epoch);
}

void ProxyDriver::hand_over(io::DetachedStream stream, std::string client) {
  const auto shared = std::make_shared<io::DetachedStream>(std::move(stream));
  next_worker_ = (next_worker_ + 1) % workers_.size();
  post(next_worker_, [shared, client = std::move(client)](ProxyWorker& worker) { worker.adopt(std::move(*shared), client); });
}

void ProxyDriver::totals(std::function<void(ProxyTotals)> done) {
  struct Gathering {
    ProxyTotals totals;
    std::map<proxy::EndpointId, std::size_t> places;
    std::map<std::string, std::size_t> routes;
    std::size_t waiting = 0;
    std::function<void(ProxyTotals)> done;
  };
  const auto gathering = std::make_shared<Gathering>();
  gathering->waiting = workers_.size();
  if (access_log_) gathering->totals.access_log = access_log_->counters();
  gathering->done = std::move(done);
  const auto arrived = [gathering](const proxy::Counters& counters, const std::vector<proxy::Proxy::EndpointStatus>& endpoints,
                                   const std::vector<proxy::Proxy::RouteStatus>& routes, const TlsCounters& tls) {
    gathering->totals.counters.add(counters);
    for (const auto& one : routes) {
      const auto [place, fresh] = gathering->routes.emplace(one.name, gathering->totals.routes.size());
      if (fresh) gathering->totals.routes.push_back({one.name, {}, {}});
      gathering->totals.routes[place->second].counters.add(one.counters);
      gathering->totals.routes[place->second].times.add(one.times);
    }
    gathering->totals.tls.add(tls);
    for (const auto& one : endpoints) {
      const auto [place, fresh] = gathering->places.emplace(one.id, gathering->totals.endpoints.size());
      if (fresh) {
        gathering->totals.endpoints.push_back(one);
        continue;
      }
      auto& sum = gathering->totals.endpoints[place->second];
      sum.in_flight += one.in_flight;
      sum.idle_connections += one.idle_connections;
      sum.requests += one.requests;
      sum.failures += one.failures;
      sum.ejected = sum.ejected || one.ejected;
      sum.times.add(one.times);
      sum.latency_ns = std::max(sum.latency_ns, one.latency_ns);
    }
    if (--gathering->waiting == 0) gathering->done(std::move(gathering->totals));
  };
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const bool posted = post(i, [news = news_.sender(), arrived](ProxyWorker& worker) {
      proxy::Proxy& core = worker.core();
      news.send([arrived, counters = core.counters(), endpoints = core.endpoints(), routes = core.routes(), tls = worker.tls_counters()] {
        arrived(counters, endpoints, routes, tls);
      });
    });
    // A worker that cannot be asked counts as empty, but never inside this call.
    if (!posted) news_.sender().send([arrived] { arrived({}, {}, {}, {}); });
  }
}

void ProxyDriver::recent(const std::string& request_id, std::function<void(std::optional<std::string>)> done) {
  struct Gathering {
    std::optional<std::string> found;
    std::size_t waiting = 0;
    std::function<void(std::optional<std::string>)> done;
  };
  const auto gathering = std::make_shared<Gathering>();
  gathering->waiting = workers_.size();
  gathering->done = std::move(done);
  const auto arrived = [gathering](const std::optional<std::string>& found) {
    if (found) gathering->found = found;
    if (--gathering->waiting == 0) gathering->done(std::move(gathering->found));
  };
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const bool posted = post(i, [news = news_.sender(), arrived, request_id](ProxyWorker& worker) {
      news.send([arrived, found = worker.find_recent(request_id)] { arrived(found); });
    });
    if (!posted) news_.sender().send([arrived] { arrived(std::nullopt); });
  }
}

void ProxyDriver::reopen_access_log() {
  if (access_log_) access_log_->reopen();
}

void ProxyDriver::drain(io::TimePoint deadline, std::function<void()> done) {
  const auto waiting = std::make_shared<std::size_t>(workers_.size());
  const auto idle = [waiting, done = std::move(done)] {
    if (--*waiting == 0) done();
  };
  post_all([deadline, idle, news = news_.sender()](ProxyWorker& worker) {
    worker.drain(deadline, [news, idle] { news.send(idle); });
  });
}

}  // namespace agent::drivers
