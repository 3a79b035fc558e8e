#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "store/kv/catalog_rows.h"

namespace store::kv {

/// Limits by prefix, and what is used of them. A key counts against every quota whose prefix it begins with.
/// Bound: kQuotasMax. With none of them, add() and fits() cost a comparison.
class Quotas {
 public:
  struct Row {
    Quota quota;
    QuotaUse use;
  };
  using Rows = std::map<std::string, Row, std::less<>>;
  [[nodiscard]] const Rows& rows() const { return rows_; }
  [[nodiscard]] const Row* find(std::string_view prefix) const;

  /// Prefix of a quota that does not let `key` grow by so much; what shrinks always fits.
  [[nodiscard]] std::optional<std::string> refusing(std::string_view key, std::int64_t bytes,
                                                    std::int64_t entries) const;
  void add(std::string_view key, std::int64_t bytes, std::int64_t entries);
  void set(const std::string& prefix, const Quota& quota, const QuotaUse& use);
  bool remove(std::string_view prefix);

 private:
  Rows rows_;
};

}  // namespace store::kv
