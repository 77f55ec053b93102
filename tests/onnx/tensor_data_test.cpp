#include "core/onnx/tensor_data.hpp"

#include "core/onnx/wire_reader.hpp"
#include "tests/onnx/import_helpers.hpp"

namespace miniinfer::test::onnx {
namespace {

using miniinfer::onnx::ExternalBytes;
using miniinfer::onnx::ExternalRange;
using miniinfer::onnx::ExternalReader;

Result<miniinfer::onnx::Tensor> read(const std::string& tensor) {
  const auto kept = std::make_shared<const std::string>(tensor);
  return miniinfer::onnx::read_tensor(as_bytes(*kept), kept, ImportLimits());
}
Code code(const std::string& tensor) { return read(tensor).status().code(); }

TEST_CASE("each typed field holds the types it may, packed and not") {
  struct Field {
    std::uint32_t number;
    std::vector<DataType> types;
  };
  using enum DataType;
  const std::vector<Field> fields = {
      {5,
       {Int32, Int16, Int8, UInt16, UInt8, Bool, Float16, BFloat16, Float8E4M3FN, Float8E4M3FNUZ,
        Float8E5M2, Float8E5M2FNUZ, Float8E8M0}},
      {7, {Int64}},
      {11, {UInt64, UInt32}}};
  for (const Field& field : fields) {
    for (const DataType type : field.types) {
      CAPTURE(to_string(type));
      const std::string front = tensor("t", type, {2});
      for (const std::string& data : {integer(field.number, 1) + integer(field.number, 0),
                                      bytes(field.number, packed({1, 0}))}) {
        const Result<miniinfer::onnx::Tensor> tensor = read(front + data);
        REQUIRE(tensor.ok());
        const std::span<const std::byte> got = tensor->constant->bytes;
        REQUIRE(got.size() == 2 * bits(type) / 8);
        for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == std::byte{i == 0});
      }
      const std::uint32_t other = field.number == 5 ? 7 : 5;
      CHECK(code(front + integer(other, 1) + integer(other, 0)) == Code::InvalidArgument);
    }
  }
}

TEST_CASE("floats, doubles and complex numbers are read packed and not") {
  const std::string front = tensor("t", DataType::Float32, {2});
  for (const std::string& data :
       {fixed(4, 1.5F) + fixed(4, -2.0F), bytes(4, raw<float>({1.5F, -2.0F}))}) {
    CHECK(read(front + data)->constant->as_doubles() == std::vector<double>{1.5, -2});
  }
  const std::string wide = tensor("t", DataType::Float64, {2});
  for (const std::string& data :
       {fixed(10, 1.5) + fixed(10, -2.0), bytes(10, raw<double>({1.5, -2.0}))}) {
    CHECK(read(wide + data)->constant->as_doubles() == std::vector<double>{1.5, -2});
  }
  CHECK(read(tensor("t", DataType::Complex64, {1}) + bytes(4, raw<float>({1, 2})))
            ->constant->bytes.size() == 8);
}

TEST_CASE("the type may come after the data") {
  const std::string late =
      bytes(5, packed({-1, 2})) + integer(1, 2) + integer(2, static_cast<int>(DataType::Int8));
  CHECK(read(late)->constant->as_ints() == std::vector<std::int64_t>{-1, 2});
}

TEST_CASE("types below a byte are packed, an odd one at the end alone in its byte") {
  for (const DataType type : {DataType::Int4, DataType::UInt4, DataType::Float4E2M1}) {
    const std::string front = tensor("t", type, {5});
    CHECK(code(front + bytes(9, "abc")) == Code::Ok);
    CHECK(code(front + bytes(9, "ab")) == Code::InvalidArgument);
    CHECK(code(front + bytes(9, "abcd")) == Code::InvalidArgument);
    CHECK(code(front + bytes(5, packed({1, 2, 3}))) == Code::Ok);
  }
  CHECK(code(tensor("t", DataType::UInt2, {5}) + bytes(9, "ab")) == Code::Ok);
}

TEST_CASE("raw data is exactly as long as type and sizes say") {
  const std::string front = tensor("t", DataType::Float32, {2});
  CHECK(code(front + bytes(9, std::string(8, 'x'))) == Code::Ok);
  for (const std::size_t size : {0, 4, 7, 9, 12, 16}) {
    CAPTURE(size);
    CHECK(code(front + bytes(9, std::string(size, 'x'))) == Code::InvalidArgument);
  }
  CHECK(code(front) == Code::InvalidArgument);
  CHECK(code(tensor("t", DataType::Float32, {0})) == Code::Ok);
  CHECK(code(front + bytes(9, std::string(8, 'x')) + bytes(4, raw<float>({1, 2}))) ==
        Code::InvalidArgument);
  CHECK(code(front + fixed(4, 1.0F) + integer(7, 1)) == Code::InvalidArgument);
}

TEST_CASE("a raw bool that is neither 0 nor 1 becomes 1") {
  const std::string front = tensor("t", DataType::Bool, {3});
  const Result<miniinfer::onnx::Tensor> odd = read(front + bytes(9, std::string("\0\1\2", 3)));
  REQUIRE(odd.ok());
  CHECK(std::to_integer<int>(odd->constant->bytes[0]) == 0);
  CHECK(std::to_integer<int>(odd->constant->bytes[1]) == 1);
  CHECK(std::to_integer<int>(odd->constant->bytes[2]) == 1);
}

TEST_CASE("sizes that overflow, are negative or too many are refused") {
  using Shapes = std::vector<Shape>;
  const std::int64_t big = std::int64_t{1} << 62;
  for (const Shape& dims : Shapes{{big, 8},
                                  {std::int64_t{1} << 31, std::int64_t{1} << 31, 4},
                                  {-1},
                                  {2, -1},
                                  {0, big, 8},
                                  {big},
                                  {1 << 20}}) {
    CAPTURE(to_string(dims));
    CHECK(code(tensor("t", DataType::Float32, dims) + bytes(9, "xxxx")) == Code::InvalidArgument);
    CHECK(code(tensor("t", DataType::Float32, dims) + bytes(9, "")) == Code::InvalidArgument);
  }
  CHECK(code(tensor("t", DataType::Float32, Shape(64, 1)) + bytes(9, "xxxx")) == Code::Ok);
  CHECK(code(tensor("t", DataType::Float32, Shape(65, 1)) + bytes(9, "xxxx")) ==
        Code::LimitExceeded);
  CHECK(code(bytes(1, packed(std::vector<std::int64_t>(65, 1))) + integer(2, 1)) ==
        Code::LimitExceeded);
}

TEST_CASE("an element type that is none is named") {
  for (const int type : {0, 27, 255, -1}) {
    CHECK(code(tensor("t", static_cast<DataType>(type), {1}) + bytes(9, "xxxx")) ==
          Code::Unsupported);
  }
}

TEST_CASE("strings are as many as the sizes say") {
  const std::string front = tensor("t", DataType::String, {2});
  const Result<miniinfer::onnx::Tensor> tensor = read(front + bytes(6, "a") + bytes(6, ""));
  REQUIRE(tensor.ok());
  CHECK(tensor->constant->strings == std::vector<std::string>{"a", ""});
  CHECK(code(front + bytes(6, "a")) == Code::InvalidArgument);
  CHECK(code(front + bytes(9, "ab")) == Code::InvalidArgument);
}

std::string model_with(const std::string& tensor) {
  return model_of(with_node(node("Add", {"x", "w"}, {"y"})) + with_initializer(tensor));
}

TEST_CASE("external data is asked for by location, offset and length") {
  const std::vector<float> stored = {7, 8, 9};
  ExternalRange asked;
  const ExternalReader reader = [&](const ExternalRange& range) -> Result<ExternalBytes> {
    asked = range;
    return ExternalBytes{std::as_bytes(std::span(stored)).subspan(range.offset, range.length), {}};
  };
  const Result<ImportedModel> imported = import(model_with(external("w", DataType::Float32, {2},
                                                                    {{"location", "w.bin"},
                                                                     {"offset", "4"},
                                                                     {"length", "8"},
                                                                     {"checksum", "ignored"},
                                                                     {"unknown", "too"}})),
                                                {}, reader);
  REQUIRE(imported.ok());
  CHECK(asked.location == "w.bin");
  CHECK(asked.offset == 4);
  CHECK(asked.length == 8);
  const Value& w = imported->graph.value(imported->graph.node(0).inputs[1]);
  CHECK(w.constant->as_doubles() == std::vector<double>{8, 9});
  // The length may be left out: the type gives it.
  CHECK(
      import(model_with(external("w", DataType::Float32, {2}, {{"location", "w.bin"}})), {}, reader)
          .ok());
  CHECK(asked.length == 8);
}

TEST_CASE("external data that makes no sense is refused before anything is opened") {
  int opened = 0;
  const ExternalReader reader = [&](const ExternalRange&) -> Result<ExternalBytes> {
    ++opened;
    return ExternalBytes{};
  };
  const auto code = [&](std::initializer_list<std::pair<std::string, std::string>> entries) {
    return import(model_with(external("w", DataType::Float32, {2}, entries)), {}, reader)
        .status()
        .code();
  };
  CHECK(code({}) == Code::InvalidArgument);
  CHECK(code({{"location", ""}}) == Code::InvalidArgument);
  CHECK(code({{"location", std::string("w\0x", 3)}}) == Code::InvalidArgument);
  for (const char* number : {"-1", "", " 1", "1x", "0x10", "1e3", "99999999999999999999999"}) {
    CHECK(code({{"location", "w"}, {"offset", number}}) == Code::InvalidArgument);
    CHECK(code({{"location", "w"}, {"length", number}}) == Code::InvalidArgument);
  }
  CHECK(code({{"location", "w"}, {"length", "1152921504606846976"}}) == Code::InvalidArgument);
  CHECK(opened == 0);
}

TEST_CASE("a model in memory has no external data") {
  const std::string message =
      message_of(model_with(external("w", DataType::Float32, {2}, {{"location", "w.bin"}})));
  CHECK(contains(message, "in memory"));
  CHECK(contains(message, "w"));
}

}  // namespace
}  // namespace miniinfer::test::onnx
