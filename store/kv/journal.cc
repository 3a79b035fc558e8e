#include "store/kv/journal.h"

namespace store::kv {

std::vector<Record> Journal::take() {
  std::vector<Record> records;
  records.reserve(rows_.size());
  while (!rows_.empty()) {
    auto node = rows_.extract(rows_.begin());
    records.push_back(Record{std::move(node.key()), std::move(node.mapped())});
  }
  return records;
}

}  // namespace store::kv
