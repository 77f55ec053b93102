#include "core/graph/constant.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <limits>

namespace miniinfer {
namespace {

TEST_CASE("a scalar of every type holds the value it was made from") {
  for (const DataType type :
       {DataType::Float32, DataType::Float64, DataType::Float16, DataType::BFloat16, DataType::Int8,
        DataType::Int16, DataType::Int32, DataType::Int64, DataType::UInt8, DataType::UInt16,
        DataType::UInt32, DataType::UInt64}) {
    CAPTURE(to_string(type));
    const ConstantPtr constant = make_constant_scalar(type, 42);
    CHECK(constant->type == TensorType{type, {}});
    CHECK(constant->bytes.size() == bits(type) / 8);
    CHECK(constant->as_doubles() == std::vector<double>{42});
    CHECK(constant->as_ints().size() == (is_integer(type) ? 1 : 0));
  }
  CHECK(make_constant_scalar(DataType::Bool, 0.5)->as_ints() == std::vector<std::int64_t>{1});
}

TEST_CASE("a scalar beyond its type's range is the nearest end") {
  CHECK(make_constant_scalar(DataType::Int8, -1000)->as_ints()[0] == -128);
  CHECK(make_constant_scalar(DataType::UInt8, -1)->as_ints()[0] == 0);
  CHECK(make_constant_scalar(DataType::Int64, 1e30)->as_ints()[0] ==
        std::numeric_limits<std::int64_t>::max());
  CHECK(make_constant_scalar(DataType::Int32, std::numeric_limits<double>::quiet_NaN())
            ->as_ints()[0] == 0);
}

TEST_CASE("bytes of any alignment are read") {
  std::array<std::byte, 9> memory{};
  const double value = -0.75;
  std::memcpy(memory.data() + 1, &value, sizeof value);
  Constant constant;
  constant.type = {DataType::Float64, {1}};
  constant.bytes = std::span(memory).subspan(1);
  CHECK(constant.as_doubles() == std::vector<double>{value});
  CHECK(constant.as_ints().empty());
}

TEST_CASE("a constant owns a copy of what it was made from") {
  std::vector<std::int64_t> values = {1, -2};
  const ConstantPtr constant = make_constant_ints(values);
  values[0] = 9;
  CHECK(constant->type == TensorType{DataType::Int64, {2}});
  CHECK(constant->as_ints() == std::vector<std::int64_t>{1, -2});
}

}  // namespace
}  // namespace miniinfer
