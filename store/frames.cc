#include "store/frames.h"

#include <algorithm>

#include "store/kv/types.h"
#include "store/kv/wire.h"
#include "store/raft/wire.h"
#include "store/types.h"

namespace store {
namespace {

using kv::ArrayReader;
using kv::ArrayWriter;
using raft::NodeId;

enum class Kind : std::uint64_t {
  kRaft = 1,
  kForward = 2,
  kRefuse = 3,
  kRenew = 4,
  kRenewAnswer = 5,
  kGrantAsk = 6,
  kGrantAnswer = 7,
  kGrantWithdraw = 8,
  kChunk = 9,
  kChunkAck = 10,
  kSessionRenew = 11,
  kOperate = 12,
  kOperateAnswer = 13,
};
constexpr std::size_t kVotersMax = 16;
constexpr std::size_t kMetaBytesMax = std::size_t{64} << 10;
constexpr std::size_t kDetailBytesMax = 512;

std::string raw(const kv::ClusterId& id) {
  return id.is_none() ? std::string() : std::string(id.bytes.begin(), id.bytes.end());
}

kv::ClusterId read_cluster(ArrayReader& reader) {
  kv::ClusterId id;
  const std::string_view bytes = reader.bytes(id.bytes.size());
  if (bytes.empty()) return id;
  if (bytes.size() != id.bytes.size()) {
    reader.reject(kv::Errc::kMalformed, "cluster id is not 16 bytes");
    return id;
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) id.bytes[i] = static_cast<std::uint8_t>(bytes[i]);
  return id;
}

// Reads a small enumeration whose values run from 1 to `last`.
template <class E>
E read_choice(ArrayReader& reader, E last) {
  const std::uint64_t number = reader.number();
  if (number < 1 || number > static_cast<std::uint64_t>(last)) {
    reader.reject(kv::Errc::kMalformed, "no such choice");
    return last;
  }
  return static_cast<E>(number);
}

struct Encoder {
  const kv::ClusterId& cluster;

