#include "agent/cli/kv_copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "agent/cli/event_stream.h"
#include "agent/cli/lease_client.h"
#include "tests/unit/agent/cli/fixture.h"

namespace agent::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class Copy : public CliTest {};

// --- the format ---

TEST(ExportFormat, IsConsulsOwn) {
  const std::vector<CopiedKey> keys = {{"a/\"b", std::string("\0\xff", 2), 18446744073709551615ULL}, {"empty", "", 0}};
  const std::string text = export_text(keys);
  EXPECT_EQ(text,
            "[\n\t{\"key\":\"a/"
            "\\\"b\",\"flags\":18446744073709551615,\"value\":\"AP8=\"},\n\t{\"key\":\"empty\",\"flags\":0,\"value\":"
            "\"\"}\n]\n");
  std::string fault;
  EXPECT_EQ(parse_export(text, fault), keys);
  EXPECT_EQ(export_text({}), "[]\n");
  EXPECT_EQ(parse_export("[]", fault), std::vector<CopiedKey>());
  EXPECT_EQ(parse_export(R"([{"Key":"k","Value":null,"LockIndex":0}])", fault), (std::vector<CopiedKey>{{"k", "", 0}}));
}

TEST(ExportFormat, BadEntriesAreNamed) {
  struct Case {
    const char *text, *fault;
  };
  for (const auto& [text, wanted] :
       {Case{"", "no JSON list"}, Case{"{}", "no JSON list"},
        Case{R"([{"key":"a"},{"value":""}])", "entry 2 has no key"}, Case{R"([{"key":""}])", "entry 1 has no key"},
        Case{R"([{"key":"a","value":7}])", "no Base64"}, Case{R"([{"key":"a","value":"e"}])", "no Base64"},
        Case{R"([{"key":"a","value":"e!==",}])", "no JSON list"}, Case{R"([{"key":"a","flags":-1}])", "flags"},
        Case{R"([7])", "entry 1 has no key"}}) {
    std::string fault;
    EXPECT_FALSE(parse_export(text, fault)) << text;
    EXPECT_THAT(fault, HasSubstr(wanted)) << text;
  }
}

