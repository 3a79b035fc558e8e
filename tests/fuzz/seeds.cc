#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "agent/drivers/mesh_wire.h"
#include "agent/drivers/rate_wire.h"
#include "agent/flight_wire.h"
#include "gossip/snapshot.h"
#include "gossip/wire.h"
#include "store/disk/rows.h"
#include "store/frames.h"
#include "store/kv/command.h"
#include "store/kv/state_machine.h"
#include "store/raft/wire.h"
#include "store/row_stream.h"

// Writes the seeds of the binary formats with the encoders themselves: one input per kind of message, row or frame.
// The seeds of the text formats are kept by hand beside them.
namespace {

namespace disk = store::disk;
namespace kv = store::kv;
namespace raft = store::raft;

std::filesystem::path root;

void write(const std::string& target, const std::string& name, std::string_view bytes) {
  std::filesystem::create_directories(root / target);
  std::ofstream(root / target / name, std::ios::binary) << bytes;
}
std::string text_of(std::span<const std::byte> bytes) {
  const void* raw = bytes.data();
  return {static_cast<const char*>(raw), bytes.size()};
}

gossip::MemberId member(std::uint8_t number) {
  gossip::MemberId id;
  id.bytes.fill(number);
  return id;
}

void write_gossip() {
  using namespace gossip;
  const Rank rank{Generation{1700000000000}, Incarnation{3}};
  const Address address = Address::ipv4(10, 0, 0, 1, 7946);
  const std::vector<Tag> tags{{"role", "primary", 2, false}, {"zone", "", 3, true}};
  const std::vector<Message> messages{Ping{7, 99},
                                      Ack{7, 99, 1},
                                      Nack{7},
                                      PingReq{8, member(2), address, 400},
                                      RelayAck{8, member(2)},
                                      Pull{member(3), true},
                                      LeaveAck{},
                                      SyncRequest{},
                                      SyncOffer{0xff},
                                      SyncDone{},
                                      Alive{member(1), rank, "n1", address, 1, 1, tags},
                                      Suspect{member(1), rank, member(2), Evidence::kRefused},
                                      Dead{member(1), rank, Evidence::kSilent, {member(2), member(3)}},
                                      Left{member(1), rank},
                                      Tags{member(1), Generation{5}, true, tags},
                                      Tombstone{member(1), rank, MemberState::kLeft, "n1", address, 60}};
  const auto packet = [](const std::vector<Message>& all, const Link& link) {
    std::vector<std::byte> out;
    encode_header({.version = kWireVersion, .sealed = false, .key = {}, .session = SessionId{5}, .counter = 1}, out);
    BodyWriter writer(out, kFrameBytesMax, member(9), link);
    for (const auto& message : all) writer.add(message);
    writer.finish();
    return text_of(out);
  };
  for (std::size_t i = 0; i < messages.size(); ++i)
    write("gossip_datagram", "message-" + std::to_string(i), packet({messages[i]}, {}));
  write("gossip_datagram", "all", packet(messages, {11, 12}));
  Snapshot snapshot;
  snapshot.id = member(1);
  snapshot.generation = Generation{4};
  write("gossip_snapshot", "empty", text_of(encode_snapshot(snapshot)));
  snapshot.peers.push_back({"n2", member(2), address, rank});
  write("gossip_snapshot", "one", text_of(encode_snapshot(snapshot)));
}

raft::ConfState conf() { return {{{1}, {2}, {3}}, {{1}, {2}}, {{4}}, {}, true}; }

void write_raft() {
  using namespace raft;
  const Entry normal{Term{2}, Index{11}, EntryKind::kNormal, Payload("command")};
  const Entry change{Term{3}, Index{12}, EntryKind::kConfChange,
                     Payload(encode(ConfChange{Transition::kAuto, {{ConfChangeKind::kAddVoter, {4}}}, "ctx"}))};
  for (int kind = 1; kind <= 12; ++kind) {
    Message message;
    message.kind = static_cast<MessageKind>(kind);
    message.from = {1}, message.to = {2}, message.term = {3}, message.log_term = {2}, message.index = {10};
    message.commit = {9}, message.round = {4}, message.read_context = 77;
    if (message.kind == MessageKind::kAppend) message.entries = {normal, change};
    if (message.kind == MessageKind::kSnapshot) message.snapshot = SnapshotMeta{{10}, {2}, conf()};
    write("raft_message", "message-" + std::to_string(kind), encode(message));
    write("store_frame", "raft-" + std::to_string(kind), store::encode_frame({}, store::RaftFrame{message}));
  }
  write("raft_message", "entry", encode(normal));
  write("raft_message", "hard-state", encode(HardState{{3}, {1}, {9}}));
  write("raft_message", "conf-state", encode(conf()));
  write("raft_message", "snapshot-meta", encode(SnapshotMeta{{10}, {2}, conf()}));
  write("raft_message", "conf-change",
        encode(ConfChange{Transition::kJointImplicit, {{ConfChangeKind::kRemove, {3}}}, ""}));
  const auto row = [](const std::string& key, const std::string& value) {
    return std::string(1, static_cast<char>(key.size())) + key + value;
  };
  write("log_record", "entry", row(disk::log_key({11}), encode(normal)));
  write("log_record", "hard", row("hard", encode(HardState{{3}, {1}, {9}})));
  write("log_record", "number", row("format", disk::encode_number(1)));
  write("log_record", "cluster", row("cluster", disk::encode_cluster({})));
  write("log_record", "start", row("start", disk::encode_start({{5}, {1}})));
  write("log_record", "applied", row("applied", disk::encode_applied({{5}, {1}, conf()})));
  write("log_record", "grant", row("grant", disk::encode_grant({{}, {1}, {{1}, {2}, {3}}})));
}

// One of each command about locks, sessions, catalog, events, quotas and restore, in an order in which all of them act.
std::vector<kv::CommandBody> later_bodies() {
  using namespace kv;
  const auto uuid = [](std::uint8_t number) {
    Uuid id;
    id.bytes[15] = number;
    return id;
  };
  const SessionId one{uuid(1)};
  Node node;
  node.name = "n1";
  node.id = uuid(9);
  node.address = "10.0.0.1";
  node.meta = {{"zone", "a"}};
  ServiceInstance web;
  web.node = "n1", web.id = "web1", web.name = "web", web.tags = {"a", "b"}, web.port = 80;
  web.tagged_addresses = {{"lan", {"10.0.0.1", 80}}};
  Check check;
  check.node = "n1", check.id = "c", check.service_id = "web1", check.name = "alive", check.type = "ttl";
  check.status = CheckStatus::kPassing;
  Session session;
  session.id = one, session.name = "s", session.node = "n1", session.ttl_ms = 10'000;
  session.service_checks = {"c"};
  TxnOp lock, get, gone;
  lock.verb = TxnVerb::kLock, lock.key = "t", lock.value = "v", lock.session = one;
  get.verb = TxnVerb::kGetTree;
  gone.verb = TxnVerb::kCheckNotExists, gone.key = "t";
  UserEvent event;
  event.id = uuid(3), event.name = "deploy", event.payload = "v2";
  const Record saved[] = {{entry_key("r"), encode_entry({"v", 1, Index{2}, Index{3}}, nullptr)}};
  return {NodeSet{node},
          ServiceSet{web, {check}, OldChecks::kRemove, KeepStatus::kKeep},
          SessionCreate{session},
          Acquire{"k", "v", 0, one, KeepValue::kOverwrite},
          Release{"k", "v", 0, one, KeepValue::kKeep},
          Acquire{"k", "v", 0, one, KeepValue::kKeep},
          Txn{{lock, get}},
          Txn{{lock, gone}},
          QuotaSet{"k", {100, 10}},
          EventFire{event},
          CheckStatusSet{"n1", "c", CheckStatus::kCritical, "gone"},
          LockDelayEnd{"k", Index{26}},
          CheckSet{check, KeepStatus::kReplace},
          SessionCreate{session},
          SessionDestroy{one},
          SessionExpire{one},
          RestoreBegin{uuid(4)},
          RestoreChunk{uuid(4), 0, encode_rows(saved)},
          RestoreCommit{uuid(4), 1},
          RestoreBegin{uuid(5)},
          RestoreAbort{uuid(5)},
          QuotaRemove{"k"},
          CheckRemove{"n1", "c"},
          ServiceRemove{"n1", "web1"},
          NodeRemove{"n1"}};
}

// Orders of every fate. @param before  how many commands come first: outcomes name the entry of their reservation
std::vector<kv::CommandBody> order_bodies(std::uint64_t before) {
  using namespace kv;
  const auto name = [](const char* key) { return OrderName{"desk", "orders", key}; };
  const auto reserve = [&name](const char* key, std::uint64_t epoch) {
    return OrderReserve{name(key), Fingerprint{1, 2, 3}, Epoch{epoch}, NodeId{1}, 1'000, 1'000};
  };
  const auto entry = [before](std::uint64_t number) { return Index{before + number}; };
  return {LeaseAcquire{"desk", NodeId{1}, "n1", 1500, 500},
          reserve("done", 1),
          reserve("open", 1),
          reserve("none", 1),
          OrderOutcome{name("done"), entry(2), OrderState::kDone, {AnswerKept::kWhole, 201, "a: b\r\n", "ok"}, 1'200},
          OrderOutcome{name("none"), entry(4), OrderState::kNotSent, {}, 1'300},
          reserve("done", 1),
          reserve("none", 1),
          LeaseAcquire{"desk", NodeId{1}, "n1", 1500, 500},
          OrderResolve{name("open"), entry(9), OrderState::kDone, OrderSource::kHook, {AnswerKept::kStatus, 200, {}, {}}, 9},
          OrderResolve{name("none"), entry(9), OrderState::kNotSent, OrderSource::kOperator, {}, 1'400},
          OrderSweep{3'000, 1}};
}

std::vector<kv::CommandBody> halt_bodies() {
  using namespace kv;
  HaltSet set;
  Halt halt;
  halt.reason = "prices look wrong";
  halt.who = halt.node = "n1";
  halt.second_person = true;
  set.add(7, halt).value();
  halt.scope = HaltScope::kAccount;
  halt.name = "a7";
  halt.cancels_pass = false;
  const HaltTag tag = set.add(9, halt).value();
  return {HaltMerge{set}, HaltLift{set, {tag}, "ada", false, false, 1}, HaltLift{set, {tag}, "grace", true, true, 2},
          AuditNote{AuditKind::kConfig, 3, "n1", "settings", "digest"}};
}

void write_kv() {
  using namespace kv;
  std::vector<CommandBody> bodies{Set{"a/b", "value", 42},
                                        Cas{"a/b", "other", 0, Index{1}},
                                        Set{"a/c", std::string("\0\xff", 2), ~std::uint64_t{0}},
                                        DeleteCas{"a/c", Index{3}},
                                        Delete{"none"},
                                        LeaseAcquire{"trader", NodeId{1}, "n1", 1500, 500},
                                        LeaseRelease{"trader", Epoch{1}, NodeId{2}},
                                        LeaseOpen{"trader", Epoch{1}},
                                        LeaseAcquire{"trader", NodeId{2}, "n2", 1500, 500},
                                        LeaseExpire{"trader", Epoch{2}},
                                        LeaseForget{"trader"},
                                        MemberSet{NodeId{1}, "n1"},
                                        MemberRemove{NodeId{1}},
                                        ClusterSet{ClusterId{{1, 2, 3}}},
                                        DeleteTree{"a/"}};
  for (CommandBody& body : later_bodies()) bodies.push_back(std::move(body));
  for (CommandBody& body : order_bodies(bodies.size())) bodies.push_back(std::move(body));
  for (CommandBody& body : halt_bodies()) bodies.push_back(std::move(body));
  std::string all;
  StateMachine state;
  std::vector<std::string> commands;
  std::set<std::string> written;
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    const std::string bytes = encode(Command{{NodeId{1}, i + 1}, bodies[i]});
    const std::string framed = {static_cast<char>(bytes.size() >> 8), static_cast<char>(bytes.size() & 255)};
    write("kv_command", "command-" + std::to_string(i), framed + bytes);
    all += framed + bytes;
    commands.push_back(bytes);
    if (!state.apply(Index{i + 1}, bytes)) std::cerr << "seed command " << i << " was refused\n";
    for (const auto& record : state.records()) {
      // One row of each kind is enough; 'k' twice, since a lock makes it another one.
      const std::string name = "state-" + record.key.substr(0, 1) + (state.lock(record.key.substr(1)) ? "-locked" : "");
      if (!written.insert(name).second) continue;
      write("log_record", name, std::string(1, static_cast<char>(record.key.size())) + record.key + *record.value);
    }
  }
  write("kv_command", "all", all);
  const ClusterId cluster{{7}};
  const auto frame = [&cluster](const std::string& name, const store::FrameBody& body) {
    write("store_frame", name, store::encode_frame(cluster, body));
  };
  frame("forward", store::ForwardFrame{commands});
  frame("refuse", store::RefuseFrame{store::Refusal::kBusy, {1, 2}});
  frame("renew", store::RenewFrame{5, "trader", Epoch{2}});
  frame("renew-answer", store::RenewAnswerFrame{5, store::RenewVerdict::kRenewed});
  frame("grant-ask", store::GrantAskFrame{{cluster, {1}, {{1}, {2}, {3}}}});
  frame("grant-answer", store::GrantAnswerFrame{cluster, store::GrantVerdict::kPromised, {1}, cluster});
  frame("grant-withdraw", store::GrantWithdrawFrame{cluster});
  frame("session-renew", store::SessionRenewFrame{6, SessionId{Uuid{{1}}}});
  frame("chunk-ack", store::ChunkAckFrame{3, 1, store::ChunkVerdict::kNext});
  store::RowStreamWriter stream({cluster, {10}, {2}});
  for (const auto& record : state.records()) stream.add(record);
  stream.finish();
  const std::string rows = stream.take(SIZE_MAX);
  write("row_stream", "state", std::string(1, '\x20') + rows);
  store::ChunkFrame chunk;
  chunk.transfer = 3, chunk.term = {2}, chunk.meta = {{10}, {2}, conf()}, chunk.count = 1;
  chunk.bytes = rows, chunk.hash = store::hash_bytes(chunk.bytes);
  frame("chunk", chunk);
}

void write_mesh() {
  using namespace agent::drivers;
  const auto body = [](const Hello& hello) { return text_of(encode_hello(hello)).substr(kFrameHeaderBytes); };
  write("mesh_wire", "urgent", body({kMeshVersion, Lane::kUrgent, {1}, "prod", "n1"}));
  write("mesh_wire", "answer", body({kMeshVersion, {}, {2}, "", ""}));
}

void write_flight() {
  const agent::FlightEvent lease{"", 5, 1, {1000, 0}, "lease", 3, "n2", ""};
  const agent::FlightEvent suspect{"", 5, 1, {1000, 0}, "gossip_suspect", 0, "n1", "probes"};
  const agent::FlightEvent promoted{"", 5, 2, {1000, 1}, "promoted", 4, "n2", "elected"};
  const agent::FlightEvent demoted{"", 6, 1, {2'000'000, 7}, "demoted", 4, "", std::string(240, 'x')};
  write("flight_wire", "one", agent::encode_flight(std::vector{lease}));
  write("flight_wire", "three", agent::encode_flight(std::vector{suspect, promoted, demoted}));
}

void write_rates() {
  using namespace agent::drivers;
  proxy::RateQuestion window;
  window.ticket = 1, window.zone = 5, window.rule = {20, std::chrono::milliseconds(10'000), std::nullopt, true}, window.key = 77;
  proxy::RateQuestion bucket = window;
  bucket.zone = 6, bucket.rule.burst = 20, bucket.known = 4096;
  write("rate_wire", "questions", encode_questions(0, std::vector{window, window, bucket}));
  std::vector<proxy::RateAnswer> told(2);
  told[1].verdict.admitted = false, told[1].verdict.retry_after = std::chrono::seconds(7), told[1].debt = 20'480;
  write("rate_wire", "answers", encode_answers(1, told));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: fuzz_seeds FOLDER\n";
    return 2;
  }
  root = argv[1];
  write_gossip();
  write_raft();
  write_kv();
  write_mesh();
  write_flight();
  write_rates();
  return 0;
}
