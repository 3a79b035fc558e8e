#include "agent/config_guard_read.h"

#include "agent/config_statuses.h"
#include "agent/config_values.h"

namespace agent {
namespace {

constexpr std::size_t kBreakersMax = 64, kStatusesMax = 16, kNeverMax = 64;

void read_statuses(ConfigReader& reader, GuardConfig& guard) {
  const StatusList list{"statuses", 400, 499, kStatusesMax, "write [\"401\", \"403\"]; what a server fails at is not the client's fault"};
  if (!config_read_statuses(reader, list, guard.statuses)) return;
  if (guard.statuses.empty()) reader.problem("statuses", "nothing counts as a failure", "name some, or remove [guard]");
}

}  // namespace

void config_read_guard(ConfigReader& root, const std::set<std::string>& all_keys, Config& config) {
  auto reader = root.section("guard");
  if (reader.present()) config.guard.emplace();
  GuardConfig absent;
  GuardConfig& guard = config.guard ? *config.guard : absent;
  reader.number("fails", guard.fails, 1, 10'000);
  reader.duration("within", guard.within, Milliseconds(1000), std::chrono::hours(24));
  reader.duration("ban", guard.ban, Milliseconds(1000), std::chrono::hours(24 * 30));
  read_statuses(reader, guard);
  reader.list("never", guard.never, kNeverMax);
  for (const std::string& block : guard.never)
    if (!config_is_cidr(block)) reader.problem("never", "\"" + block + "\" is no IP address or range", "write \"10.0.0.0/8\"");
  reader.finish(all_keys);
}

void config_read_breakers(ConfigReader& root, const std::set<std::string>& all_keys, Config& config) {
  for (auto& reader : root.tables("breaker", kBreakersMax)) {
    NamedBreakerConfig breaker;
    if (reader.text("name", breaker.name)) {
      if (!config_is_name(breaker.name)) reader.problem("name", "\"" + breaker.name + "\" is no name", "use 1 to 64 letters, digits, '.', '_', '-'");
      for (const auto& other : config.breakers)
        if (other.name == breaker.name) reader.problem("name", "another breaker is named \"" + breaker.name + "\" too", "remove one");
      for (const auto& route : config.routes)
        if (route.breaker && route.name == breaker.name)
          reader.problem("name", "the breaker of a route is named \"" + breaker.name + "\", by its route", "choose another name: \"outrigger breaker\" takes either");
    } else if (reader.present() && !reader.has("name")) {
      reader.problem("name", "[[breaker]] without a name", "add name = \"database\"");
    }
    reader.number("fail", breaker.fail, 1, 10'000);
    reader.duration("window", breaker.window, Milliseconds(10), std::chrono::hours(24));
    reader.duration("open", breaker.open, Milliseconds(10), std::chrono::hours(24));
    reader.finish(all_keys);
    config.breakers.push_back(std::move(breaker));
  }
}

}  // namespace agent
