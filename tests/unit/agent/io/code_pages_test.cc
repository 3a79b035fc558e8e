#include "agent/io/code_pages.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

namespace agent::io {
namespace {

// Kilobytes of pages that come from files, as the kernel counts them for this process.
std::uint64_t resident_file_kb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    std::istringstream words(line);
    std::string name;
    std::uint64_t value = 0;
    if (words >> name >> value && name == "RssFile:") return value;
  }
  return 0;
}

TEST(CodePages, WhatTheStartNeededIsGivenBack) {
  const std::uint64_t before = resident_file_kb();
  EXPECT_GT(release_code_pages(), std::size_t{1} << 20);
  EXPECT_LT(resident_file_kb(), before);
}

TEST(CodePages, WhatRunsAfterwardsRunsAsBefore) {
  release_code_pages();
  std::ostringstream text;
  text << 1.5 << " " << std::hex << 255;
  EXPECT_EQ(text.str(), "1.5 ff");
  EXPECT_THROW(static_cast<void>(std::string("abc").at(9)), std::out_of_range);
}

}  // namespace
}  // namespace agent::io
