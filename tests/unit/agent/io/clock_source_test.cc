#include "agent/io/clock_source.h"

#include <gtest/gtest.h>

namespace agent::io {
namespace {

TEST(ClockSource, OneOfThemStopsWithItsMachine) {
  EXPECT_TRUE(stops_with_machine("kvm-clock\n"));
  EXPECT_TRUE(stops_with_machine("kvm-clock"));
  for (const char* other : {"tsc\n", "hpet", "acpi_pm", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen", "", "kvm", "tsc kvm-clock"})
    EXPECT_FALSE(stops_with_machine(other)) << other;
}

TEST(ClockSource, TheKernelsWordHasNoLineEnd) {
  const auto source = clock_source();
  if (!source) GTEST_SKIP() << "no /sys here";
  EXPECT_EQ(source->find_first_of(" \n"), std::string::npos);
}

}  // namespace
}  // namespace agent::io
