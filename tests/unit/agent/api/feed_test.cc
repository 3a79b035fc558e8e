#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/api/fake_backend.h"

namespace agent::api {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

class Feed : public testing::Test, public ApiHarness {
 protected:
  ExchangeId watch(const std::string& target, const std::string& last_event_id = "") {
    Request request;
    request.method = "GET";
    const auto mark = std::min(target.find('?'), target.size());
    request.path = "/outrigger/v1/watch/" + target.substr(0, mark);
    request.query = mark == target.size() ? "" : target.substr(mark + 1);
    request.host = "127.0.0.1:8500";
    request.last_event_id = last_event_id;
    return send(request);
  }
  /// Everything that the stream has sent so far.
  std::string sent(ExchangeId id) {
    settle();
    api.tick(now);
    settle();
    std::string out;
    for (const auto& output : outputs[id])
      if (output.kind == Output::Kind::kStreamData) out += output.response.body;
    return out;
  }
  bool ended(ExchangeId id) { return !outputs[id].empty() && outputs[id].back().kind == Output::Kind::kStreamEnd; }
};

TEST_F(Feed, BeginsWithWhereItBegins) {
  backend.set("a/1", "x");
  backend.info.applied = Index{11};
  const auto id = watch("a/");
  settle();
  EXPECT_EQ(sent(id), "id: 11\nevent: ready\ndata: {\"index\":11}\n\n") << "what was there before is not sent unasked";
  EXPECT_EQ(outputs[id][0].kind, Output::Kind::kStreamBegin);
  EXPECT_EQ(outputs[id][0].response.content_type, "text/event-stream");
}

TEST_F(Feed, SendsTheChangedKeysWithOperationAndIndex) {
  backend.info.applied = Index{10};
  const auto id = watch("a/");
  settle();
  backend.set("a/1", "x");
  backend.set("b", "not below it");
  backend.erase("a/1");
  const auto text = sent(id);
  EXPECT_THAT(text, HasSubstr("id: 10\nevent: ready\ndata: {\"index\":10}\n\n"));
  EXPECT_THAT(
      text,
      HasSubstr("id: 13\nevent: change\ndata: {\"index\":13,\"changes\":[{\"op\":\"delete\",\"key\":\"a/1\"}]}\n\n"));
  EXPECT_THAT(text, Not(HasSubstr("\"b\"")));
  backend.set("a/2", "y", 3);
  EXPECT_THAT(
      sent(id),
      HasSubstr(
          "id: 14\nevent: change\ndata: "
          "{\"index\":14,\"changes\":[{\"op\":\"set\",\"key\":\"a/2\",\"entry\":{\"key\":\"a/2\","
          "\"value\":\"eQ==\",\"flags\":3,\"index\":14,\"create_index\":14,\"lock_index\":0,\"session\":null}}]}\n\n"));
}

TEST_F(Feed, OneLogEntryIsOneEvent) {
  backend.info.applied = Index{10};
  const auto id = watch("");
  settle();
  ask("PUT", "/v1/txn", R"([{"KV":{"Verb":"set","Key":"a"}},{"KV":{"Verb":"set","Key":"b"}}])");
  const auto text = sent(id);
  EXPECT_THAT(text, HasSubstr("\"changes\":[{\"op\":\"set\",\"key\":\"a\""));
  EXPECT_EQ(text.find("event: change"), text.rfind("event: change"));
}

TEST_F(Feed, LocksAreOperationsOfTheirOwn) {
  const auto session = nlohmann::json::parse(ask("PUT", "/v1/session/create").body).at("ID").get<std::string>();
  const auto id = watch("?index=11");
  ask("PUT", "/v1/kv/k?acquire=" + session, "x");
  EXPECT_THAT(sent(id), HasSubstr("\"op\":\"lock\",\"key\":\"k\""));
  EXPECT_THAT(sent(id), HasSubstr("\"session\":\"" + session + "\""));
  ask("PUT", "/v1/kv/k?release=" + session, "x");
  EXPECT_THAT(sent(id), HasSubstr("\"op\":\"unlock\",\"key\":\"k\""));
}

TEST_F(Feed, ResumesFromAnIndexOrTheLastEventId) {
  for (const char* value : {"1", "2", "3"}) backend.set("k", value);
  const auto by_index = watch("k?index=11"), by_id = watch("k?index=1", "12");
  EXPECT_THAT(sent(by_index), Not(HasSubstr("ready")));
  EXPECT_THAT(sent(by_index),
              HasSubstr("id: 12\nevent: change\ndata: {\"index\":12,\"changes\":[{\"op\":\"set\",\"key\":\"k\"}]}"))
      << "its value has changed again since, so it is left out";
  EXPECT_THAT(sent(by_index), HasSubstr("id: 13\n"));
  EXPECT_THAT(sent(by_id), Not(HasSubstr("id: 12\n")));
  EXPECT_THAT(sent(by_id), HasSubstr("\"value\":\"Mw==\""));
}

TEST_F(Feed, InitialListsWhatIsThere) {
  backend.info.applied = Index{12};
  backend.set("a/1", "x");
  backend.set("a/2", "y");
  const auto text = sent(watch("a/?initial"));
  const auto first = text.find("event: entry\ndata: {\"key\":\"a/1\""),
             second = text.find("event: entry\ndata: {\"key\":\"a/2\""), ready = text.find("id: 12\nevent: ready\n");
  EXPECT_LT(first, second);
  EXPECT_LT(second, ready);
  EXPECT_EQ(text.find("id: "), ready) << "a client that is cut off within the listing must not resume behind it";
}

TEST_F(Feed, TooOldIsSaidBeforeAndWithin) {
  backend.set("k", "1");
  backend.feed_floor = Index{11};
  const auto refused = answer(watch("k?index=10"));
  EXPECT_EQ(refused.status, 410);
  EXPECT_THAT(refused.body, HasSubstr("\"code\":\"too_old\""));
  EXPECT_THAT(refused.body, HasSubstr("list everything again"));
  const auto id = watch("k?index=11");
  settle();
  backend.feed_floor = Index{500};
  backend.set("k", "2");
  EXPECT_THAT(sent(id), HasSubstr("event: too_old\ndata: {\"index\":11,"));
  EXPECT_TRUE(ended(id));
  EXPECT_EQ(api.open(), 0U);
  EXPECT_EQ(backend.watch_count(), 0U);
}

TEST_F(Feed, AQuietStreamTellsHowFarItHasLooked) {
  const auto id = watch("quiet/?index=10");
  settle();
  backend.set("other", "x");
  advance(seconds(15));
  EXPECT_THAT(sent(id), HasSubstr("id: 11\nevent: progress\ndata: {\"index\":11}\n\n"));
}

TEST_F(Feed, ALongHistoryGoesOutInPieces) {
  Limits limits;
  limits.stream_piece_bytes = 300;
  ApiHarness small(limits);
  for (int i = 0; i < 20; ++i) small.backend.set("k" + std::to_string(i), std::string(100, 'x'));
  const auto id = small.send("GET", "/outrigger/v1/watch/k?index=10");
  small.settle();
  std::size_t pieces = small.outputs[id].size() - 1;
  EXPECT_EQ(pieces, 1U);
  small.api.on_stream_full(id);
  small.api.tick(small.now);
  small.settle();
  EXPECT_EQ(small.outputs[id].size() - 1, pieces) << "a client that is behind gets no more";
  small.api.on_stream_drained(id);
  for (int i = 0; i < 20 && small.api.next_deadline() <= small.now; ++i) {
    small.api.tick(small.now);
    small.settle();
  }
  std::string all;
  for (const auto& output : small.outputs[id]) all += output.response.body;
  for (int i = 0; i < 20; ++i) EXPECT_THAT(all, HasSubstr("id: " + std::to_string(11 + i) + "\n"));
  EXPECT_EQ(small.backend.watch_count(), 1U);
}

TEST_F(Feed, RefusesBadInput) {
  EXPECT_EQ(answer(watch("k?index=x")).status, 400);
  EXPECT_EQ(answer(watch("k", "abc")).status, 400);
  EXPECT_EQ(answer(watch(std::string(1025, 'k'))).status, 400);
  EXPECT_EQ(answer(watch("k?stale&consistent")).status, 400);
  backend.failure = Error{Errc::kNoLeader, "n2 does not answer", {}};
  EXPECT_EQ(answer(watch("k")).status, 503);
}

TEST_F(Feed, HangUpFreesIt) {
  const auto id = watch("k");
  settle();
  EXPECT_EQ(backend.watch_count(), 1U);
  api.on_hangup(id);
  EXPECT_EQ(backend.watch_count(), 0U);
  EXPECT_EQ(api.open(), 0U);
  const auto early = watch("k");
  api.on_hangup(early);
  settle();
  EXPECT_TRUE(outputs[early].empty());
}

}  // namespace
}  // namespace agent::api
