#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/api/flight_backend.h"
#include "tests/unit/agent/api/fake_backend.h"

namespace agent::api {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class FakeFlight final : public FlightBackend {
 public:
  std::optional<IncidentInfo> incident;
  std::vector<FlightEventInfo> noted;
  std::optional<Error> refusal;
  std::vector<std::string> cut;

  [[nodiscard]] std::optional<IncidentInfo> last_incident() const override { return incident; }
  [[nodiscard]] std::vector<FlightEventInfo> events() const override { return noted; }
  Result<std::vector<std::string>> partition(const std::vector<std::string>& peers) override {
    if (refusal) return tl::unexpected(*refusal);
    return cut = peers;
  }
  [[nodiscard]] const std::vector<std::string>& partitioned() const override { return cut; }
};

class Flight : public testing::Test, public ApiHarness {
 protected:
  Flight() { backend.flight_recorder = &flight; }
  Response cut_off(const std::string& body) { return ask("POST", "/outrigger/v1/faults/partition", body); }
  FakeFlight flight;
};

TEST_F(Flight, AnAgentWithoutARecorderSaysSo) {
  backend.flight_recorder = nullptr;
  for (const char* path : {"/outrigger/v1/incident/last", "/outrigger/v1/incident/events", "/outrigger/v1/faults/partition"})
    EXPECT_EQ(ask("GET", path).status, 501) << path;
}

TEST_F(Flight, NothingHasHappenedYet) {
  const auto reply = ask("GET", "/outrigger/v1/incident/last");
  EXPECT_EQ(reply.status, 404);
  EXPECT_THAT(reply.body, HasSubstr("no primary has followed another"));
}

TEST_F(Flight, TheLastIncident) {
  IncidentInfo incident;
  incident.from = "n1";
  incident.to = "n2";
  incident.from_epoch = 3;
  incident.epoch = 4;
  incident.began_ms = 1'000'000;
  incident.total_ms = 12;
  incident.over = true;
  incident.phases = {{"detect", true, 0, 0, "n1", "gone"}, {"reconcile", false, 12, 0, "", "nothing"}};
  incident.events = {{"n1", 1'000'000, 2, "instance", 3, "n1", "gone"}, {"n2", 1'000'001, 0, "gossip_suspect", 0, "", ""}};
  flight.incident = incident;
  const auto body = Json::parse(ask("GET", "/outrigger/v1/incident/last").body);
  EXPECT_EQ(body.at("from"), "n1");
  EXPECT_EQ(body.at("epoch"), 4);
  EXPECT_EQ(body.at("over"), true);
  EXPECT_EQ(body.at("phases").at(0), Json::parse(R"({"name":"detect","happened":true,"at_ms":0,"took_ms":0,"node":"n1","text":"gone"})"));
  EXPECT_TRUE(body.at("phases").at(1).at("node").is_null());
  EXPECT_EQ(body.at("events").at(0).at("count"), 2);
  EXPECT_TRUE(body.at("events").at(1).at("epoch").is_null());
}

TEST_F(Flight, AllEvents) {
  flight.noted = {{"n1", 5, 0, "lease", 1, "n1", ""}};
  const auto body = Json::parse(ask("GET", "/outrigger/v1/incident/events").body);
  EXPECT_EQ(body.at("events").at(0).at("what"), "lease");
}

TEST_F(Flight, APartitionIsMadeAndHealed) {
  EXPECT_EQ(cut_off(R"({"peers":["n2","n3"]})").status, 200);
  EXPECT_THAT(flight.cut, ElementsAre("n2", "n3"));
  EXPECT_THAT(ask("GET", "/outrigger/v1/faults/partition").body, HasSubstr(R"("partitioned":["n2","n3"])"));
  EXPECT_EQ(cut_off(R"({"peers":[]})").status, 200);
  EXPECT_THAT(flight.cut, IsEmpty());
}

TEST_F(Flight, APartitionNeedsNamesAndLeave) {
  for (const char* body : {"", "[]", "{}", R"({"peers":"n2"})", R"({"peers":[1]})", R"({"peers":{"n2":1}})"})
    EXPECT_EQ(cut_off(body).status, 400) << body;
  std::string many = R"({"peers":["n2")";
  for (int i = 0; i < 64; ++i) many += R"(,"n2")";
  EXPECT_EQ(cut_off(many + "]}").status, 400);
  flight.refusal = Error{Errc::kForbidden, "not allowed", {}};
  EXPECT_EQ(cut_off(R"({"peers":["n2"]})").status, 403);
}

}  // namespace
}  // namespace agent::api
