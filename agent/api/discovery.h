#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "agent/api/api.h"
#include "agent/api/catalog_backend.h"

/// What the handlers of services, checks and discovery share. Private to agent/api.
namespace agent::api {

/// The catalog, or nullptr after an answer that says that there is none.
[[nodiscard]] CatalogBackend* catalog_of(Api& api, const Call& call);

/// Old clients change things with GET, which a browser must not (docs: api.md section 6, trap 3).
/// @return false after an answer that says why not.
[[nodiscard]] bool may_change(Api& api, const Call& call);

/// The body as JSON; an empty one reads as {}. nullopt after an answer.
[[nodiscard]] std::optional<Json> body_of(Api& api, const Call& call);

/// A completion that answers 200 without a body, as Consul's agent does; `warnings` become header fields.
[[nodiscard]] CatalogBackend::Done empty_answer(Api& api, const Call& call, std::vector<std::string> warnings = {});

/// What a discovery query wants to see of what there is.
struct Selection {
  std::vector<std::string> tags;                               ///< all of them
  std::vector<std::pair<std::string, std::string>> node_meta;  ///< all of them
  bool passing = false;                                        ///< instances whose checks are all passing
  std::string near;  ///< name of a node, or "_agent"; empty = in order of nodes

  [[nodiscard]] bool fits(const Node& node) const;
  [[nodiscard]] bool fits(const ServiceInstance& instance) const;
};
/// Reads tag, node-meta, passing, near. nullopt after an answer: a value of `passing` that is no boolean, or a filter
/// expression, which we do not evaluate and must not seem to.
[[nodiscard]] std::optional<Selection> selection_of(Api& api, const Call& call);

/// Puts what is near this agent first, by the round trip that gossip measures; what was not measured keeps its place
/// behind. Distances between two other nodes are not known, so `near` any other node changes nothing.
void sort_near(std::vector<ServiceInstance>& instances, const Selection& selection, const Backend& backend);

/// A blocking read of the catalog, answered as JSON with the headers of its index.
void read_catalog(Api& api, const Call& call, Topic topic,
                  std::function<Indexed<Json>(const CatalogView& view)> render);

}  // namespace agent::api