TEST(Batches, KeepBothBounds) {
  std::vector<CopiedKey> keys;
  for (int i = 0; i < 130; ++i) keys.push_back({"k" + std::to_string(i), "v", 0});
  const auto small = batches_of(keys);
  ASSERT_EQ(small.size(), 3U);
  EXPECT_EQ(small[0].size(), kBatchKeys);
  EXPECT_EQ(small[2].size(), 2U);
  const auto large = batches_of(
      {{"a", std::string(200'000, 'x'), 0}, {"b", std::string(200'000, 'x'), 0}, {"c", std::string(500'000, 'x'), 0}});
  ASSERT_EQ(large.size(), 3U) << "each of them nearly fills a transaction, or is too large for one";
}

// --- the verbs ---

TEST_F(Copy, ExportGoesToTheOutputOrAFile) {
  const std::string answer =
      R"([{"LockIndex":0,"Key":"a/1","Flags":3,"Value":"eA==","CreateIndex":1,"ModifyIndex":2}])";
  fake.answer(200, answer);
  const auto printed = ask({"kv", "export", "a/"});
  EXPECT_EQ(printed.code, 0);
  EXPECT_EQ(printed.out, "[\n\t{\"key\":\"a/1\",\"flags\":3,\"value\":\"eA==\"}\n]\n");
  EXPECT_THAT(fake.requests(), ElementsAre("GET /v1/kv/a/?recurse"));
  fake.answer(404, "");
  EXPECT_EQ(ask({"kv", "export"}).out, "[]\n");
  const auto file = std::filesystem::temp_directory_path() / ("outrigger-export-" + std::to_string(getpid()));
  fake.answer(200, answer);
  EXPECT_THAT(ask({"kv", "export", "--out", file.string()}).out, HasSubstr("exported 1 keys"));
  EXPECT_EQ(std::filesystem::file_size(file), printed.out.size());
  std::filesystem::remove(file);
  fake.answer(200, answer);
  EXPECT_EQ(ask({"kv", "export", "--out", "/nowhere/x"}).code, 1);
  fake.answer(500, "No cluster leader");
  const auto failed = ask({"kv", "export"});
  EXPECT_EQ(failed.code, 1);
  EXPECT_THAT(failed.err, HasSubstr("No cluster leader"));
}

TEST_F(Copy, AnExportTooLargeForOneAnswerIsReadInParts) {
  fake.answer(413, "too large");
  fake.answer(200, R"(["a","b"])");
  fake.answer(409, R"({"Results":null,"Errors":[{"OpIndex":1,"What":"key \"b\" doesn't exist"}]})");
  fake.answer(200, R"([{"Key":"a","Flags":0,"Value":"eA=="}])");
  fake.answer(404, "");
  const auto out = ask({"kv", "export"});
  EXPECT_EQ(out.code, 0) << out.err;
  EXPECT_THAT(out.out, HasSubstr("\"key\":\"a\""));
  EXPECT_THAT(out.out, testing::Not(HasSubstr("\"key\":\"b\""))) << "it was deleted meanwhile";
  EXPECT_THAT(out.err, HasSubstr("read in parts"));
}

TEST_F(Copy, ImportWritesInTransactions) {
  fake.answer(200, R"({"Results":[],"Errors":null})");
  const auto out =
      ask({"kv", "import", "-", "--prefix", "p/"}, R"([{"key":"a","flags":1,"value":"eA=="},{"key":"b","value":""}])");
  EXPECT_EQ(out.code, 0) << out.err;
  EXPECT_EQ(out.out, "imported 2 keys\n");
  ASSERT_EQ(fake.requests().size(), 1U);
  EXPECT_EQ(
      fake.requests()[0],
      R"(PUT /v1/txn [{"KV":{"Verb":"set","Key":"p/a","Value":"eA==","Flags":1}},{"KV":{"Verb":"set","Key":"p/b","Value":"","Flags":0}}])");
  fake.answer(200, "true");
  EXPECT_EQ(ask({"kv", "import", R"([{"key":"one","flags":2,"value":"eA=="}])"}).code, 0);
  EXPECT_EQ(fake.requests().back(), "PUT /v1/kv/one?flags=2 x");
  EXPECT_EQ(ask({"kv", "import", "/nowhere"}).code, 1);
  EXPECT_EQ(ask({"kv", "import", "-"}, "{}").code, 1);
  EXPECT_EQ(ask({"kv", "import"}).code, 2);
  fake.answer(409, R"({"Results":null,"Errors":[{"OpIndex":0,"What":"no room"}]})");
  const auto refused = ask({"kv", "import", "-"}, R"([{"key":"a"},{"key":"b"}])");
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("0 of 2 keys are in"));
}

TEST_F(Copy, ImportConsulKeepsWhatDiffers) {
  FakeAgent consul;
  const auto both = [&] {
    consul.answer(200, R"(["new","other","same"])");
    consul.answer(
        200,
        R"({"Results":[{"KV":{"Key":"new","Flags":0,"Value":"bg=="}},{"KV":{"Key":"other","Flags":0,"Value":"bw=="}},{"KV":{"Key":"same","Flags":0,"Value":"cw=="}}]})");
    fake.answer(409, R"({"Results":null,"Errors":[]})");
    fake.answer(404, "");
    fake.answer(200, R"([{"Key":"other","Flags":0,"Value":"eA=="}])");
    fake.answer(200, R"([{"Key":"same","Flags":0,"Value":"cw=="}])");
  };
  both();
  const auto dry = ask({"import", "consul", consul.api(), "--only", "kv", "--dry-run"});
  EXPECT_EQ(dry.code, 1);
  EXPECT_EQ(dry.out, "keys: 3 found, 1 to write, 1 the same already, 1 different and kept\n  kept other\n");
  both();
  fake.answer(200, "true");
  EXPECT_EQ(ask({"import", "consul", consul.api(), "--only", "kv"}).code, 1);
  EXPECT_EQ(fake.requests().back(), "PUT /v1/kv/new?flags=0&cas=0 n") << "never over something that is there";
  both();
  fake.answer(200, "true");
  fake.answer(200, "true");
  const auto over = ask({"import", "consul", consul.api(), "--only", "kv", "--overwrite", "-o", "json"});
  EXPECT_EQ(over.code, 0) << over.err;
  EXPECT_EQ(fake.requests().back(), "PUT /v1/kv/other?flags=0 o");
  EXPECT_EQ(Json::parse(over.out).at("kv").at("written"), 2);
}

