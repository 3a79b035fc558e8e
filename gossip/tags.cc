#include "gossip/tags.h"

#include <algorithm>

namespace gossip {

Result<bool> TagSet::merge(Tag tag) {
  if (tag.key.empty() || tag.key.size() > kTagKeyBytesMax) {
    return tl::unexpected(Error{Errc::kInvalidArgument, "a tag key has 1 to 64 bytes"});
  }
  if (tag.removed) tag.value.clear();
  const auto place = std::lower_bound(tags_.begin(), tags_.end(), tag.key,
                                      [](const Tag& a, const std::string& key) { return a.key < key; });
  const bool known = place != tags_.end() && place->key == tag.key;
  if (known && place->version >= tag.version) return false;
  const std::size_t before = known ? place->key.size() + place->value.size() : 0;
  const std::size_t after = bytes_ - before + tag.key.size() + tag.value.size();
  if (after > kTagsBytesMax || (!known && tags_.size() >= kTagCountMax)) {
    return tl::unexpected(Error{Errc::kTooBig, "tags of one member: at most 512 bytes and 64 keys"});
  }
  bytes_ = after;
  if (!known) {
    const bool visible = !tag.removed;
    tags_.insert(place, std::move(tag));
    return visible;
  }
  const bool changed = place->removed != tag.removed || place->value != tag.value;
  *place = std::move(tag);
  return changed;
}

const Tag* TagSet::find(std::string_view key) const {
  const auto place =
      std::lower_bound(tags_.begin(), tags_.end(), key, [](const Tag& a, std::string_view k) { return a.key < k; });
  return place != tags_.end() && place->key == key ? &*place : nullptr;
}

std::optional<std::string_view> TagSet::get(std::string_view key) const {
  const Tag* tag = find(key);
  if (tag == nullptr || tag->removed) return std::nullopt;
  return tag->value;
}

std::uint32_t TagSet::version_max() const {
  std::uint32_t version = 0;
  for (const auto& tag : tags_) version = std::max(version, tag.version);
  return version;
}

void TagSet::clear() {
  tags_.clear();
  bytes_ = 0;
}

}  // namespace gossip
