#include "agent/guard_exchange.h"

#include <algorithm>
#include <utility>

#include "agent/io/clock.h"

namespace agent {
namespace {

GuardWord word_of(const proxy::GuardTable::Ban& ban, io::TimePoint now) {
  return {GuardWordKind::kBan, ban.key, std::max(std::chrono::seconds(1), std::chrono::ceil<std::chrono::seconds>(ban.until - now))};
}

}  // namespace

GuardExchange::GuardExchange(io::Loop& loop, GuardExchangeParts parts)
    : parts_(std::move(parts)), timer_(loop, [this] { look_now(); }) {}

void GuardExchange::look() {
  if (timer_.armed()) return;
  timer_.arm(std::max(io::boottime_now(), looked_at_ + kLookEvery));
}

/// Tells what is new: bans begun here since the last look, and those that have become longer.
void GuardExchange::look_now() {
  const io::TimePoint now = looked_at_ = io::boottime_now();
  std::map<proxy::GuardKey, io::TimePoint> own;
  std::vector<GuardWord> news;
  for (const auto& ban : parts_.table->bans_at(now)) {
    if (ban.by != proxy::GuardTable::By::kHere) continue;
    own[ban.key] = ban.until;
    const auto known = told_.find(ban.key);
    if (known != told_.end() && known->second >= ban.until) continue;
    news.push_back(word_of(ban, now));
    parts_.log("client_banned", proxy::text_of(ban.key) + " for " + std::to_string(news.back().left.count()) + " s");
  }
  told_ = std::move(own);
  for (const store::NodeId peer : parts_.peers()) tell(peer, news);
}

std::vector<GuardWord> GuardExchange::own_bans(io::TimePoint now) const {
  std::vector<GuardWord> words;
  for (const auto& ban : parts_.table->bans_at(now)) {
    if (ban.by == proxy::GuardTable::By::kHere) words.push_back(word_of(ban, now));
  }
  return words;
}

// A frame that is not queued is of a peer whose stream is about to be cut: it is told everything when it stands again.
void GuardExchange::tell(store::NodeId peer, std::span<const GuardWord> words) {
  for (std::size_t at = 0; at < words.size(); at += kGuardWordsMax) {
    static_cast<void>(parts_.send(peer, encode_guard(words.subspan(at, std::min(kGuardWordsMax, words.size() - at)))));
  }
}

void GuardExchange::on_connected(store::NodeId peer) { tell(peer, own_bans(io::boottime_now())); }

void GuardExchange::on_frame(store::NodeId, std::string_view frame) {
  const auto words = decode_guard(frame);
  if (!words) {
    ++malformed_;
    return;
  }
  const io::TimePoint now = io::boottime_now();
  for (const GuardWord& word : *words) {
    ++heard_;
    if (word.kind == GuardWordKind::kUnban) {
      static_cast<void>(parts_.table->unban(word.key, now));
      told_.erase(word.key);
    } else {
      static_cast<void>(parts_.table->ban(word.key, now + word.left, proxy::GuardTable::By::kPeer, now));  // counted there
    }
  }
}

proxy::GuardTable::Banned GuardExchange::ban(proxy::GuardKey key, io::Milliseconds how_long) {
  const io::TimePoint now = io::boottime_now();
  const auto banned = parts_.table->ban(key, now + how_long, proxy::GuardTable::By::kHere, now);
  if (banned == proxy::GuardTable::Banned::kYes) look();
  return banned;
}

bool GuardExchange::unban(proxy::GuardKey key) {
  const bool stood = parts_.table->unban(key, io::boottime_now());
  told_.erase(key);
  const GuardWord word{GuardWordKind::kUnban, key, std::chrono::seconds(0)};
  for (const store::NodeId peer : parts_.peers()) tell(peer, std::span(&word, 1));
  parts_.log("client_unbanned", proxy::text_of(key));
  return stood;
}

}  // namespace agent
