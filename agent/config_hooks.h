#pragma once
/// Settings of what the application is told and asked when the role moves, as config.h has them.
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace agent {

/// A hook: a program or an http URL. Invariant: exactly one of the two is set.
struct HookConfig {
  std::vector<std::string> exec;  ///< argv; argv[0] absolute or found in PATH; empty when `url` is set
  std::string url;                ///< "http://ip:port/path"; empty when `exec` is set
  friend bool operator==(const HookConfig&, const HookConfig&) = default;
};
/// [service.hooks]: told when the instance becomes primary or stops being it.
struct HooksConfig {
  std::optional<HookConfig> promote, demote;  ///< absent = nobody is told
  std::chrono::milliseconds timeout{2000};    ///< then it counts as failed; 50 ms .. 5 min
  friend bool operator==(const HooksConfig&, const HooksConfig&) = default;
};

enum class ArmingModeConfig { kAuto, kSupervised, kWhenFlat };
/// [arming]: when a new primary may be given orders. Absent = at once.
struct ArmingConfig {
  ArmingModeConfig mode = ArmingModeConfig::kAuto;  ///< "auto", "supervised", "when_flat" (needs `reconcile`)
  std::optional<HookConfig> reconcile;              ///< asked what became of orders; absent = nobody is asked
  std::chrono::milliseconds timeout{10'000};        ///< of one call of it; 50 ms .. 5 min
  std::chrono::milliseconds retry{500};             ///< first pause after a call that failed; doubles up to `every`; 50 ms .. 1 min
  /// Age of a promotion before the hook is asked and anything armed: what the old primary let out is in the broker's books by then, or never will be; 0 .. 1 min.
  std::chrono::milliseconds settle{250};
  std::chrono::milliseconds recent{600'000};        ///< orders reserved within it are shown, too; 0 .. 24 h
  /// The instance surely lets go of an order within it; 0 .. 10 min. 0 = that is not known: NOT_SENT is not believed of an order of the present epoch.
  std::chrono::milliseconds quiet{0};
  std::chrono::milliseconds every{30'000};          ///< longest pause until what was left open is asked about again; 1 s .. 1 h
  std::uint32_t batch = 100;                        ///< orders per call; 1 .. 1000
  bool unknown_blocks = false;                      ///< wait while orders of older epochs stay unknown
  friend bool operator==(const ArmingConfig&, const ArmingConfig&) = default;
};

}  // namespace agent
