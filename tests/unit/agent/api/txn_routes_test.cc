#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/api/consul.h"
#include "tests/unit/agent/api/fake_backend.h"

namespace agent::api {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class Txn : public testing::Test, public ApiHarness {
 protected:
  Response txn(const Json& ops, const std::string& query = "") { return ask("PUT", "/v1/txn" + query, ops.dump()); }
  static Json op(const std::string& verb, const std::string& key, Json more = Json::object()) {
    more["Verb"] = verb;
    more["Key"] = key;
    return {{"KV", more}};
  }
};

TEST_F(Txn, AllOfItOrNothing) {
  backend.set("old", "x");
  const auto done = txn(
      {op("set", "a", {{"Value", "dmFs"}, {"Flags", 18446744073709551615ULL}}), op("get", "a"), op("delete", "old")});
  EXPECT_EQ(done.status, 200);
  EXPECT_EQ(done.content_type, "application/json");
  EXPECT_EQ(header(done, "X-Consul-Index"), "12");
  EXPECT_EQ(
      done.body,
      R"({"Results":[{"KV":{"LockIndex":0,"Key":"a","Flags":18446744073709551615,"Value":null,"CreateIndex":12,"ModifyIndex":12}},)"
      R"({"KV":{"LockIndex":0,"Key":"a","Flags":18446744073709551615,"Value":"dmFs","CreateIndex":12,"ModifyIndex":12}}],"Errors":null})");
  EXPECT_EQ(ask("GET", "/v1/kv/old").status, 404);
  const auto lost =
      txn({op("set", "b", {{"Value", "dmFs"}}), op("cas", "a", {{"Index", 5}, {"Value", ""}}), op("get", "none")});
  EXPECT_EQ(lost.status, 409);
  const auto body = Json::parse(lost.body);
  EXPECT_EQ(body.at("Results"), nullptr);
  ASSERT_EQ(body.at("Errors").size(), 2U);
  EXPECT_EQ(body["Errors"][0]["OpIndex"], 1);
  EXPECT_EQ(body["Errors"][1]["What"], "key \"none\" doesn't exist");
  EXPECT_EQ(ask("GET", "/v1/kv/b").status, 404) << "nothing of a transaction that lost";
}

TEST_F(Txn, EveryVerbReachesTheState) {
  const std::vector<std::pair<std::string, TxnOp::Verb>> verbs = {{"set", TxnOp::Verb::kSet},
                                                                  {"cas", TxnOp::Verb::kCas},
                                                                  {"lock", TxnOp::Verb::kLock},
                                                                  {"unlock", TxnOp::Verb::kUnlock},
                                                                  {"get", TxnOp::Verb::kGet},
                                                                  {"get-tree", TxnOp::Verb::kGetTree},
                                                                  {"check-index", TxnOp::Verb::kCheckIndex},
                                                                  {"check-session", TxnOp::Verb::kCheckSession},
                                                                  {"check-not-exists", TxnOp::Verb::kCheckNotExists},
                                                                  {"delete", TxnOp::Verb::kDelete},
                                                                  {"delete-cas", TxnOp::Verb::kDeleteCas},
                                                                  {"delete-tree", TxnOp::Verb::kDeleteTree}};
  Json ops = Json::array();
  for (const auto& [name, verb] : verbs)
    ops.push_back(op(name, "k", {{"Value", "AP8="}, {"Flags", 3}, {"Index", 4}, {"Session", "s"}}));
  txn(ops);
  ASSERT_EQ(backend.transactions.size(), 1U);
  ASSERT_EQ(backend.transactions[0].size(), verbs.size());
  for (std::size_t i = 0; i < verbs.size(); ++i)
    EXPECT_EQ(backend.transactions[0][i].verb, verbs[i].second) << verbs[i].first;
  const TxnOp& first = backend.transactions[0][0];
  EXPECT_EQ(first.value, std::string("\0\xff", 2));
  EXPECT_EQ(first.flags, 3U);
  EXPECT_EQ(first.index, Index{4});
  EXPECT_EQ(first.session, "s");
}

TEST_F(Txn, ReadsAloneAreReads) {
  backend.set("a/1", "x");
  backend.info.last_contact = Milliseconds(3);
  const auto response = txn({op("get", "a/1"), op("get-tree", "a/"), op("check-not-exists", "b")}, "?stale");
  EXPECT_EQ(response.status, 200);
  const auto body = Json::parse(response.body);
  EXPECT_EQ(body.at("Results").size(), 2U);
  EXPECT_EQ(body.at("Index"), 11);
  EXPECT_EQ(body.at("LastContact"), 3);
  EXPECT_EQ(body.at("KnownLeader"), true);
  EXPECT_EQ(header(response, "X-Consul-LastContact"), "3");
  EXPECT_THAT(backend.barriers, ElementsAre(ReadMode::kStale));
  EXPECT_THAT(backend.transactions, IsEmpty()) << "no log entry for a read";
  EXPECT_EQ(txn(Json::array({op("get", "none")})).status, 409);
  EXPECT_EQ(txn(Json::array({op("get", "a/1")}), "?stale&consistent").status, 400);
  EXPECT_EQ(txn(Json::array()).status, 200);
  backend.failure = Error{Errc::kNoLeader, "", {}};
  EXPECT_EQ(txn(Json::array({op("get", "a/1")})).body, "No cluster leader");
}

TEST_F(Txn, NamesInAnyCase) {
  EXPECT_EQ(ask("PUT", "/v1/txn", R"([{"kv":{"verb":"set","KEY":"k","value":"eA=="}}])").status, 200);
  EXPECT_EQ(ask("GET", "/v1/kv/k?raw").body, "x");
}

TEST_F(Txn, WhatCannotApplyIs409WithoutBeingTried) {
  for (const auto& [one, what] :
       std::vector<std::pair<Json, std::string>>{{op("bogus", "k"), "unknown KV verb \"bogus\""},
                                                 {op("set", ""), "Must provide key"},
                                                 {op("lock", "k"), "missing session"},
                                                 {op("set", "outrigger/election/x"), "Permission denied"},
                                                 {op("set", "outrigger/arming/trader/approval"), "Permission denied"},
                                                 {op("delete-tree", "outrigger/election/"), "Permission denied"}}) {
    const auto response = txn(Json::array({one}));
    EXPECT_EQ(response.status, 409) << one;
    EXPECT_THAT(Json::parse(response.body).at("Errors").at(0).at("What").get<std::string>(), StartsWith(what));
  }
  EXPECT_THAT(backend.transactions, IsEmpty());
}

TEST_F(Txn, BadBodiesAre400) {
  for (const char* body :
       {"", "{}", "[", "[{}]", "[7]", R"([{"KV":[]}])", R"([{"Node":{}}])",
        R"([{"KV":{"Verb":"set","Key":"k","Value":"e"}}])", R"([{"KV":{"Verb":"set","Key":"k","Flags":-1}}])",
        R"([{"KV":{"Verb":"set","Key":7}}])", R"([{"KV":{"Verb":"set","Key":"a\u0000b"}}])"}) {
    const auto response = ask("PUT", "/v1/txn", body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_THAT(response.body, StartsWith("Failed to parse body: ")) << body;
  }
  EXPECT_EQ(txn(Json::array({op("set", std::string(1025, 'k'))})).status, 400);
  EXPECT_THAT(backend.transactions, IsEmpty());
}

TEST_F(Txn, Bounds) {
  Json ops = Json::array();
  for (int i = 0; i < 65; ++i) ops.push_back(op("get", "k"));
  const auto many = txn(ops);
  EXPECT_EQ(many.status, 413);
  EXPECT_EQ(many.body, "Transaction contains too many operations (65 > 64)");
  ops.erase(0);
  EXPECT_EQ(txn(ops).status, 409);
  const auto large = ask("PUT", "/v1/txn", "[" + std::string(512 * 1024, ' ') + "]");
  EXPECT_EQ(large.status, 413);
  EXPECT_THAT(large.body, HasSubstr("too large, max size: 524288 bytes"));
}

}  // namespace
}  // namespace agent::api
