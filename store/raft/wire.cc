#include "store/raft/wire.h"

#include <algorithm>
#include <msgpack/pack.hpp>
#include <optional>
#include <utility>

namespace store::raft {
namespace {

// --- Encoding: msgpack-cxx into a string --------------------------------------------------------------------------

struct Sink {
  std::string bytes;
  void write(const char* data, std::size_t size) { bytes.append(data, size); }
};
using Packer = msgpack::packer<Sink>;

void put(Packer& to, std::uint64_t value) { to.pack_uint64(value); }
void put(Packer& to, bool value) { value ? to.pack_true() : to.pack_false(); }
void put(Packer& to, std::string_view bytes) {
  to.pack_bin(static_cast<std::uint32_t>(bytes.size()));
  to.pack_bin_body(bytes.data(), static_cast<std::uint32_t>(bytes.size()));
}

void put(Packer& to, const std::vector<NodeId>& nodes) {
  to.pack_array(static_cast<std::uint32_t>(nodes.size()));
  for (NodeId id : nodes) put(to, id.value);
}

void put_fields(Packer& to, const Entry& entry) {
  put(to, entry.term.value);
  put(to, entry.index.value);
  put(to, static_cast<std::uint64_t>(entry.kind));
  put(to, entry.data.view());
}
constexpr std::uint32_t kEntryFields = 4;

void put_fields(Packer& to, const ConfState& conf) {
  put(to, conf.voters);
  put(to, conf.voters_outgoing);
  put(to, conf.learners);
  put(to, conf.learners_next);
  put(to, conf.auto_leave);
}
constexpr std::uint32_t kConfFields = 5;

void put_fields(Packer& to, const SnapshotMeta& snapshot) {
  put(to, snapshot.index.value);
  put(to, snapshot.term.value);
  to.pack_array(kConfFields);
  put_fields(to, snapshot.conf);
}
constexpr std::uint32_t kSnapshotFields = 3;

void put_fields(Packer& to, const HardState& state) {
  put(to, state.term.value);
  put(to, state.vote.value);
  put(to, state.commit.value);
}
constexpr std::uint32_t kHardFields = 3;

void put_fields(Packer& to, const ConfChange& change) {
  put(to, static_cast<std::uint64_t>(change.transition));
  to.pack_array(static_cast<std::uint32_t>(change.steps.size()));
  for (const ConfChangeStep& step : change.steps) {
    to.pack_array(2);
    put(to, static_cast<std::uint64_t>(step.kind));
    put(to, step.node.value);
  }
  put(to, std::string_view(change.context));
}
constexpr std::uint32_t kChangeFields = 3;

void put_fields(Packer& to, const Message& message) {
  put(to, static_cast<std::uint64_t>(message.kind));
  for (std::uint64_t value : {message.from.value, message.to.value, message.term.value, message.log_term.value,
                              message.index.value, message.commit.value, message.reject_hint.value}) {
    put(to, value);
  }
  put(to, message.reject);
  put(to, message.forced);
  put(to, message.round.value);
  put(to, static_cast<std::uint64_t>(message.read_mode));
  put(to, message.read_context);
  to.pack_array(static_cast<std::uint32_t>(message.entries.size()));
  for (const Entry& entry : message.entries) {
    to.pack_array(kEntryFields);
    put_fields(to, entry);
  }
  if (message.snapshot) {
    to.pack_array(kSnapshotFields);
    put_fields(to, *message.snapshot);
  } else {
    to.pack_nil();
  }
  if (message.disk) {
    put(to, static_cast<std::uint64_t>(message.disk->fsync_p50.count()));
    put(to, static_cast<std::uint64_t>(message.disk->fsync_p99.count()));
  }
}
constexpr std::uint32_t kMessageFields = 15;
constexpr std::uint32_t kDiskFields = 2;  // behind the others, in the messages that have them

std::uint32_t fields_of(const Message& message) { return kMessageFields + (message.disk ? kDiskFields : 0); }

template <class Value>
std::string encode_value(const Value& value, std::uint32_t fields, std::size_t payload) {
  Sink sink;
  sink.bytes.reserve(96 + payload);
  Packer packer(sink);
  packer.pack_array(1 + fields);
  put(packer, kWireVersion);
  put_fields(packer, value);
  return std::move(sink.bytes);
}

// --- Decoding -----------------------------------------------------------------------------------------------------

/// Reads msgpack values of a known shape one by one. msgpack-cxx would first build a tree of 24 bytes per value, of
/// whatever shape the sender likes; a cursor reserves nothing and knows what must come. The first error sticks: all
/// later reads answer zero, so that callers check once.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : bytes_(bytes) {
    if (bytes.size() > kFrameBytesMax) set_error(Errc::kTooLarge);
  }

