#include "tests/sim/scenario.h"

#include <cstdio>
#include <utility>

#include "tests/support/random.h"

namespace sim {
namespace {

using std::chrono::milliseconds;

/// Faults that belong together; a run draws from one such set, or from all of them.
struct Mix {
  const char* name;
  std::vector<FaultKind> kinds;
};

const std::vector<Mix>& mixes() {
  using K = FaultKind;
  static const std::vector<Mix> all = {
      {"partitions", {K::kSplit, K::kIsolate, K::kDeaf, K::kMute, K::kCutPair, K::kCutOneWay, K::kBridge}},
      {"links", {K::kLossy, K::kSlowLinks, K::kNoDatagrams, K::kCutOneWay, K::kMute}},
      {"stops", {K::kShortStop, K::kShortStop, K::kLongStop}},
      {"crashes", {K::kKill, K::kPowerOff, K::kBlackout}},
      {"disks", {K::kSlowDisk, K::kStuckDisk, K::kFailingDisk, K::kPowerOff, K::kKill}},
      {"primary", {K::kInstance, K::kInstance, K::kSwitchover, K::kDrain, K::kTransfer, K::kLongStop}},
      {"members", {K::kLeave, K::kLeave, K::kKill, K::kPowerOff, K::kIsolate, K::kTransfer, K::kShortStop}},
      {"leases", {K::kLongStop, K::kIsolate, K::kMute, K::kDeaf, K::kSwitchover, K::kTransfer, K::kSlowLinks}},
  };
  return all;
}

void draw_faults(support::Random& random, FaultSettings* faults, std::string* label) {
  const std::uint64_t choice = random.below(mixes().size() + 4);
  if (choice < mixes().size()) {
    faults->kinds = mixes()[choice].kinds;
    *label += mixes()[choice].name;
  } else {
    for (const Mix& mix : mixes()) {
      faults->kinds.insert(faults->kinds.end(), mix.kinds.begin(), mix.kinds.end());
    }
    *label += "everything";
  }
  faults->every = random.between(300, 1'200) * kMillisecond;
  faults->lasts = random.between(300, 2'500) * kMillisecond;
}

void draw_link(support::Random& random, Link* link, std::string* label) {
  switch (random.below(10)) {
    case 0:
    case 1:
      link->loss_ppm = static_cast<std::uint32_t>(random.between(1'000, 50'000));
      link->duplicate_ppm = 10'000;
      link->reorder_ppm = 30'000;
      link->reorder_extra = 5 * kMillisecond;
      link->corrupt_ppm = 2'000;
      *label += "lossy, ";
      break;
    case 2:
      link->delay = random.between(3, 15) * kMillisecond;
      link->jitter = 2 * kMillisecond;
      *label += "far, ";
      break;
    default: *label += "lan, "; break;
  }
}

void draw_agents(support::Random& random, AgentSettings* agents, std::string* label) {
  const std::uint64_t dice = random.below(100);
  agents->machines = dice < 72 ? 3 : dice < 93 ? 5 : 7;
  agents->bootstrap_expect = static_cast<std::uint32_t>(agents->machines);
  if (agents->machines > 3 && random.chance_ppm(300'000)) {
    agents->bootstrap_expect = 3;  // the others join as learners and are promoted
  }
  if (agents->machines > 3 && random.chance_ppm(500'000)) {
    // More agents than voters, and dead voters are replaced soon: the configuration keeps changing.
    agents->store.voters = 3;
    agents->store.replace_after = milliseconds(random.between(1'000, 4'000));
    *label += "replacing, ";
  }
  // Every margin here is above lease * 400 ppm, the most that two clocks may drift apart.
  constexpr std::pair<int, std::uint32_t> kLeases[] = {{1'500, 500}, {1'500, 500}, {900, 100}, {600, 10}, {1'500, 2}};
  const auto [lease, margin] = kLeases[random.below(5)];
  agents->primary.lease = milliseconds(lease);
  agents->margin_ms = margin;
  // Slow disks and, below, slow links: what is under way stays so for longer, and more can happen to it.
  constexpr Nanos kSyncs[] = {150 * kMicrosecond, 150 * kMicrosecond, 2 * kMillisecond, 15 * kMillisecond,
                              40 * kMillisecond};
  agents->disk.sync = kSyncs[random.below(5)];
  agents->disk.jitter = agents->disk.sync / 2;
  constexpr std::uint64_t kKeep[] = {16'384, 400, 60};
  agents->store.log_keep_entries = kKeep[random.below(3)];
  *label += std::to_string(agents->machines) + " agents, expect " + std::to_string(agents->bootstrap_expect) +
            ", lease " + std::to_string(lease) + "+" + std::to_string(margin) + ", keep " +
            std::to_string(agents->store.log_keep_entries) + ", sync " + std::to_string(agents->disk.sync / kMicrosecond) +
            " us, ";
}

/// More agents with the setting than it names, and views that differ for a while: still one cluster (store/founding.h).
void draw_founding(std::uint64_t seed, Scenario* scenario) {
  support::Random random(seed, 0x666f756e64);
  if (!random.chance_ppm(50'000)) return;
  scenario->agents.machines = 6;
  scenario->agents.bootstrap_expect = 3;
  scenario->agents.all_expect = true;
  scenario->halves_until = random.between(200, 2'500) * kMillisecond;
  scenario->label += ", six that expect three";
}

/// The way to the exchange, and what a holder does before it is armed.
void draw_exchange(support::Random& random, OrderSettings* orders) {
  orders->own_ideas = random.chance_ppm(700'000);
  orders->lines.kernel_permit = random.chance_ppm(400'000);
  orders->lines.stall_ppm = 20'000;
  orders->lines.stall_max = 4 * kSecond;
  agent::ArmingRules& arming = orders->arming;
  arming.has_hook = !random.chance_ppm(100'000);
  arming.gives_up = random.chance_ppm(600'000);
  arming.unknown_blocks = arming.has_hook && random.chance_ppm(300'000);
  arming.settle = milliseconds(Lines::in_flight_max() / kMillisecond);
  arming.hook_timeout = milliseconds(1'000);
  arming.retry_min = milliseconds(100);
  arming.retry_max = milliseconds(1'000);
  arming.look_first = milliseconds(300);
  arming.look_every = milliseconds(1'000);
  arming.batch = static_cast<std::size_t>(random.between(3, 40));
}

void draw_halts(support::Random& random, Scenario* scenario) {
  scenario->halts.on = random.chance_ppm(500'000);
  scenario->halts.every = random.between(1'500, 6'000) * kMillisecond;
  scenario->halts.lasts = random.between(200, 1'500) * kMillisecond;
  scenario->halts.second_person = random.chance_ppm(250'000);
  if (scenario->halts.on) scenario->label += ", halts";
}

/// Every fifth run has clients with orders; none of those that once found something (seeds_test.cc), which stay as they were.
void draw_orders(std::uint64_t seed, Scenario* scenario) {
  if (seed % 5 != 2) return;
  support::Random random(seed, 0x6f7264657273);
  scenario->orders.clients = static_cast<int>(random.between(1, 4));
  scenario->label += ", orders";
  draw_exchange(random, &scenario->orders);
  draw_halts(random, scenario);
}

/// Every fifth run has disks whose room comes to an end now and then.
void draw_full_disks(std::uint64_t seed, Scenario* scenario) {
  support::Random random(seed, 0x66756c6c);
  std::vector<FaultKind>& kinds = scenario->faults.kinds;
  if (!random.chance_ppm(200'000)) return;
  kinds.insert(kinds.end(), kinds.size() / 3 + 1, FaultKind::kFullDisk);
  scenario->label += ", disks fill up";
}

void focus_on_orders(support::Random& random, Scenario* drawn) {
  using K = FaultKind;
  Scenario& scenario = *drawn;
  scenario.agents.machines = 3;
  scenario.agents.bootstrap_expect = 3;
  scenario.agents.primary.lease = milliseconds(600);
  scenario.agents.margin_ms = 10;
  scenario.agents.disk.sync = random.chance_ppm(700'000) ? 150 * kMicrosecond : 15 * kMillisecond;
  scenario.faults.kinds = {K::kSwitchover, K::kSwitchover, K::kLongStop, K::kLongStop, K::kKill,
                           K::kIsolate,    K::kMute,       K::kDeaf,     K::kTransfer, K::kShortStop,
                           K::kInstance,   K::kInstance};
  scenario.faults.every = 500 * kMillisecond;
  scenario.faults.lasts = 1'200 * kMillisecond;
  scenario.clients.clients = 1;
  scenario.lockers.clients = 0;
  scenario.orders.clients = 10;
  scenario.orders.think = 20 * kMillisecond;
  scenario.orders.keys_max = 3'000;
  scenario.orders.tries = 300;
  draw_exchange(random, &scenario.orders);
  draw_halts(random, &scenario);
  scenario.orders.lines.lost_reply_ppm = 250'000;
  scenario.orders.lines.slow_ppm = 400'000;
  scenario.trouble = 25 * kSecond;
}

}  // namespace

Scenario draw_scenario(std::uint64_t seed) {
  support::Random random(seed, 0x7363656e65);
  Scenario scenario;
  scenario.seed = seed;
  draw_agents(random, &scenario.agents, &scenario.label);
  draw_link(random, &scenario.link, &scenario.label);
  draw_faults(random, &scenario.faults, &scenario.label);
  scenario.clients.clients = static_cast<int>(random.between(2, random.chance_ppm(300'000) ? 12 : 6));
  scenario.clients.reads_percent = random.chance_ppm(300'000) ? 80 : 40;
  scenario.clients.think = random.between(15, 60) * kMillisecond;
  scenario.clients.large_value_ppm = random.chance_ppm(150'000) ? 50'000 : 0;
  scenario.trouble = random.between(8, 30) * kSecond;
  draw_founding(seed, &scenario);
  draw_full_disks(seed, &scenario);
  draw_orders(seed, &scenario);
  return scenario;
}

Scenario draw_scenario(std::uint64_t seed, Focus focus) {
  using K = FaultKind;
  Scenario scenario = draw_scenario(seed);
  support::Random random(seed, 0x666f637573);
  switch (focus) {
    case Focus::kNone: return scenario;
    case Focus::kMembers:
      scenario.agents.machines = 5;
      scenario.agents.bootstrap_expect = 3;
      scenario.agents.store.voters = 3;
      scenario.agents.store.replace_after = milliseconds(random.between(600, 1'200));
      scenario.agents.disk.sync = 40 * kMillisecond;
      scenario.agents.disk.jitter = 40 * kMillisecond;
      scenario.faults.kinds = {K::kIsolate, K::kKill, K::kSlowLinks, K::kTransfer, K::kStuckDisk, K::kLeave, K::kMute};
      scenario.faults.every = 250 * kMillisecond;
      scenario.faults.lasts = 2'000 * kMillisecond;
      scenario.trouble = 20 * kSecond;
      break;
    case Focus::kPromises:
      scenario.agents.machines = 3;
      scenario.agents.bootstrap_expect = 3;
      scenario.agents.disk.sync = random.chance_ppm(700'000) ? 150 * kMicrosecond : 4 * kMillisecond;
      // A pair cut off from each other: one leads, one wants to, and the third has to remember what it promised.
      scenario.faults.kinds = {K::kPowerOff, K::kShortStop, K::kIsolate, K::kSlowLinks};
      scenario.faults.kinds.insert(scenario.faults.kinds.end(), 5, K::kCutPair);
      scenario.faults.kinds.insert(scenario.faults.kinds.end(), 5, K::kKill);
      scenario.faults.kinds.insert(scenario.faults.kinds.end(), 3, K::kTransfer);
      scenario.faults.every = 180 * kMillisecond;
      scenario.faults.lasts = 600 * kMillisecond;
      scenario.clients.clients = 12;
      scenario.clients.reads_percent = 60;
      scenario.clients.think = 20 * kMillisecond;
      scenario.clients.operations_max = 30'000;
      scenario.clients.aimed = true;
      scenario.lockers.clients = 0;  // their writes would renew every promise
      scenario.rounds = 16;
      scenario.trouble = 2'500 * kMillisecond;
      break;
    case Focus::kOrders: focus_on_orders(random, &scenario); break;
    case Focus::kStops:
      scenario.agents.machines = 3;
      scenario.agents.bootstrap_expect = 3;
      scenario.agents.disk.sync = 150 * kMicrosecond;
      scenario.faults.kinds = {K::kLongStop, K::kLongStop, K::kLongStop, K::kLongStop, K::kShortStop, K::kSlowLinks};
      scenario.faults.every = 900 * kMillisecond;
      scenario.faults.lasts = 900 * kMillisecond;
      scenario.trouble = 40 * kSecond;
      break;
  }
  scenario.agents.all_expect = false;
  scenario.halves_until = 0;
  scenario.label += ", focussed";
  return scenario;
}

const char* option(Focus focus) {
  switch (focus) {
    case Focus::kNone: return "";
    case Focus::kMembers: return " --focus=members";
    case Focus::kPromises: return " --focus=promises";
    case Focus::kOrders: return " --focus=orders";
    case Focus::kStops: return " --focus=stops";
  }
  return "";
}

Report run_seed(std::uint64_t seed, bool print, Focus focus) {
  return Cluster(draw_scenario(seed, focus), print).run();
}

std::string describe(std::uint64_t seed, const Report& report) {
  char text[440];
  std::snprintf(text, sizeof text,
                "seed %llu (%s): %llu steps, %llu entries, %llu terms, %llu grants, %llu faults, %llu orders, %llu halts, "
                "%llu answered, %llu unknown, well again after %.2f s, trace %016llx",
                static_cast<unsigned long long>(seed), report.label.c_str(),
                static_cast<unsigned long long>(report.steps), static_cast<unsigned long long>(report.entries),
                static_cast<unsigned long long>(report.terms), static_cast<unsigned long long>(report.grants),
                static_cast<unsigned long long>(report.faults), static_cast<unsigned long long>(report.orders),
                static_cast<unsigned long long>(report.halts),
                static_cast<unsigned long long>(report.acknowledged),
                static_cast<unsigned long long>(report.unknown), static_cast<double>(report.settled_after) / 1e9,
                static_cast<unsigned long long>(report.trace_hash));
  return std::string(text) + (report.violation ? "\n  BROKEN at " + *report.violation : "");
}

}  // namespace sim
