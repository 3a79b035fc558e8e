#include "agent/drivers/proxy_driver.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <utility>

#include "agent/drivers/proxy_worker.h"
#include "agent/drivers/worker_report.h"

namespace agent::drivers {
namespace {

constexpr std::size_t kNewsMax = 65'536;  // a worker reports at most a few per request; beyond it news are dropped

}  // namespace

ProxyDriver::ProxyDriver(io::Loop& loop, ProxyDriverSettings settings, ProxyDriverCallbacks callbacks)
    : settings_(std::move(settings)),
      callbacks_(std::move(callbacks)),
      news_(loop, kNewsMax, [](std::function<void()>&& news) { news(); }),
      tap_(loop, std::max<std::uint32_t>(settings_.threads, 1), settings_.proxy.node, [this](const Tap::Rings& rings) {
        for (std::size_t i = 0; i < workers_.size(); ++i) {
          post(i, [ring = i < rings.size() ? rings[i] : nullptr](ProxyWorker& worker) { worker.set_tap(ring); });
        }
      }),
      roll_call_(loop, std::max<std::uint32_t>(settings_.threads, 1)),
      reports_(std::max<std::uint32_t>(settings_.threads, 1)) {
  settings_.threads = std::max<std::uint32_t>(settings_.threads, 1);
  settings_.proxy.connections_max = std::max<std::uint32_t>(1, settings_.proxy.connections_max / settings_.threads);
}

ProxyDriver::~ProxyDriver() {
  for (Worker& worker : workers_) worker.thread->stop();
  for (Worker& worker : workers_) worker.thread->join();
}

io::Result<std::unique_ptr<ProxyDriver>> ProxyDriver::start(io::Loop& loop, ProxyDriverSettings settings,
                                                            ProxyDriverCallbacks callbacks) {
  const std::vector<ProxyListen> listeners = std::exchange(settings.listeners, {});
  std::unique_ptr<ProxyDriver> driver(new ProxyDriver(loop, std::move(settings), std::move(callbacks)));
  for (const ProxyListen& listen : listeners) {
    auto place = driver->open_place(listen);
    if (!place) return tl::make_unexpected(place.error());
    driver->places_.push_back(std::move(*place));
  }
  if (auto begun = driver->start_writers(loop); !begun) return tl::make_unexpected(begun.error());
  for (std::size_t i = 0; i < driver->settings_.threads; ++i) {
    if (auto started = driver->start_worker(i, listeners); !started) return tl::make_unexpected(started.error());
  }
  return driver;
}

/// Whoever takes what workers have to say must be there before they are.
io::Result<void> ProxyDriver::start_writers(io::Loop& loop) {
  if (settings_.access_log) {
    settings_.access_log->workers = settings_.threads;
    auto log = AccessLog::start(loop, std::move(*settings_.access_log), [this](const std::string& why) {
      if (callbacks_.on_access_log) callbacks_.on_access_log(why);
    });
    if (!log) return tl::make_unexpected(log.error());
    access_log_ = std::move(*log);
  }
  if (settings_.spans) {
    settings_.spans->workers = settings_.threads;
    auto spans = SpanExporter::start(loop, std::move(*settings_.spans), [this](const std::string& why) {
      if (callbacks_.on_spans) callbacks_.on_spans(why);
    });
    if (!spans) return tl::make_unexpected(spans.error());
    spans_ = std::move(*spans);
  }
  return {};
}

/// One socket per worker, all on one port. Whether it is free is found out without SO_REUSEPORT first, which would
/// silently share it with a stranger. Sockets that were brought along are all taken, however many they are: each has a
/// queue of its own, and what waits there must be accepted by somebody.
io::Result<ProxyDriver::Place> ProxyDriver::open_place(const ProxyListen& listen) {
  Place place;
  place.name = listen.address.to_string();
  place.id = ++place_count_;
  place.is_egress = listen.egress != nullptr;
  io::ListenOptions options;
  options.reuse_port = !listen.address.is_unix();
  const std::string name = io::SocketShelf::name_of(io::SocketKind::kStream, listen.address);
  while (io::SocketShelf::here().has(name)) {
    auto socket = io::ListenSocket::open(listen.address, options);
    if (!socket) return tl::make_unexpected(socket.error());
    place.sockets.push_back(std::move(*socket));
  }
  // Unix sockets cannot be shared between listeners: the first worker has them all.
  const std::size_t wanted = listen.address.is_unix() ? 1 : settings_.threads;
  const bool brought = !place.sockets.empty();
  io::Address address = brought ? place.sockets[0]->local_address() : listen.address;
  if (!brought && !address.is_unix()) {
    const auto free = io::ListenSocket::probe(address);
    if (!free) return tl::make_unexpected(free.error());
    address = *free;
  }
  while (place.sockets.size() < wanted) {
    auto socket = io::ListenSocket::open(address, options, listen.address);
    // A socket of the service manager's need not allow others beside it; the workers then share it.
    if (!socket && brought && socket.error().code == io::Errc::kAddressInUse) break;
    if (!socket) return tl::make_unexpected(socket.error());
    place.sockets.push_back(std::move(*socket));
  }
  return place;
}

std::vector<const io::ListenSocket*> ProxyDriver::sockets_of(const Place& place, std::size_t worker) const {
  std::vector<const io::ListenSocket*> out;
  for (std::size_t i = worker; i < place.sockets.size(); i += settings_.threads) out.push_back(place.sockets[i].get());
  if (out.empty() && !place.sockets[0]->local_address().is_unix()) out.push_back(place.sockets[worker % place.sockets.size()].get());
  return out;
}

io::Result<void> ProxyDriver::start_worker(std::size_t number, const std::vector<ProxyListen>& listeners) {
  Worker worker;
  worker.core = std::make_shared<ProxyWorker*>(nullptr);
  ProxyWorker::Reports reports{
      news_.sender(), [this](const proxy::Endpoint& endpoint, proxy::Trouble trouble) { callbacks_.on_trouble(endpoint, trouble); },
      [this, number](const std::string& service, proxy::Epoch epoch) { on_worker_drained(number, service, epoch); },
      [this](std::uint64_t id) { on_place_left(id); },
      [this] {
        if (callbacks_.on_health_news) callbacks_.on_health_news();
      },
      [this](proxy::RateMemberId owner, std::string frame) {
        if (callbacks_.on_rate_questions) callbacks_.on_rate_questions(owner, std::move(frame));
      },
      access_log_.get(), spans_.get(), number, settings_.ledger ? std::shared_ptr<proxy::OrderLedger>(settings_.ledger(number)) : nullptr};
  // start() must not return before clients can connect: the worker says once how its listeners fared.
  struct Readiness {
    io::Result<void> listening;
    std::atomic<bool> told{false};
  };
  struct First {
    std::uint64_t id;
    std::shared_ptr<const ProxyListen> settings;
    std::vector<const io::ListenSocket*> sockets;
  };
  std::vector<First> first;
  for (std::size_t i = 0; i < listeners.size(); ++i)
    first.push_back({places_[i].id, std::make_shared<const ProxyListen>(listeners[i]), sockets_of(places_[i], number)});
  const auto readiness = std::make_shared<Readiness>();
  auto thread = io::Thread::start("proxy-" + std::to_string(number),
                                  [&settings = settings_, reports, first, slot = worker.core, readiness](io::Loop& loop) {
                                    ProxyWorker core(loop, settings, reports);
                                    for (const First& one : first) {
                                      if (readiness->listening) readiness->listening = core.listen(one.id, one.settings, one.sockets);
                                    }
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

void ProxyDriver::start_accepting() {
  settings_.accepting = true;
  post_all([](ProxyWorker& worker) { worker.start_accepting(); });
}

io::Result<void> ProxyDriver::publish_listeners(const std::vector<ProxyListen>& listeners) {
  std::vector<Place> opened;
  const auto named = [](std::vector<Place>& places, const std::string& name) {
    return std::find_if(places.begin(), places.end(), [&](const Place& one) { return one.name == name; });
  };
  std::vector<std::string> present;  // several may have one name: that of port 0
  for (const Place& place : places_) present.push_back(place.name);
  for (const ProxyListen& listen : listeners) {
    const auto old = std::find(present.begin(), present.end(), listen.address.to_string());
    if (old != present.end()) {
      present.erase(old);
      continue;
    }
    auto place = open_place(listen);
    if (!place) return tl::make_unexpected(place.error());
    opened.push_back(std::move(*place));
  }
  std::vector<Place> next;
  for (const ProxyListen& listen : listeners) {
    const auto settings = std::make_shared<const ProxyListen>(listen);
    const std::string name = listen.address.to_string();
    if (const auto old = named(places_, name); old != places_.end()) {
      post_all([id = old->id, settings](ProxyWorker& worker) { worker.renew(id, settings); });
      next.push_back(std::move(*old));
      next.back().is_egress = listen.egress != nullptr;
      places_.erase(old);
      continue;
    }
    const auto fresh = named(opened, name);
    next.push_back(std::move(*fresh));
    opened.erase(fresh);
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      // Out of watches or memory: that worker goes without, the others serve.
      post(i, [id = next.back().id, settings, sockets = sockets_of(next.back(), i)](ProxyWorker& worker) {
        static_cast<void>(worker.listen(id, settings, sockets));
      });
    }
  }
  for (Place& gone : places_) close_place(std::move(gone));
  places_ = std::move(next);
  post_all([](ProxyWorker& worker) { worker.renew_clients(); });
  return {};
}

/// Its sockets are closed when no worker watches them any more.
void ProxyDriver::close_place(Place place) {
  place.watched_by = workers_.size();
  const std::uint64_t id = place.id;
  leaving_.push_back(std::move(place));
  post_all([id](ProxyWorker& worker) { worker.leave(id); });
}

void ProxyDriver::on_place_left(std::uint64_t id) {
  const auto found = std::find_if(leaving_.begin(), leaving_.end(), [id](const Place& one) { return one.id == id; });
  if (found != leaving_.end() && --found->watched_by == 0) leaving_.erase(found);
}

std::vector<io::Address> ProxyDriver::listen_addresses() const {
  std::vector<io::Address> out;
  for (const Place& place : places_) out.push_back(place.sockets[0]->local_address());
  return out;
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

bool ProxyDriver::tell(std::size_t worker, std::function<void(proxy::Proxy&)> task) {
  if (worker >= workers_.size()) return false;
  return post(worker, [task = std::move(task)](ProxyWorker& own) { task(own.core()); });
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
  post_all([shared](ProxyWorker& worker) {
    worker.core().set_endpoints(*shared);
    worker.relay().set_endpoints(*shared);
  });
}

std::shared_ptr<proxy::EndpointShare> ProxyDriver::share_of(proxy::EndpointId id) const {
  const auto found = shares_.find(id);
  return found == shares_.end() ? nullptr : found->second;
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
  view_ = shared;
  post_all([shared](ProxyWorker& worker) { worker.set_primary(*shared); });
}

void ProxyDriver::publish_egress(std::shared_ptr<const EgressNews> news) {
  post_all([news = std::move(news), view = view_](ProxyWorker& worker) { worker.set_egress(*news, view.get()); });
}

void ProxyDriver::publish_halts(std::shared_ptr<const proxy::HaltView> halts) {
  post_all([halts](ProxyWorker& worker) { worker.set_halts(halts); });
}

void ProxyDriver::publish_rate_members(std::shared_ptr<const proxy::RateMembers> members) {
  post_all([members](ProxyWorker& worker) { worker.core().set_rate_members(members); });
}

void ProxyDriver::deliver_rates(std::uint16_t worker, proxy::RateMemberId owner, std::vector<proxy::RateAnswer> answers) {
  if (worker >= workers_.size()) return;
  post(worker, [owner, answers = std::move(answers)](ProxyWorker& core) { core.core().rate_answers(owner, answers); });
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
  const auto ask = [this](RollCall::Number number, std::size_t i) {
    return post(i, [this, number, i, news = news_.sender()](ProxyWorker& worker) {
      proxy::Proxy& core = worker.core();
      auto report = std::make_shared<const WorkerReport>(WorkerReport{core.counters(), core.endpoints(), core.routes(), worker.tls_counters(), worker.header_counters(),
                                                                      worker.hello_counters(), worker.relay().counters(), core.rate_counters(), worker.egress_totals()});
      news.send([this, number, i, report = std::move(report)]() mutable {
        reports_[i] = std::move(report);
        roll_call_.answered(number, i);
      });
    });
  };
  // Of one that does not answer it is what it said last: a counter that goes down for a while would look like a new beginning.
  roll_call_.call(ask, [this, done = std::move(done)](std::size_t missing) {
    ProxyTotals sum = sum_of(reports_);
    sum.workers_missing = missing;
    if (access_log_) sum.access_log = access_log_->counters();
    if (spans_) sum.spans = spans_->counters();
    done(std::move(sum));
  });
}

void ProxyDriver::recent(const std::string& request_id, std::function<void(std::optional<std::string>, std::size_t missing)> done) {
  const auto found = std::make_shared<std::optional<std::string>>();
  const auto ask = [this, found, &request_id](RollCall::Number number, std::size_t i) {
    return post(i, [this, number, i, found, news = news_.sender(), request_id](ProxyWorker& worker) {
      news.send([this, number, i, found, one = worker.find_recent(request_id)] {
        if (one) *found = one;
        roll_call_.answered(number, i);
      });
    });
  };
  roll_call_.call(ask, [found, done = std::move(done)](std::size_t missing) { done(std::move(*found), missing); });
}

void ProxyDriver::reopen_access_log() {
  if (access_log_) access_log_->reopen();
}

std::function<void()> ProxyDriver::after_all_workers(std::function<void()> done) const {
  return [waiting = std::make_shared<std::size_t>(workers_.size()), done = std::move(done)] {
    if (--*waiting == 0) done();
  };
}

void ProxyDriver::close_places(PlacesOf whose) {
  std::vector<Place> staying;
  for (Place& place : std::exchange(places_, {})) {
    if (whose == PlacesOf::kClients && place.is_egress) staying.push_back(std::move(place));
    else close_place(std::move(place));
  }
  places_ = std::move(staying);
}

void ProxyDriver::drain(io::TimePoint deadline, std::function<void()> done) {
  close_places(PlacesOf::kClients);
  post_all([deadline, idle = after_all_workers(std::move(done)), news = news_.sender()](ProxyWorker& worker) {
    worker.drain(deadline, [news, idle] { news.send(idle); });
  });
}

void ProxyDriver::drain_egress(io::TimePoint deadline) {
  close_places(PlacesOf::kAll);
  post_all([deadline](ProxyWorker& worker) { worker.drain_egress(deadline); });
}

void ProxyDriver::retire(io::TimePoint idle_until, io::TimePoint deadline, std::function<void()> done) {
  post_all([idle_until, deadline, idle = after_all_workers(std::move(done)), news = news_.sender()](ProxyWorker& worker) {
    worker.retire(idle_until, deadline, [news, idle] { news.send(idle); });
  });
}

}  // namespace agent::drivers