  [[nodiscard]] bool ok() const { return !error_; }
  [[nodiscard]] std::size_t left() const { return bytes_.size() - at_; }
  void set_error(Errc code) {
    if (!error_) error_ = Error{code, "at byte " + std::to_string(at_)};
  }
  [[nodiscard]] const Error& error() const { return *error_; }

  std::uint64_t number() {
    const unsigned tag = byte();
    if (tag <= 0x7f) return tag;
    if (tag < 0xcc || tag > 0xcf) return wrong();
    return big_endian(std::size_t{1} << (tag - 0xcc));
  }

  bool boolean() {
    const unsigned tag = byte();
    if (tag != 0xc2 && tag != 0xc3) wrong();
    return tag == 0xc3;
  }

  bool take_nil() {
    if (!ok() || left() == 0 || static_cast<unsigned char>(bytes_[at_]) != 0xc0) return false;
    ++at_;
    return true;
  }

  /// @return number of elements that follow, at most `most`.
  std::size_t array(std::size_t most) {
    const unsigned tag = byte();
    std::size_t count = 0;
    if ((tag & 0xf0U) == 0x90) {
      count = tag & 0x0fU;
    } else if (tag == 0xdc || tag == 0xdd) {
      count = static_cast<std::size_t>(big_endian(tag == 0xdc ? 2 : 4));
    } else {
      return static_cast<std::size_t>(wrong());
    }
    if (count > most) set_error(Errc::kTooLarge);
    return ok() ? count : 0;
  }

  std::string_view binary(std::size_t most) {
    const unsigned tag = byte();
    if (tag < 0xc4 || tag > 0xc6) {
      wrong();
      return {};
    }
    const auto size = static_cast<std::size_t>(big_endian(std::size_t{1} << (tag - 0xc4)));
    if (size > most) set_error(Errc::kTooLarge);
    return take(size);
  }

  /// Passes over one value of any shape: a field that a later version added. No recursion: counts what is open.
  void skip() {
    std::uint64_t open = 1;
    while (ok() && open > 0) {
      --open;
      open += skip_head();
      if (open > left()) set_error(Errc::kTruncated);
    }
  }

 private:
  std::uint64_t wrong() {
    set_error(Errc::kMalformed);
    return 0;
  }

  std::string_view take(std::size_t size) {
    if (!ok()) return {};
    if (size > left()) {
      set_error(Errc::kTruncated);
      return {};
    }
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }

  unsigned byte() {
    const std::string_view one = take(1);
    return one.empty() ? 0U : static_cast<unsigned char>(one[0]);
  }

  std::uint64_t big_endian(std::size_t size) {
    std::uint64_t value = 0;
    for (const char c : take(size)) value = (value << 8U) | static_cast<unsigned char>(c);
    return value;
  }

  /// Passes over the head (and the body, unless an array or a map) of a value. @return values that follow inside.
  std::uint64_t skip_head() {
    const unsigned tag = byte();
    if (tag <= 0x7f || tag >= 0xe0 || tag == 0xc0 || tag == 0xc2 || tag == 0xc3) return 0;
    if (tag <= 0x8f) return std::uint64_t{2} * (tag & 0x0fU);
    if (tag <= 0x9f) return tag & 0x0fU;
    if (tag <= 0xbf) return take_body(tag & 0x1fU);
    switch (tag) {
      case 0xc4: case 0xd9: return take_body(big_endian(1));
      case 0xc5: case 0xda: return take_body(big_endian(2));
      case 0xc6: case 0xdb: return take_body(big_endian(4));
      case 0xc7: return take_body(1 + big_endian(1));
      case 0xc8: return take_body(1 + big_endian(2));
      case 0xc9: return take_body(1 + big_endian(4));
      case 0xcc: case 0xd0: return take_body(1);
      case 0xcd: case 0xd1: case 0xd4: return take_body(2);
      case 0xd5: return take_body(3);
      case 0xca: case 0xce: case 0xd2: return take_body(4);
      case 0xd6: return take_body(5);
      case 0xcb: case 0xcf: case 0xd3: return take_body(8);
      case 0xd7: return take_body(9);
      case 0xd8: return take_body(17);
      case 0xdc: return big_endian(2);
      case 0xdd: return big_endian(4);
      case 0xde: return 2 * big_endian(2);
      case 0xdf: return 2 * big_endian(4);
      default: return wrong();
    }
  }

