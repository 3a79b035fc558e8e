#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "store/store.h"
#include "tests/sim/arming_desk.h"
#include "tests/sim/egress.h"
#include "tests/sim/exchange.h"
#include "tests/sim/machine.h"
#include "tests/sim/trader.h"
#include "tests/support/random.h"

namespace sim {

/// How the clients with orders behave, and what lies between them and the exchange.
struct OrderSettings {
  int clients = 0;                       ///< 0 = none: then nothing of this file takes part in a run
  Nanos think = 40 * kMillisecond;
  std::size_t keys_max = 600;            ///< all clients together
  int tries = 40;                        ///< of one key, by its client
  bool own_ideas = false;                ///< of the traders: orders without a key
  LineSettings lines;
  agent::ArmingRules arming;
  agent::Milliseconds quiet{5'000};      ///< how long a trader may have an order in hand (trader.h, egress.h), with hangs and slow connections
};

/// The exchange's answer as the ledger has it.
[[nodiscard]] store::kv::OrderAnswer exchange_answer(const std::string& text);

/// Clients that place orders with a key and repeat them anywhere with the same key; at every agent a desk that reserves,
/// checks the lease, gives the order to the trader, records the outcome and answers, as the proxy does; the trader's way to the exchange
/// through its agent's egress; and what a new holder does before it is armed.
/// Rules (I3), each judged where it shows:
///   sent once          no key arrives twice at the exchange
///   under a lease      no order is given to a trader whose agent holds none
///   one epoch          nothing arrives before its epoch is armed, nor after a later one is: neither what was let out under an older
///                      epoch nor what was decided under one (exchange.h says what may be in flight)
///   reconciled first   not armed before what older epochs left open was asked about, and every verdict of it decided (arming_desk.h)
///   answers stay       whatever a client was told is the exchange's answer, byte for byte, and the same for ever; who was told that it
///                      was refused is right
///   rows stay          an acknowledged order is found so at every agent that has applied it, until its retention ends
///   fenced             all open reservations are of the lease's epoch
///   orders end         when all is well again no order stays reserved or unknown
/// Ownership: borrows world and machines. Bound: keys_max keys, one open call per client.
class Orders {
 public:
  Orders(World* world, std::vector<std::unique_ptr<Machine>>* machines, Halts* halts, OrderSettings settings, std::uint64_t seed);

  void start();
  void stop();
  /// No client waits any more and no ledger has an open order; else what is missing.
  [[nodiscard]] std::string unfinished() const;
  /// Every acknowledged order is at every agent; else which is not.
  void check_everywhere();
  [[nodiscard]] std::uint64_t acknowledged() const { return told_.size(); }
  [[nodiscard]] std::size_t sent() { return lines_.exchange().size(); }

 private:
  static constexpr Nanos kPatience = 1 * kSecond;         // of a client
  static constexpr Nanos kReplyWithin = 400 * kMillisecond;  // of the trader; then the outcome is unknown
  static constexpr Nanos kPatrol = 50 * kMillisecond;
  static constexpr Nanos kOperatorComes = 7 * kSecond;    // after the end of everything, where nobody else finds out

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
  /// What one life of an agent's process has beyond the store.
  struct Desk {
    std::uint64_t life = 0;
    std::set<std::string> sending;
    proxy::PrimaryView view;     // as it was published last
    Nanos mail_at = 0;           // when the newest of it is with the workers
    std::unique_ptr<Egress> egress;
    std::unique_ptr<KernelDoor> door;  // null: the kernel lets everything out
    std::unique_ptr<ArmingDesk> arming;
  };

  // Clients.
  void next(int client);
  bool draw_intent(Client& client);
  void finish(const CallPtr& call, const store::kv::OrderRow& answered);
  void acknowledge(const store::kv::OrderRow& order);

  // The desk of one agent. All of these run inside its process.
  Desk& desk(Machine& machine);
  void publish(Machine& machine);
  [[nodiscard]] bool may_send(Machine& machine, std::uint64_t epoch);
  [[nodiscard]] bool is_halted(Machine& machine, const std::string& key) const;
  void serve(Machine& machine, const CallPtr& call);
  void look(Machine& machine, const CallPtr& call);
  void reserve(Machine& machine, const CallPtr& call, std::uint64_t epoch);
  void reserved(Machine& machine, const CallPtr& call, const store::Reply* reply);
  void send(Machine& machine, const CallPtr& call, const store::kv::OrderRow& order);
  void told(Machine& machine, const CallPtr& call, store::kv::OrderOutcome word, TraderWord trader, const std::string& text);
  void record(Machine& machine, const CallPtr& call, const store::kv::OrderOutcome& word);
  void echo(Machine& machine, const store::kv::CommandBody& said);

  // Now and then.
  void patrol(std::size_t number);
  void give_up_orphans(Machine& machine, Desk& at);
  void call_operator(Machine& machine);
  void check_rows(const Machine& machine);

  void fail(const std::string& rule, const std::string& what);

  World* world_;
  std::vector<std::unique_ptr<Machine>>* machines_;
  Halts* halts_;
  OrderSettings settings_;
  support::Random random_;
  Lines lines_;
  std::vector<Client> clients_;
  std::vector<std::unique_ptr<Trader>> traders_;
  std::map<int, Desk> desks_;
  std::map<std::string, store::kv::OrderRow> told_;  // as first told to a client
  std::vector<std::string> again_;                   // acknowledged and kept for long: anybody may ask for them again
  std::vector<Intent> left_open_;                    // by clients that went on to another one
  std::size_t keys_ = 0;
  int open_calls_ = 0;
  std::uint64_t patrols_ = 0;
  bool stopped_ = false;
  Nanos stopped_at_ = 0;
};

}  // namespace sim
