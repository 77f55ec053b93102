// Casts from and to types below a byte and 8-bit floats.

#include <cmath>
#include <limits>

#include "tests/ops/op_model.hpp"

using namespace miniinfer;
using namespace miniinfer::test;

namespace {

Attributes to(DataType type, bool saturate = true) {
  return attributes(
      {{"to", static_cast<std::int64_t>(type)}, {"saturate", std::int64_t{saturate ? 1 : 0}}});
}

std::vector<int> codes(const std::vector<float>& x, DataType type, bool saturate = true) {
  OpModel m;
  const ValueId y = m.node("Cast", {m.input(floats(x, {static_cast<std::int64_t>(x.size())}))},
                           to(type, saturate));
  const ConstantPtr result = m.run(std::vector{y})[0];
  std::vector<int> out;
  for (const std::byte byte : result->bytes) out.push_back(static_cast<int>(byte));
  return out;
}

ConstantPtr all_codes(DataType type) {
  std::vector<std::uint8_t> bytes(256);
  for (std::size_t i = 0; i < 256; ++i) bytes[i] = static_cast<std::uint8_t>(i);
  return make_constant({type, {256 * 8 / static_cast<std::int64_t>(bits(type))}},
                       std::as_bytes(std::span(bytes)));
}

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST_CASE("every code of a narrow type comes back from float32") {
  for (const DataType type : {DataType::Float8E4M3FN, DataType::Float8E4M3FNUZ,
                              DataType::Float8E5M2, DataType::Float8E5M2FNUZ, DataType::Float4E2M1,
                              DataType::Int4, DataType::UInt4, DataType::Int2, DataType::UInt2}) {
    CAPTURE(to_string(type));
    OpModel m;
    const ConstantPtr source = all_codes(type);
    const ValueId wide = m.node("Cast", {m.input(source)}, to(DataType::Float32));
    const ValueId back = m.node("Cast", {wide}, to(type, false));
    const auto results = m.run(std::vector{wide, back});
    const std::vector<double> values = results[0]->as_doubles();
    REQUIRE(results[1]->bytes.size() == source->bytes.size());
    for (std::size_t i = 0; i < 256; ++i) {
      // NaN has many codes, one is given back.
      if (bits(type) == 8 && std::isnan(values[i])) continue;
      CHECK(results[1]->bytes[i] == source->bytes[i]);
    }
  }
}

TEST_CASE("8-bit floats round to nearest even") {
  // Between 1 and 1.125 of E4M3FN, and between 0 and its smallest, 2^-9.
  CHECK(codes({1.0625f, 1.0626f, 1.1875f}, DataType::Float8E4M3FN) ==
        std::vector<int>{0x38, 0x39, 0x3a});
  CHECK(codes({0x1p-10f, 0x1.8p-10f, 0x1.8p-9f, 0x1p-40f, 1e-44f}, DataType::Float8E4M3FN) ==
        std::vector<int>{0, 1, 2, 0, 0});
  // A carry into the exponent.
  CHECK(codes({1.97f, -1.97f}, DataType::Float8E4M3FN) == std::vector<int>{0x40, 0xc0});
}

TEST_CASE("what is too large saturates, or becomes infinity or NaN") {
  const std::vector<float> x = {1e6f, -1e6f, kInf, kNan, -0.0f};
  using Codes = std::vector<int>;
  CHECK(codes(x, DataType::Float8E4M3FN) == Codes{0x7e, 0xfe, 0x7e, 0x7f, 0x80});
  CHECK(codes(x, DataType::Float8E4M3FN, false) == Codes{0x7f, 0xff, 0x7f, 0x7f, 0x80});
  CHECK(codes(x, DataType::Float8E5M2) == Codes{0x7b, 0xfb, 0x7b, 0x7e, 0x80});
  CHECK(codes(x, DataType::Float8E5M2, false) == Codes{0x7c, 0xfc, 0x7c, 0x7e, 0x80});
  CHECK(codes(x, DataType::Float8E4M3FNUZ) == Codes{0x7f, 0xff, 0x7f, 0x80, 0});
  CHECK(codes(x, DataType::Float8E5M2FNUZ, false) == Codes{0x80, 0x80, 0x80, 0x80, 0});
  // 448 is the largest of E4M3FN, 464 is half a step further and rounds to it.
  CHECK(codes({448, 464, 465}, DataType::Float8E4M3FN, false) == Codes{0x7e, 0x7e, 0x7f});
}

TEST_CASE("integers below a byte keep their low bits and share bytes, the first in the low bits") {
  using Codes = std::vector<int>;
  CHECK(codes({1, -2, 7, -9, 5}, DataType::Int4) == Codes{0xe1, 0x77, 0x05});
  CHECK(codes({1, 2, 3, 0, 1, 2, 3}, DataType::UInt2) == Codes{0x39, 0x39});
  CHECK(codes({6}, DataType::Float4E2M1) == Codes{7});
}

TEST_CASE("FLOAT8E8M0 is an exponent, rounded as asked") {
  const auto rounded = [](const std::vector<float>& x, const char* mode) {
    OpModel m;
    Attributes how = to(DataType::Float8E8M0);
    how.set("round_mode", std::string(mode));
    const ValueId y =
        m.node("Cast", {m.input(floats(x, {static_cast<std::int64_t>(x.size())}))}, how);
    return m.run(m.node("Cast", {y}, to(DataType::Float32)));
  };
  CHECK(rounded({1, 1.1f, 1.5f, 2}, "up") == Values{1, 2, 2, 2});
  CHECK(rounded({1, 1.1f, 1.5f, 1.9f}, "down") == Values{1, 1, 1, 1});
  CHECK(rounded({1, 1.1f, 1.5f, 1.4f}, "nearest") == Values{1, 1, 2, 1});
  CHECK(rounded({kInf, 0}, "up") == Values{0x1p127, 0x1p-127});
}

TEST_CASE("BitCast looks at the same bytes") {
  OpModel m;
  const ValueId y = m.node("BitCast", {m.input(floats({1, -2}, {2}))},
                           attributes({{"to", static_cast<std::int64_t>(DataType::UInt32)}}));
  CHECK(m.run(y) == Values{0x3f800000, 0xc0000000});
  OpModel wrong;
  wrong.node("BitCast", {wrong.input(floats({1}, {1}))},
             attributes({{"to", static_cast<std::int64_t>(DataType::Int64)}}));
  CHECK_FALSE(wrong.infer().ok());
}
