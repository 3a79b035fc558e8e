#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/machine.h"
#include "tests/support/random.h"

namespace sim {

/// One order on its way to the exchange.
struct Parcel {
  std::string key;
  std::uint64_t decided = 0;  ///< epoch under which the trader was given it, or decided on it, as the trader says
  std::uint64_t epoch = 0;    ///< under which the agent's egress let it out
};

/// The exchange, the only witness that counts: what arrived there, how often and under which epoch. It never asks whether it
/// had an order before, it carries out whatever comes.
class Exchange {
 public:
  struct Arrival {
    Parcel parcel;
    std::string answer;
    int machine = 0;
    int count = 0;
  };
  /// @return what is wrong with it, or nothing
  std::string arrive(const Parcel& parcel, int machine);
  [[nodiscard]] const Arrival* find(const std::string& key) const;
  /// A holder has found out what was open and goes on: nothing older may come any more.
  void armed(std::uint64_t epoch) { armed_ = std::max(armed_, epoch); }
  /// A client was told for good that it was not placed. @return false: it was
  [[nodiscard]] bool refused(const std::string& key) {
    refused_.insert(key);
    return !arrivals_.contains(key);
  }
  [[nodiscard]] std::size_t size() const { return arrivals_.size(); }

 private:
  std::map<std::string, Arrival> arrivals_;
  std::set<std::string> refused_;
  std::uint64_t armed_ = 0;
};

/// How connections to the exchange behave.
struct LineSettings {
  bool kernel_permit = false;             ///< every machine's kernel lets out only what a permit of the present epoch allows
  std::uint32_t lost_reply_ppm = 80'000;  ///< of the exchange's replies
  std::uint32_t refused_ppm = 60'000;     ///< connections that are refused: surely nothing was sent
  std::uint32_t slow_ppm = 150'000;       ///< connections that take up to a second: the role may go in between
  std::uint32_t stall_ppm = 0;            ///< of writes that meet a way that carries nothing for a while
  Nanos stall_max = 0;
  std::uint32_t far_ppm = 200'000;        ///< of bytes that are on their way for longer than usual
};

enum class LineId : std::uint64_t {};

/// TCP from the machines to the exchange, with what lies in their kernels. What a process has written is the kernel's: it
/// leaves at once, or when the way carries bytes again, whatever becomes of the process, until the connection is reset. A
/// reset takes back what has not left. What has left arrives within kWayMax. With kernel_permit the kernel lets bytes of a connection
/// out while the permit that the connection was opened under is there, and resets the connection when it is not.
/// What a process in user space can promise ends where it hangs: nobody resets then. Without the kernel's permit the model therefore ends
/// what blocks the way of a machine kHungStall after its agent was stopped; with it the way may stay blocked for as long as it likes. So
/// everything that was written under a lease has arrived, or never will, in_flight_max() after that lease was over or given back.
/// Ownership: borrows world and machines; the events of a line are dropped with it.
class Lines {
 public:
  static constexpr Nanos kWayUsual = 20 * kMillisecond, kWayMax = 80 * kMillisecond;
  static constexpr Nanos kHungStall = 40 * kMillisecond, kLook = 20 * kMillisecond;
  static constexpr Nanos kDoorLag = 10 * kMillisecond;  ///< timers of the kernel

  /// All called from the scheduler, in no process. After `reset` nothing more comes.
  struct Events {
    std::function<void(LineId)> connected;
    std::function<void(LineId, const std::string& answer)> replied;
    std::function<void(LineId)> reset;  ///< or refused
  };

  Lines(World* world, std::vector<std::unique_ptr<Machine>>* machines, LineSettings settings, std::uint64_t seed)
      : world_(world), machines_(machines), settings_(settings), random_(seed, 0x6c696e6573), kernels_(32) {}

  LineId connect(int machine, Events events);
  /// Bytes of an order; it is carried out when the last ones arrive.
  void write(LineId id, const Parcel& parcel, bool last);
  /// By its process: nobody hears of it.
  void reset(LineId id) { lines_.erase(id); }
  /// The process that had them has ended, or its machine.
  void end_all(int machine, bool powerless);

  // --- The kernel's permit (deploy/kernel-permit), by a program that outlives the agent. ---
  void permit(int machine, std::uint64_t epoch, store::TimePoint until);
  void revoke(int machine) { kernels_[static_cast<std::size_t>(machine)].until = store::TimePoint::min(); }

  [[nodiscard]] Exchange& exchange() { return exchange_; }
  static constexpr Nanos in_flight_max() { return kHungStall + 2 * kLook + kDoorLag + kWayMax; }
  [[nodiscard]] const LineSettings& settings() const { return settings_; }
  Nanos way() { return random_.between(kMillisecond / 5, random_.chance_ppm(settings_.far_ppm) ? kWayMax : kWayUsual); }

 private:
  struct Segment {
    Parcel parcel;
    bool last = false;
  };
  struct Line {
    int machine = 0;
    std::uint64_t mark = 0;     // of the permit under which it was opened
    bool up = false;
    std::uint64_t carried = 0;  // epoch of what it has carried; 0 = nothing
    Nanos last_arrival = 0;
    bool flushing = false;      // a later look at what waits is planned
    std::deque<Segment> waiting;  // in the kernel
    Events events;
  };
  struct Kernel {
    Nanos stalled_until = 0;
    std::uint64_t stop = 0;  // the last stop of its agent that was met while the way was blocked
    std::uint64_t mark = 0;
    store::TimePoint until = store::TimePoint::min();
  };

  [[nodiscard]] bool lets_out(int machine, std::uint64_t mark) const;
  [[nodiscard]] Nanos blocked_until(int machine);
  void flush(LineId id);
  void leave(LineId id, Line& line, const Segment& segment);
  void arrived(LineId id, int machine, const Segment& segment);
  void cut(LineId id);

  World* world_;
  std::vector<std::unique_ptr<Machine>>* machines_;
  LineSettings settings_;
  support::Random random_;
  Exchange exchange_;
  std::map<LineId, Line> lines_;
  std::vector<Kernel> kernels_;
  std::uint64_t next_ = 1;
};

}  // namespace sim
