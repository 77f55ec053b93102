#include "core/ops/rules.hpp"

#include <doctest/doctest.h>

using namespace miniinfer;

TEST_CASE("shapes broadcast from the last axis on") {
  CHECK(*broadcast({2, 3}, {3}) == Shape{2, 3});
  CHECK(*broadcast({}, {4, 1}) == Shape{4, 1});
  CHECK(*broadcast({5, 1, 3}, {4, 1}) == Shape{5, 4, 3});
  CHECK(*broadcast({0}, {1}) == Shape{0});
  CHECK_FALSE(broadcast({2}, {3}).ok());
  CHECK_FALSE(broadcast({0}, {2}).ok());
}

TEST_CASE("an unknown size takes the other's, unless that is 1") {
  CHECK(*broadcast({-1}, {3}) == Shape{3});
  CHECK(*broadcast({1}, {-1}) == Shape{-1});
  CHECK(*broadcast({-1}, {-1}) == Shape{-1});
  CHECK(*broadcast({0}, {-1}) == Shape{0});
}

TEST_CASE("axes are counted from either end and come once") {
  CHECK(*normalise_axis(-1, 3) == 2);
  CHECK(*normalise_axis(2, 3) == 2);
  CHECK_FALSE(normalise_axis(3, 3).ok());
  CHECK_FALSE(normalise_axis(-4, 3).ok());
  CHECK_FALSE(normalise_axis(0, 0).ok());
  const std::int64_t twice[] = {0, -2};
  CHECK_FALSE(normalise_axes(twice, 2).ok());
}

TEST_CASE("row-major strides do not vanish behind an empty axis") {
  CHECK(row_major_strides({2, 3, 4}) == Shape{12, 4, 1});
  CHECK(row_major_strides({2, 0, 4}) == Shape{4, 4, 1});
}