TEST_F(Copy, ImportConsulBringsServices) {
  FakeAgent consul;
  consul.answer(200, R"([{"Node":"web-1","Address":"10.0.0.1"}])");
  consul.answer(
      200,
      R"({"Node":{"Node":"web-1","Address":"10.0.0.1","Meta":{"rack":"1"}},"Services":{"consul":{"ID":"consul","Service":"consul"},"w":{"ID":"w","Service":"web","Tags":["a"],"Port":80,"CreateIndex":5}}})");
  consul.answer(
      200,
      R"([{"Node":"web-1","CheckID":"c","Name":"n","Status":"passing","ServiceID":"w","Definition":{}},{"CheckID":"serfHealth","ServiceID":""}])");
  fake.answer(200, "[]");
  fake.answer(200, "true");
  const auto out = ask({"import", "consul", consul.api(), "--only", "services"});
  EXPECT_EQ(out.code, 0) << out.err;
  EXPECT_EQ(out.out, "services: 1 found, 1 written, 0 the same already, 0 different and kept\n");
  EXPECT_EQ(
      fake.requests().back(),
      R"(PUT /v1/catalog/register {"Node":"web-1","Address":"10.0.0.1","Service":{"ID":"w","Service":"web","Tags":["a"],"Port":80},"Checks":[{"Node":"web-1","CheckID":"c","Name":"n","Status":"passing","ServiceID":"w"}],"NodeMeta":{"rack":"1"}})");
}

TEST_F(Copy, SessionVerbs) {
  fake.answer(200, R"([{"ID":"i","Node":"n1","TTL":"10s","Behavior":"release","Name":"x"}])");
  EXPECT_THAT(ask({"session", "list", "--node", "n1"}).out, HasSubstr("i   n1    10s  release   x"));
  fake.answer(200, R"({"ID":"abc"})");
  EXPECT_EQ(ask({"session", "create", "--ttl", "15s", "--name", "n", "--behavior", "delete", "--no-checks"}).out,
            "abc\n");
  EXPECT_EQ(fake.requests().back(),
            R"(PUT /v1/session/create {"Behavior":"delete","Name":"n","TTL":"15s","NodeChecks":[]})");
  fake.answer(200, "true");
  EXPECT_EQ(ask({"session", "destroy", "abc"}).code, 0);
  EXPECT_EQ(fake.requests().back(), "PUT /v1/session/destroy/abc");
  EXPECT_EQ(ask({"session", "create", "--behavior", "x"}).code, 2);
  EXPECT_EQ(ask({"session"}).code, 2);
  fake.answer(500, "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]");
  EXPECT_THAT(ask({"session", "create", "--ttl", "5s"}).err, HasSubstr("Invalid Session TTL"));
}

TEST_F(Copy, ElectionVerbs) {
  fake.answer(200, R"({"name":"j","holder":"me","epoch":7,"lease_ms":2000})");
  EXPECT_EQ(ask({"election", "campaign", "j", "--holder", "me", "--lease-ms", "2000"}).out,
            "j: held by me under epoch 7 for 2000 ms\n");
  EXPECT_EQ(fake.requests().back(), R"(PUT /outrigger/v1/election/j/campaign {"holder":"me","lease_ms":2000})");
  fake.answer(200, R"({"valid":true,"epoch":7,"holder":"me"})");
  EXPECT_EQ(ask({"election", "verify", "j", "--epoch", "7"}).code, 0);
  EXPECT_EQ(fake.requests().back(), "GET /outrigger/v1/election/j/verify?epoch=7");
  fake.answer(409, R"({"code":"conflict","message":"epoch 6 of \"j\" is over","hint":"h"})");
  const auto stale = ask({"election", "verify", "j", "--epoch", "6"});
  EXPECT_EQ(stale.code, 1);
  EXPECT_THAT(stale.err, HasSubstr("is over"));
  EXPECT_EQ(ask({"election", "renew", "j", "--holder", "me", "--epoch", "x"}).code, 2);
  EXPECT_EQ(ask({"election", "renew", "j", "--holder", "me"}).code, 2);
  EXPECT_THAT(ask({"election", "renew", "j", "--epoch", "7"}).err, HasSubstr("--holder is required"));
  fake.answer(200, "id: 3\nevent: election\ndata: {\"name\":\"j\",\"holder\":\"me\",\"epoch\":7}\n\n",
              "Content-Type: text/event-stream\r\n");
  EXPECT_EQ(ask({"election", "watch", "j", "--count", "1"}).out, "j: holder me, epoch 7\n");
  fake.answer(200, R"({"name":"trader","holder":"n1","epoch":1,"lease_ms":1500,"index":4})");
  EXPECT_THAT(ask({"election", "trader"}).out, StartsWith("trader: holder n1")) << "a name that is no verb";
}

