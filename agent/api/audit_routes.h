#pragma once
#include "agent/api/router.h"

namespace agent::api {

void add_audit_routes(Router& router);  ///< /outrigger/v1/audit, audit/verify, audit/witness

}  // namespace agent::api
