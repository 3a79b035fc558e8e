#include "store/kv/quotas.h"

namespace store::kv {

const Quotas::Row* Quotas::find(std::string_view prefix) const {
  const auto found = rows_.find(prefix);
  return found == rows_.end() ? nullptr : &found->second;
}

std::optional<std::string> Quotas::refusing(std::string_view key, std::int64_t bytes, std::int64_t entries) const {
  for (const auto& [prefix, row] : rows_) {
    if (!key.starts_with(prefix)) continue;
    const std::uint64_t more_bytes = row.use.bytes + static_cast<std::uint64_t>(bytes);  // wraps back: use >= -bytes
    const std::uint64_t more_entries = row.use.entries + static_cast<std::uint64_t>(entries);
    if (bytes > 0 && row.quota.bytes_max != 0 && more_bytes > row.quota.bytes_max) return prefix;
    if (entries > 0 && row.quota.entries_max != 0 && more_entries > row.quota.entries_max) return prefix;
  }
  return std::nullopt;
}

void Quotas::add(std::string_view key, std::int64_t bytes, std::int64_t entries) {
  for (auto& [prefix, row] : rows_) {
    if (!key.starts_with(prefix)) continue;
    row.use.bytes += static_cast<std::uint64_t>(bytes);
    row.use.entries += static_cast<std::uint64_t>(entries);
  }
}

void Quotas::set(const std::string& prefix, const Quota& quota, const QuotaUse& use) {
  rows_.insert_or_assign(prefix, Row{quota, use});
}

bool Quotas::remove(std::string_view prefix) {
  const auto found = rows_.find(prefix);
  if (found == rows_.end()) return false;
  rows_.erase(found);
  return true;
}

}  // namespace store::kv