  std::uint64_t take_body(std::uint64_t size) {
    take(static_cast<std::size_t>(size));
    return 0;
  }

  std::string_view bytes_;
  std::size_t at_ = 0;
  std::optional<Error> error_;
};

/// An array with at least `fields` elements; runs `read` for these, `read_more` for `more` that need not be there but
/// come together, and passes over the rest.
template <class Read, class ReadMore>
void read_array(Cursor& from, std::size_t fields, const Read& read, std::size_t more, const ReadMore& read_more) {
  constexpr std::size_t kFieldsMax = 64;
  const std::size_t count = from.array(kFieldsMax);
  if (from.ok() && count < fields) from.set_error(Errc::kMalformed);
  if (!from.ok()) return;
  read();
  std::size_t done = fields;
  if (more > 0 && count >= fields + more && from.ok()) {
    read_more();
    done += more;
  }
  for (std::size_t i = done; i < count && from.ok(); ++i) from.skip();
}

template <class Read>
void read_array(Cursor& from, std::size_t fields, const Read& read) {
  read_array(from, fields, read, 0, [] {});
}

template <class Enum>
Enum read_enum(Cursor& from, Enum least, Enum greatest) {
  const std::uint64_t value = from.number();
  if (value < static_cast<std::uint64_t>(least) || value > static_cast<std::uint64_t>(greatest)) {
    from.set_error(Errc::kUnknownKind);
    return least;
  }
  return static_cast<Enum>(value);
}

std::vector<NodeId> read_nodes(Cursor& from) {
  const std::size_t count = from.array(kConfNodesMax);
  std::vector<NodeId> nodes;
  for (std::size_t i = 0; i < count && from.ok(); ++i) {
    const NodeId id{from.number()};
    const bool sorted = nodes.empty() ? id.value > 0 : id > nodes.back();
    if (!sorted) from.set_error(Errc::kMalformed);
    nodes.push_back(id);
  }
  return nodes;
}

void read_fields(Cursor& from, Entry& entry) {
  entry.term = Term{from.number()};
  entry.index = Index{from.number()};
  entry.kind = read_enum(from, EntryKind::kNormal, EntryKind::kConfChange);
  const std::string_view data = from.binary(kEntryBytesMax);
  if (from.ok() && (entry.term.value == 0 || entry.index.value == 0)) from.set_error(Errc::kMalformed);
  if (from.ok() && !data.empty()) entry.data = Payload(std::string(data));
}

void read_fields(Cursor& from, ConfState& conf) {
  conf.voters = read_nodes(from);
  conf.voters_outgoing = read_nodes(from);
  conf.learners = read_nodes(from);
  conf.learners_next = read_nodes(from);
  conf.auto_leave = from.boolean();
}

void read_fields(Cursor& from, SnapshotMeta& snapshot) {
  snapshot.index = Index{from.number()};
  snapshot.term = Term{from.number()};
  read_array(from, kConfFields, [&] { read_fields(from, snapshot.conf); });
}

void read_fields(Cursor& from, HardState& state) {
  state.term = Term{from.number()};
  state.vote = NodeId{from.number()};
  state.commit = Index{from.number()};
}

void read_fields(Cursor& from, ConfChange& change) {
  change.transition = read_enum(from, Transition::kAuto, Transition::kJointExplicit);
  const std::size_t steps = from.array(kConfStepsMax);
  for (std::size_t i = 0; i < steps && from.ok(); ++i) {
    ConfChangeStep step;
    read_array(from, 2, [&] {
      step.kind = read_enum(from, ConfChangeKind::kAddVoter, ConfChangeKind::kAddLearner);
      step.node = NodeId{from.number()};
    });
    change.steps.push_back(step);
  }
  change.context = std::string(from.binary(kConfContextBytesMax));
}

void read_entries(Cursor& from, Message& message) {
  const std::size_t count = from.array(kEntriesMax);
  constexpr std::size_t kEntryBytesMin = 6;
  if (from.ok() && count > from.left() / kEntryBytesMin) from.set_error(Errc::kTruncated);
  if (!from.ok()) return;
  message.entries.reserve(count);
  Index previous = message.index;
  Term term = message.log_term;
  for (std::size_t i = 0; i < count && from.ok(); ++i) {
    Entry entry;
    read_array(from, kEntryFields, [&] { read_fields(from, entry); });
    const bool follows = entry.index == previous.next() && entry.term >= term && entry.term <= message.term;
    if (from.ok() && !follows) from.set_error(Errc::kMalformed);
    previous = entry.index;
    term = entry.term;
    message.entries.push_back(std::move(entry));
  }
}

