#pragma once
/// When which check of a registered service runs, and what its results come to: a core without socket, process, clock.
///
/// Source:    status rules as Consul's clients know them: a check starts critical unless told otherwise, a TTL check
///            whose owner is silent turns critical, SuccessBeforePassing and FailuresBeforeCritical count results in a
///            row, DeregisterCriticalServiceAfter ends a service nobody mends.
/// Contract:  set / on_result / update_ttl / tick take `now`; afterwards take_output() is carried out and one timer is
///            armed at next_deadline(). Same calls with the same chance give the same outputs.
/// Bounds:    kRunningMax runs at a time, kProgramsMax of them programs; a check that is due waits for its turn, in
///            order of due times. One check never runs twice at a time. Outputs are cut to kOutputBytesMax.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace agent::drivers {

enum class CheckState : std::uint8_t { kPassing, kWarning, kCritical };

/// How one check is made. Two equal plans are the same check: replacing one by the other disturbs nothing.
struct CheckPlan {
  enum class Kind : std::uint8_t { kTtl, kHttp, kTcp, kProgram };
  std::string id;
  std::string service_id;  ///< empty: a check of the node
  Kind kind = Kind::kTtl;
  std::chrono::milliseconds ttl{0};  ///< kTtl
  std::string target;                ///< kHttp: URL; kTcp: "host:port"
  std::string method, body;          ///< kHttp
  std::map<std::string, std::vector<std::string>> header;  ///< kHttp
  bool tls_skip_verify = false;                            ///< kHttp: any certificate will do
  std::string tls_server_name;                             ///< kHttp: name that it must carry; empty = the URL's host
  bool disable_redirects = false;                          ///< kHttp: a redirect is the answer
  std::vector<std::string> args;                           ///< kProgram
  std::chrono::milliseconds interval{10000};               ///< from start to start; below kIntervalMin counts as that
  std::chrono::milliseconds timeout{10000};
  std::uint32_t success_before_passing = 0;    ///< good or warning results in a row that it takes; 0 as 1
  std::uint32_t failures_before_critical = 0;  ///< bad results in a row that it takes; 0 as 1 (TTL: never counted)
  std::chrono::milliseconds deregister_after{0};  ///< 0 = never; below kDeregisterMin counts as that
  friend bool operator==(const CheckPlan&, const CheckPlan&) = default;
};

class CheckSchedule {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Chance = std::function<std::uint64_t(std::uint64_t bound)>;
  using Milliseconds = std::chrono::milliseconds;
  enum class RunId : std::uint64_t {};  ///< one run of one check; never used twice

  static constexpr std::size_t kChecksMax = 2048;       ///< checks of one agent; what is beyond is not run
  static constexpr std::size_t kRunningMax = 64;        ///< a connection each
  static constexpr std::size_t kProgramsMax = 8;        ///< a process each
  static constexpr std::size_t kOutputBytesMax = 4096;  ///< what one check may say
  static constexpr Milliseconds kIntervalMin{100};
  static constexpr Milliseconds kDeregisterMin{60000};
  static constexpr Milliseconds kFirstRunWithin{1000};   ///< so that a restart does not run everything at once
  static constexpr Milliseconds kDeregisterAgain{30000};  ///< how often it asks while the service is still there

  /// A check to be kept, with the state that it had before this object knew it.
  struct Entry {
    CheckPlan plan;
    CheckState state = CheckState::kCritical;
    std::string output;
  };
  struct Run {  ///< begin; answer with on_result exactly once, unless Cancel comes first
    RunId run{};
    CheckPlan plan;
  };
  struct Cancel {  ///< the result is not wanted any more; on_result of it is ignored
    RunId run{};
  };
  struct Changed {  ///< the check has another state now: see find()
    std::string id;
  };
  struct Deregister {  ///< a check of the service has been critical for too long
    std::string service_id, check_id;
  };
  using Output = std::variant<Run, Cancel, Changed, Deregister>;

  /// What is known of a check now.
  struct State {
    CheckState state = CheckState::kCritical;
    std::string output;  ///< newest, also when the state has not changed
    std::uint64_t runs = 0;
  };

  explicit CheckSchedule(Chance chance) : chance_(std::move(chance)) {}

  /// Replaces the whole set. A check with an equal plan goes on undisturbed and ignores `state`; a new or changed one
  /// begins with it.
  void set(std::vector<Entry> entries, TimePoint now);
  void on_result(RunId run, CheckState result, std::string output, TimePoint now);
  /// The owner of a TTL check speaks. @return false: no TTL check has this id.
  bool update_ttl(std::string_view id, CheckState state, std::string output, TimePoint now);
  void tick(TimePoint now);

  [[nodiscard]] TimePoint next_deadline() const;  ///< time_point::max(): nothing to wait for
  [[nodiscard]] std::vector<Output> take_output() { return std::exchange(output_, {}); }
  [[nodiscard]] const State* find(std::string_view id) const;  ///< nullptr: no such check; valid until the next call
  [[nodiscard]] std::size_t size() const { return checks_.size(); }
  [[nodiscard]] std::size_t running() const { return runs_.size(); }

 private:
  struct Item {
    CheckPlan plan;
    State state;
    std::uint32_t good_count = 0, bad_count = 0;
    TimePoint due = TimePoint::max();         // next run, or the end of the TTL
    TimePoint deregister = TimePoint::max();  // when it has been critical for too long
    TimePoint started{};
    RunId run{};  // 0 = not running
  };
  using Items = std::map<std::string, Item, std::less<>>;

  void add(Entry entry, TimePoint now);
  void remove(Items::iterator it);
  void settle(Item& item, CheckState state, std::string output, TimePoint now);
  void judge(Item& item, CheckState result, std::string output, TimePoint now);
  void set_due(Item& item, TimePoint due);
  void set_deregister(Item& item, TimePoint due);
  void start_ready(TimePoint now);
  void expire_ttl(Item& item, TimePoint now);

  Chance chance_;
  Items checks_;
  std::set<std::pair<TimePoint, std::string>> due_, deregister_;
  std::set<std::pair<TimePoint, std::string>> ready_;  // due, but no room to run
  std::map<std::uint64_t, std::string> runs_;          // id of the check of each run
  std::size_t programs_ = 0;                           // of them, processes
  std::uint64_t run_count_ = 0;
  std::vector<Output> output_;
};

/// Which end of a text that is too long goes.
enum class CutEnd : std::uint8_t { kTail, kHead };
/// Cuts to at most `bytes_max` without splitting a UTF-8 character.
[[nodiscard]] std::string cut_output(std::string text, std::size_t bytes_max, CutEnd cut);

}  // namespace agent::drivers