  [[nodiscard]] ArrayWriter begin(Kind kind, std::size_t fields) const {
    ArrayWriter writer(3 + fields);
    writer.add(kFrameVersion).add(static_cast<std::uint64_t>(kind)).add(raw(cluster));
    return writer;
  }
  std::string operator()(const RaftFrame& f) const { return begin(Kind::kRaft, 1).add(raft::encode(f.message)).take(); }
  std::string operator()(const ForwardFrame& f) const {
    ArrayWriter writer = begin(Kind::kForward, 1);
    writer.add_list(f.commands.size());
    for (const std::string& command : f.commands) writer.add(command);
    return writer.take();
  }
  std::string operator()(const RefuseFrame& f) const {
    ArrayWriter writer = begin(Kind::kRefuse, 2);
    writer.add(static_cast<std::uint64_t>(f.why)).add_list(f.seqs.size());
    for (const std::uint64_t seq : f.seqs) writer.add(seq);
    return writer.take();
  }
  std::string operator()(const RenewFrame& f) const {
    return begin(Kind::kRenew, 3).add(f.token).add(f.service).add(kv::value(f.epoch)).take();
  }
  std::string operator()(const RenewAnswerFrame& f) const {
    return begin(Kind::kRenewAnswer, 2).add(f.token).add(static_cast<std::uint64_t>(f.verdict)).take();
  }
  std::string operator()(const GrantAskFrame& f) const {
    ArrayWriter writer = begin(Kind::kGrantAsk, 3);
    writer.add(raw(f.grant.id)).add(f.grant.founder.value).add_list(f.grant.voters.size());
    for (const NodeId voter : f.grant.voters) writer.add(voter.value);
    return writer.take();
  }
  std::string operator()(const GrantAnswerFrame& f) const {
    return begin(Kind::kGrantAnswer, 4)
        .add(raw(f.asked))
        .add(static_cast<std::uint64_t>(f.verdict))
        .add(f.founder.value)
        .add(raw(f.cluster))
        .take();
  }
  std::string operator()(const GrantWithdrawFrame& f) const {
    return begin(Kind::kGrantWithdraw, 1).add(raw(f.id)).take();
  }
  std::string operator()(const ChunkFrame& f) const {
    return begin(Kind::kChunk, 7)
        .add(f.transfer)
        .add(f.term.value)
        .add(raft::encode(f.meta))
        .add(f.number)
        .add(f.count)
        .add(f.hash)
        .add(f.bytes)
        .take();
  }
  std::string operator()(const ChunkAckFrame& f) const {
    return begin(Kind::kChunkAck, 3).add(f.transfer).add(f.next).add(static_cast<std::uint64_t>(f.verdict)).take();
  }
  std::string operator()(const SessionRenewFrame& f) const {
    const std::string id(f.session.uuid.bytes.begin(), f.session.uuid.bytes.end());
    return begin(Kind::kSessionRenew, 2).add(f.token).add(id).take();
  }
  std::string operator()(const OperateFrame& f) const {
    return begin(Kind::kOperate, 3).add(f.token).add(static_cast<std::uint64_t>(f.operation)).add(f.server.value).take();
  }
  std::string operator()(const OperateAnswerFrame& f) const {
    ArrayWriter array = begin(Kind::kOperateAnswer, 4);
    array.add(f.token).add(f.error).add(f.detail).add_list(5 * f.figures.size());
    for (const ServerFigures& one : f.figures) {
      array.add(one.id.value).add(one.match.value);
      for (const auto number : {std::int64_t{one.last_contact.count()}, std::int64_t{one.fsync_p50.count()},
                                std::int64_t{one.fsync_p99.count()}})
        array.add(static_cast<std::uint64_t>(number));
    }
    return array.take();
  }
};

FrameBody read_raft(ArrayReader& r) {
  RaftFrame frame;
  const std::string_view bytes = r.bytes(kFrameBytesMax);
  if (!r.ok()) return frame;
  auto message = raft::decode_message(bytes);
  if (message) {
    frame.message = std::move(*message);
  } else {
    r.reject(kv::Errc::kMalformed, "Raft message: " + message.error().detail);
  }
  return frame;
}

FrameBody read_forward(ArrayReader& r) {
  ForwardFrame frame;
  const std::size_t count = r.begin_list(kForwardCommandsMax);
  for (std::size_t i = 0; i < count && r.ok(); ++i) frame.commands.emplace_back(r.bytes(kv::kCommandBytesMax));
  r.end_list();
  return frame;
}

FrameBody read_refuse(ArrayReader& r) {
  RefuseFrame frame;
  frame.why = read_choice(r, Refusal::kDiskFull);
  const std::size_t count = r.begin_list(kForwardCommandsMax);
  for (std::size_t i = 0; i < count && r.ok(); ++i) frame.seqs.push_back(r.number());
  r.end_list();
  return frame;
}

FrameBody read_renew(ArrayReader& r) {
  RenewFrame frame;
  frame.token = r.number();
  frame.service = r.bytes(kv::kNameBytesMax);
  frame.epoch = kv::Epoch{r.number()};
  return frame;
}

FrameBody read_renew_answer(ArrayReader& r) {
  RenewAnswerFrame frame;
  frame.token = r.number();
  frame.verdict = read_choice(r, RenewVerdict::kNotLeader);
  return frame;
}

FrameBody read_grant_ask(ArrayReader& r) {
  GrantAskFrame frame;
  frame.grant.id = read_cluster(r);
  frame.grant.founder = NodeId{r.number()};
  const std::size_t count = r.begin_list(kVotersMax);
  for (std::size_t i = 0; i < count && r.ok(); ++i) frame.grant.voters.push_back(NodeId{r.number()});
  r.end_list();
  const auto& voters = frame.grant.voters;
  const bool strictly_sorted = std::adjacent_find(voters.begin(), voters.end(), std::greater_equal<>()) == voters.end();
  if (r.ok() && (frame.grant.id.is_none() || voters.empty() || !voters.front() || !strictly_sorted))
    r.reject(kv::Errc::kMalformed, "a founding without id, or with voters out of order");
  return frame;
}

FrameBody read_grant_answer(ArrayReader& r) {
  GrantAnswerFrame frame;
  frame.asked = read_cluster(r);
  frame.verdict = read_choice(r, GrantVerdict::kOtherView);
  frame.founder = NodeId{r.number()};
  frame.cluster = read_cluster(r);
  return frame;
}

FrameBody read_chunk(ArrayReader& r) {
  ChunkFrame frame;
  frame.transfer = r.number();
  frame.term = raft::Term{r.number()};
  const std::string_view meta = r.bytes(kMetaBytesMax);
  if (!r.ok()) return frame;
  auto decoded = raft::decode_snapshot_meta(meta);
  if (decoded) {
    frame.meta = std::move(*decoded);
  } else {
    r.reject(kv::Errc::kMalformed, "snapshot name: " + decoded.error().detail);
  }
  frame.number = r.number();
  frame.count = r.number();
  frame.hash = r.number();
  frame.bytes = r.bytes(kChunkBytesMax);
  if (r.ok() && frame.count != 0 && frame.count != frame.number + 1)
    r.reject(kv::Errc::kMalformed, "a chunk that is not the last one counts them");
  return frame;
}

FrameBody read_chunk_ack(ArrayReader& r) {
  ChunkAckFrame frame;
  frame.transfer = r.number();
  frame.next = r.number();
  frame.verdict = read_choice(r, ChunkVerdict::kRefused);
  return frame;
}

FrameBody read_session_renew(ArrayReader& r) {
  SessionRenewFrame frame;
  frame.token = r.number();
  auto& id = frame.session.uuid.bytes;
  const std::string_view bytes = r.bytes(id.size());
  if (bytes.size() == id.size()) {
    std::copy(bytes.begin(), bytes.end(), id.begin());
  } else {
    r.reject(kv::Errc::kMalformed, "session id is not 16 bytes");
  }
  return frame;
}

FrameBody read_operate(ArrayReader& r) {
  OperateFrame frame;
  frame.token = r.number();
  frame.operation = read_choice(r, Operation::kFigures);
  frame.server = NodeId{r.number()};
  return frame;
}

FrameBody read_operate_answer(ArrayReader& r) {
  OperateAnswerFrame frame;
  frame.token = r.number();
  frame.error = r.number();
  frame.detail = r.bytes(kDetailBytesMax);
  const std::size_t count = r.begin_list(5 * kFiguresMax);
  if (count % 5 != 0) r.reject(kv::Errc::kMalformed, "figures of a server are cut short");
  for (std::size_t i = 0; i + 5 <= count && r.ok(); i += 5) {
    ServerFigures one;
    one.id = NodeId{r.number()};
    one.match = raft::Index{r.number()};
    one.last_contact = std::chrono::milliseconds(r.number32());
    one.fsync_p50 = std::chrono::microseconds(r.number32());
    one.fsync_p99 = std::chrono::microseconds(r.number32());
    frame.figures.push_back(one);
  }
  r.end_list();
  return frame;
}

FrameBody read_body(ArrayReader& r, Kind kind) {
  switch (kind) {
    case Kind::kRaft:
      return read_raft(r);
    case Kind::kForward:
      return read_forward(r);
    case Kind::kRefuse:
      return read_refuse(r);
    case Kind::kRenew:
      return read_renew(r);
    case Kind::kRenewAnswer:
      return read_renew_answer(r);
    case Kind::kGrantAsk:
      return read_grant_ask(r);
    case Kind::kGrantAnswer:
      return read_grant_answer(r);
    case Kind::kGrantWithdraw:
      return GrantWithdrawFrame{read_cluster(r)};
    case Kind::kChunk:
      return read_chunk(r);
    case Kind::kChunkAck:
      return read_chunk_ack(r);
    case Kind::kSessionRenew:
      return read_session_renew(r);
    case Kind::kOperate:
      return read_operate(r);
    case Kind::kOperateAnswer:
      return read_operate_answer(r);
  }
  r.reject(kv::Errc::kUnknownKind, "frame kind " + std::to_string(static_cast<std::uint64_t>(kind)));
  return RefuseFrame{};
}

}  // namespace

std::string encode_frame(const kv::ClusterId& cluster, const FrameBody& body) {
  return std::visit(Encoder{cluster}, body);
}

kv::Result<Frame> decode_frame(std::string_view bytes) {
  if (bytes.size() > kFrameBytesMax) return kv::fail(kv::Errc::kTooLarge, "the frame is too large");
  ArrayReader reader(bytes, kForwardCommandsMax);
  const std::uint64_t version = reader.number();
  if (reader.ok() && version != kFrameVersion)
    reader.reject(kv::Errc::kUnknownVersion, "frame version " + std::to_string(version));
  const Kind kind{reader.number()};
  Frame frame;
  frame.cluster = read_cluster(reader);
  if (!reader.ok()) return tl::unexpected<kv::Error>(reader.finish().error());
  frame.body = read_body(reader, kind);
  if (auto done = reader.finish(); !done) return tl::unexpected<kv::Error>(done.error());
  return frame;
}

std::uint64_t hash_bytes(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char byte : bytes) hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace store
