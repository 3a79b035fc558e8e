#include "proxy/route.h"

#include <gtest/gtest.h>

namespace proxy {
namespace {

using http1::Method;

Route route(std::string name, std::string path, PathMatch match = PathMatch::kPrefix, MethodSet methods = MethodSet::every()) {
  Route r;
  r.name = std::move(name);
  r.path = std::move(path);
  r.match = match;
  r.methods = methods;
  r.pool = "all";
  return r;
}

std::string found(const RouteTable& table, Method method, std::string_view host, std::string_view path) {
  const RouteMatch match = table.find(method, host, path);
  if (match.route != nullptr) return match.route->name;
  return match.path_known ? "405" : "404";
}

TEST(RouteTable, TheFirstMatchInOrderWins) {
  auto table = RouteTable::make({route("exact", "/a", PathMatch::kExact), route("post", "/a", PathMatch::kPrefix, {Method::kPost}),
                                 route("deep", "/a/b"), route("rest", "/")});
  ASSERT_TRUE(table);
  EXPECT_EQ(found(**table, Method::kPost, "h", "/a"), "exact");
  EXPECT_EQ(found(**table, Method::kPost, "h", "/a/b"), "post");
  EXPECT_EQ(found(**table, Method::kGet, "h", "/a/b"), "deep");
  EXPECT_EQ(found(**table, Method::kGet, "h", "/ab"), "rest");
  EXPECT_EQ(found(**table, Method::kOther, "h", "/"), "rest");
}

TEST(RouteTable, PrefixesEndAtSegmentBorders) {
  auto table = RouteTable::make({route("orders", "/orders"), route("slash", "/dir/")});
  ASSERT_TRUE(table);
  EXPECT_EQ(found(**table, Method::kGet, "", "/orders"), "orders");
  EXPECT_EQ(found(**table, Method::kGet, "", "/orders/"), "orders");
  EXPECT_EQ(found(**table, Method::kGet, "", "/orders/7/x"), "orders");
  EXPECT_EQ(found(**table, Method::kGet, "", "/ordersbook"), "404");
  EXPECT_EQ(found(**table, Method::kGet, "", "/dir"), "404");
  EXPECT_EQ(found(**table, Method::kGet, "", "/dir/x"), "slash");
}

TEST(RouteTable, HostsAreComparedWithoutPortAndCase) {
  Route one = route("one", "/");
  one.host = "a.example";
  Route six = route("six", "/");
  six.host = "[::1]";
  auto table = RouteTable::make({one, six});
  ASSERT_TRUE(table);
  EXPECT_EQ(found(**table, Method::kGet, "A.Example:8080", "/"), "one");
  EXPECT_EQ(found(**table, Method::kGet, "[::1]:80", "/"), "six");
  EXPECT_EQ(found(**table, Method::kGet, "b.example", "/"), "404");
}

TEST(RouteTable, AKnownPathWithAnotherMethodSaysWhichAreAllowed) {
  auto table = RouteTable::make({route("get", "/a", PathMatch::kExact, {Method::kGet}), route("put", "/a", PathMatch::kExact, {Method::kPut})});
  ASSERT_TRUE(table);
  const RouteMatch match = (*table)->find(Method::kPost, "h", "/a");
  EXPECT_EQ(match.route, nullptr);
  EXPECT_TRUE(match.path_known);
  EXPECT_TRUE(match.allowed.has(Method::kGet));
  EXPECT_TRUE(match.allowed.has(Method::kPut));
  EXPECT_FALSE(match.allowed.has(Method::kPost));
}

TEST(RouteTable, RefusesRoutesThatCannotWork) {
  std::vector<std::pair<const char*, Route>> cases;
  Route r = route("r", "orders");
  cases.emplace_back("path without slash", r);
  cases.emplace_back("path not canonical", route("r", "/a//b"));
  cases.emplace_back("dots", route("r", "/a/../b"));
  cases.emplace_back("no methods", route("r", "/", PathMatch::kPrefix, {}));
  r = route("r", "/");
  r.pool.clear();
  cases.emplace_back("no pool", r);
  r = route("r", "/");
  r.kind = PoolKind::kPrimary;
  cases.emplace_back("no service", r);
  r = route("r", "/");
  r.timeouts.connect = Milliseconds{0};
  cases.emplace_back("no connect time-out", r);
  r = route("r", "/");
  r.hold = Milliseconds{-1};
  cases.emplace_back("negative hold", r);
  for (const auto& [name, bad] : cases) {
    auto table = RouteTable::make({route("fine", "/"), bad});
    ASSERT_FALSE(table) << name;
    EXPECT_EQ(table.error().code, Errc::kBadRoute) << name;
    EXPECT_NE(table.error().detail.find("\"r\""), std::string::npos) << table.error().detail;
  }
  EXPECT_FALSE(RouteTable::make(std::vector<Route>(RouteTable::kRoutesMax + 1, route("r", "/"))));
  EXPECT_TRUE(RouteTable::make(std::vector<Route>(RouteTable::kRoutesMax, route("r", "/"))));
}

TEST(CanonicalPath, SeesThroughEveryWayToWriteAPath) {
  const std::pair<const char*, const char*> cases[] = {
      {"/", "/"}, {"/a/b", "/a/b"}, {"/a/b/", "/a/b/"}, {"//a", "/a"}, {"/a//b", "/a/b"}, {"///", "/"},
      {"/./a", "/a"}, {"/a/.", "/a/"}, {"/a/./b", "/a/b"}, {"/a/../b", "/b"}, {"/a/b/..", "/a/"}, {"/a/..", "/"},
      {"/%61", "/a"}, {"/%6F%72", "/or"}, {"/%2e%2E/", nullptr}, {"/a/%2e%2e/b", "/b"}, {"/a%2fb", "/a/b"},
      {"/a%2F%2fb", "/a/b"}, {"/%20x", "/%20x"}, {"/%c3%a9", "/%c3%a9"}, {"/a.b/..c/.d", "/a.b/..c/.d"}, {"/...", "/..."},
      {"/..", nullptr}, {"/a/../..", nullptr}, {"/%", nullptr}, {"/%4", nullptr}, {"/%zz", nullptr}, {"/%00", nullptr},
      {"/a/../../b", nullptr}, {"*", "*"}, {"/%25%36%66", "/%256f"},
      {"/a/..;/b", "/b"}, {"/a/..;x=1/b", "/b"}, {"/a/.;/b", "/a/b"}, {"/a;v=1/b", "/a;v=1/b"}, {"/..;/a", nullptr},
      {"/a\\b", nullptr}, {"/a%5Cb", nullptr}, {"/a%0d%0ab", nullptr}, {"/a%1f", nullptr}, {"/a%7f", nullptr}};
  for (const auto& [in, out] : cases) {
    std::string scratch = "left over";
    auto result = canonical_path(in, scratch);
    if (out == nullptr) {
      ASSERT_FALSE(result) << in << " -> " << *result;
      EXPECT_EQ(result.error().code, Errc::kBadRequestLine);
    } else {
      ASSERT_TRUE(result) << in << ": " << result.error().detail;
      EXPECT_EQ(*result, out) << in;
    }
  }
}

TEST(CanonicalPath, IsItsOwnResult) {
  for (const char* path : {"/a/./b//c/../d", "/%6f%2e/x", "/a/b/.."}) {
    std::string one, two;
    const std::string first(*canonical_path(path, one));
    EXPECT_EQ(*canonical_path(first, two), first);
  }
}

}  // namespace
}  // namespace proxy
