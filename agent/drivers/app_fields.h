#pragma once
/// Numbers and booleans in what an application says of itself: the JSON body of its health check, as metrics.
///
/// Names are paths with dots ("database_connected", "checks.queue.depth"), booleans are 0 and 1; texts, nulls and lists are left
/// out. What anybody may write into a body stays bounded: kAppFieldsMax fields in the order of their names, kAppFieldDepthMax objects deep,
/// names of kAppFieldNameBytesMax letters, digits, '_', '-' and dots.

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace agent::drivers {

using AppFields = std::vector<std::pair<std::string, double>>;  ///< by name
inline constexpr std::size_t kAppFieldsMax = 64, kAppFieldDepthMax = 3, kAppFieldNameBytesMax = 64;

/// @param body  anything; what is no JSON object has no fields
[[nodiscard]] AppFields app_fields_of(std::string_view body);

}  // namespace agent::drivers
