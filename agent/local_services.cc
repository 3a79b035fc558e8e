#include "agent/local_services.h"

#include <algorithm>

#include "agent/api/registration.h"
#include "agent/catalog_rows.h"

namespace agent {
namespace {

namespace kv = store::kv;

/// Equal for whoever registered it: indexes are the state machine's.
bool same_instance(kv::ServiceInstance row, const kv::ServiceInstance& wanted) {
  row.create = wanted.create;
  row.modify = wanted.modify;
  return row == wanted;
}

/// Equal but for its state, which belongs to whoever runs it.
bool same_check(const kv::Check& row, const kv::Check& wanted) {
  return row.service_id == wanted.service_id && row.name == wanted.name && row.notes == wanted.notes && row.type == wanted.type &&
         row.definition == wanted.definition;
}

}  // namespace

LocalServices::LocalServices(io::Loop& loop, drivers::StoreDriver& store, drivers::CheckSchedule::Chance chance, LocalServicesSettings settings)
    : store_(store),
      settings_(std::move(settings)),
      checks_(loop, {}, std::move(chance),
              {[this](const std::string&) { look(); },
               [this](const std::string& service, const std::string& check) {
                 settings_.log("service_deregistered", service + ": its check " + check + " has been critical for too long");
                 propose("service " + service, kv::ServiceRemove{settings_.node, service});
               }}),
      compare_(loop, [this] { compare(); }),
      retry_(loop, [this] { look(); }) {
  look();
}

LocalServices::~LocalServices() {
  *alive_ = false;
  if (watch_) store_.unwatch(*watch_);
}

void LocalServices::look() { compare_.schedule(); }

void LocalServices::set_files(FileServices files) {
  files_ = std::move(files);
  for (auto& service : files_.services)
    for (auto& check : service.checks) check.definition.from_file = true;
  for (auto& check : files_.checks) check.definition.from_file = true;
  dirty_ = true;
  look();
}

void LocalServices::set_scripts(api::ScriptPolicy scripts) {
  settings_.scripts = scripts;
  dirty_ = true;
  look();
}

void LocalServices::set_instance(api::Service service, api::CheckStatus status, const std::string& output) {
  api::CheckRegistration check;
  check.id = "service:" + service.id;
  check.name = "Service '" + service.name + "' check";
  check.service_id = service.id;
  check.status = status;
  instance_.emplace();
  instance_->service = std::move(service);
  instance_->checks.push_back(std::move(check));
  instance_output_ = drivers::cut_output(output, drivers::CheckSchedule::kOutputBytesMax, drivers::CutEnd::kTail);
  dirty_ = true;
  look();
}

std::optional<bool> LocalServices::update_ttl(const std::string& id, api::CheckStatus status, std::string output) {
  if (!checks_.update_ttl(id, to_driver(status), std::move(output))) return std::nullopt;
  const kv::Check* row = store_.core().state().catalog().check(settings_.node, id);
  return row != nullptr && to_api(row->status) != status;
}

void LocalServices::await_status(const std::string& check, api::CatalogBackend::Done done) {
  waiters_.push_back({check, std::move(done), io::boottime_now() + settings_.write_timeout});
  look();
}

// ---------------------------------------------------------------- what is

/// Looks at everything of this node. What it proposes comes back as a change of the rows, and it looks again.
void LocalServices::compare() {
  if (!level_) return become_level();
  watch_rows();
  const kv::Index index = store_.core().state().topic_index({kv::Topic::Kind::kNode, settings_.node});
  const bool rows_changed = std::exchange(dirty_, false) || index != seen_;
  seen_ = index;
  if (rows_changed) load_checks();
  serve_waiters();
  if (!store_.core().leader()) {
    dirty_ = true;
    retry_.arm_after(kRetryAfter);
    return;
  }
  const bool anything = instance_ || !files_.services.empty() || !files_.checks.empty();
  if (store_.core().state().catalog().node(settings_.node) == nullptr) {
    // The leader writes the row when it meets us; whoever has something to register does not wait for that.
    if (anything) propose("node", kv::NodeSet{settings_.node_row()});
    return;
  }
  if (rows_changed) {
    propose_wanted();
    propose_stale();
  }
  propose_statuses();
}

/// What the disk held may be older than what was committed: a check that was passing must not begin as what it was before.
void LocalServices::become_level() {
  if (asking_) return;
  asking_ = true;
  store_.read(store::Consistency::kConsistent, io::boottime_now() + settings_.write_timeout,
              [this, alive = alive_](const store::Result<store::Readable>& read) {
                if (!*alive) return;
                asking_ = false;
                level_ = read.has_value();
                if (level_) look();
                else retry_.arm_after(kRetryAfter);
              });
}

void LocalServices::watch_rows() {
  if (watch_) return;
  const kv::Topic topic{kv::Topic::Kind::kNode, settings_.node};
  auto watch = store_.watch(topic, store_.core().state().topic_index(topic), [this] {
    watch_.reset();
    look();
  });
  if (watch) watch_ = *watch;
  else retry_.arm_after(kRetryAfter);  // no room for a watch: looked at in pauses
}

bool LocalServices::may_run(const api::Check& check) const {
  if (check.definition.kind != api::CheckDefinition::Kind::kExec) return true;
  if (settings_.scripts == api::ScriptPolicy::kNone) return false;
  if (settings_.scripts == api::ScriptPolicy::kLocal) return true;
  // Only what a file of this agent says now, word for word: rows come from others, too.
  const auto same = [&check](const api::CheckRegistration& other) { return other.id == check.id && other.definition == check.definition; };
  return std::any_of(files_.checks.begin(), files_.checks.end(), same) ||
         std::any_of(files_.services.begin(), files_.services.end(), [&same](const api::ServiceRegistration& service) {
           return std::any_of(service.checks.begin(), service.checks.end(), same);
         });
}

void LocalServices::load_checks() {
  std::vector<drivers::CheckSchedule::Entry> entries;
  for (const kv::Check* row : store_.core().state().catalog().checks_of_node(settings_.node)) {
    const api::Check check = to_api(*row, {});
    if (auto plan = plan_of(check); plan && may_run(check)) entries.push_back({std::move(*plan), to_driver(check.status), check.output});
  }
  checks_.set(std::move(entries));
}

// ---------------------------------------------------------------- what should be

void LocalServices::propose_wanted() {
  if (instance_) propose_service(*instance_, kOwnInstance);
  for (const auto& service : files_.services) propose_service(service, kFromFile);
  const kv::Catalog& catalog = store_.core().state().catalog();
  for (const auto& check : files_.checks) {
    const kv::Check wanted = to_store(check, settings_.node);
    const kv::Check* row = catalog.check(settings_.node, check.id);
    if (row != nullptr && same_check(*row, wanted)) continue;
    if (!check.service_id.empty() && catalog.instance(settings_.node, check.service_id) == nullptr) continue;
    propose("check " + check.id, kv::CheckSet{wanted, kv::KeepStatus::kKeep});
  }
}

void LocalServices::propose_service(const api::ServiceRegistration& wanted, const char* owner) {
  const kv::Catalog& catalog = store_.core().state().catalog();
  kv::ServiceSet command{to_store(wanted.service, settings_.node, owner), {}, kv::OldChecks::kKeep, kv::KeepStatus::kKeep};
  const kv::ServiceInstance* row = catalog.instance(settings_.node, wanted.service.id);
  bool same = row != nullptr && same_instance(*row, command.instance);
  for (const auto& check : wanted.checks) {
    command.checks.push_back(to_store(check, settings_.node));
    const kv::Check* there = catalog.check(settings_.node, check.id);
    same = same && there != nullptr && same_check(*there, command.checks.back());
  }
  if (!same) propose("service " + wanted.service.id, std::move(command));
}

void LocalServices::propose_stale() {
  const kv::Catalog& catalog = store_.core().state().catalog();
  std::set<std::string> checks;
  const auto names_service = [&](const kv::ServiceInstance& row) {
    if (row.definition == kOwnInstance) return instance_ && instance_->service.id == row.id;
    return row.definition != kFromFile || std::any_of(files_.services.begin(), files_.services.end(), [&row](const auto& s) { return s.service.id == row.id; });
  };
  for (const kv::ServiceInstance* row : catalog.instances_of_node(settings_.node))
    if (!names_service(*row)) propose("service " + row->id, kv::ServiceRemove{row->node, row->id});
  for (const auto& check : files_.checks) checks.insert(check.id);
  for (const auto& service : files_.services)
    for (const auto& check : service.checks) checks.insert(check.id);
  for (const kv::Check* row : catalog.checks_of_node(settings_.node))
    if (!checks.contains(row->id) && to_api(*row, {}).definition.from_file) propose("check " + row->id, kv::CheckRemove{row->node, row->id});
}

std::optional<api::CheckStatus> LocalServices::wanted_status(const kv::Check& row, std::string& output) const {
  if (const auto* live = checks_.find(row.id)) {
    output = live->output;
    return to_api(live->state);
  }
  if (instance_ && row.id == instance_->checks.front().id) {
    output = instance_output_;
    return instance_->checks.front().status;
  }
  return std::nullopt;
}

void LocalServices::propose_statuses() {
  for (const kv::Check* row : store_.core().state().catalog().checks_of_node(settings_.node)) {
    std::string output;
    const auto wanted = wanted_status(*row, output);
    if (wanted && to_store(*wanted) != row->status)
      propose("check " + row->id, kv::CheckStatusSet{row->node, row->id, to_store(*wanted), std::move(output)});
  }
}

// ---------------------------------------------------------------- proposals

void LocalServices::propose(const std::string& row, kv::CommandBody command) {
  if (!pending_.insert(row).second) return;
  store_.write(std::move(command), io::boottime_now() + settings_.write_timeout,
               [this, alive = alive_, row](store::Result<store::Written> written) {
                 if (!*alive) return;
                 pending_.erase(row);
                 const bool done = written && (written->outcome == kv::Outcome::kDone || written->outcome == kv::Outcome::kUnchanged ||
                                               written->outcome == kv::Outcome::kNotFound);
                 if (done) return look();
                 // The next comparison proposes it again, if it is still needed.
                 if (written) settings_.log("catalog_refused", row + ": " + kv::to_string(written->outcome) + " " + written->detail);
                 dirty_ = true;
                 retry_.arm_after(kRetryAfter);
               });
}

void LocalServices::serve_waiters() {
  const io::TimePoint now = io::boottime_now();
  std::vector<Waiter> kept;
  for (Waiter& waiter : std::exchange(waiters_, {})) {
    const kv::Check* row = store_.core().state().catalog().check(settings_.node, waiter.check);
    const auto* live = checks_.find(waiter.check);
    if (row == nullptr || live == nullptr || to_api(row->status) == to_api(live->state)) {
      waiter.done(std::monostate{});
    } else if (now >= waiter.deadline) {
      waiter.done(tl::make_unexpected(api::Error{api::Errc::kTimeout, "the state of check \"" + waiter.check + "\" is kept here and will be written as soon as the store takes it", {}}));
    } else {
      kept.push_back(std::move(waiter));
    }
  }
  waiters_.insert(waiters_.end(), std::make_move_iterator(kept.begin()), std::make_move_iterator(kept.end()));
  for (const Waiter& waiter : waiters_)
    if (!retry_.armed() || waiter.deadline < retry_.deadline()) retry_.arm(waiter.deadline);
}

}  // namespace agent
