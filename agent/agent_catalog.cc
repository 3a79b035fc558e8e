// The agent's part in the catalog: what it owns there, the nodes it keeps as leader, and members pushed out by hand.
#include <array>
#include <utility>

#include "agent/api/json_body.h"
#include "agent/api/registration.h"
#include "agent/io/crypto.h"
#include "agent/log.h"
#include "agent/running.h"

namespace agent {
namespace {

constexpr std::chrono::seconds kPushedOutFor{30};  // how long an order against a live member waits for its death

api::ScriptPolicy policy_of(CheckScripts scripts) {
  switch (scripts) {
    case CheckScripts::kNone: return api::ScriptPolicy::kNone;
    case CheckScripts::kFiles: return api::ScriptPolicy::kFiles;
    case CheckScripts::kLocal: return api::ScriptPolicy::kLocal;
  }
  return api::ScriptPolicy::kNone;
}

store::kv::Uuid draw_uuid() {
  store::kv::Uuid uuid;
  io::random_bytes(std::as_writable_bytes(std::span(uuid.bytes)));
  // Version 4, variant 1 (RFC 4122, 4.4): clients that look at them find what they expect.
  uuid.bytes[6] = static_cast<std::uint8_t>((uuid.bytes[6] & 0x0fU) | 0x40U);
  uuid.bytes[8] = static_cast<std::uint8_t>((uuid.bytes[8] & 0x3fU) | 0x80U);
  return uuid;
}

CatalogKeeper::Seen seen_of(const gossip::Member& member) {
  CatalogKeeper::Seen seen;
  const MemberTags tags = read_tags(member.tags);
  seen.name = member.name;
  seen.id.bytes = member.id.bytes;
  seen.address = drivers::to_io(member.address).host();
  seen.mesh_port = tags.mesh_port;
  if (!tags.zone.empty()) seen.meta["zone"] = tags.zone;
  switch (member.state) {
    case gossip::MemberState::kAlive:
    case gossip::MemberState::kSuspect: seen.state = CatalogKeeper::Seen::State::kLive; break;
    case gossip::MemberState::kDead: seen.state = CatalogKeeper::Seen::State::kDead; break;
    case gossip::MemberState::kLeft: seen.state = CatalogKeeper::Seen::State::kLeft; break;
  }
  return seen;
}

/// What settings files register; they were checked when the settings were read.
FileServices file_services(const Config& config) {
  FileServices out;
  for (const RegistrationText& text : config.services) {
    std::string fault;
    const auto body = api::parse_json(text.json, fault);
    auto service = body ? api::read_service(api::from_snake_case(*body)) : tl::make_unexpected(api::Error{});
    if (service) out.services.push_back(std::move(service->value));
    else log_line(LogLevel::kError, "service_refused", text.place + ": " + fault + service.error().detail);
  }
  for (const RegistrationText& text : config.node_checks) {
    std::string fault;
    const auto body = api::parse_json(text.json, fault);
    auto check = body ? api::read_check(api::from_snake_case(*body)) : tl::make_unexpected(api::Error{});
    if (check) out.checks.push_back(std::move(check->value));
    else log_line(LogLevel::kError, "check_refused", text.place + ": " + fault + check.error().detail);
  }
  return out;
}

}  // namespace

std::optional<std::string> check_registration(std::string_view json, RegistrationKind kind) {
  std::string fault;
  const auto body = api::parse_json(json, fault);
  if (!body) return fault;
  const api::Json flat = api::from_snake_case(*body);
  const auto found = kind == RegistrationKind::kService ? api::read_service(flat).map([](const auto&) {}) : api::read_check(flat).map([](const auto&) {});
  return found ? std::nullopt : std::optional(found.error().detail);
}

void Agent::start_catalog() {
  LocalServicesSettings settings;
  settings.node = config_.node.name;
  settings.scripts = policy_of(config_.catalog.check_scripts);
  settings.write_timeout = config_.raft.write_timeout;
  settings.node_row = [this] { return own_node_row(); };
  settings.log = [](std::string_view what, const std::string& detail) { log_line(LogLevel::kWarn, what, detail); };
  local_ = std::make_unique<LocalServices>(*loop_, *store_, io::random_below, std::move(settings));
  register_files();
  publish_instance();
  CatalogParts parts;
  parts.store = store_.get();
  parts.local = local_.get();
  parts.write_timeout = config_.raft.write_timeout;
  parts.node_row = [this] { return own_node_row(); };
  parts.draw_uuid = draw_uuid;
  parts.scripts = [this] { return policy_of(config_.catalog.check_scripts); };
  parts.force_leave = [this](const std::string& node, api::CatalogBackend::Done done) { force_leave(node, std::move(done)); };
  parts.reload = [this](const api::Completion<api::ReloadReport>& done) { reload(done); };
  catalog_ = std::make_unique<AgentCatalog>(std::move(parts));
  keeper_ = std::make_unique<CatalogKeeper>(config_.catalog.server_service);
  keeper_timer_ = std::make_unique<io::Timer>(*loop_, [this] {
    kept_.reset();
    keep_catalog();
  });
}

void Agent::register_files() {
  local_->set_scripts(policy_of(config_.catalog.check_scripts));
  local_->set_files(file_services(config_));
}

store::kv::Node Agent::own_node_row() const { return node_row_of(seen_of(gossip_->core().self())); }

/// The instance of [service] is a service like any other to those who look for it.
void Agent::publish_instance() {
  if (!local_ || !checks_) return;
  const ServiceConfig& own = *config_.service;
  api::Service service;
  service.id = service.name = own.name;
  if (!own.address.is_unix()) {
    service.port = own.address.port;
    // On loopback nobody else reaches it there; the node's address is the best that can be said.
    if (!own.address.is_local()) service.address = own.address.host;
  }
  if (own.tier == Tier::kBackup) service.meta["tier"] = "backup";
  service.weight_passing = std::max(1U, own.weight);
  api::CheckStatus status = api::CheckStatus::kCritical;
  if (checks_->health() == drivers::InstanceHealth::kPassing) status = api::CheckStatus::kPassing;
  if (checks_->health() == drivers::InstanceHealth::kDegraded) status = api::CheckStatus::kWarning;
  std::string output = std::string(drivers::name_of(checks_->health())) + (checks_->reason().empty() ? "" : ": " + checks_->reason());
  if (draining_) {
    status = api::CheckStatus::kCritical;
    output = "this agent is drained";
  }
  local_->set_instance(std::move(service), status, output);
}

std::vector<CatalogKeeper::Seen> Agent::seen_members() const {
  std::vector<CatalogKeeper::Seen> seen;
  for (const gossip::Member& member : gossip_->core().members())
    if (member.owns_name) seen.push_back(seen_of(member));
  return seen;
}

void Agent::keep_catalog() {
  if (!keeper_ || phase_ != Phase::kRunning) return;
  const auto& state = store_->core().state();
  const KeeperView view{gossip_->core().digest(), state.catalog().nodes_index(), state.catalog().checks_index(), store_->core().leader() == raft_id_};
  if (kept_ == view) return;
  kept_ = view;
  const io::TimePoint now = io::boottime_now();
  keeper_->step(state.catalog(), seen_members(), view.leading, now);
  for (auto& proposal : keeper_->take_output()) {
    store_->write(std::move(proposal.command), now + config_.raft.write_timeout,
                  [this, node = proposal.node](const store::Result<store::Written>& written) {
                    const bool ok = written && written->outcome != store::kv::Outcome::kFull;
                    if (!ok) log_line(LogLevel::kWarn, "catalog_node_refused", node + ": " + (written ? written->detail : written.error().detail));
                    keeper_->on_done(node, ok, io::boottime_now());
                    kept_.reset();
                    keep_catalog();
                  });
  }
  if (keeper_->next_deadline() == io::TimePoint::max()) keeper_timer_->disarm();
  else keeper_timer_->arm(keeper_->next_deadline());
}

// --- members pushed out ----------------------------------------------------------------------------------------------

bool Agent::is_pushed_out(const std::string& node) const {
  const auto it = pushed_out_.find(node);
  return it != pushed_out_.end() && io::boottime_now() < it->second;
}

/// A live member that an operator wanted gone and that has died since.
void Agent::push_out_the_dead() {
  if (pushed_out_.empty()) return;
  const io::TimePoint now = io::boottime_now();
  std::erase_if(pushed_out_, [now](const auto& entry) { return entry.second <= now; });
  std::vector<gossip::MemberId> dead;
  for (const gossip::Member& member : gossip_->core().members())
    if (member.state == gossip::MemberState::kDead && pushed_out_.contains(member.name)) dead.push_back(member.id);
  for (const gossip::MemberId& id : dead) static_cast<void>(gossip_->push_out(id));
}

void Agent::force_leave(const std::string& node, api::CatalogBackend::Done done) {
  const auto answer = [this, done](api::Result<std::monostate> result) {
    later(io::boottime_now(), [done, result = std::move(result)] { done(result); });
  };
  const auto refuse = [&answer](api::Errc code, std::string why) { answer(tl::make_unexpected(api::Error{code, std::move(why), {}})); };
  if (node == config_.node.name) return refuse(api::Errc::kRefused, "that is this agent itself; \"outrigger leave\" makes it leave");
  const gossip::Member* found = nullptr;
  for (const gossip::Member& member : gossip_->core().members())
    if (member.name == node && (found == nullptr || member.is_live())) found = &member;
  const auto& catalog = store_->core().state().catalog();
  const bool in_catalog = catalog.check(node, std::string(api::kSerfHealth)) != nullptr;
  if (found == nullptr && !in_catalog) return refuse(api::Errc::kRefused, "agent: No node found with name '" + node + "'");
  log_line(LogLevel::kWarn, "force_leave", node);
  if (found != nullptr && found->is_live()) {
    // It may be cut off only from us, or about to die: it goes as soon as the mesh agrees that it is dead.
    pushed_out_[node] = io::boottime_now() + kPushedOutFor;
    return answer(std::monostate{});
  }
  if (found != nullptr) {
    if (const auto pushed = gossip_->push_out(found->id); !pushed) return refuse(api::Errc::kRefused, pushed.error().detail);
  }
  if (!in_catalog) return answer(std::monostate{});
  store_->write(store::kv::NodeRemove{node}, io::boottime_now() + config_.raft.write_timeout,
                [done](const store::Result<store::Written>& written) {
                  if (written) return done(std::monostate{});
                  done(tl::make_unexpected(api::Error{api::Errc::kOutcomeUnknown, "the member is out, its rows in the catalog go as soon as the store takes it: " + written.error().detail, {}}));
                });
}

}  // namespace agent