TEST_F(Copy, ANameWithASlashIsOneSegmentOfThePath) {
  const std::string won = R"({"name":"jobs/nightly","holder":"me","epoch":7,"lease_ms":2000})";
  const auto target = [this, &won](const std::vector<std::string>& arguments) {
    fake.answer(200, won);
    EXPECT_EQ(ask(arguments).code, 0) << arguments[0];
    const std::string request = fake.requests().back();
    return request.substr(0, request.find(" {"));
  };
  const std::string election = "/outrigger/v1/election/jobs%2Fnightly";
  EXPECT_EQ(target({"election", "jobs/nightly"}), "GET " + election);
  EXPECT_EQ(target({"election", "campaign", "jobs/nightly"}), "PUT " + election + "/campaign");
  EXPECT_EQ(target({"election", "verify", "jobs/nightly", "--epoch", "7"}), "GET " + election + "/verify?epoch=7");
  EXPECT_EQ(target({"switchover", "--service", "jobs/nightly", "--to", "n/2"}), "PUT " + election + "/switchover?target=n/2");
  EXPECT_EQ(target({"breaker", "reset", "POST /orders"}), "POST /outrigger/v1/breakers/POST%20%2Forders/reset");
  fake.answer(200, won);
  EXPECT_EQ(target({"lock", "run", "jobs/nightly", "--", "true"}), "PUT " + election + "/resign");
  EXPECT_EQ(target({"kv", "get", "a/b"}), "GET /v1/kv/a/b") << "keys have their slashes in the path";
}

