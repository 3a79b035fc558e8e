#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "agent/primary.h"
#include "gossip/swim.h"
#include "proxy/upstream.h"
#include "store/store.h"
#include "tests/sim/machine.h"

namespace sim {

/// One life of an agent's process: the three cores, wired as agent/ wires them, over simulated drivers.
/// A call runs one core; settle() then carries everything out that the cores ask for, until none asks for more.
/// Ownership: lives inside Machine; whatever it leaves with the scheduler is tied to its life by Machine::run.
class Process {
 public:
  using Answer = std::function<void(const store::Reply* reply)>;  ///< null: the process ended without an answer

  explicit Process(Machine* machine);
  ~Process();

  void begin();    ///< first step of the life
  void settle();   ///< obey all outputs, arm all timers
  void abandon();  ///< the process is ending: everybody who waits for an answer is told
  void tick(Alarm alarm);

  // --- Requests, from clients on this machine. `answer` runs exactly once, from the scheduler. ---
  void write(store::kv::CommandBody body, std::chrono::milliseconds patience, Answer answer);
  void read(store::Consistency consistency, std::chrono::milliseconds patience, Answer answer);
  void renew_session(store::kv::SessionId session, std::chrono::milliseconds patience, Answer answer);
  void drain();
  void undrain();
  void switchover(agent::HolderId target);
  void transfer_leadership();
  void send_to_peer(RaftId peer, const std::string& frame);  ///< over the urgent stream of the mesh
  void leave();  ///< gives the role away and says goodbye; the process still has to be ended

  // --- From instance and network. ---
  void on_instance(agent::InstanceState state);
  void on_wall_clock(std::uint64_t wall_ms) { store_->on_wall_clock(wall_ms, now()); }
  void on_space(store::disk::Space space) { store_->on_space(space, now()); }
  void on_datagram(int from, const Bytes& bytes);
  void on_datagram_refused(int to);
  void on_accepted(ConnectionId id, int from, Port port);
  void on_connected(ConnectionId id);
  void on_received(ConnectionId id, Bytes bytes);
  void on_closed(ConnectionId id, CloseReason reason);

  // --- For checkers. ---
  [[nodiscard]] const store::Store& store() const { return *store_; }
  [[nodiscard]] bool has_store() const { return store_ != nullptr; }
  [[nodiscard]] const gossip::Swim& swim() const { return *swim_; }
  [[nodiscard]] const agent::Primary& primary() const { return primary_; }
  [[nodiscard]] const Mesh& mesh() const { return mesh_; }
  /// May an order be written to the instance at local time `now`? As the proxy sees it (the published copy) or as
  /// the core itself does: either is enough to do harm.
  [[nodiscard]] bool passes_orders(store::TimePoint now) const {
    return now < gate_until_ || primary_.may_write(now);
  }
  [[nodiscard]] agent::Epoch gate_epoch() const { return gate_epoch_; }
  /// As the proxy reads it, from whichever thread; null until there was one.
  [[nodiscard]] const std::shared_ptr<proxy::LeaseView>& lease_view() const { return lease_view_; }
  [[nodiscard]] std::size_t requests_open() const { return answers_.size(); }

 private:
  store::TimePoint now() const { return machine_->local_now(); }
  void begin_store();
  void begin_gossip();
  bool settle_gossip();
  bool settle_store();
  bool settle_primary();
  void arm_timers();

  void obey(const gossip::SendDatagram& output);
  void obey(const gossip::OpenStream& output);
  void obey(const gossip::SendStream& output);
  void obey(const gossip::CloseStream& output);
  void obey(const gossip::Event& event);
  void obey(const gossip::Persist& output);
  void tell_members();

  void obey(store::Output& output);
  void on_event(const store::Event& event);
  void announce_cluster();
  void feed_lease();

  void obey(const agent::PrimaryOutput& output);
  void answer_primary(agent::RequestNo request, const store::Reply* reply);
  store::RequestNo open_request(Answer answer);

  Machine* machine_;
  World* world_;
  std::unique_ptr<gossip::Swim> swim_;
  std::unique_ptr<store::Store> store_;
  agent::Primary primary_;
  Mesh mesh_;
  std::map<gossip::StreamId, ConnectionId> streams_;
  std::map<ConnectionId, gossip::StreamId> stream_of_;
  std::map<store::RequestNo, Answer> answers_;
  std::uint64_t next_request_ = 1;
  bool members_changed_ = true;
  bool disk_failed_ = false;  ///< a batch failed: the store has to stop, and is right to
  agent::Epoch gate_epoch_{};
  store::TimePoint gate_until_ = store::TimePoint::min();
  agent::LeaseRecord lease_fed_;
  std::shared_ptr<proxy::LeaseView> lease_view_;
};

}  // namespace sim
