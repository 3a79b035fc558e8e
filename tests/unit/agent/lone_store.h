#pragma once
/// A real store of one node whose disk is memory, on the test's own loop, and the own rows over it.

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "agent/backend_catalog.h"
#include "agent/io/crypto.h"
#include "agent/local_services.h"
#include "tests/unit/agent/drivers/fake_instance.h"
#include "tests/unit/agent/drivers/memory_log.h"

namespace agent {

class LoneStore : public ::testing::Test {
 protected:
  LoneStore() {
    store::Config settings;
    settings.id = store::NodeId{7};
    settings.name = "n1";
    drivers::StoreCallbacks callbacks;
    callbacks.send = [](store::NodeId, std::string, bool) {};
    callbacks.on_event = [this](const store::Event& event) {
      if (const auto* leader = std::get_if<store::LeaderChanged>(&event)) {
        leads = leader->leader == store::NodeId{7};
        if (on_leader) on_leader();
      }
    };
    callbacks.on_fatal = [](const std::string& reason) { FAIL() << reason; };
    store = std::move(*drivers::StoreDriver::start(*loop, settings, std::make_unique<drivers::MemoryLog>(disk), io::random_below, std::move(callbacks)));
  }
  void found() {
    store->bootstrap([](const store::Result<void>& done) { EXPECT_TRUE(done); });
    // Its name is the one entry that a lone leader writes by itself, sooner or later: not while a test counts entries.
    ASSERT_TRUE(until([&] { return leads && !state().members().empty(); }));
  }
  template <typename Condition>
  bool until(Condition done) {
    return drivers::run_until(*loop, done);
  }
  /// Runs one call that answers by completion; the answer never comes inside the call.
  template <typename T, typename Call>
  api::Result<T> answer(Call call) {
    std::optional<api::Result<T>> got;
    call([&](api::Result<T> result) { got = std::move(result); });
    EXPECT_FALSE(got);
    EXPECT_TRUE(until([&] { return got.has_value(); }));
    return got.value_or(tl::make_unexpected(api::Error{}));
  }
  /// A command from somewhere else, applied. @return its outcome
  store::kv::Outcome put(store::kv::CommandBody command) {
    std::optional<store::Result<store::Written>> got;
    store->write(std::move(command), io::in_good_time(), [&](store::Result<store::Written> written) { got = std::move(written); });
    EXPECT_TRUE(until([&] { return got.has_value(); }));
    EXPECT_TRUE(got && *got);
    return got && *got ? (*got)->outcome : store::kv::Outcome::kNotFound;
  }
  /// Lets the loop run dry of what is under way, as far as can be told from outside: a write of no effect goes round.
  void settle() {
    for (int i = 0; i < 3; ++i) put(store::kv::Delete{"nothing"});
  }
  void lease(const std::string& service, const std::string& holder) {
    store::kv::LeaseAcquire acquire;
    acquire.service = service;
    acquire.holder = store::kv::NodeId{9};
    acquire.holder_name = holder;
    acquire.lease_ms = 600'000;
    acquire.margin_ms = 500;
    EXPECT_EQ(put(acquire), store::kv::Outcome::kDone);
  }
  [[nodiscard]] const store::kv::StateMachine& state() const { return store->core().state(); }
  [[nodiscard]] const store::kv::Catalog& catalog() const { return state().catalog(); }

  std::unique_ptr<io::Loop> loop = std::move(*io::Loop::create());
  std::shared_ptr<drivers::MemoryLog::Watch> disk = std::make_shared<drivers::MemoryLog::Watch>();
  bool leads = false;
  std::function<void()> on_leader;
  std::unique_ptr<drivers::StoreDriver> store;
};

/// With this node's rows and the catalog's backend.
class LoneCatalog : public LoneStore {
 protected:
  LoneCatalog() {
    make_local();
    make_backend(io::kPatience);
  }
  void make_backend(io::Milliseconds write_timeout) {
    CatalogParts parts;
    parts.write_timeout = write_timeout;
    parts.store = store.get();
    parts.local = local.get();
    parts.node_row = own_row;
    parts.draw_uuid = [] {
      store::kv::Uuid uuid;
      uuid.bytes[0] = 9;
      return uuid;
    };
    parts.scripts = [] { return api::ScriptPolicy::kFiles; };
    backend = std::make_unique<AgentCatalog>(std::move(parts));
  }
  void make_local() {
    LocalServicesSettings settings;
    settings.node = "n1";
    settings.node_row = own_row;
    settings.write_timeout = io::kPatience;
    settings.log = [this](std::string_view what, const std::string& detail) { said.emplace_back(std::string(what) + " " + detail); };
    local = std::make_unique<LocalServices>(*loop, *store, [](std::uint64_t) { return std::uint64_t{0}; }, std::move(settings));
    on_leader = [this] { local->look(); };
  }
  static store::kv::Node own_row() {
    store::kv::Node row;
    row.name = "n1";
    row.address = "10.0.0.1";
    return row;
  }
  static api::ServiceRegistration service(const std::string& id, const std::string& name) {
    api::ServiceRegistration out;
    out.service.id = id;
    out.service.name = name;
    out.service.port = 80;
    return out;
  }
  static api::CheckRegistration ttl(const std::string& id, const std::string& service_id, std::optional<api::CheckStatus> status = {}) {
    api::CheckRegistration out;
    out.id = id;
    out.name = "check " + id;
    out.service_id = service_id;
    out.status = status;
    out.definition.kind = api::CheckDefinition::Kind::kTtl;
    out.definition.ttl = std::chrono::hours(1);
    return out;
  }
  api::Result<std::monostate> enter(api::ServiceRegistration registration) {
    return answer<std::monostate>([&](api::CatalogBackend::Done done) { backend->register_service(std::move(registration), std::move(done)); });
  }

  std::vector<std::string> said;
  std::unique_ptr<LocalServices> local;
  std::unique_ptr<AgentCatalog> backend;
};

}  // namespace agent
