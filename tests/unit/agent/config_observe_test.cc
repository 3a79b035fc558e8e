// [access_log], [tracing], proxy.request_id and proxy.trails: what is read, and what is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/config.h"

namespace agent {
namespace {

Config good(const std::string& text) {
  auto config = parse_config(text, "x.toml");
  EXPECT_TRUE(config) << config.error().front().text();
  return config ? *config : Config();
}
std::string refusal(const std::string& text) {
  const auto config = parse_config(text, "x.toml");
  return config ? "accepted" : config.error().front().text();
}

TEST(ConfigObserve, DefaultsWriteNoLogAndBeginNoTrace) {
  const Config config = good("[node]\ndata_dir = \"/var/x\"\n");
  EXPECT_EQ(config.access_log.to, LogTarget::kOff);
  EXPECT_EQ(config.access_log.file, "/var/x/access.log");
  EXPECT_EQ(config.access_log.file_bytes_max, 10U << 20);
  EXPECT_EQ(config.access_log.files_max, 10U);
  EXPECT_FALSE(config.access_log.query);
  EXPECT_FALSE(config.tracing.enabled);
  EXPECT_EQ(config.proxy.trail_bytes, 0U) << "a trail costs a tenth of a small request: only who asks for it pays";
  EXPECT_EQ(config.proxy.request_id.field, "X-Request-Id");
  EXPECT_FALSE(config.proxy.request_id.from_anyone);
  EXPECT_TRUE(config.proxy.request_id.to_client);
}

TEST(ConfigObserve, EverythingIsRead) {
  const Config config = good(
      "[access_log]\nto = \"file\"\nfile = \"/a/b.log\"\nfile_bytes_max = \"64KiB\"\nfiles_max = 1\nquery = true\nbuffer = \"2MiB\"\n"
      "[tracing]\nenabled = true\naccept = \"proxies\"\nsample_every = 100\n"
      "[proxy]\ntrails = \"0B\"\nrequest_id = { field = \"X-Trace-Me\", accept = \"anyone\", to_client = false }\n"
      "[[route]]\npath = \"/health\"\npool = \"all\"\naccess_log = false\n");
  EXPECT_EQ(config.access_log.file, "/a/b.log");
  EXPECT_EQ(config.access_log.buffer_bytes, 2U << 20);
  EXPECT_EQ(config.tracing.sample_every, 100U);
  EXPECT_FALSE(config.tracing.from_anyone);
  EXPECT_EQ(config.proxy.trail_bytes, 0U);
  EXPECT_EQ(config.proxy.request_id.field, "X-Trace-Me");
  EXPECT_TRUE(config.proxy.request_id.from_anyone);
  EXPECT_FALSE(config.routes.at(0).access_log);
  EXPECT_EQ(good("[access_log]\nto = \"syslog\"\nsyslog = \"unix:/dev/log\"\n").access_log.syslog.unix_path, "/dev/log");
}

TEST(ConfigObserve, WhatCannotBeIsRefusedWithTheFix) {
  using testing::HasSubstr;
  EXPECT_THAT(refusal("[access_log]\nto = \"fil\"\n"), HasSubstr("did you mean \"file\"?"));
  EXPECT_THAT(refusal("[access_log]\nto = \"stdout\"\nfiles_max = 3\n"), HasSubstr("access_log.files_max: only to = \"file\" looks at it"));
  EXPECT_THAT(refusal("[access_log]\nfile = \"x\"\n"), HasSubstr("access_log.file"));
  EXPECT_THAT(refusal("[access_log]\nto = \"file\"\nsyslog = \"127.0.0.1:514\"\n"), HasSubstr("access_log.syslog"));
  EXPECT_THAT(refusal("[access_log]\nto = \"syslog\"\nsyslog = \"loghost\"\n"), HasSubstr("is no address"));
  EXPECT_THAT(refusal("[access_log]\nto = \"file\"\nfile_bytes_max = \"1KiB\"\n"), HasSubstr("out of range"));
  EXPECT_THAT(refusal("[access_log]\nto = \"file\"\nfiles_max = 0\n"), HasSubstr("out of range"));
  EXPECT_THAT(refusal("[tracing]\naccept = \"nobody\"\n"), HasSubstr("tracing.accept"));
  EXPECT_THAT(refusal("[proxy]\ntrails = \"1KiB\"\n"), HasSubstr("proxy.trails"));
  for (const char* field : {"Host", "X Y", "", "cookie", "X-Outrigger-Epoch", "X:Y", "Content-Length"})
    EXPECT_THAT(refusal(std::string("[proxy]\nrequest_id = { field = \"") + field + "\" }\n"), HasSubstr("proxy.request_id.field")) << field;
}

}  // namespace
}  // namespace agent
