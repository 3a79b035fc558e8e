#include "agent/drivers/check_schedule.h"

#include <algorithm>

namespace agent::drivers {
namespace {

constexpr std::string_view kExpired = "TTL expired";

/// Bounds put into force before a plan is compared with the one that is there.
CheckPlan normal(CheckPlan plan) {
  plan.interval = std::max<std::chrono::milliseconds>(plan.interval, CheckSchedule::kIntervalMin);
  if (plan.service_id.empty()) plan.deregister_after = std::chrono::milliseconds(0);  // a node is not removed by a check
  if (plan.deregister_after.count() != 0)
    plan.deregister_after = std::max<std::chrono::milliseconds>(plan.deregister_after, CheckSchedule::kDeregisterMin);
  return plan;
}

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

}  // namespace

std::string cut_output(std::string text, std::size_t bytes_max, CutEnd cut) {
  if (text.size() <= bytes_max) return text;
  if (cut == CutEnd::kTail) {
    std::size_t end = bytes_max;
    while (end > 0 && is_continuation(text[end])) --end;
    text.resize(end);
  } else {
    std::size_t begin = text.size() - bytes_max;
    while (begin < text.size() && is_continuation(text[begin])) ++begin;
    text.erase(0, begin);
  }
  return text;
}

// ---------------------------------------------------------------- the set of checks

void CheckSchedule::set(std::vector<Entry> entries, TimePoint now) {
  std::set<std::string, std::less<>> wanted;
  if (entries.size() > kChecksMax) entries.resize(kChecksMax);
  for (const Entry& entry : entries) wanted.insert(entry.plan.id);
  for (auto it = checks_.begin(); it != checks_.end();) {
    const auto next = std::next(it);
    if (!wanted.contains(it->first)) remove(it);
    it = next;
  }
  for (Entry& entry : entries) {
    entry.plan = normal(std::move(entry.plan));
    const auto it = checks_.find(entry.plan.id);
    if (it != checks_.end() && it->second.plan == entry.plan) continue;
    if (it != checks_.end()) remove(it);
    add(std::move(entry), now);
  }
  start_ready(now);
}

void CheckSchedule::add(Entry entry, TimePoint now) {
  const std::string id = entry.plan.id;
  Item& item = checks_[id];
  item.plan = std::move(entry.plan);
  item.state.state = entry.state;
  item.state.output = cut_output(std::move(entry.output), kOutputBytesMax, CutEnd::kTail);
  if (item.plan.kind == CheckPlan::Kind::kTtl) {
    set_due(item, now + item.plan.ttl);
  } else {
    const auto spread = std::min(item.plan.interval, kFirstRunWithin);
    set_due(item, now + Milliseconds(static_cast<std::int64_t>(chance_(static_cast<std::uint64_t>(spread.count())))));
  }
  if (entry.state == CheckState::kCritical && item.plan.deregister_after.count() != 0)
    set_deregister(item, now + item.plan.deregister_after);
}

void CheckSchedule::remove(Items::iterator it) {
  Item& item = it->second;
  set_due(item, TimePoint::max());
  set_deregister(item, TimePoint::max());
  std::erase_if(ready_, [&](const auto& waiting) { return waiting.second == it->first; });
  if (item.run != RunId{}) {
    runs_.erase(static_cast<std::uint64_t>(item.run));
    if (item.plan.kind == CheckPlan::Kind::kProgram) --programs_;
    output_.emplace_back(Cancel{item.run});
  }
  checks_.erase(it);
}

// ---------------------------------------------------------------- results

void CheckSchedule::on_result(RunId run, CheckState result, std::string output, TimePoint now) {
  const auto found = runs_.find(static_cast<std::uint64_t>(run));
  if (found == runs_.end()) return;
  Item& item = checks_.at(found->second);
  runs_.erase(found);
  item.run = RunId{};
  ++item.state.runs;
  if (item.plan.kind == CheckPlan::Kind::kProgram) --programs_;
  // A run that took longer than its interval is no reason to run without pause.
  const TimePoint next = item.started + item.plan.interval;
  set_due(item, next > now ? next : now + item.plan.interval);
  judge(item, result, std::move(output), now);
  start_ready(now);
}

/// Counts results in a row before it believes them. Results that are not believed yet are still shown.
void CheckSchedule::judge(Item& item, CheckState result, std::string output, TimePoint now) {
  const bool good = result != CheckState::kCritical;
  std::uint32_t& count = good ? item.good_count : item.bad_count;
  (good ? item.bad_count : item.good_count) = 0;
  if (count < UINT32_MAX) ++count;
  const std::uint32_t wanted = good ? item.plan.success_before_passing : item.plan.failures_before_critical;
  // A program says last what went wrong, a page says first what it is.
  const CutEnd cut = item.plan.kind == CheckPlan::Kind::kProgram ? CutEnd::kHead : CutEnd::kTail;
  settle(item, count >= wanted ? result : item.state.state, cut_output(std::move(output), kOutputBytesMax, cut), now);
}

void CheckSchedule::settle(Item& item, CheckState state, std::string output, TimePoint now) {
  item.state.output = std::move(output);
  if (item.state.state == state) return;
  item.state.state = state;
  const bool counts = state == CheckState::kCritical && item.plan.deregister_after.count() != 0;
  set_deregister(item, counts ? now + item.plan.deregister_after : TimePoint::max());
  output_.emplace_back(Changed{item.plan.id});
}

bool CheckSchedule::update_ttl(std::string_view id, CheckState state, std::string output, TimePoint now) {
  const auto it = checks_.find(id);
  if (it == checks_.end() || it->second.plan.kind != CheckPlan::Kind::kTtl) return false;
  Item& item = it->second;
  ++item.state.runs;
  set_due(item, now + item.plan.ttl);
  settle(item, state, cut_output(std::move(output), kOutputBytesMax, CutEnd::kTail), now);
  return true;
}

void CheckSchedule::expire_ttl(Item& item, TimePoint now) {
  std::string text(kExpired);
  if (!item.state.output.empty() && !item.state.output.starts_with(kExpired))
    text += " (last output before timeout follows): " + item.state.output;
  set_due(item, TimePoint::max());
  settle(item, CheckState::kCritical, cut_output(std::move(text), kOutputBytesMax, CutEnd::kTail), now);
}

// ---------------------------------------------------------------- time

void CheckSchedule::tick(TimePoint now) {
  while (!due_.empty() && due_.begin()->first <= now) {
    Item& item = checks_.at(due_.begin()->second);
    const TimePoint due = item.due;
    if (item.plan.kind == CheckPlan::Kind::kTtl) {
      expire_ttl(item, now);
      continue;
    }
    set_due(item, TimePoint::max());
    ready_.emplace(due, item.plan.id);
  }
  while (!deregister_.empty() && deregister_.begin()->first <= now) {
    Item& item = checks_.at(deregister_.begin()->second);
    set_deregister(item, now + kDeregisterAgain);
    output_.emplace_back(Deregister{item.plan.service_id, item.plan.id});
  }
  start_ready(now);
}

void CheckSchedule::start_ready(TimePoint now) {
  for (auto it = ready_.begin(); it != ready_.end() && runs_.size() < kRunningMax;) {
    Item& item = checks_.at(it->second);
    const bool program = item.plan.kind == CheckPlan::Kind::kProgram;
    if (program && programs_ >= kProgramsMax) {
      ++it;
      continue;
    }
    if (program) ++programs_;
    item.run = RunId{++run_count_};
    item.started = now;
    runs_.emplace(run_count_, item.plan.id);
    output_.emplace_back(Run{item.run, item.plan});
    it = ready_.erase(it);
  }
}

CheckSchedule::TimePoint CheckSchedule::next_deadline() const {
  TimePoint next = due_.empty() ? TimePoint::max() : due_.begin()->first;
  if (!deregister_.empty()) next = std::min(next, deregister_.begin()->first);
  return next;
}

const CheckSchedule::State* CheckSchedule::find(std::string_view id) const {
  const auto it = checks_.find(id);
  return it == checks_.end() ? nullptr : &it->second.state;
}

void CheckSchedule::set_due(Item& item, TimePoint due) {
  if (item.due != TimePoint::max()) due_.erase({item.due, item.plan.id});
  item.due = due;
  if (due != TimePoint::max()) due_.emplace(due, item.plan.id);
}

void CheckSchedule::set_deregister(Item& item, TimePoint due) {
  if (item.deregister != TimePoint::max()) deregister_.erase({item.deregister, item.plan.id});
  item.deregister = due;
  if (due != TimePoint::max()) deregister_.emplace(due, item.plan.id);
}

}  // namespace agent::drivers