TEST_F(Copy, EveryClientIsAHolderOfItsOwn) {
  const auto holder = [this](const std::vector<std::string>& more) {
    fake.answer(200, R"({"name":"j","holder":"me","epoch":7,"lease_ms":2000})");
    std::vector<std::string> arguments{"election", "campaign", "j"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    EXPECT_EQ(ask(arguments).code, 0);
    const std::string request = fake.requests().back();
    return nlohmann::json::parse(request.substr(request.find('{'))).at("holder").get<std::string>();
  };
  const std::string first = holder({}), begin = "box-" + std::to_string(getpid()) + "-";
  EXPECT_THAT(first, StartsWith(begin));
  EXPECT_NE(first, holder({})) << "one host name and one process id are not one holder";
  EXPECT_EQ(holder({"--holder", "me"}), "me");
  host_name = std::string(70, 'h');
  const std::string cut = holder({});
  EXPECT_EQ(cut.size(), 64U);
  EXPECT_THAT(cut, HasSubstr("-" + std::to_string(getpid()) + "-")) << "the host name is cut, not what tells holders apart";
  EXPECT_NE(cut, holder({}));
  host_name = "b\xff\nx";
  EXPECT_THAT(holder({}), StartsWith("b--x-"));
}

TEST_F(Copy, WatchPrintsAndResumes) {
  const std::string kind = "Content-Type: text/event-stream\r\n";
  fake.answer(
      200,
      "id: 4\nevent: ready\ndata: {\"index\":4}\n\nid: 5\nevent: change\ndata: "
      "{\"index\":5,\"changes\":[{\"op\":\"set\",\"key\":\"a\",\"entry\":{\"key\":\"a\",\"value\":\"eA==\"}}]}\n\n",
      kind);
  fake.answer(200, "id: 6\nevent: change\ndata: {\"index\":6,\"changes\":[{\"op\":\"delete\",\"key\":\"a\"}]}\n\n",
              kind);
  EXPECT_EQ(ask({"watch", "p/", "--initial", "--count", "2"}).out, "5  set  a  x\n6  delete  a\n");
  EXPECT_THAT(fake.requests(),
              ElementsAre("GET /outrigger/v1/watch/p/?initial", "GET /outrigger/v1/watch/p/?initial&index=5"));
  fake.answer(410, R"({"code":"too_old","message":"forgotten","hint":"list everything again"})");
  const auto old = ask({"watch", "--index", "1"});
  EXPECT_EQ(old.code, 1);
  EXPECT_THAT(old.err, HasSubstr("list everything again"));
}

TEST_F(Copy, LockRunHoldsWhileTheProgramRuns) {
  const std::string won = R"({"epoch":7})";
  fake.answer(200, won);
  fake.answer(200, "{}");
  EXPECT_EQ(ask({"lock", "run", "j", "--lease-ms", "60000", "--", "sh", "-c", "exit $OUTRIGGER_EPOCH"}).code, 7);
  ASSERT_EQ(fake.requests().size(), 2U);
  EXPECT_THAT(fake.requests()[1], StartsWith("PUT /outrigger/v1/election/j/resign {\"holder\":\"box-"));
  fake.answer(409, R"({"code":"conflict","message":"j is held by other"})");
  const auto held = ask({"lock", "run", "j", "--try", "--", "true"});
  EXPECT_EQ(held.code, 1);
  EXPECT_THAT(held.err, HasSubstr("held by other"));
  fake.answer(200, won);
  fake.answer(200, "{}");
  EXPECT_THAT(ask({"lock", "run", "j", "--", "/nowhere/program"}).err, HasSubstr("cannot start /nowhere/program"));
  EXPECT_EQ(ask({"lock", "run", "j"}).code, 2);
}

TEST_F(Copy, ALostLockEndsTheProgram) {
  const auto mark = std::filesystem::temp_directory_path() / ("outrigger-lock-" + std::to_string(getpid()));
  std::filesystem::remove(mark);
  fake.answer(200, R"({"epoch":7})");
  for (int i = 0; i < 100; ++i) fake.answer(409, R"({"code":"conflict","message":"that epoch is over"})");
  const auto lost = ask({"lock", "run", "j", "--lease-ms", "8000", "--", "sh", "-c", "sleep 60; echo x > " + mark.string()});
  EXPECT_EQ(lost.code, 1);
  EXPECT_THAT(lost.err, HasSubstr("that epoch is over"));
  EXPECT_FALSE(std::filesystem::exists(mark)) << "it was not waited for";
}

// It ends before the lease does, also a program that does not listen.
TEST_F(Copy, ALockThatNobodyAnswersForEndsTheProgram) {
  const auto mark = std::filesystem::temp_directory_path() / ("outrigger-lock-" + std::to_string(getpid()));
  std::filesystem::remove(mark);
  for (int i = 0; i < 3; ++i) fake.answer(200, R"({"epoch":8})");  // won, and renewed twice
  EXPECT_EQ(ask({"lock", "run", "j", "--lease-ms", "2000", "--wait-ms", "20000", "--", "sh", "-c",
                 "trap '' TERM; i=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done; echo x > " + mark.string()})
                .code,
            1);
  EXPECT_FALSE(std::filesystem::exists(mark)) << "it was not waited for";
}

TEST(EventCutter, TakesAnyPieces) {
  const std::string text = "id: 1\r\nevent: a\ndata: x\ndata:y\n\n:\n\nevent: b\ndata: {}\n\n";
  for (const std::size_t size : {1U, 3U, 100U}) {
    std::vector<std::string> seen;
    EventCutter cutter([&](const EventCutter::Event& event) {
      return seen.push_back(event.id + "|" + event.name + "|" + event.data), true;
    });
    for (std::size_t at = 0; at < text.size(); at += size)
      EXPECT_TRUE(cutter.feed(std::string_view(text).substr(at, size)));
    EXPECT_THAT(seen, ElementsAre("1|a|xy", "|b|{}"));
  }
  EventCutter stops([](const EventCutter::Event&) { return false; });
  EXPECT_FALSE(stops.feed(text));
}

TEST_F(Copy, ConsulsEnvironmentIsTheFallBack) {
  fake.answer(200, "[]", "");
  environment["CONSUL_HTTP_TOKEN"] = "secret";
  EXPECT_EQ(ask({"session", "list", "-o", "json"}).code, 0);
  std::ostringstream out, err;
  std::istringstream in;
  Host host{.out = out,
            .err = err,
            .in = in,
            .environment = {{"CONSUL_HTTP_ADDR", "127.0.0.1:1"}, {"CONSUL_HTTP_SSL", "true"}},
            .host_name = "b",
            .check_assert = {}, .check_registration = {},
            .run_agent = {}};
  EXPECT_EQ(run({"session", "list"}, host), 1);
  EXPECT_THAT(err.str(), HasSubstr("does not speak TLS"));
}

}  // namespace
}  // namespace agent::cli
