#include "agent/io/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

namespace agent::io {
namespace {

TEST(Error, NamesAreDistinctAndSnakeCase) {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(Errc::kIo); ++i) {
    const std::string name(to_string(static_cast<Errc>(i)));
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string::npos) << name;
  }
}

TEST(Error, ErrnoBecomesACodeAndASentence) {
  const std::pair<int, Errc> pairs[] = {
      {EINVAL, Errc::kInvalidArgument}, {EADDRINUSE, Errc::kAddressInUse},  {EADDRNOTAVAIL, Errc::kAddressMissing},
      {EACCES, Errc::kPermission},      {EPERM, Errc::kPermission},         {ECONNREFUSED, Errc::kRefused},
      {ECONNRESET, Errc::kReset},       {EPIPE, Errc::kReset},              {EHOSTUNREACH, Errc::kUnreachable},
      {ENETUNREACH, Errc::kUnreachable}, {ETIMEDOUT, Errc::kTimedOut},      {EAGAIN, Errc::kWouldBlock},
      {ENOBUFS, Errc::kWouldBlock},     {EMSGSIZE, Errc::kTooLarge},        {ENOENT, Errc::kNotFound},
      {EEXIST, Errc::kExists},          {ENOSPC, Errc::kDiskFull},          {EDQUOT, Errc::kDiskFull},
      {EMFILE, Errc::kLimit},           {ENFILE, Errc::kLimit},             {EIO, Errc::kIo}};
  for (const auto& [number, code] : pairs) {
    const Error error = from_errno(number, "bind 1.2.3.4:5");
    EXPECT_EQ(error.code, code) << number;
    EXPECT_EQ(error.detail.rfind("bind 1.2.3.4:5: ", 0), 0U) << error.detail;
    EXPECT_EQ(from_uv(-number, "x").code, code) << number;
  }
}

}  // namespace
}  // namespace agent::io
