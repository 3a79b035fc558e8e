#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/kv/catalog_rows.h"
#include "store/kv/order.h"
#include "store/kv/session.h"
#include "store/kv/txn.h"
#include "store/kv/wire.h"

/// The structures that commands and rows share, as nested msgpack arrays; their indexes are not part of them.
/// Readers leave an error in the ArrayReader; what they return then is not to be used.
namespace store::kv {

void add(ArrayWriter& writer, const Uuid& id);
void add(ArrayWriter& writer, const Session& session);
void add(ArrayWriter& writer, const Node& node);
void add(ArrayWriter& writer, const ServiceInstance& instance);
void add(ArrayWriter& writer, const Check& check);
void add(ArrayWriter& writer, const UserEvent& event);
void add(ArrayWriter& writer, const TxnOp& op);
// Of orders. No arrays of their own: so many values of the array that is open.
inline constexpr std::size_t kOrderNameFields = 3, kOrderAnswerFields = 4;
void add(ArrayWriter& writer, const OrderName& name);
void add(ArrayWriter& writer, const Fingerprint& fingerprint);
void add(ArrayWriter& writer, const OrderAnswer& answer);

[[nodiscard]] std::string take_text(ArrayReader& reader, std::size_t bytes_max);
[[nodiscard]] Uuid take_uuid(ArrayReader& reader);
[[nodiscard]] Session take_session(ArrayReader& reader);
[[nodiscard]] Node take_node_row(ArrayReader& reader);
[[nodiscard]] ServiceInstance take_instance(ArrayReader& reader);
[[nodiscard]] Check take_check(ArrayReader& reader);
[[nodiscard]] UserEvent take_event(ArrayReader& reader);
[[nodiscard]] TxnOp take_txn_op(ArrayReader& reader);
[[nodiscard]] OrderName take_order_name(ArrayReader& reader);
[[nodiscard]] Fingerprint take_fingerprint(ArrayReader& reader);
[[nodiscard]] OrderAnswer take_answer(ArrayReader& reader);

/// A number that stands for an enumerator from 0 to `last`; kUnknownKind above.
template <class Enum>
[[nodiscard]] Enum take_enum(ArrayReader& reader, Enum last, const char* what) {
  const std::uint64_t number = reader.number();
  if (number > static_cast<std::uint64_t>(last)) {
    reader.reject(Errc::kUnknownKind, what);
    return Enum{};
  }
  return static_cast<Enum>(number);
}

}  // namespace store::kv
