#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "agent/api/api.h"
#include "agent/api/catalog_backend.h"

/// What clients and configuration files say about services, checks and external nodes, read and checked.
/// Field names in any case; a misspelled field is refused, one of a newer Consul that we do not know is passed over with
/// a warning, and one that asks for something we do not do is refused with a word why.
/// Used by the handlers of /v1/agent and /v1/catalog and, with snake_case, for services and checks in files.
namespace agent::api {

/// Bounds of one registration, all of them Consul's where it has one.
inline constexpr std::size_t kIdBytesMax = 512;          ///< ids and names of services and checks
inline constexpr std::size_t kMetaPairsMax = 64;         ///< entries of a meta map
inline constexpr std::size_t kMetaKeyBytesMax = 128;
inline constexpr std::size_t kMetaValueBytesMax = 512;
inline constexpr std::size_t kTagsMax = 64;              ///< tags of one service
inline constexpr std::size_t kChecksPerServiceMax = 64;
inline constexpr std::size_t kCheckTextBytesMax = 8192;  ///< everything that says how a check is made

/// Something read, and what was passed over on the way.
template <typename T>
struct Reading {
  T value{};
  std::vector<std::string> warnings;
};

// Errors of all: kBadRequest with Consul's sentence where clients know one; kInternal where Consul answers 500.

[[nodiscard]] Result<Reading<ServiceRegistration>> read_service(const Json& body);
[[nodiscard]] Result<Reading<CheckRegistration>> read_check(const Json& body);
[[nodiscard]] Result<Reading<CatalogRegistration>> read_catalog_registration(const Json& body);
[[nodiscard]] Result<CatalogDeregistration> read_catalog_deregistration(const Json& body);

/// "deregister_critical_service_after" as "deregistercriticalserviceafter": names of fields in files, for the readers
/// above. Names inside of meta, header and tagged addresses are somebody's own and stay.
[[nodiscard]] Json from_snake_case(const Json& registration);

/// How a check is made as text for its row in the catalog, and back. kInternal: not written by this function.
[[nodiscard]] std::string definition_text(const CheckDefinition& definition);
[[nodiscard]] Result<CheckDefinition> parse_definition(std::string_view text);

/// true if anything of it runs a program.
[[nodiscard]] bool runs_programs(const ServiceRegistration& registration);

}  // namespace agent::api
