#include "proxy/upstream.h"

namespace proxy {

bool is_usable(const Endpoint& endpoint) {
  return endpoint.weight > 0 && !endpoint.draining && endpoint.health != Health::kCritical;
}

}  // namespace proxy
