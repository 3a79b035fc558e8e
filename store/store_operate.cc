#include <algorithm>

#include "store/store_impl.h"

/// What an operator asks, at any node, and only the leader can do or knows.
namespace store {
namespace {

template <class Duration>
Duration clipped(Duration duration) {
  return std::clamp(duration, Duration{}, Duration{0xffff'ffffLL});
}

}  // namespace

void Store::Impl::operate(RequestNo request, Operation operation, NodeId server, TimePoint now) {
  if (stopped()) return reply(request, fail(Errc::kStopped, "the store has stopped"));
  if (leads()) return finish_operation(request, operation, carry_out(operation, server, now));
  if (!raft->leader()) return reply(request, fail(Errc::kNoLeader, missing_text(now)));
  if (operations.size() >= kOperationsMax) return reply(request, fail(Errc::kBusy, "too many such requests wait"));
  const std::uint64_t token = next_token++;
  operations[token] = {request, operation, now + kOperationPatience};
  send(raft->leader(), OperateFrame{token, operation, server});
}

Result<std::vector<ServerFigures>> Store::Impl::carry_out(Operation operation, NodeId server, TimePoint now) {
  Result<void> done;
  if (operation == Operation::kTransfer) done = hand_over_to(server, now);
  if (operation == Operation::kRemove) done = remove(server, now);
  if (!done) return tl::unexpected<Error>(done.error());
  return operation == Operation::kFigures ? figures(now) : std::vector<ServerFigures>();
}

Result<void> Store::Impl::hand_over_to(NodeId server, TimePoint now) {
  if (auto done = raft->step(raft::TransferLeader{server}, now); !done) return fail(Errc::kNotFound, "no such voter");
  return {};
}

Result<void> Store::Impl::remove(NodeId server, TimePoint now) {
  const raft::ConfState conf = raft->conf_state();
  const auto holds = [server](const std::vector<NodeId>& ids) {
    return std::find(ids.begin(), ids.end(), server) != ids.end();
  };
  if (!holds(conf.voters) && !holds(conf.learners)) return fail(Errc::kNotFound, "no such server");
  membership.observe(raft->peers(), members, raft->log().last_index(), now);
  if (!membership.removable(conf, server))
    return fail(Errc::kConflict, "without it the live voters would be no majority");
  raft::ConfChange change;
  change.steps.push_back({raft::ConfChangeKind::kRemove, server});
  if (auto done = raft->step(raft::ProposeConfChange{change}, now); !done)
    return fail(Errc::kConflict, done.error().detail.empty() ? "another change is under way" : done.error().detail);
  ++counters.conf_changes;
  return {};
}

std::vector<ServerFigures> Store::Impl::figures(TimePoint now) const {
  std::vector<ServerFigures> servers;
  for (const ServerStatus& server : status(now).servers) {
    ServerFigures one;
    one.id = server.id;
    one.match = server.id == config.id ? raft->log().last_index() : raft::Index{};
    if (server.progress) one.match = server.progress->match;
    if (server.progress && server.progress->last_contact)
      one.last_contact = clipped(std::chrono::duration_cast<Milliseconds>(now - *server.progress->last_contact));
    if (server.disk) {
      one.fsync_p50 = clipped(server.disk->fsync_p50);
      one.fsync_p99 = clipped(server.disk->fsync_p99);
    }
    if (servers.size() < kFiguresMax) servers.push_back(one);
  }
  return servers;
}

void Store::Impl::handle(NodeId from, OperateFrame& frame, TimePoint now) {
  OperateAnswerFrame answer;
  answer.token = frame.token;
  auto result = leads() ? carry_out(frame.operation, frame.server, now) : fail(Errc::kNoLeader, "not the leader any more");
  if (result) {
    answer.figures = std::move(*result);
  } else {
    answer.error = 1 + static_cast<std::uint64_t>(result.error().code);
    answer.detail = result.error().detail.substr(0, 512);
  }
  send(from, answer);
}

void Store::Impl::handle(NodeId, OperateAnswerFrame& frame, TimePoint) {
  const auto found = operations.extract(frame.token);
  if (found.empty()) return;
  Result<std::vector<ServerFigures>> result = std::move(frame.figures);
  const bool known = frame.error <= 1 + static_cast<std::uint64_t>(Errc::kStopped);
  if (frame.error != 0)
    result = fail(known ? static_cast<Errc>(frame.error - 1) : Errc::kConflict, std::move(frame.detail));
  finish_operation(found.mapped().request, found.mapped().operation, std::move(result));
}

void Store::Impl::finish_operation(RequestNo request, Operation operation, Result<std::vector<ServerFigures>> result) {
  if (!result) return reply(request, tl::unexpected<Error>(result.error()));
  if (operation == Operation::kFigures) return reply(request, Figures{std::move(*result)});
  reply(request, Changed{});
}

void Store::Impl::expire_operations(TimePoint now) {
  for (auto it = operations.begin(); it != operations.end();) {
    const bool late = it->second.deadline <= now;
    if (late) reply(it->second.request, fail(Errc::kTimeout, "the leader did not answer: the outcome is unknown"));
    it = late ? operations.erase(it) : std::next(it);
  }
}

}  // namespace store
