#include "store/kv/command.h"

#include "store/kv/wire.h"

namespace store::kv {
namespace {

// Numbers on the wire and in the log: never reused, never changed.
enum class Kind : std::uint64_t {
  kSet = 1,
  kCas = 2,
  kDelete = 3,
  kDeleteCas = 4,
  kDeleteTree = 5,
  kLeaseAcquire = 20,
  kLeaseRelease = 21,
  kLeaseExpire = 22,
  kLeaseOpen = 23,
  kLeaseForget = 24,
  kMemberSet = 40,
  kMemberRemove = 41,
  kClusterSet = 42,
};
constexpr std::size_t kFieldsMax = 16;

ArrayWriter begin(const RequestId& request, Kind kind, std::size_t fields) {
  ArrayWriter writer(4 + fields);
  writer.add(kCommandVersion).add(static_cast<std::uint64_t>(kind)).add(value(request.origin)).add(request.seq);
  return writer;
}

struct Encoder {
  const RequestId& request;
  std::string operator()(const Set& c) const {
    return begin(request, Kind::kSet, 3).add(c.key).add(c.value).add(c.flags).take();
  }
  std::string operator()(const Cas& c) const {
    return begin(request, Kind::kCas, 4).add(c.key).add(c.value).add(c.flags).add(value(c.expected)).take();
  }
  std::string operator()(const Delete& c) const { return begin(request, Kind::kDelete, 1).add(c.key).take(); }
  std::string operator()(const DeleteCas& c) const {
    return begin(request, Kind::kDeleteCas, 2).add(c.key).add(value(c.expected)).take();
  }
  std::string operator()(const DeleteTree& c) const {
    return begin(request, Kind::kDeleteTree, 1).add(c.prefix).take();
  }
  std::string operator()(const LeaseAcquire& c) const {
    return begin(request, Kind::kLeaseAcquire, 5)
        .add(c.service)
        .add(value(c.holder))
        .add(c.holder_name)
        .add(c.lease_ms)
        .add(c.margin_ms)
        .take();
  }
  std::string operator()(const LeaseRelease& c) const {
    return begin(request, Kind::kLeaseRelease, 3).add(c.service).add(value(c.epoch)).add(value(c.preferred)).take();
  }
  std::string operator()(const LeaseExpire& c) const {
    return begin(request, Kind::kLeaseExpire, 2).add(c.service).add(value(c.epoch)).take();
  }
  std::string operator()(const LeaseOpen& c) const {
    return begin(request, Kind::kLeaseOpen, 2).add(c.service).add(value(c.epoch)).take();
  }
  std::string operator()(const LeaseForget& c) const {
    return begin(request, Kind::kLeaseForget, 1).add(c.service).take();
  }
  std::string operator()(const MemberSet& c) const {
    return begin(request, Kind::kMemberSet, 2).add(value(c.id)).add(c.name).take();
  }
  std::string operator()(const MemberRemove& c) const {
    return begin(request, Kind::kMemberRemove, 1).add(value(c.id)).take();
  }
  std::string operator()(const ClusterSet& c) const {
    const std::string raw(c.id.bytes.begin(), c.id.bytes.end());
    return begin(request, Kind::kClusterSet, 1).add(raw).take();
  }
};

std::string take_text(ArrayReader& reader, std::size_t bytes_max) { return std::string(reader.bytes(bytes_max)); }

Index take_index(ArrayReader& reader) { return Index{reader.number()}; }
Epoch take_epoch(ArrayReader& reader) { return Epoch{reader.number()}; }
NodeId take_node(ArrayReader& reader) { return NodeId{reader.number()}; }

ClusterSet decode_cluster_set(ArrayReader& reader) {
  ClusterSet command;
  const std::string_view raw = reader.bytes(command.id.bytes.size());
  if (raw.size() != command.id.bytes.size()) {
    reader.reject(Errc::kMalformed, "cluster id is not 16 bytes");
    return command;
  }
  for (std::size_t i = 0; i < raw.size(); ++i) command.id.bytes[i] = static_cast<std::uint8_t>(raw[i]);
  return command;
}

// Braced initialisers are evaluated from left to right: the order on the wire is the order of the members.
CommandBody decode_lease_body(ArrayReader& r, Kind kind) {
  if (kind == Kind::kLeaseAcquire)
    return LeaseAcquire{take_text(r, kNameBytesMax), take_node(r), take_text(r, kNameBytesMax), r.number32(),
                        r.number32()};
  if (kind == Kind::kLeaseRelease) return LeaseRelease{take_text(r, kNameBytesMax), take_epoch(r), take_node(r)};
  if (kind == Kind::kLeaseExpire) return LeaseExpire{take_text(r, kNameBytesMax), take_epoch(r)};
  if (kind == Kind::kLeaseOpen) return LeaseOpen{take_text(r, kNameBytesMax), take_epoch(r)};
  return LeaseForget{take_text(r, kNameBytesMax)};
}

CommandBody decode_body(ArrayReader& r, Kind kind) {
  switch (kind) {
    case Kind::kSet:
      return Set{take_text(r, kKeyBytesMax), take_text(r, kValueBytesMax), r.number()};
    case Kind::kCas:
      return Cas{take_text(r, kKeyBytesMax), take_text(r, kValueBytesMax), r.number(), take_index(r)};
    case Kind::kDelete:
      return Delete{take_text(r, kKeyBytesMax)};
    case Kind::kDeleteCas:
      return DeleteCas{take_text(r, kKeyBytesMax), take_index(r)};
    case Kind::kDeleteTree:
      return DeleteTree{take_text(r, kKeyBytesMax)};
    case Kind::kLeaseAcquire:
    case Kind::kLeaseRelease:
    case Kind::kLeaseExpire:
    case Kind::kLeaseOpen:
    case Kind::kLeaseForget:
      return decode_lease_body(r, kind);
    case Kind::kMemberSet:
      return MemberSet{take_node(r), take_text(r, kNameBytesMax)};
    case Kind::kMemberRemove:
      return MemberRemove{take_node(r)};
    case Kind::kClusterSet:
      return decode_cluster_set(r);
  }
  r.reject(Errc::kUnknownKind, "command kind " + std::to_string(static_cast<std::uint64_t>(kind)));
  return Delete{};
}

// The part before the fields. Leaves an error in the reader.
RequestId decode_head(ArrayReader& reader, Kind& kind) {
  const std::uint64_t version = reader.number();
  if (reader.ok() && version != kCommandVersion)
    reader.reject(Errc::kUnknownVersion, "command version " + std::to_string(version));
  kind = Kind{reader.number()};
  const NodeId origin = take_node(reader);
  return RequestId{origin, reader.number()};
}

Result<void> check_key(std::string_view key) {
  if (key.empty()) return fail(Errc::kBadKey, "the key is empty");
  if (key.size() > kKeyBytesMax) return fail(Errc::kTooLarge, "the key is longer than 1024 bytes");
  if (key.find('\0') != std::string_view::npos) return fail(Errc::kBadKey, "the key holds a NUL byte");
  return {};
}

Result<void> check_value(std::string_view value) {
  if (value.size() > kValueBytesMax) return fail(Errc::kTooLarge, "the value is larger than 512 KiB");
  return {};
}

Result<void> check_name(std::string_view name, const char* what) {
  if (name.empty()) return fail(Errc::kBadKey, std::string(what) + " is empty");
  if (name.size() > kNameBytesMax) return fail(Errc::kTooLarge, std::string(what) + " is longer than 256 bytes");
  if (name.find('\0') != std::string_view::npos) return fail(Errc::kBadKey, std::string(what) + " holds a NUL byte");
  return {};
}

struct Checker {
  Result<void> operator()(const Set& c) const {
    return check_key(c.key).and_then([&] { return check_value(c.value); });
  }
  Result<void> operator()(const Cas& c) const {
    return check_key(c.key).and_then([&] { return check_value(c.value); });
  }
  Result<void> operator()(const Delete& c) const { return check_key(c.key); }
  Result<void> operator()(const DeleteCas& c) const {
    if (c.expected == Index{}) return fail(Errc::kMalformed, "a conditional delete needs an index above 0");
    return check_key(c.key);
  }
  Result<void> operator()(const DeleteTree& c) const { return c.prefix.empty() ? Result<void>{} : check_key(c.prefix); }
  Result<void> operator()(const LeaseAcquire& c) const {
    if (c.holder == NodeId{}) return fail(Errc::kMalformed, "the holder is nobody");
    if (c.lease_ms < kLeaseMsMin || c.lease_ms > kLeaseMsMax || c.margin_ms > kLeaseMsMax)
      return fail(Errc::kMalformed, "lease or margin out of bounds");
    return check_name(c.service, "the service").and_then([&] {
      return check_name(c.holder_name, "the holder's name");
    });
  }
  Result<void> operator()(const LeaseRelease& c) const { return check_name(c.service, "the service"); }
  Result<void> operator()(const LeaseExpire& c) const { return check_name(c.service, "the service"); }
  Result<void> operator()(const LeaseOpen& c) const { return check_name(c.service, "the service"); }
  Result<void> operator()(const LeaseForget& c) const { return check_name(c.service, "the service"); }
  Result<void> operator()(const MemberSet& c) const {
    if (c.id == NodeId{}) return fail(Errc::kMalformed, "the member is nobody");
    return check_name(c.name, "the member's name");
  }
  Result<void> operator()(const MemberRemove& c) const {
    return c.id == NodeId{} ? fail(Errc::kMalformed, "the member is nobody") : Result<void>{};
  }
  Result<void> operator()(const ClusterSet& c) const {
    return c.id.is_none() ? fail(Errc::kMalformed, "the cluster id is none") : Result<void>{};
  }
};

}  // namespace

std::string encode(const Command& command) { return std::visit(Encoder{command.request}, command.body); }

Result<Command> decode_command(std::string_view bytes) {
  if (bytes.size() > kCommandBytesMax) return fail(Errc::kTooLarge, "the command is too large");
  ArrayReader reader(bytes, kFieldsMax);
  Kind kind{};
  const RequestId request = decode_head(reader, kind);
  if (!reader.ok()) return tl::unexpected<Error>(reader.finish().error());
  Command command{request, decode_body(reader, kind)};
  if (auto done = reader.finish(); !done) return tl::unexpected<Error>(done.error());
  if (auto sound = check(command.body); !sound) return tl::unexpected<Error>(sound.error());
  return command;
}

Result<void> check(const CommandBody& body) { return std::visit(Checker{}, body); }

Result<RequestId> decode_request_id(std::string_view bytes) {
  if (bytes.size() > kCommandBytesMax) return fail(Errc::kTooLarge, "the command is too large");
  ArrayReader reader(bytes, kFieldsMax);
  Kind kind{};
  const RequestId request = decode_head(reader, kind);
  if (!reader.ok()) return tl::unexpected<Error>(reader.finish().error());
  return request;
}

}  // namespace store::kv
