// [demo]: what only a demonstration may have, and where it is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/read_config.h"

namespace agent {
namespace {

using testing::HasSubstr;

TEST(ConfigDemo, FaultsAreOffUnlessTheyAreAskedFor) {
  EXPECT_FALSE(good("").faults_allowed);
  EXPECT_TRUE(good("[mesh]\nbind = \"127.0.0.1\"\n[demo]\nfaults = true\n").faults_allowed);
}

TEST(ConfigDemo, FaultsAreRefusedWhereOthersCouldBeHit) {
  EXPECT_THAT(refusal("[mesh]\nbind = \"0.0.0.0\"\nadvertise = \"192.0.2.1\"\ninsecure = true\n[demo]\nfaults = true\n"), HasSubstr("demo.faults: mesh.bind is 0.0.0.0"));
  EXPECT_THAT(refusal("[mesh]\nbind = \"127.0.0.1\"\n[api]\nlisten = \"0.0.0.0:8500\"\ninsecure = true\n[demo]\nfaults = true\n"),
              HasSubstr("demo.faults: api.listen is 0.0.0.0:8500"));
}

TEST(ConfigDemo, NothingElseIsThere) { EXPECT_THAT(refusal("[demo]\nfault = true\n"), HasSubstr("faults")); }

}  // namespace
}  // namespace agent
