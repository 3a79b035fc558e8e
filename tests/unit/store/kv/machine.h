#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "store/kv/state_machine.h"

namespace store::kv {

/// A state machine that is fed commands at indexes 1, 2, ...; its origin reads the answers of transactions.
class Machine {
 public:
  Machine() { state.answer_txns_of(NodeId{1}); }
  Applied run(CommandBody body) { return at(++index_, RequestId{NodeId{1}, ++seq_}, std::move(body)); }
  Applied at(std::uint64_t index, RequestId request, CommandBody body) {
    index_ = index;
    auto applied = state.apply(Index{index}, encode({request, std::move(body)}));
    EXPECT_TRUE(applied) << (applied ? "" : applied.error().detail);
    return applied ? *applied : Applied{};
  }
  Outcome outcome(CommandBody body) { return run(std::move(body)).outcome; }
  [[nodiscard]] std::uint64_t index() const { return index_; }
  [[nodiscard]] Index now() const { return Index{index_}; }

  /// The rows handed to the disk so far are the state, and load again as the same state.
  void expect_mirrored() {
    mirrored.clear();
    for (Record& record : state.take_dirty()) {
      mirrored += record.key.front();
      if (record.value) {
        disk_.insert_or_assign(record.key, *record.value);
      } else {
        disk_.erase(record.key);
      }
    }
    std::vector<Record> rows;
    for (const auto& [key, value] : disk_) rows.push_back({key, value});
    EXPECT_EQ(rows, state.records());
    StateMachine again;
    const auto loaded = again.load(state.applied(), rows);
    ASSERT_TRUE(loaded) << loaded.error().detail;
    EXPECT_EQ(again.content_hash(), state.content_hash());
    EXPECT_EQ(again.records(), rows);
  }
  [[nodiscard]] std::vector<Record> disk_rows() {
    expect_mirrored();
    return state.records();
  }

  StateMachine state;
  std::string mirrored;  ///< kinds of the rows that the last expect_mirrored() wrote

 private:
  std::uint64_t index_ = 0, seq_ = 0;
  std::map<std::string, std::string> disk_;
};

inline Uuid uuid(std::uint8_t number) {
  Uuid id;
  id.bytes[0] = 1;
  id.bytes[15] = number;
  return id;
}
inline SessionId session_id(std::uint8_t number) { return SessionId{uuid(number)}; }

inline Session session(std::uint8_t number, std::uint32_t lock_delay_ms = 0,
                       SessionBehavior behavior = SessionBehavior::kRelease) {
  Session made;
  made.id = session_id(number);
  made.name = "s" + std::to_string(number);
  made.ttl_ms = 10'000;
  made.lock_delay_ms = lock_delay_ms;
  made.behavior = behavior;
  return made;
}

inline Node node(const std::string& name, const std::string& address = "10.0.0.1") {
  Node made;
  made.name = name;
  made.id = uuid(static_cast<std::uint8_t>(name.back()));
  made.address = address;
  made.meta = {{"zone", "a"}};
  made.tagged_addresses = {{"lan", address}};
  return made;
}

inline ServiceInstance instance(const std::string& node, const std::string& id, const std::string& name,
                                std::vector<std::string> tags = {}) {
  ServiceInstance made;
  made.node = node;
  made.id = id;
  made.name = name;
  made.tags = std::move(tags);
  made.port = 80;
  made.meta = {{"version", "1"}};
  made.tagged_addresses = {{"wan", {"1.2.3.4", 8080}}};
  return made;
}

inline Check check_row(const std::string& node, const std::string& id, const std::string& service_id = {},
                       CheckStatus status = CheckStatus::kPassing) {
  Check made;
  made.node = node;
  made.id = id;
  made.service_id = service_id;
  made.name = "check " + id;
  made.status = status;
  made.type = "ttl";
  return made;
}

// --- orders ---------------------------------------------------------------------------------------------------------

inline OrderName order_name(const std::string& key, const std::string& service = "trader") {
  return {service, "orders", key};
}
inline Fingerprint fingerprint(std::uint8_t number) {
  Fingerprint made{};
  made[0] = number;
  made[31] = 0xff;
  return made;
}
inline OrderAnswer answer(const std::string& body, std::uint32_t status = 200) {
  return {AnswerKept::kWhole, status, std::string("content-type: text/plain\r\nx: \0\xff\r\n", 33), body};
}

}  // namespace store::kv
