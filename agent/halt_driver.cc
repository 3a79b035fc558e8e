#include "agent/halt_driver.h"

#include <algorithm>
#include <utility>

#include "agent/backend_error.h"
#include "agent/io/clock.h"
#include "agent/io/file.h"
#include "agent/io/wall_clock.h"

namespace agent {
namespace {

namespace kv = store::kv;

std::string plain(std::string text) {
  std::replace_if(text.begin(), text.end(), [](char c) { return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  return text;
}

proxy::HaltScope scope_of(kv::HaltScope scope) {
  switch (scope) {
    case kv::HaltScope::kGlobal: return proxy::HaltScope::kGlobal;
    case kv::HaltScope::kBroker: return proxy::HaltScope::kBroker;
    case kv::HaltScope::kAccount: return proxy::HaltScope::kAccount;
    case kv::HaltScope::kRoute: return proxy::HaltScope::kRoute;
  }
  return proxy::HaltScope::kGlobal;
}

std::string told(const kv::Halt& halt) {
  return scope_text(halt) + " by " + halt.who + " at " + halt.node + ": " + halt.reason + (halt.cancels_pass ? "" : "; cancels are stopped, too");
}

constexpr std::string_view kOurself = "outrigger";
constexpr std::string_view kNeedsMajority = "resuming needs a majority of the agents, and the halt stands: ";

}  // namespace

proxy::HaltView halt_view(const kv::HaltSet& set, const HaltConfig& settings) {
  proxy::HaltView view;
  view.account_field = settings.account_header;
  for (const auto& [tag, halt] : set.halts()) {
    view.by_account = view.by_account || halt.scope == kv::HaltScope::kAccount;
    view.orders.push_back({scope_of(halt.scope), halt.name, halt.cancels_pass, plain("halted, " + told(halt) + " (" + tag.text() + ")")});
  }
  return view;
}

bool parse_scope(std::string_view text, kv::Halt& out) {
  if (text == "global") {
    out.scope = kv::HaltScope::kGlobal;
    out.name.clear();
    return true;
  }
  for (const kv::HaltScope scope : {kv::HaltScope::kBroker, kv::HaltScope::kAccount, kv::HaltScope::kRoute}) {
    const std::string prefix = std::string(to_string(scope)) + ":";
    if (!text.starts_with(prefix) || text.size() == prefix.size()) continue;
    out.scope = scope;
    out.name = text.substr(prefix.size());
    return true;
  }
  return false;
}

io::Result<std::unique_ptr<HaltDriver>> HaltDriver::start(io::Loop& loop, HaltDriverParts parts) {
  if (!parts.write) parts.write = [](const std::string& path, std::string_view text) { return io::replace_file(path, text, 0600); };
  HaltFile file;
  const auto bytes = io::read_file(parts.path, kHaltFileBytesMax);
  const auto known = bytes ? decode_halt_file(*bytes) : kv::Result<HaltFile>(kv::fail(kv::Errc::kMalformed, "it cannot be read"));
  const bool fresh = !bytes && bytes.error().code == io::Errc::kNotFound;
  const kv::HaltSet before = std::move(parts.known);
  if (known) file = *known;
  else file.replica = 1 + parts.chance(UINT64_MAX);
  if (!known && !fresh) {
    if (bytes) static_cast<void>(io::replace_file(parts.path + ".damaged", *bytes, 0600).has_value());
    kv::Halt all;
    all.reason = "the file of halts was damaged (" + known.error().detail + "): nobody knows what stood";
    all.who = kOurself;
    all.node = parts.node;
    all.time_ms = static_cast<std::uint64_t>(io::wall_ms());
    static_cast<void>(file.set.add(file.replica, all).has_value());
    parts.log("halts_damaged", parts.path + ": " + known.error().detail + "; everything is halted until somebody resumes it, the old bytes are beside it");
  }
  const auto learned = file.set.learn(before);
  if (!learned) parts.log("halts_left_out", learned.error().detail);
  kv::HaltSet held = known ? known->set : kv::HaltSet();
  if (!known) {
    if (auto written = parts.write(parts.path, encode(file)); !written) return tl::make_unexpected(written.error());
    held = file.set;
  }
  auto driver = std::unique_ptr<HaltDriver>(new HaltDriver(loop, std::move(parts), std::move(file), std::move(held)));
  if (known && learned && learned->learned) driver->disk_.keep(driver->keeper_.file());
  for (const auto& [tag, halt] : driver->keeper_.set().halts()) driver->parts_.log("halt_stands", tag.text() + ", " + told(halt));
  return driver;
}

HaltDriver::HaltDriver(io::Loop& loop, HaltDriverParts parts, HaltFile file, kv::HaltSet held)
    : loop_(loop), parts_(std::move(parts)), keeper_(std::move(file), parts_.chance), timer_(loop, [this] { tick(); }),
      disk_(loop, {parts_.path, parts_.write, parts_.late, parts_.log}, std::move(held)) {}

HaltDriver::~HaltDriver() { use(static_cast<drivers::StoreDriver*>(nullptr)); }

void HaltDriver::use(drivers::StoreDriver* store) {
  if (alive_ != nullptr) *alive_ = false;
  if (watch_ && store_ != nullptr) store_->unwatch(*watch_);
  watch_.reset();
  look_at_ = ask_at_ = io::TimePoint::max();
  alive_ = std::make_shared<bool>(true);
  store_ = store;
  keeper_.record_done(false, io::boottime_now());
  if (store_ == nullptr) return;
  watch();
  catch_up();
}

// Until a majority has said how far the log goes, nobody knows whether this directory is as old as it looks.
void HaltDriver::catch_up() {
  ask_at_ = io::TimePoint::max();
  store_->read(store::Consistency::kConsistent, io::boottime_now() + parts_.write_timeout, [this, alive = alive_](const store::Result<store::Readable>& read) {
    if (!*alive) return;
    if (read) keeper_.on_recorded(store_->core().state().halts().set(), io::boottime_now(), true);
    else ask_at_ = io::boottime_now() + kLookAgain;
    carry_out();
  });
}

void HaltDriver::use(HaltConfig settings) {
  parts_.settings = std::move(settings);
  publish();
}

void HaltDriver::publish() { parts_.publish(std::make_shared<const proxy::HaltView>(halt_view(keeper_.set(), parts_.settings))); }

void HaltDriver::watch() {
  const kv::Topic topic{kv::Topic::Kind::kHalts, {}};
  const auto id = store_->watch(topic, store_->core().state().topic_index(topic), [this] {
    watch_.reset();
    watch();
  });
  if (id) watch_ = *id;
  else if (look_at_ == io::TimePoint::max()) parts_.log("halts_unwatched", "too many waits at this agent; what the log says of halts is looked up twice a second");
  look_at_ = id ? io::TimePoint::max() : io::boottime_now() + kLookAgain;
  keeper_.on_recorded(store_->core().state().halts().set(), io::boottime_now());
  carry_out();
}

void HaltDriver::on_frame(store::NodeId from, std::string_view frame) {
  keeper_.on_frame(from, frame, io::boottime_now());
  carry_out();
}

void HaltDriver::on_connected(store::NodeId peer) {
  keeper_.on_connected(peer);
  carry_out();
}

// First it stands, then others are told, and the disk takes the time that it takes: none of these may wait for the next.
void HaltDriver::carry_out() {
  HaltKeeper::Output output = keeper_.take_output();
  if (output.changed) publish();
  for (auto& [to, frame] : output.frames) parts_.send(to, std::move(frame));
  if (output.changed) disk_.keep(keeper_.file());
  for (const kv::Halt& halt : output.raised) parts_.log("halted", halt.tag.text() + ", " + told(halt));
  for (const kv::Halt& halt : output.lifted) parts_.log("resumed", halt.tag.text() + ", " + told(halt));
  if (!output.unrecordable.empty()) parts_.log("halts_not_recorded", output.unrecordable + "; they stand at the agents that the mesh reaches, and nobody can lift them while that is so");
  if (output.record) record();
  const io::TimePoint next = std::min({keeper_.next_deadline(), look_at_, ask_at_});
  if (next == io::TimePoint::max()) timer_.disarm();
  else timer_.arm(std::max(next, io::boottime_now()));
}

void HaltDriver::record() {
  if (store_ == nullptr) return keeper_.record_done(false, io::boottime_now());
  store_->write(kv::HaltMerge{keeper_.to_record()}, io::boottime_now() + parts_.write_timeout, [this, alive = alive_](const store::Result<store::Written>& written) {
    if (!*alive) return;
    if (written && written->outcome == kv::Outcome::kFull) parts_.log("halts_not_recorded", written->detail);
    keeper_.record_done(written.has_value(), io::boottime_now());
    carry_out();
  });
}

void HaltDriver::tick() {
  const io::TimePoint now = io::boottime_now();
  if (look_at_ <= now && store_ != nullptr) watch();
  if (ask_at_ <= now && store_ != nullptr) catch_up();
  keeper_.tick(now);
  carry_out();
}

// ---- the API's side ----

api::HaltInfo HaltDriver::info(const kv::Halt& halt) const {
  api::HaltInfo out{halt.tag.text(), scope_text(halt), halt.reason, halt.who, halt.node, static_cast<std::int64_t>(halt.time_ms),
                    halt.cancels_pass, halt.second_person, disk_.holds(halt), keeper_.recorded(halt.tag), {}};
  if (const auto* asked = store_ == nullptr ? nullptr : store_->core().state().halts().proposal(halt.tag)) out.proposed_by = asked->by;
  return out;
}

std::vector<api::HaltInfo> HaltDriver::halts() const {
  std::vector<api::HaltInfo> out;
  for (const auto& [tag, halt] : keeper_.set().halts()) out.push_back(info(halt));
  return out;
}

api::Result<api::HaltInfo> HaltDriver::halt(api::HaltRequest request) {
  kv::Halt halt;
  if (!parse_scope(request.scope, halt))
    return tl::make_unexpected(api::Error{api::Errc::kBadRequest, "\"" + request.scope + "\" is no scope: global, broker:NAME, account:ID or route:NAME", {}});
  halt.reason = std::move(request.reason);
  halt.who = std::move(request.who);
  halt.node = parts_.node.substr(0, kv::kHaltWhoBytesMax);
  halt.time_ms = static_cast<std::uint64_t>(io::wall_ms());
  halt.cancels_pass = request.cancels_pass;
  halt.second_person = parts_.settings.second_person;
  halt.tag = {1, 1};  // any: what it says is looked at first, so that what is refused then is a bound
  if (const auto sound = check(halt); !sound) return tl::make_unexpected(api::Error{api::Errc::kBadRequest, sound.error().detail, {}});
  const auto tag = keeper_.halt(std::move(halt), io::boottime_now());
  if (!tag) return tl::make_unexpected(api::Error{api::Errc::kBusy, tag.error().detail, {}});
  const kv::Halt& given = *keeper_.set().find(*tag);
  parts_.log("halted", tag->text() + ", " + told(given));
  carry_out();
  return info(given);
}

void HaltDriver::when_kept(api::HaltInfo given, api::Completion<api::HaltInfo> done) {
  disk_.when_told([this, given = std::move(given), done = std::move(done)]() mutable {
    const kv::Halt* halt = keeper_.set().find(kv::parse_halt_tag(given.id));
    given.on_disk = true;  // lifted meanwhile: there is nothing that a restart could forget
    done(halt == nullptr ? std::move(given) : info(*halt));
  });
}

api::Result<std::vector<kv::HaltTag>> HaltDriver::tags_of(const api::ResumeRequest& request) const {
  std::vector<kv::HaltTag> tags;
  for (const auto& [tag, halt] : keeper_.set().halts()) {
    if (request.ids.empty()) tags.push_back(tag);
  }
  for (const std::string& id : request.ids) {
    const kv::HaltTag tag = kv::parse_halt_tag(id);
    if (tag.replica == 0) return tl::make_unexpected(api::Error{api::Errc::kBadRequest, "\"" + id + "\" is no id of a halt", {}});
    if (keeper_.set().find(tag) == nullptr) return tl::make_unexpected(api::Error{api::Errc::kNotFound, "no halt " + id + " stands here", {}});
    tags.push_back(tag);
  }
  if (tags.empty()) return tl::make_unexpected(api::Error{api::Errc::kNotFound, "nothing is halted", {}});
  return tags;
}

void HaltDriver::resume(api::ResumeRequest request, api::Completion<api::ResumeInfo> done) {
  const auto tags = tags_of(request);
  if (!tags) return done(tl::make_unexpected(tags.error()));
  if (request.who.empty() || request.who.size() > kv::kHaltWhoBytesMax)
    return done(tl::make_unexpected(api::Error{api::Errc::kBadRequest, "who resumes? 1 to 64 bytes", {}}));
  if (store_ == nullptr) return done(tl::make_unexpected(api::Error{api::Errc::kStopping, "this agent stops", {}}));
  // A question to a majority first: without one nothing is begun that might come through later.
  store_->read(store::Consistency::kConsistent, io::boottime_now() + parts_.write_timeout,
               [this, alive = alive_, request = std::move(request), done = std::move(done)](const store::Result<store::Readable>& read) mutable {
    if (!*alive) return;
    if (read) return lift(std::move(request), std::move(done));
    api::Error error = api_error(read.error()).value();
    error.detail = std::string(kNeedsMajority) + error.detail;
    done(tl::make_unexpected(std::move(error)));
  });
}

void HaltDriver::lift(api::ResumeRequest request, api::Completion<api::ResumeInfo> done) {
  const auto tags = tags_of(request);
  if (!tags) return done(tl::make_unexpected(tags.error()));
  kv::HaltLift command{set_for_lift(keeper_.set(), *tags), *tags, std::move(request.who), parts_.settings.second_person, request.confirm, static_cast<std::uint64_t>(io::wall_ms())};
  api::ResumeInfo info;
  for (const kv::HaltTag& tag : *tags) info.ids.push_back(tag.text());
  store_->write(std::move(command), io::boottime_now() + parts_.write_timeout,
                [alive = alive_, done = std::move(done), info](store::Result<store::Written> written) mutable {
    if (!*alive) return;
    if (!written) {
      api::Error error = write_error(written.error()).value();
      error.detail = std::string(kNeedsMajority) + error.detail;
      return done(tl::make_unexpected(std::move(error)));
    }
    info.index = api::Index{kv::value(written->index)};
    info.lifted = written->outcome == kv::Outcome::kDone || written->outcome == kv::Outcome::kUnchanged;
    if (info.lifted || written->outcome == kv::Outcome::kReserved) return done(std::move(info));
    const bool conflict = written->outcome == kv::Outcome::kConditionFailed;
    const std::string why = written->detail.empty() ? std::string(kv::to_string(written->outcome)) : written->detail;
    done(tl::make_unexpected(api::Error{conflict ? api::Errc::kConflict : api::Errc::kNotFound, why, {}}));
  });
}

}  // namespace agent