void read_fields(Cursor& from, Message& message) {
  message.kind = read_enum(from, MessageKind::kAppend, MessageKind::kAppendHeard);
  message.from = NodeId{from.number()};
  message.to = NodeId{from.number()};
  message.term = Term{from.number()};
  message.log_term = Term{from.number()};
  message.index = Index{from.number()};
  message.commit = Index{from.number()};
  message.reject_hint = Index{from.number()};
  message.reject = from.boolean();
  message.forced = from.boolean();
  message.round = Round{from.number()};
  message.read_mode = read_enum(from, ReadMode::kQuorum, ReadMode::kLease);
  message.read_context = from.number();
  read_entries(from, message);
  if (!from.take_nil()) {
    message.snapshot.emplace();
    read_array(from, kSnapshotFields, [&] { read_fields(from, *message.snapshot); });
  }
  const bool sender_known = message.from.value > 0 && message.to.value > 0;
  const bool fits = message.snapshot.has_value() == (message.kind == MessageKind::kSnapshot) &&
                    (message.entries.empty() || message.kind == MessageKind::kAppend);
  if (from.ok() && (!sender_known || !fits)) from.set_error(Errc::kMalformed);
}

/// A disk that takes longer than an hour is dead: such figures are capped, whoever sends them.
std::chrono::microseconds read_micros(Cursor& from) {
  constexpr std::uint64_t kMost = std::uint64_t{3'600} * 1'000'000;
  return std::chrono::microseconds(std::min(from.number(), kMost));
}

void read_disk(Cursor& from, Message& message) {
  DiskTimes times;
  times.fsync_p50 = read_micros(from);
  times.fsync_p99 = read_micros(from);
  if (message.kind == MessageKind::kHeartbeatResponse) message.disk = times;
}

template <class Value>
Result<Value> decode_value(std::string_view bytes, std::size_t fields) {
  Cursor from(bytes);
  Value value;
  read_array(from, 1 + fields, [&] {
    const std::uint64_t version = from.number();
    if (from.ok() && version != kWireVersion) from.set_error(Errc::kUnknownVersion);
    if (from.ok()) read_fields(from, value);
  });
  if (from.ok() && from.left() > 0) from.set_error(Errc::kMalformed);
  if (!from.ok()) return tl::unexpected(from.error());
  return value;
}

}  // namespace

std::string encode(const Message& message) {
  // Tags and numbers of an entry take 32 bytes at most.
  return encode_value(message, fields_of(message), payload_bytes(message.entries) + 32 * message.entries.size());
}
std::string encode(const Entry& entry) { return encode_value(entry, kEntryFields, entry.data.size()); }
std::string encode(const HardState& state) { return encode_value(state, kHardFields, 0); }
std::string encode(const ConfState& conf) { return encode_value(conf, kConfFields, 0); }
std::string encode(const SnapshotMeta& snapshot) { return encode_value(snapshot, kSnapshotFields, 0); }
std::string encode(const ConfChange& change) { return encode_value(change, kChangeFields, change.context.size()); }

Result<Message> decode_message(std::string_view bytes) {
  Cursor from(bytes);
  Message message;
  const auto read = [&] {
    const std::uint64_t version = from.number();
    if (from.ok() && version != kWireVersion) from.set_error(Errc::kUnknownVersion);
    if (from.ok()) read_fields(from, message);
  };
  read_array(from, 1 + kMessageFields, read, kDiskFields, [&] { read_disk(from, message); });
  if (from.ok() && from.left() > 0) from.set_error(Errc::kMalformed);
  if (!from.ok()) return tl::unexpected(from.error());
  return message;
}
Result<Entry> decode_entry(std::string_view bytes) { return decode_value<Entry>(bytes, kEntryFields); }
Result<HardState> decode_hard_state(std::string_view bytes) { return decode_value<HardState>(bytes, kHardFields); }
Result<ConfState> decode_conf_state(std::string_view bytes) { return decode_value<ConfState>(bytes, kConfFields); }
Result<SnapshotMeta> decode_snapshot_meta(std::string_view bytes) {
  return decode_value<SnapshotMeta>(bytes, kSnapshotFields);
}
Result<ConfChange> decode_conf_change(std::string_view bytes) { return decode_value<ConfChange>(bytes, kChangeFields); }

}  // namespace store::raft
