#include "agent/drivers/check_url.h"

#include <gtest/gtest.h>

namespace agent::drivers {
namespace {

TEST(ParseCheckUrl, SplitsWhatClientsWrite) {
  const auto url = parse_check_url("https://[::1]:8443/a/b?c=d#e");
  ASSERT_TRUE(url);
  EXPECT_TRUE(url->tls);
  EXPECT_EQ(url->host, "::1");
  EXPECT_EQ(url->port, 8443);
  EXPECT_EQ(url->authority, "[::1]:8443");
  EXPECT_EQ(url->target, "/a/b?c=d");
  EXPECT_EQ(parse_check_url("http://web")->port, 80);
  EXPECT_EQ(parse_check_url("https://web")->port, 443);
  EXPECT_EQ(parse_check_url("http://web?x=1")->target, "/?x=1");
  EXPECT_TRUE(parse_check_url("HTTPS://web/x")->tls);
  EXPECT_EQ(parse_check_url("http://web:81/x#y")->text(), "http://web:81/x");
}

TEST(ParseCheckUrl, RefusesWhatItWouldNotAskFor) {
  for (const char* text : {"", "web:80", "ftp://web/", "http://", "http:///x", "http://web:0/", "http://web:x/",
                           "http://me:secret@web/", "http://web/a b", "http://web/\r\nX: y"})
    EXPECT_FALSE(parse_check_url(text)) << text;
}

// RFC 3986, section 5.4, as far as http can be meant.
TEST(ResolveLocation, ReadsReferencesAsTheRfcDoes) {
  const CheckUrl base = *parse_check_url("http://a:81/b/c/d;p?q");
  const std::pair<const char*, const char*> rows[] = {
      {"g", "http://a:81/b/c/g"},         {"./g", "http://a:81/b/c/g"},     {"g/", "http://a:81/b/c/g/"},
      {"/g", "http://a:81/g"},            {"//g", "http://g/"},             {"?y", "http://a:81/b/c/d;p?y"},
      {"g?y", "http://a:81/b/c/g?y"},     {"#s", "http://a:81/b/c/d;p?q"},  {"g#s", "http://a:81/b/c/g"},
      {"", "http://a:81/b/c/d;p?q"},      {".", "http://a:81/b/c/"},        {"..", "http://a:81/b/"},
      {"../g", "http://a:81/b/g"},        {"../../g", "http://a:81/g"},     {"../../../../g", "http://a:81/g"},
      {"/./g", "http://a:81/g"},          {"/../g", "http://a:81/g"},       {"g.", "http://a:81/b/c/g."},
      {"./../g", "http://a:81/b/g"},      {"g/./h", "http://a:81/b/c/g/h"}, {"g/../h", "http://a:81/b/c/h"},
      {"g?y/../x", "http://a:81/b/c/g?y/../x"}, {"HTTP://h:1", "http://h:1/"}, {"https://[::1]/x/../y", "https://[::1]/y"},
      {"a b\xc3?\xff", "http://a:81/b/c/a%20b%C3?%FF"}, {"12:x", "http://a:81/b/c/12:x"}, {"/a//b", "http://a:81/a//b"}};
  for (const auto& [location, wanted] : rows) {
    const auto found = resolve_location(base, location);
    ASSERT_TRUE(found) << location << ": " << found.error().detail;
    EXPECT_EQ(found->text(), wanted) << location;
  }
  EXPECT_EQ(resolve_location(*parse_check_url("https://a/"), "//g/x")->text(), "https://g/x") << "the scheme stays";
}

TEST(ResolveLocation, RefusesWhatIsNoWebPage) {
  const CheckUrl base = *parse_check_url("http://a/");
  for (const char* location : {"ftp://x/", "javascript:alert(1)", "http:x", "http://", "//", "http://u:p@x/", "http://x:0/", "http://x:99999/",
                               "/a\tb", "/a\x01", "file:///etc/passwd"})
    EXPECT_FALSE(resolve_location(base, location)) << location;
  EXPECT_TRUE(resolve_location(base, "/" + std::string(kLocationBytesMax - 1, 'a')));
  EXPECT_FALSE(resolve_location(base, "/" + std::string(kLocationBytesMax, 'a')));
}

CheckRequest request(const std::string& method = "POST", const std::string& url = "https://web.example/a") {
  CheckPlan plan;
  plan.method = method;
  plan.body = "b";
  plan.header = {{"Authorization", {"secret"}}, {"cookie", {"c"}}, {"X-Mine", {"1", "2"}}, {"Content-Type", {"t"}},
                 {"Host", {"virtual"}},        {"Connection", {"x"}}, {"Content-Length", {"7"}}};
  return first_request(plan, *parse_check_url(url));
}

TEST(CheckRequest, LeavesTheConnectionsFieldsToTheConnection) {
  const CheckRequest first = request("");
  EXPECT_EQ(first.method, "GET");
  EXPECT_EQ(first.host, "virtual");
  EXPECT_EQ(first.header.size(), 4u);
}

TEST(Redirected, ChangesTheMethodAsBrowsersDo) {
  for (const int status : {301, 302, 303}) {
    EXPECT_TRUE(is_redirect(status));
    const auto next = redirected(request(), status, "/b");
    EXPECT_EQ(next->method, "GET") << status;
    EXPECT_EQ(next->body, "");
    EXPECT_FALSE(next->header.contains("Content-Type")) << "of a body that is gone";
    EXPECT_EQ(redirected(request("HEAD"), status, "/b")->method, "HEAD");
  }
  for (const int status : {307, 308}) {
    EXPECT_TRUE(is_redirect(status));
    const auto next = redirected(request(), status, "/b");
    EXPECT_EQ(next->method, "POST") << status;
    EXPECT_EQ(next->body, "b");
    EXPECT_TRUE(next->header.contains("Content-Type"));
  }
  for (const int status : {200, 300, 304, 305, 306, 309, 400}) EXPECT_FALSE(is_redirect(status)) << status;
}

TEST(Redirected, CredentialsStayWhereTheyBelong) {
  const auto shown = [](const char* location) { return redirected(request(), 302, location)->header.contains("Authorization"); };
  EXPECT_TRUE(shown("/b"));
  EXPECT_TRUE(shown("https://web.example:8443/"));
  EXPECT_TRUE(shown("https://A.Web.Example/"));
  EXPECT_FALSE(shown("https://other.example/"));
  EXPECT_FALSE(shown("https://evilweb.example/"));
  EXPECT_FALSE(shown("http://web.example/")) << "never in clear after https";
  auto away = redirected(request(), 302, "https://other.example/");
  EXPECT_FALSE(away->header.contains("cookie"));
  EXPECT_TRUE(away->header.contains("X-Mine"));
  EXPECT_FALSE(redirected(*away, 302, "https://web.example/")->header.contains("Authorization")) << "not again on the way back";
}

TEST(Redirected, TheChecksOwnHostFieldBelongsToItsOwnServer) {
  EXPECT_EQ(redirected(request(), 302, "/b")->host, "virtual");
  EXPECT_EQ(redirected(request(), 302, "https://other.example/")->host, "");
}

}  // namespace
}  // namespace agent::drivers
