#pragma once
#include "agent/api/router.h"

namespace agent::api {

void add_plan_routes(Router& router);  ///< /outrigger/v1/plan

}  // namespace agent::api
