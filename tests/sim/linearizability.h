#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/history.h"

namespace sim {

enum class Verdict : std::uint8_t {
  kLinearizable,     ///< one order of all calls explains every answer and respects real time
  kNotLinearizable,  ///< no such order exists
  kUndecided,        ///< the search was given up after `effort_max` states: a test treats it as a failure
};

struct LinearizabilityResult {
  Verdict verdict = Verdict::kLinearizable;
  std::string key;     ///< the first key that is not linearizable
  std::string detail;  ///< its calls, one per line, for people
  std::size_t effort = 0;  ///< states looked at, all keys together
};

/// Is the history of one register explained by some order of its calls in which each takes effect between its call and
/// its answer? Calls of unknown outcome may take effect at any later time or never; refused calls never happened.
/// Source: Wing, Gong 1993 (search over minimal calls); Lowe 2017 (memory of visited states: set of calls done +
///         value). Keys are checked apart: linearizability is local (Herlihy, Wing 1990, theorem 1).
/// @param operations  of one key, in call order; the key is absent at first
/// @param effort_max  states after which to give up, > 0; of each of two searches, the first with fewer calls
Verdict check_register(const std::vector<Operation>& operations, std::size_t effort_max, std::size_t* effort);

/// What a call does to a state packed into a number; nothing when its answer contradicts that. An unknown call that
/// cannot do anything leaves the state as it is.
using Effect = std::optional<ValueId> (*)(const Operation& operation, ValueId state);
/// The same question about any object with such a model; its first state is 0.
Verdict check_order(const std::vector<Operation>& operations, Effect effect, std::size_t effort_max,
                    std::size_t* effort);

/// check_register for every key of the history.
LinearizabilityResult check_linearizable(const History& history, std::size_t effort_max = 2'000'000);

}  // namespace sim
