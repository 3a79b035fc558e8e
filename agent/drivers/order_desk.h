#pragma once
/// Between the workers' proxies and the replicated ledger of orders: questions in, reservations and outcomes out.
///
/// Workers put their questions into a mailbox; the control loop writes them to the store, all of one turn in one append and
/// one sync, and posts what was decided back. Three promises:
///  1. A reservation that nobody waits for any more is taken back (NOT_SENT), also one whose word came too late.
///  2. An outcome is written until the store has decided on it, however long there is no majority. It ends with the process;
///     the next epoch then makes the order UNKNOWN.
///  3. An answer that is known here already is given without a word to anybody: DONE is for ever.
/// Bound: kCallsMax questions between two turns, kPendingMax outcomes that are not decided; beyond them orders are refused,
/// and outcomes counted as lost (the order stays RESERVED until the next epoch).
/// Source: order.h of the proxy and of the store's kv. Thread: the control loop; the ledgers belong to their workers.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "agent/drivers/store_driver.h"
#include "agent/io/loop.h"
#include "agent/io/mailbox.h"
#include "agent/io/timer.h"
#include "proxy/proxy.h"

namespace agent::drivers {

struct OrderDeskSettings {
  store::NodeId self{};
  io::Milliseconds reserve_timeout{3000};  ///< for one reservation to be decided
  io::Milliseconds settle_timeout{5000};   ///< for one try to write an outcome; then once more
  io::Milliseconds retry_pause{250};
};

/// All are called on the control loop.
struct OrderDeskCallbacks {
  /// To Proxy::order_told of that worker. @param unclaimed  to be called, on any thread, if that answers false
  /// @return false: the worker will not hear of it
  std::function<bool(std::size_t worker, proxy::OrderTicket ticket, proxy::OrderReply reply, std::function<void()> unclaimed)> told;
  /// To Proxy::order_recorded.
  std::function<void(std::size_t worker, proxy::OrderTicket ticket, bool recorded, const proxy::OrderCommit& commit)> recorded;
  std::function<void(std::string_view what, const std::string& detail)> log;  ///< what an operator should know
};

struct OrderDeskCounters {
  std::uint64_t reserved = 0, settled = 0;
  std::uint64_t taken_back = 0;   ///< reservations that nobody waited for
  std::uint64_t retried = 0;      ///< outcomes that had to be written again
  std::uint64_t refused = 0;      ///< outcomes that the ledger did not take: it has another end
  std::uint64_t lost = 0;         ///< beyond a bound
  std::uint64_t pending = 0;      ///< gauge: outcomes that are not decided yet
};

class OrderDesk {
 public:
  static constexpr std::size_t kCallsMax = 65'536, kPendingMax = 65'536, kDoubtfulMax = 4'096;

  OrderDesk(io::Loop& loop, const OrderDeskSettings& settings, OrderDeskCallbacks callbacks);
  ~OrderDesk();
  OrderDesk(const OrderDesk&) = delete;
  OrderDesk& operator=(const OrderDesk&) = delete;

  /// The store may go and come while workers live: without one whoever asks is sent on at once (kStale), who waits for
  /// a reservation hears that it may not send (kUnavailable), and outcomes wait.
  /// @param store  null = none; to be called before it goes
  void use(StoreDriver* store);
  /// The face of the ledger for one worker; may outlive the desk.
  [[nodiscard]] std::unique_ptr<proxy::OrderLedger> ledger_for(std::size_t worker);
  [[nodiscard]] const OrderDeskCounters& counters() const { return counters_; }

 private:
  struct Call {
    enum class Kind : std::uint8_t { kReserve, kAbandon, kSettle } kind = Kind::kReserve;
    std::size_t worker = 0;
    proxy::OrderTicket ticket{};
    proxy::OrderRequest request{};
    std::uint64_t reservation = 0;
    proxy::OrderEnd end{};
    std::shared_ptr<const proxy::OrderAnswer> answer{};
    io::TimePoint proposed{};  ///< when it was first written
  };
  class WorkerLedger;
  /// Whose reservation it is: of one worker's ticket.
  using Waiter = std::pair<std::size_t, proxy::OrderTicket>;
  /// A reservation whose answer never came: it may have been made all the same, or be made yet.
  struct Doubtful {
    store::kv::OrderName name;
    store::kv::Epoch epoch{};
    io::TimePoint until{};
  };

  void take(Call&& call);
  void reserve(Call&& call);
  void decided(const Waiter& waiter, const proxy::OrderRequest& request, io::TimePoint proposed, store::Result<store::Written> written);
  void tell(const Waiter& waiter, proxy::OrderReply reply, const proxy::OrderRequest& request);
  void settle(Call&& call);
  void write_outcome(std::uint64_t number);
  static void shorten(Call& call);
  void outcome_decided(std::uint64_t number, const store::Result<store::Written>& written);
  void look_at_doubtful();
  void on_timer();

  StoreDriver* store_ = nullptr;
  OrderDeskSettings settings_;
  OrderDeskCallbacks callbacks_;
  io::Mailbox<Call> calls_;
  io::Timer timer_;
  std::set<Waiter> waiting_;                 // reservations under way that somebody waits for
  std::set<std::uint64_t> ours_;             // reservations that an exchange has, or that are being settled
  std::map<std::uint64_t, Call> pending_;    // outcomes by number, until they are decided
  std::set<std::uint64_t> again_;            // of these, to be written again
  std::vector<Doubtful> doubtful_;
  std::uint64_t last_number_ = 0;
  OrderDeskCounters counters_;
  std::shared_ptr<bool> alive_;              // of the store in use: completions that come later find nobody
};

/// Rows of the ledger as the proxy replays them, and back.
[[nodiscard]] std::shared_ptr<const proxy::OrderAnswer> answer_of(const store::kv::Order& order);
[[nodiscard]] store::kv::OrderAnswer answer_row(const proxy::OrderAnswer& answer);

}  // namespace agent::drivers
