#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/api/consul.h"
#include "agent/api/own.h"

/// /outrigger/v1/election: who holds what under which epoch; standing for it, renewing, resigning, watching, verifying.
/// Source: leases with fencing epochs (docs: design, section 5); the epoch grows with every grant and never repeats.
namespace agent::api {
namespace {

constexpr std::size_t kNameBytesMax = 64;
constexpr Milliseconds kLeaseMin{100}, kLeaseMax{60000};

// ---------------------------------------------------------------- elections

Json election_json(const ElectionInfo& election) {
  return {{"name", election.name},
          {"holder", name_json(election.holder_name)},
          {"holder_id", id_json(election.holder)},
          {"epoch", number(election.epoch)},
          {"preferred_id", id_json(election.preferred)},
          {"lease_ms", election.lease.count()},
          {"index", number(election.index)}};
}

void get_election(Api& api, const Call& call) {
  const std::string name = call.parameters.at(0);
  Read read;
  read.topic = Topic{Topic::Kind::kElection, name};
  read.render = [&backend = api.backend(), name](const ReadInfo& info) {
    const auto election = backend.election(name);
    Response response = election ? json_response(election_json(*election))
                                 : problem_response(Errc::kNotFound, "nobody has ever stood for \"" + name + "\"");
    add_consul_headers(response, election ? election->index : Index{1}, info);
    return response;
  };
  api.read(call, std::move(read));
}

/// For whoever guards a resource: may the holder of this epoch still act? Only the present one may, under a lease that
/// is held. A newer read than the caller's question, so a yes was true after it was asked.
void get_verify(Api& api, const Call& call) {
  const std::string name = call.parameters.at(0);
  const auto epoch = parse_u64(call.query.get("epoch"));
  if (!epoch || *epoch == 0)
    return api.fail(call.id,
                    {Errc::kBadRequest, "\"epoch\" is missing: the number that comes with the request to check", {}});
  api.permit(call, [&api, id = call.id, name, asked = Epoch{*epoch}](const ReadInfo& info) {
    const auto election = api.backend().election(name);
    const Epoch current = election ? election->epoch : Epoch{};
    const bool held = election && election->holder != NodeId{};
    Response response;
    if (held && current == asked) {
      response = json_response({{"valid", true},
                                {"name", name},
                                {"epoch", number(current)},
                                {"holder", name_json(election->holder_name)},
                                {"lease_ms", election->lease.count()},
                                {"index", number(election->index)}});
    } else {
      const std::string what = "epoch " + std::to_string(number(asked)) + " of \"" + name + "\" ";
      const std::string why = current < asked ? "was never granted; the last one is " + std::to_string(number(current))
                              : asked < current ? "is over; the current one is " + std::to_string(number(current))
                                                : std::string("has ended, and nobody holds it now");
      response = problem_response(Errc::kConflict, what + why,
                                  {{"valid", false},
                                   {"epoch", number(current)},
                                   {"holder", held ? name_json(election->holder_name) : Json(nullptr)}});
    }
    add_consul_headers(response, election ? election->index : Index{1}, info);
    api.reply(id, std::move(response));
  });
}

/// Every change of holder and epoch, the present state first.
void watch_election(Api& api, const Call& call) {
  const std::string name = call.parameters.at(0);
  if (name.size() > kNameBytesMax)
    return api.fail(call.id, {Errc::kBadRequest, "the election's name is longer than 64 bytes", {}});
  api.permit(call, [&api, id = call.id, now = call.now, name](const ReadInfo&) {
    Stream stream;
    stream.topic = {Topic::Kind::kElection, name};
    stream.pull = [&backend = api.backend(), name](Index) {
      ElectionInfo info = backend.election(name).value_or(ElectionInfo{});
      info.name = name;
      info.index = std::max(info.index, Index{1});
      StreamPiece piece;
      piece.upto = info.index;
      piece.text = "id: " + std::to_string(number(info.index)) +
                   "\nevent: election\ndata: " + dump(election_json(info)) + "\n\n";
      return piece;
    };
    api.stream(id, now, std::move(stream));
  });
}

/// What is wrong with a command's fields, for the kind that needs them; empty = nothing.
std::string fault_of(const ElectionCommand& command, bool has_epoch) {
  using Kind = ElectionCommand::Kind;
  const bool of_client =
      command.kind == Kind::kCampaign || command.kind == Kind::kRenew || command.kind == Kind::kResign;
  if (command.name.size() > kNameBytesMax) return "the election's name is longer than 64 bytes";
  if (command.target.size() > kNameBytesMax || command.holder.size() > kNameBytesMax)
    return "a name is longer than 64 bytes";
  if (of_client && command.holder.empty()) return "\"holder\" is missing: the name under which you stand";
  if ((command.kind == Kind::kRenew || command.kind == Kind::kResign) && !has_epoch)
    return "\"epoch\" is missing: the one that campaign answered";
  if (command.kind == Kind::kCampaign && (command.lease < kLeaseMin || command.lease > kLeaseMax))
    return "\"lease_ms\" must be 100 to 60000";
  return {};
}

void command_election(Api& api, const Call& call, std::string name, ElectionCommand::Kind kind) {
  const Fields fields(call);
  if (!fields.ok()) return api.fail(call.id, {Errc::kBadRequest, "the body is no JSON object", {}});
  ElectionCommand command;
  command.kind = kind;
  command.name = std::move(name);
  command.target = fields.text("target");
  command.holder = fields.text("holder");
  const std::string epoch_text = fields.text("epoch"), lease_text = fields.text("lease_ms");
  const auto epoch = parse_u64(epoch_text), lease = parse_u64(lease_text);
  if ((!epoch_text.empty() && !epoch) || (!lease_text.empty() && !lease))
    return api.fail(call.id, {Errc::kBadRequest, "\"epoch\" and \"lease_ms\" are numbers", {}});
  command.epoch = Epoch{epoch.value_or(0)};
  command.lease = Milliseconds(static_cast<std::int64_t>(std::min<std::uint64_t>(lease.value_or(0), 1U << 30)));
  if (const auto fault = fault_of(command, epoch.has_value()); !fault.empty())
    return api.fail(call.id, {Errc::kBadRequest, fault, {}});
  api.backend().election_command(std::move(command),
                                 api.answer<ElectionInfo>(call.id, [](const ElectionInfo& election) {
                                   Response response = json_response(election_json(election));
                                   add_write_index(response, election.index);
                                   return response;
                                 }));
}

template <ElectionCommand::Kind kKind>
void put_election(Api& api, const Call& call) {
  command_election(api, call, call.parameters.at(0), kKind);
}

/// The election of this agent's own service.
void put_switchover(Api& api, const Call& call) {
  std::string service = api.backend().role().service;
  if (service.empty()) return api.fail(call.id, {Errc::kUnavailable, "this agent has no service", {}});
  command_election(api, call, std::move(service), ElectionCommand::Kind::kSwitchover);
}

}  // namespace

void add_election_routes(Router& router) {
  using Kind = ElectionCommand::Kind;
  router.add("GET", "/outrigger/v1/election/:name", get_election);
  router.add("GET", "/outrigger/v1/election/:name/watch", watch_election);
  router.add("GET", "/outrigger/v1/election/:name/verify", get_verify);
  for (const auto* method : {"PUT", "POST"}) {
    router.add(method, "/outrigger/v1/election/:name/switchover", put_election<Kind::kSwitchover>);
    router.add(method, "/outrigger/v1/election/:name/release", put_election<Kind::kRelease>);
    router.add(method, "/outrigger/v1/election/:name/campaign", put_election<Kind::kCampaign>);
    router.add(method, "/outrigger/v1/election/:name/renew", put_election<Kind::kRenew>);
    router.add(method, "/outrigger/v1/election/:name/resign", put_election<Kind::kResign>);
    router.add(method, "/outrigger/v1/switchover", put_switchover);
  }
}

}  // namespace agent::api
