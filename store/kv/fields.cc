#include "store/kv/fields.h"

namespace store::kv {
namespace {

std::string_view raw(const Uuid& id) {
  return {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()};
}

// A shorter list ends too early for its fields, and one of another length is no structure of ours.
void begin_structure(ArrayReader& reader, std::size_t fields) {
  if (reader.begin_list(fields) != fields) reader.reject(Errc::kMalformed, "a structure of another length");
}

void add_texts(ArrayWriter& writer, const std::vector<std::string>& texts) {
  writer.add_list(texts.size());
  for (const std::string& text : texts) writer.add(text);
}

std::vector<std::string> take_texts(ArrayReader& reader, std::size_t count_max) {
  std::vector<std::string> texts;
  const std::size_t count = reader.begin_list(count_max);
  for (std::size_t i = 0; i < count && reader.ok(); ++i) texts.push_back(take_text(reader, kNameBytesMax));
  reader.end_list();
  return texts;
}

void add_meta(ArrayWriter& writer, const Meta& meta) {
  writer.add_list(2 * meta.size());
  for (const auto& [key, value] : meta) writer.add(key).add(value);
}

Meta take_meta(ArrayReader& reader) {
  Meta meta;
  const std::size_t count = reader.begin_list(2 * kMetaMax);
  if (count % 2 != 0) reader.reject(Errc::kMalformed, "a key without its value");
  for (std::size_t i = 0; i < count && reader.ok(); i += 2) {
    std::string key = take_text(reader, kMetaKeyBytesMax);
    meta.insert_or_assign(std::move(key), take_text(reader, kMetaValueBytesMax));
  }
  reader.end_list();
  return meta;
}

}  // namespace

std::string take_text(ArrayReader& reader, std::size_t bytes_max) { return std::string(reader.bytes(bytes_max)); }

void add(ArrayWriter& writer, const Uuid& id) { writer.add(raw(id)); }

Uuid take_uuid(ArrayReader& reader) {
  Uuid id;
  const std::string_view bytes = reader.bytes(id.bytes.size());
  if (bytes.size() != id.bytes.size()) {
    reader.reject(Errc::kMalformed, "id is not 16 bytes");
    return id;
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) id.bytes[i] = static_cast<std::uint8_t>(bytes[i]);
  return id;
}

// --- sessions -----------------------------------------------------------------------------------------------------

void add(ArrayWriter& writer, const Session& session) {
  writer.add_list(8);
  add(writer, session.id.uuid);
  writer.add(session.name).add(session.node).add(session.ttl_ms).add(session.lock_delay_ms);
  writer.add(static_cast<std::uint64_t>(session.behavior));
  add_texts(writer, session.node_checks);
  add_texts(writer, session.service_checks);
}

Session take_session(ArrayReader& reader) {
  Session session;
  begin_structure(reader, 8);
  session.id.uuid = take_uuid(reader);
  session.name = take_text(reader, kNameBytesMax);
  session.node = take_text(reader, kNameBytesMax);
  session.ttl_ms = reader.number32();
  session.lock_delay_ms = reader.number32();
  session.behavior = take_enum(reader, SessionBehavior::kDelete, "session behavior");
  session.node_checks = take_texts(reader, kSessionChecksMax);
  session.service_checks = take_texts(reader, kSessionChecksMax);
  reader.end_list();
  return session;
}

// --- catalog ------------------------------------------------------------------------------------------------------

void add(ArrayWriter& writer, const Node& node) {
  writer.add_list(5).add(node.name);
  add(writer, node.id);
  writer.add(node.address);
  add_meta(writer, node.tagged_addresses);
  add_meta(writer, node.meta);
}

Node take_node_row(ArrayReader& reader) {
  Node node;
  begin_structure(reader, 5);
  node.name = take_text(reader, kNameBytesMax);
  node.id = take_uuid(reader);
  node.address = take_text(reader, kNameBytesMax);
  node.tagged_addresses = take_meta(reader);
  node.meta = take_meta(reader);
  reader.end_list();
  return node;
}

void add(ArrayWriter& writer, const ServiceInstance& instance) {
  writer.add_list(12).add(instance.node).add(instance.id).add(instance.name);
  add_texts(writer, instance.tags);
  writer.add(instance.address).add(instance.port);
  add_meta(writer, instance.meta);
  writer.add_list(3 * instance.tagged_addresses.size());
  for (const auto& [name, tagged] : instance.tagged_addresses) writer.add(name).add(tagged.address).add(tagged.port);
  writer.add(instance.weight_passing).add(instance.weight_warning);
  writer.add(instance.enable_tag_override ? 1U : 0U).add(instance.definition);
}

ServiceInstance take_instance(ArrayReader& reader) {
  ServiceInstance instance;
  begin_structure(reader, 12);
  instance.node = take_text(reader, kNameBytesMax);
  instance.id = take_text(reader, kNameBytesMax);
  instance.name = take_text(reader, kNameBytesMax);
  instance.tags = take_texts(reader, kTagsMax);
  instance.address = take_text(reader, kNameBytesMax);
  instance.port = reader.number32();
  instance.meta = take_meta(reader);
  const std::size_t count = reader.begin_list(3 * kMetaMax);
  if (count % 3 != 0) reader.reject(Errc::kMalformed, "a tagged address without its parts");
  for (std::size_t i = 0; i < count && reader.ok(); i += 3) {
    std::string name = take_text(reader, kMetaKeyBytesMax);
    TaggedAddress tagged;
    tagged.address = take_text(reader, kNameBytesMax);
    tagged.port = reader.number32();
    instance.tagged_addresses.insert_or_assign(std::move(name), std::move(tagged));
  }
  reader.end_list();
  instance.weight_passing = reader.number32();
  instance.weight_warning = reader.number32();
  instance.enable_tag_override = reader.number() != 0;
  instance.definition = take_text(reader, kDefinitionBytesMax);
  reader.end_list();
  return instance;
}

void add(ArrayWriter& writer, const Check& check) {
  writer.add_list(10).add(check.node).add(check.id).add(check.service_id).add(check.service_name).add(check.name);
  writer.add(static_cast<std::uint64_t>(check.status)).add(check.notes).add(check.output);
  writer.add(check.type).add(check.definition);
}

Check take_check(ArrayReader& reader) {
  Check check;
  begin_structure(reader, 10);
  check.node = take_text(reader, kNameBytesMax);
  check.id = take_text(reader, kNameBytesMax);
  check.service_id = take_text(reader, kNameBytesMax);
  check.service_name = take_text(reader, kNameBytesMax);
  check.name = take_text(reader, kNameBytesMax);
  check.status = take_enum(reader, CheckStatus::kCritical, "check status");
  check.notes = take_text(reader, kNotesBytesMax);
  check.output = take_text(reader, kOutputBytesMax);
  check.type = take_text(reader, kNameBytesMax);
  check.definition = take_text(reader, kDefinitionBytesMax);
  reader.end_list();
  return check;
}

// --- events, transactions -----------------------------------------------------------------------------------------

void add(ArrayWriter& writer, const UserEvent& event) {
  writer.add_list(7);
  add(writer, event.id);
  writer.add(event.name).add(event.payload).add(event.node_filter).add(event.service_filter).add(event.tag_filter);
  writer.add(event.version);
}

UserEvent take_event(ArrayReader& reader) {
  UserEvent event;
  begin_structure(reader, 7);
  event.id = take_uuid(reader);
  event.name = take_text(reader, kNameBytesMax);
  event.payload = take_text(reader, kEventPayloadBytesMax);
  event.node_filter = take_text(reader, kNameBytesMax);
  event.service_filter = take_text(reader, kNameBytesMax);
  event.tag_filter = take_text(reader, kNameBytesMax);
  event.version = reader.number32();
  reader.end_list();
  return event;
}

void add(ArrayWriter& writer, const TxnOp& op) {
  writer.add_list(6).add(static_cast<std::uint64_t>(op.verb)).add(op.key).add(op.value).add(op.flags);
  writer.add(value(op.index));
  add(writer, op.session.uuid);
}

TxnOp take_txn_op(ArrayReader& reader) {
  TxnOp op;
  begin_structure(reader, 6);
  op.verb = take_enum(reader, TxnVerb::kGetOrEmpty, "transaction verb");
  op.key = take_text(reader, kKeyBytesMax);
  op.value = take_text(reader, kValueBytesMax);
  op.flags = reader.number();
  op.index = Index{reader.number()};
  op.session.uuid = take_uuid(reader);
  reader.end_list();
  return op;
}

// --- orders -------------------------------------------------------------------------------------------------------

void add(ArrayWriter& writer, const OrderName& name) { writer.add(name.service).add(name.zone).add(name.key); }

OrderName take_order_name(ArrayReader& reader) {
  // Braced initialisers are evaluated from left to right.
  return OrderName{take_text(reader, kNameBytesMax), take_text(reader, kNameBytesMax),
                   take_text(reader, kOrderKeyBytesMax)};
}

void add(ArrayWriter& writer, const Fingerprint& fingerprint) {
  writer.add(std::string_view(reinterpret_cast<const char*>(fingerprint.data()), fingerprint.size()));
}

Fingerprint take_fingerprint(ArrayReader& reader) {
  Fingerprint fingerprint{};
  const std::string_view bytes = reader.bytes(fingerprint.size());
  if (bytes.size() != fingerprint.size()) {
    reader.reject(Errc::kMalformed, "fingerprint is not 32 bytes");
    return fingerprint;
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) fingerprint[i] = static_cast<std::uint8_t>(bytes[i]);
  return fingerprint;
}

void add(ArrayWriter& writer, const OrderAnswer& answer) {
  writer.add(static_cast<std::uint64_t>(answer.kept)).add(answer.status).add(answer.headers).add(answer.body);
}

OrderAnswer take_answer(ArrayReader& reader) {
  return OrderAnswer{take_enum(reader, kAnswerKeptLast, "how much of an answer is kept"), reader.number32(),
                     take_text(reader, kOrderAnswerBytesMax), take_text(reader, kOrderAnswerBytesMax)};
}

}  // namespace store::kv
