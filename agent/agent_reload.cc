// Settings read again while the agent runs.
#include <utility>

#include "agent/log.h"
#include "agent/running.h"

namespace agent {

void Agent::reload(api::Completion<api::ReloadReport> done) {
  later(io::boottime_now(), [done = std::move(done)] { done(api::ReloadReport{}); });
}

}  // namespace agent
