#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/api/fake_catalog.h"

namespace agent::api {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using PlainJson = nlohmann::json;

class EventRoutes : public testing::Test, public ApiHarness {
 protected:
  FakeCatalog catalog{backend};

  EventRoutes() {
    Service service;
    service.node = "n1", service.id = service.name = "web", service.tags = {"blue"};
    catalog.put_service(service);
  }
  PlainJson fire(const std::string& target, const std::string& payload = "") {
    return PlainJson::parse(ask("PUT", "/v1/event/fire/" + target, payload).body, nullptr, false);
  }
  std::vector<std::string> names(const std::string& query = "") {
    std::vector<std::string> out;
    for (const auto& event : ask_json("/v1/event/list" + query)) out.push_back(event.at("Name"));
    return out;
  }
  std::string stream_text(ExchangeId id) {
    settle();
    std::string out;
    for (const auto& output : outputs[id]) out += output.kind == Output::Kind::kStreamData ? output.response.body : "";
    return out;
  }
};

TEST_F(EventRoutes, AnEventIsInTheOwnListAtOnceAndItsIndexIsItsLTime) {
  const auto fired = fire("deploy", "hi");
  EXPECT_EQ(fired.at("Payload"), "aGk=");
  EXPECT_EQ(fired.at("Version"), 1);
  EXPECT_EQ(fired.at("LTime"), 0);
  const auto response = ask("GET", "/v1/event/list");
  const auto list = PlainJson::parse(response.body);
  EXPECT_EQ(list.at(0).at("ID"), fired.at("ID"));
  EXPECT_EQ(std::to_string(list.at(0).at("LTime").get<std::uint64_t>()), header(response, "X-Consul-Index"));
  EXPECT_EQ(fire("empty").at("Payload"), PlainJson(nullptr));
}

TEST_F(EventRoutes, TheListBlocksAndItsIndexOnlyGrows) {
  fire("a");
  const auto index = header(ask("GET", "/v1/event/list"), "X-Consul-Index");
  const auto waiting = send("GET", "/v1/event/list?wait=60s&index=" + index);
  EXPECT_FALSE(answered(waiting));
  fire("b");
  ASSERT_TRUE(answered(waiting));
  EXPECT_GT(std::stoull(header(answer(waiting), "X-Consul-Index")), std::stoull(index));
}

TEST_F(EventRoutes, FiltersChooseWhomAnEventIsMeantFor) {
  fire("all");
  fire("this?node=n.");
  fire("other?node=^x");
  fire("service?service=^we");
  fire("no-service?service=db");
  fire("tag?service=web&tag=bl");
  fire("no-tag?service=web&tag=green");
  EXPECT_THAT(names(), ElementsAre("all", "this", "service", "tag"));
  EXPECT_THAT(names("?name=tag"), ElementsAre("tag"));
  EXPECT_THAT(names("?name=nothing"), IsEmpty());
}

TEST_F(EventRoutes, BadEventsAreRefused) {
  EXPECT_EQ(ask("PUT", "/v1/event/fire/").body, "Missing name");
  const auto tag = ask("PUT", "/v1/event/fire/x?node=a&tag=t");
  EXPECT_EQ(tag.status, 500);
  EXPECT_EQ(tag.body, "Cannot provide tag filter without service filter");
  EXPECT_EQ(ask("PUT", "/v1/event/fire/x?node=(").status, 500);
  EXPECT_EQ(ask("PUT", "/v1/event/fire/x?node=" + std::string(200, 'a')).status, 500);
  EXPECT_EQ(ask("PUT", "/v1/event/fire/" + std::string(200, 'a')).status, 400);
  EXPECT_EQ(ask("PUT", "/v1/event/fire/x", std::string(9000, 'p')).status, 413);
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(EventRoutes, AHostilePatternCostsNoMoreThanItsLength) {
  backend.self_info.name = std::string(60, 'a') + "!";
  fire("x?node=(a*)*(a*)*(a*)*b");  // a backtracking matcher would not end before we do
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(EventRoutes, TheStreamTellsEveryEventInOrderWhomeverItIsFor) {
  fire("before");
  const auto stream = send("GET", "/outrigger/v1/events");
  EXPECT_THAT(stream_text(stream), IsEmpty()) << "from now on";
  fire("one?node=elsewhere", "p");
  fire("two");
  const std::string text = stream_text(stream);
  EXPECT_THAT(text, HasSubstr("event: event\ndata: {"));
  EXPECT_THAT(text, HasSubstr("\"payload\":\"cA==\""));
  EXPECT_LT(text.find("\"name\":\"one\""), text.find("\"name\":\"two\""));
  EXPECT_THAT(text, Not(HasSubstr("before")));
}

TEST_F(EventRoutes, AStreamResumesBehindTheLastIdOrBeginsWithTheOldest) {
  fire("a");
  fire("b");
  const auto events = catalog.events().value;
  const auto all = send("GET", "/outrigger/v1/events?index=0");
  EXPECT_THAT(stream_text(all), HasSubstr("\"name\":\"a\""));
  Request request{.method = "GET", .path = "/outrigger/v1/events", .host = "127.0.0.1"};
  request.last_event_id = std::to_string(static_cast<std::uint64_t>(events[0].index));
  const std::string text = stream_text(send(request));
  EXPECT_THAT(text, Not(HasSubstr("\"name\":\"a\"")));
  EXPECT_THAT(text, HasSubstr("\"name\":\"b\""));
  EXPECT_THAT(text, Not(HasSubstr("gap")));
  EXPECT_EQ(ask("GET", "/outrigger/v1/events?index=x").status, 400);
}

TEST_F(EventRoutes, EventsThatAreForgottenAreAnnouncedAsAGap) {
  fire("first");
  const auto first = static_cast<std::uint64_t>(catalog.events().value[0].index);
  for (std::size_t i = 0; i < Event::kEventsMax + 5; ++i) fire("e" + std::to_string(i));
  EXPECT_EQ(catalog.events().value.size(), Event::kEventsMax);
  const std::string text = stream_text(send("GET", "/outrigger/v1/events?index=" + std::to_string(first)));
  EXPECT_TRUE(text.starts_with("id: " + std::to_string(first) + "\nevent: gap\n")) << text.substr(0, 100);
}

TEST_F(EventRoutes, AStreamOfOneNameHearsNothingElse) {
  const auto stream = send("GET", "/outrigger/v1/events?name=deploy");
  fire("other");
  fire("deploy");
  EXPECT_THAT(stream_text(stream), Not(HasSubstr("other")));
  EXPECT_THAT(stream_text(stream), HasSubstr("deploy"));
}

TEST_F(EventRoutes, MetricsAsConsulsClientsReadThem) {
  backend.metric_list = {{"outrigger_raft_is_leader", "L.", MetricFamily::Type::kGauge, {{{}, 1, {}}}},
                         {"outrigger_x_total", "X.", MetricFamily::Type::kCounter, {{{{"k", "v"}}, 3, {}}}},
                         {"outrigger_store_sync_seconds", "S.", MetricFamily::Type::kHistogram, {{{}, 0.5, {{1, 5}}}}}};
  const auto body = ask_json("/v1/agent/metrics");
  EXPECT_EQ(body.at("Gauges").at(0).at("Name"), "outrigger_raft_is_leader");
  EXPECT_EQ(body.at("Gauges").at(1).at("Name"), "consul_raft_state_leader");
  EXPECT_EQ(body.at("Counters").at(0).at("Count"), 3);
  EXPECT_EQ(body.at("Counters").at(0).at("Labels").at("k"), "v");
  EXPECT_EQ(body.at("Samples").at(0).at("Count"), 5);
  EXPECT_TRUE(body.at("Points").is_array());
  EXPECT_THAT(ask("GET", "/v1/agent/metrics?format=prometheus").body, HasSubstr("consul_raft_state_leader 1"));
}

}  // namespace
}  // namespace agent::api
