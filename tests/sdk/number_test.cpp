#include "miniinfer/sdk/reference/number.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "miniinfer/sdk/reference/convert.hpp"

using namespace miniinfer::sdk::reference;  // NOLINT

TEST_CASE("every float16 decodes and encodes to itself") {
  for (std::uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const auto stored = Float16{static_cast<std::uint16_t>(bits)};
    const float value = Number<Float16>::load(stored);
    if (std::isnan(value)) continue;
    CHECK_EQ(static_cast<std::uint32_t>(Number<Float16>::store(value)), bits);
  }
}

TEST_CASE("a bfloat16 is the upper half of a float32") {
  for (std::uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const std::uint32_t wide = bits << 16;
    float expected;
    std::memcpy(&expected, &wide, sizeof expected);
    const float value = Number<BFloat16>::load(BFloat16{static_cast<std::uint16_t>(bits)});
    if (std::isnan(expected)) {
      CHECK(std::isnan(value));
      continue;
    }
    CHECK_EQ(value, expected);
    CHECK_EQ(static_cast<std::uint32_t>(Number<BFloat16>::store(value)), bits);
  }
}

TEST_CASE("float16 holds the numbers it is known for") {
  CHECK_EQ(Number<Float16>::load(Float16{0x3C00}), 1.0f);
  CHECK_EQ(Number<Float16>::load(Float16{0xC000}), -2.0f);
  CHECK_EQ(Number<Float16>::load(Float16{0x7BFF}), 65504.0f);
  CHECK_EQ(Number<Float16>::load(Float16{0x0001}), std::ldexp(1.0f, -24));
  CHECK_EQ(Number<Float16>::load(Float16{0x0400}), std::ldexp(1.0f, -14));
}

TEST_CASE("rounding to 16 bits is to nearest even and overflows to infinity") {
  CHECK_EQ(Number<Float16>::store(65519.0), Float16{0x7BFF});
  CHECK_EQ(Number<Float16>::store(65520.0), Float16{0x7C00});
  CHECK_EQ(Number<Float16>::store(1e30), Float16{0x7C00});
  CHECK_EQ(Number<Float16>::store(-1e30), Float16{0xFC00});
  CHECK_EQ(Number<Float16>::store(1.0 + std::ldexp(1.0, -11)), Float16{0x3C00});  // tie to even
  CHECK_EQ(Number<Float16>::store(1.0 + 3 * std::ldexp(1.0, -11)), Float16{0x3C02});
  CHECK_EQ(Number<Float16>::store(std::ldexp(1.0, -25)), Float16{0x0000});  // tie to even
  CHECK_EQ(Number<Float16>::store(std::ldexp(1.5, -25)), Float16{0x0001});
  CHECK_EQ(Number<Float16>::store(-0.0), Float16{0x8000});
  CHECK_EQ(Number<BFloat16>::store(3.4e38), BFloat16{0x7F80});
}

TEST_CASE("an integer becomes bfloat16 in one rounding") {
  // 2^24 + 2^16 is halfway between two bfloat16; one more makes it the upper. By way of float32,
  // which drops the one, it would become the lower.
  const std::int64_t above = (std::int64_t{1} << 24) + (std::int64_t{1} << 16) + 1;
  CHECK_EQ(Number<BFloat16>::load(convert<BFloat16>(above)),
           std::ldexp(1.0f, 24) * (1 + 1.0f / 128));
}

TEST_CASE("a float becomes an integer toward zero, saturated, and NaN becomes 0") {
  CHECK_EQ(convert<std::int32_t>(-1.9f), -1);
  CHECK_EQ(convert<std::int8_t>(200.0f), 127);
  CHECK_EQ(convert<std::int8_t>(-200.0f), -128);
  CHECK_EQ(convert<std::uint8_t>(-3.0f), 0);
  CHECK_EQ(convert<std::int64_t>(1e30f), INT64_MAX);
  CHECK_EQ(convert<std::uint64_t>(1e30f), UINT64_MAX);
  CHECK_EQ(convert<std::int32_t>(std::nanf("")), 0);
}

TEST_CASE("an integer becomes a narrower one by its low bits") {
  CHECK_EQ(convert<std::uint8_t>(std::int32_t{0x1FF}), 0xFF);
  CHECK_EQ(convert<std::int8_t>(std::int32_t{0x80}), -128);
  CHECK_EQ(convert<std::uint64_t>(std::int8_t{-1}), UINT64_MAX);
}

TEST_CASE("a bool is whether the number is not 0, and NaN is true") {
  CHECK_EQ(convert<Bool>(0.25f), Bool{1});
  CHECK_EQ(convert<Bool>(std::nanf("")), Bool{1});
  CHECK_EQ(convert<Bool>(-0.0f), Bool{0});
  CHECK_EQ(convert<float>(Bool{1}), 1.0f);
}
