#include "agent/audit_turns.h"

#include <gtest/gtest.h>

namespace agent {
namespace {

using Joined = AuditTurns::Joined;

// However many ask in one turn of the loop: one inquiry runs, and one more for all who wait.
TEST(AuditTurns, OneAtATimeAndOneMoreForAllWhoCameMeanwhile) {
  AuditTurns turns;
  int begun = 0, refused = 0, answered = 0;
  for (int i = 0; i < 64; ++i) {
    AuditTurns::Done done = [&answered](const api::Result<api::AuditVerdict>&) { ++answered; };
    const Joined joined = turns.join(done);
    begun += joined == Joined::kBegins ? 1 : 0;
    refused += joined == Joined::kRefused ? 1 : 0;
    EXPECT_EQ(done != nullptr, joined == Joined::kRefused) << "who is refused has to be told so";
  }
  EXPECT_EQ(begun, 1);
  EXPECT_EQ(refused, 63 - static_cast<int>(AuditTurns::kWaitingMax));
  EXPECT_EQ(turns.end().size(), 1U);
  ASSERT_TRUE(turns.is_asking()) << "those who waited have the next one";
  AuditTurns::Done late = [](const api::Result<api::AuditVerdict>&) {};
  EXPECT_EQ(turns.join(late), Joined::kWaits);
  for (const AuditTurns::Done& done : turns.end()) done(api::AuditVerdict{});
  EXPECT_EQ(answered, static_cast<int>(AuditTurns::kWaitingMax));
  EXPECT_EQ(turns.end().size(), 1U);
  EXPECT_FALSE(turns.is_asking());
  AuditTurns::Done next = [](const api::Result<api::AuditVerdict>&) {};
  EXPECT_EQ(turns.join(next), Joined::kBegins);
}

}  // namespace
}  // namespace agent
