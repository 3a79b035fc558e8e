// [access_log], [tracing], proxy.request_id and proxy.trails: what is read, and what is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/config.h"
#include "tests/unit/agent/read_config.h"

namespace agent {
namespace {

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

TEST(ConfigObserve, ACollectorIsRead) {
  EXPECT_EQ(good("").tracing.endpoint, "");
  const TracingConfig plain = good("[tracing]\nenabled = true\nendpoint = \"http://127.0.0.1:4318\"\n").tracing;
  EXPECT_EQ(plain.service_name, "outrigger");
  EXPECT_EQ(plain.batch_spans, 512U);
  EXPECT_EQ(plain.batch_wait, Milliseconds(1000));
  EXPECT_EQ(plain.queue_bytes, 4U << 20);
  EXPECT_EQ(plain.timeout, Milliseconds(10'000));
  EXPECT_FALSE(plain.gzip);
  EXPECT_FALSE(plain.tls);
  const TracingConfig all = good(
      "[tracing]\nenabled = true\nendpoint = \"https://otel.example:4318/v1/traces\"\nservice_name = \"shop\"\n"
      "headers = [\"Authorization: Bearer x\", \"X-Scope-OrgID: 7\"]\ngzip = true\nbatch = 100\nbatch_wait = \"5s\"\nqueue = \"1MiB\"\ntimeout = \"3s\"\n"
      "[tracing.tls]\nca = \"/ca.pem\"\nserver_name = \"collector\"\n").tracing;
  EXPECT_EQ(all.service_name, "shop");
  EXPECT_EQ(all.headers, (std::vector<std::string>{"Authorization: Bearer x", "X-Scope-OrgID: 7"}));
  EXPECT_TRUE(all.gzip);
  EXPECT_EQ(all.batch_spans, 100U);
  EXPECT_EQ(all.batch_wait, Milliseconds(5000));
  EXPECT_EQ(all.queue_bytes, 1U << 20);
  EXPECT_EQ(all.timeout, Milliseconds(3000));
  ASSERT_TRUE(all.tls);
  EXPECT_EQ(all.tls->ca, "/ca.pem");
  EXPECT_EQ(all.tls->server_name, "collector");
  const TracingConfig system = good("[tracing]\nenabled = true\nendpoint = \"https://[2001:db8::1]/\"\n").tracing;
  ASSERT_TRUE(system.tls) << "verified even when nothing is said about it";
  EXPECT_TRUE(system.tls->verify);
  EXPECT_FALSE(system.tls->ca.empty());
  EXPECT_EQ(system.tls->server_name, "2001:db8::1");
}

TEST(ConfigObserve, ACollectorThatCannotBeIsRefused) {
  using testing::HasSubstr;
  const std::string on = "[tracing]\nenabled = true\n";
  for (const char* url : {"otel:4318", "ftp://x", "http://", "http://u@h", "http://h:0", "http://h:70000", "http://h:1x", "http://a b"})
    EXPECT_THAT(refusal(on + "endpoint = \"" + url + "\"\n"), HasSubstr("tracing.endpoint")) << url;
  EXPECT_THAT(refusal("[tracing]\nendpoint = \"http://h\"\n"), HasSubstr("add enabled = true"));
  EXPECT_THAT(refusal(on + "gzip = true\n"), HasSubstr("tracing.gzip: no collector is named"));
  EXPECT_THAT(refusal(on + "[tracing.tls]\nverify = false\n"), HasSubstr("tracing.tls: no collector is named"));
  const std::string to = on + "endpoint = \"http://h\"\n";
  EXPECT_THAT(refusal(to + "[tracing.tls]\nverify = false\n"), HasSubstr("plain http"));
  EXPECT_THAT(refusal(to + "service_name = \"\"\n"), HasSubstr("tracing.service_name"));
  EXPECT_THAT(refusal(to + "batch = 0\n"), HasSubstr("out of range"));
  EXPECT_THAT(refusal(to + "queue = \"1KiB\"\n"), HasSubstr("out of range"));
  for (const char* line : {"no colon", ": x", "Host: h", "content-length: 5", "X Y: z"})
    EXPECT_THAT(refusal(to + "headers = [\"" + line + "\"]\n"), HasSubstr("tracing.headers")) << line;
  const std::string secret = refusal(to + "headers = [\"X-Key: hush\\u0007\"]\n");
  EXPECT_THAT(secret, HasSubstr("tracing.headers"));
  EXPECT_EQ(secret.find("hush"), std::string::npos) << "secrets are not repeated";
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
