#include "miniinfer/onnx_tensor.hpp"

#include <sys/stat.h>

#include "tests/onnx/import_helpers.hpp"
#include "tests/tools/scratch_folder.hpp"

namespace miniinfer::test::onnx {
namespace {

TEST_CASE("a tensor file gives name, type and elements, which outlive the bytes") {
  const ScratchFolder folder;
  const std::filesystem::path path = folder.write("t.pb", floats("scores", {2}, {1, -2}));
  Result<NamedTensor> tensor = read_onnx_tensor(path);
  REQUIRE(tensor.ok());
  std::filesystem::remove(path);
  CHECK(tensor->name == "scores");
  CHECK(tensor->tensor.type() == TensorType{DataType::Float32, {2}});
  CHECK(tensor->tensor.to_vector<float>().value() == std::vector<float>{1, -2});
}

TEST_CASE("strings and empty tensors are tensors too") {
  const std::string texts = tensor("t", DataType::String, {2}) + bytes(6, "a") + bytes(6, "b");
  const Result<NamedTensor> strings = read_onnx_tensor(as_bytes(texts));
  REQUIRE(strings.ok());
  CHECK(strings->tensor.strings()[1] == "b");
  const std::string none = tensor("t", DataType::Int64, {0});
  CHECK(read_onnx_tensor(as_bytes(none))->tensor.element_count() == 0);
}

TEST_CASE("sequences and optionals are no tensors, and the message says so") {
  const std::string element = floats("", {1}, {1});
  for (const std::string& other :
       {bytes(1, "seq") + integer(2, 1) + bytes(3, element), integer(2, 1) + bytes(3, element),
        integer(2, 1), bytes(1, "opt") + integer(2, 1)}) {
    const Status status = read_onnx_tensor(as_bytes(other)).status();
    CHECK(status.code() == Code::InvalidArgument);
    CHECK(contains(status.hint(), "sequence"));
  }
}

TEST_CASE("tensor files cut off anywhere, and what is no file, are errors that name the path") {
  const ScratchFolder folder;
  const std::string whole = floats("t", {2}, {1, 2});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK_FALSE(read_onnx_tensor(folder.write("t.pb", whole.substr(0, size))).ok());
  }
  CHECK(read_onnx_tensor(folder / "none.pb").status().code() == Code::NotFound);
  CHECK(contains(read_onnx_tensor(folder / "none.pb").status().message(), "none.pb"));
  CHECK(read_onnx_tensor(folder / ".").status().code() == Code::InvalidArgument);
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  CHECK_FALSE(read_onnx_tensor(folder / "fifo").ok());
}

}  // namespace
}  // namespace miniinfer::test::onnx
