#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "store/store.h"
#include "tests/sim/machine.h"
#include "tests/support/random.h"

namespace sim {

/// How the clients with orders behave.
struct OrderSettings {
  int clients = 0;                       ///< 0 = none: then nothing of this file takes part in a run
  Nanos think = 40 * kMillisecond;
  std::size_t keys_max = 600;            ///< all clients together
  int tries = 40;                        ///< of one key, by its client
  std::uint32_t lost_reply_ppm = 80'000; ///< of the exchange's replies
  std::uint32_t slow_ppm = 150'000;      ///< connections to it that take up to a second: the role may go in between
  std::uint32_t refused_ppm = 60'000;    ///< connections to the exchange that are refused: surely nothing was sent
};

/// The exchange, the only witness that counts: what arrived there, how often and under which epoch. It never asks whether it
/// had an order before, it carries out whatever comes.
class Exchange {
 public:
  struct Arrival {
    std::uint64_t epoch = 0;
    std::string answer;
    int count = 0;
  };
  /// @return what is wrong with it, or nothing
  std::string arrive(const std::string& key, std::uint64_t epoch);
  [[nodiscard]] const Arrival* find(const std::string& key) const;
  /// A holder has asked about everything that was open and goes on: nothing older may come any more.
  void reconciled(std::uint64_t epoch) { reconciled_ = std::max(reconciled_, epoch); }
  [[nodiscard]] std::size_t size() const { return arrivals_.size(); }

 private:
  std::map<std::string, Arrival> arrivals_;
  std::uint64_t reconciled_ = 0;
};

/// Clients that place orders with a key and repeat them anywhere with the same key; at every agent a desk that reserves,
/// checks the lease, sends, records the outcome and answers, as the proxy does; and the reconcile hook of a new holder.
/// Rules (I3), each judged where it shows:
///   sent once          no key arrives twice at the exchange
///   no old epoch       nothing arrives under an epoch before that of a holder that has reconciled
///   answers stay       whatever a client was told is the exchange's answer, byte for byte, and the same for ever
///   rows stay          an acknowledged order is found so at every agent that has applied it, until its retention ends
///   one epoch          all open reservations are of the lease's epoch
///   orders end         when all is well again no order stays reserved or unknown
/// Ownership: borrows world and machines. Bound: keys_max keys, one open call per client.
class Orders {
 public:
  Orders(World* world, std::vector<std::unique_ptr<Machine>>* machines, OrderSettings settings, std::uint64_t seed);

  void start();
  void stop() { stopped_ = true; }
  /// No client waits any more and no ledger has an open order; else what is missing.
  [[nodiscard]] std::string unfinished() const;
  /// Every acknowledged order is at every agent; else which is not.
  void check_everywhere();
  [[nodiscard]] std::uint64_t acknowledged() const { return told_.size(); }
  [[nodiscard]] std::size_t sent() const { return exchange_.size(); }

 private:
  static constexpr Nanos kPatience = 1 * kSecond;         // of a client
  static constexpr Nanos kReplyWithin = 400 * kMillisecond;  // of the exchange; then the outcome is unknown
  static constexpr Nanos kWayMax = 20 * kMillisecond;     // of bytes to the exchange or back
  static constexpr Nanos kFenceWait = 150 * kMillisecond; // before a new holder asks: bytes under way have arrived by then
  static constexpr Nanos kPatrol = 50 * kMillisecond;

  struct Intent {
    std::string key;
    Nanos began = 0;
    std::uint64_t retention_ms = 0;
    int tries = 0;
    /// Beyond its retention a key is a new order: by then nobody may repeat it, with all delays on its way.
    [[nodiscard]] Nanos last_try() const { return began + static_cast<Nanos>(retention_ms / 8) * kMillisecond; }
  };
  struct Client {
    Intent intent;  // key empty = none
  };
  struct Call {
    int client = 0;
    Intent intent;
    bool open = true;
  };
  using CallPtr = std::shared_ptr<Call>;
  /// What one life of an agent's process knows beyond the store.
  struct Desk {
    std::uint64_t life = 0;
    std::set<std::string> sending, asking;
    std::uint64_t epoch = 0, armed = 0;  // whose fence we wait for; that has been reconciled
    Nanos since = 0;
  };

  // Clients.
  void next(int client);
  bool draw_intent(Client& client);
  void finish(const CallPtr& call, const store::kv::OrderRow& answered);
  void acknowledge(const store::kv::OrderRow& order);

  // The desk of one agent. All of these run inside its process.
  Desk& desk(Machine& machine);
  void later(Machine& machine, Nanos delay, std::function<void()> task);  // only if that life still goes on
  void serve(Machine& machine, const CallPtr& call);
  void look(Machine& machine, const CallPtr& call);
  void reserve(Machine& machine, const CallPtr& call);
  void reserved(Machine& machine, const CallPtr& call, const store::Reply* reply);
  void send(Machine& machine, const CallPtr& call, const store::kv::OrderRow& order);
  void record(Machine& machine, const CallPtr& call, const store::kv::OrderOutcome& word);

  void echo(Machine& machine, const store::kv::CommandBody& said);

  // The holder's hook.
  void patrol(std::size_t number);
  void reconcile(Machine& machine, Desk& at);
  void ask(Machine& machine, const store::kv::OrderRow& order);
  void give_up_orphans(Machine& machine, Desk& at);
  void check_rows(const Machine& machine);

  void fail(const std::string& rule, const std::string& what);
  Nanos way() { return random_.between(kMillisecond / 5, kWayMax); }

  World* world_;
  std::vector<std::unique_ptr<Machine>>* machines_;
  OrderSettings settings_;
  support::Random random_;
  Exchange exchange_;
  std::vector<Client> clients_;
  std::map<int, Desk> desks_;
  std::map<std::string, store::kv::OrderRow> told_;  // as first told to a client
  std::vector<std::string> again_;                   // acknowledged and kept for long: anybody may ask for them again
  std::size_t keys_ = 0;
  int open_calls_ = 0;
  std::uint64_t patrols_ = 0;
  bool stopped_ = false;
};

}  // namespace sim
