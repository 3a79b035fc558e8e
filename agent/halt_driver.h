#pragma once
/// Carries out what HaltKeeper decides: keeps halts on disk, sends them, writes them to the log, and tells the proxy's workers.
/// Source:    decisions 0071 and 0090.
/// Ownership: of the agent; the loop and what its parts call outlive it. Thread: the control loop.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/api/halt_backend.h"
#include "agent/config_idempotency.h"
#include "agent/drivers/store_driver.h"
#include "agent/halt_disk.h"
#include "agent/halt_keeper.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"
#include "proxy/halt.h"
#include "proxy/observe.h"

namespace agent {

class Families;

/// The view of the workers. @param settings  which header names the account
[[nodiscard]] proxy::HaltView halt_view(const store::kv::HaltSet& set, const HaltConfig& settings);
/// "global", "broker:NAME", "account:ID", "route:NAME". @return false: none of them
[[nodiscard]] bool parse_scope(std::string_view text, store::kv::Halt& out);

struct HaltDriverParts {
  std::string path;  ///< of the file
  std::string node;  ///< name of this agent
  HaltConfig settings;
  store::kv::HaltSet known;  ///< what stood in this process before, besides the file
  io::Milliseconds write_timeout{5000};
  std::function<std::uint64_t(std::uint64_t)> chance;
  std::function<void(store::NodeId to, std::string frame)> send;
  std::function<void(std::shared_ptr<const proxy::HaltView>)> publish;
  std::function<void(std::string_view event, const std::string& detail)> log;
  /// Of HaltDisk; empty: io::replace_file.
  std::function<io::Result<void>(const std::string& path, std::string_view bytes)> write{};
  io::Milliseconds late = HaltDiskParts{}.late;
};

class HaltDriver final : public api::HaltBackend {
 public:
  /// Reads the file, or begins one. One that was damaged is put aside and everything is halted: nobody knows what it said.
  /// Errors: kPermission, kDiskFull, kIo.
  static io::Result<std::unique_ptr<HaltDriver>> start(io::Loop& loop, HaltDriverParts parts);
  ~HaltDriver() override;

  void use(drivers::StoreDriver* store);  ///< null: it is going
  void use(HaltConfig settings);          ///< newer ones
  void publish();                         ///< to workers that know nothing yet
  void on_frame(store::NodeId from, std::string_view frame);
  void on_connected(store::NodeId peer);
  void on_lost(store::NodeId peer) { keeper_.on_lost(peer); }
  [[nodiscard]] const HaltKeeper& keeper() const { return keeper_; }
  /// Whether what stands is in the file, and another try if the last one failed.
  [[nodiscard]] HaltDisk::State kept() const { return disk_.state(); }
  void keep_again() { disk_.again(); }
  void add_metrics(Families& out, const proxy::Counters& proxy) const;

  // api::HaltBackend
  [[nodiscard]] std::vector<api::HaltInfo> halts() const override;
  api::Result<api::HaltInfo> halt(api::HaltRequest request) override;
  void when_kept(api::HaltInfo given, api::Completion<api::HaltInfo> done) override;
  void resume(api::ResumeRequest request, api::Completion<api::ResumeInfo> done) override;

 private:
  HaltDriver(io::Loop& loop, HaltDriverParts parts, HaltFile file, store::kv::HaltSet held);
  void carry_out();
  void record();
  void watch();
  void catch_up();
  void tick();
  [[nodiscard]] api::HaltInfo info(const store::kv::Halt& halt) const;
  void lift(api::ResumeRequest request, api::Completion<api::ResumeInfo> done);
  api::Result<std::vector<store::kv::HaltTag>> tags_of(const api::ResumeRequest& request) const;

  static constexpr io::Milliseconds kLookAgain{500};   ///< at the log, while there was no watch to be had

  io::Loop& loop_;
  HaltDriverParts parts_;
  HaltKeeper keeper_;
  drivers::StoreDriver* store_ = nullptr;
  std::optional<store::kv::WatchId> watch_;
  std::shared_ptr<bool> alive_;  ///< of `store_`: its answers after that mean nothing
  io::TimePoint look_at_ = io::TimePoint::max();  ///< max: the watch tells
  io::TimePoint ask_at_ = io::TimePoint::max();   ///< a majority, what the log has: it has not said so yet
  io::Timer timer_;
  HaltDisk disk_;
};

}  // namespace agent
