// Latencies to 1 %, in bounded memory.
#include "proxy/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace proxy {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;

// The value at that rank of the sorted list: what quantile() has to come near.
nanoseconds exact(std::vector<std::int64_t> values, double part) {
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(std::max(1.0, std::ceil(part * static_cast<double>(values.size()))));
  return nanoseconds(values.at(rank - 1));
}

TEST(HistogramTest, IsEmptyAtFirst) {
  const Histogram none;
  EXPECT_EQ(none.count(), 0U);
  EXPECT_EQ(none.quantile(0.5), nanoseconds{0});
  EXPECT_EQ(none.count_up_to(milliseconds{1}), 0U);
}

TEST(HistogramTest, EveryQuantileIsExactToOnePercentFromOneMicrosecondToHalfAnHour) {
  std::uint64_t state = 7;
  for (const double spread : {1.0, 3.0, 9.0}) {
    Histogram histogram;
    std::vector<std::int64_t> values;
    for (int i = 0; i < 20000; ++i) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      const double chance = static_cast<double>(state >> 11) / static_cast<double>(1ULL << 53);
      values.push_back(static_cast<std::int64_t>(1100.0 * std::pow(10.0, spread * chance)));
      histogram.add(nanoseconds(values.back()));
    }
    for (const double part : {0.001, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0}) {
      const auto want = static_cast<double>(exact(values, part).count());
      const auto told = static_cast<double>(histogram.quantile(part).count());
      EXPECT_NEAR(told, want, want * 0.01) << "part " << part << " of spread " << spread;
    }
  }
}

TEST(HistogramTest, EachBorderOfAStepFallsWhereItBelongs) {
  for (int bits = 0; bits < 40; ++bits) {
    for (const std::int64_t off : {-1, 0, 1}) {
      const std::int64_t value = (std::int64_t{1} << bits) + off;
      Histogram histogram;
      histogram.add(nanoseconds(value));
      histogram.add(nanoseconds(value) * 4);
      const double error = std::abs(static_cast<double>(histogram.quantile(0.5).count() - value));
      EXPECT_LE(error, std::max(8.0, static_cast<double>(value) / 128.0)) << value;
    }
  }
}

TEST(HistogramTest, WhatIsTooLongCountsAsTheMostAndNegativeAsNothing) {
  Histogram histogram;
  histogram.add(nanoseconds{-5});
  histogram.add(minutes{600});
  EXPECT_EQ(histogram.count(), 2U);
  EXPECT_EQ(histogram.max(), minutes{600});
  EXPECT_EQ(histogram.quantile(1.0), minutes{600});
  EXPECT_LE(histogram.quantile(0.5), nanoseconds{8});
  EXPECT_EQ(histogram.sum(), minutes{600});
}

TEST(HistogramTest, SumsAreThoseOfAllWorkersAndCopiesAreTheirOwn) {
  Histogram a, b;
  for (int i = 1; i <= 100; ++i) (i % 2 == 0 ? a : b).add(milliseconds{i});
  Histogram both = a;
  both.add(b);
  EXPECT_EQ(both.count(), 100U);
  EXPECT_EQ(both.sum(), milliseconds{5050});
  EXPECT_NEAR(static_cast<double>(both.quantile(0.5).count()), 50e6, 0.5e6);
  EXPECT_EQ(a.count(), 50U);
  both = a;
  a.add(milliseconds{1});
  EXPECT_EQ(both.count(), 50U);
}

TEST(HistogramTest, BucketsForPrometheusCountWhatIsBelowTheirBound) {
  Histogram histogram;
  for (int i = 0; i < 10; ++i) histogram.add(microseconds{100});
  for (int i = 0; i < 5; ++i) histogram.add(milliseconds{20});
  EXPECT_EQ(histogram.count_up_to(microseconds{50}), 0U);
  EXPECT_EQ(histogram.count_up_to(milliseconds{1}), 10U);
  EXPECT_EQ(histogram.count_up_to(milliseconds{25}), 15U);
  EXPECT_EQ(histogram.count_up_to(minutes{1}), 15U);
}

}  // namespace
}  // namespace proxy
