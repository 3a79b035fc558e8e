#pragma once
#include "agent/api/router.h"

namespace agent::api {

void add_halt_routes(Router& router);  ///< /outrigger/v1/halts

}  // namespace agent::api
