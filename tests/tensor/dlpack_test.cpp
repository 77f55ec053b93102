#include <doctest/doctest.h>

#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include "core/tensor/dlpack_abi.hpp"
#include "miniinfer/tensor.hpp"
#include "tests/device/fake_backend.hpp"

namespace miniinfer {
namespace {

using test::Fake;

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// A producer, as another library would be one.
struct Producer {
  std::vector<float> data = std::vector<float>(24);
  std::vector<std::int64_t> shape{2, 3, 4};
  std::vector<std::int64_t> strides{12, 4, 1};
  DLManagedTensorVersioned managed{};
  int deleted = 0;

  Producer() {
    std::iota(data.begin(), data.end(), 1.0f);
    managed.version = {1, 0};
    managed.manager_ctx = this;
    managed.deleter = [](DLManagedTensorVersioned* self) {
      ++static_cast<Producer*>(self->manager_ctx)->deleted;
    };
    managed.dl_tensor.data = data.data();
    managed.dl_tensor.device = {1, 0};
    managed.dl_tensor.dtype = {2, 32, 1};
    update();
  }
  void update() {
    managed.dl_tensor.ndim = static_cast<std::int32_t>(shape.size());
    managed.dl_tensor.shape = shape.data();
    managed.dl_tensor.strides = strides.empty() ? nullptr : strides.data();
  }
  Result<Tensor> import() {
    update();
    return Tensor::from_dlpack(&managed);
  }
};

}  // namespace

TEST_CASE("the structs lie as DLPack 1 has them") {
  CHECK(offsetof(DLManagedTensorVersioned, manager_ctx) == 8);
  CHECK(offsetof(DLManagedTensorVersioned, deleter) == 16);
  CHECK(offsetof(DLManagedTensorVersioned, flags) == 24);
  CHECK(offsetof(DLManagedTensorVersioned, dl_tensor) == 32);
  CHECK(offsetof(dlpack::Tensor, device) == 8);
  CHECK(offsetof(dlpack::Tensor, ndim) == 16);
  CHECK(offsetof(dlpack::Tensor, dtype) == 20);
  CHECK(offsetof(dlpack::Tensor, shape) == 24);
  CHECK(offsetof(dlpack::Tensor, strides) == 32);
  CHECK(offsetof(dlpack::Tensor, byte_offset) == 40);
}

TEST_CASE("a tensor comes in without a copy and is given back once") {
  Producer producer;
  {
    const Tensor tensor = producer.import().value();
    CHECK(tensor.type() == TensorType{DataType::Float32, {2, 3, 4}});
    CHECK(static_cast<const void*>(tensor.bytes().data()) == producer.data.data());
    CHECK(producer.deleted == 0);
  }
  CHECK(producer.deleted == 1);
}

TEST_CASE("null strides, strides of single and of empty axes are dense") {
  Producer producer;
  producer.strides.clear();
  CHECK(producer.import().ok());
  producer.shape = {2, 1, 12};
  producer.strides = {12, 777, 1};
  CHECK(producer.import().ok());
  producer.shape = {2, 0, 4};
  producer.strides = {9, 9, 9};
  producer.managed.dl_tensor.data = nullptr;
  CHECK(producer.import().ok());
  CHECK(producer.deleted == 3);
}

TEST_CASE("what is not dense and row-major is refused and given back") {
  Producer producer;
  producer.strides = {12, 1, 3};
  const Result<Tensor> tensor = producer.import();
  CHECK(tensor.status().code() == Code::Unsupported);
  CHECK(contains(tensor.status().message(), "row-major"));
  CHECK(producer.deleted == 1);
}

TEST_CASE("a byte offset moves the beginning") {
  Producer producer;
  producer.shape = {4};
  producer.strides = {1};
  producer.managed.dl_tensor.byte_offset = 8;
  const Tensor tensor = producer.import().value();
  CHECK(tensor.to_vector<float>().value() == std::vector<float>{3, 4, 5, 6});
  CHECK(tensor.block().handle == reinterpret_cast<std::uint64_t>(producer.data.data() + 2));
}

TEST_CASE("a read-only tensor has no mutable bytes and stays read-only") {
  Producer producer;
  producer.managed.flags = 1;
  Tensor tensor = producer.import().value();
  CHECK(tensor.mutable_bytes().empty());
  CHECK(tensor.bytes().size() == 96);
  DLManagedTensorVersioned* out = tensor.to_dlpack().value();
  CHECK(out->flags == 1);
  out->deleter(out);
  CHECK_FALSE(tensor.clone().value().mutable_bytes().empty());
}

TEST_CASE("bad tensors are refused with a reason, and given back") {
  struct Case {
    const char* name;
    void (*spoil)(Producer&);
    Code code;
  };
  const Case cases[] = {
      {"another major version", [](Producer& p) { p.managed.version.major = 2; },
       Code::Incompatible},
      {"vector lanes", [](Producer& p) { p.managed.dl_tensor.dtype.lanes = 4; }, Code::Unsupported},
      {"unknown type", [](Producer& p) { p.managed.dl_tensor.dtype.code = 99; }, Code::Unsupported},
      {"a float of 8 bits", [](Producer& p) { p.managed.dl_tensor.dtype.bits = 8; },
       Code::Unsupported},
      {"unknown device", [](Producer& p) { p.managed.dl_tensor.device = {77, 0}; }, Code::NotFound},
      {"no data", [](Producer& p) { p.managed.dl_tensor.data = nullptr; }, Code::InvalidArgument},
      {"negative size", [](Producer& p) { p.shape[1] = -3; }, Code::InvalidArgument},
      {"a size beyond all memory", [](Producer& p) { p.shape[0] = std::int64_t{1} << 62; },
       Code::LimitExceeded},
      {"an offset that wraps around", [](Producer& p) { p.managed.dl_tensor.byte_offset = ~0ull; },
       Code::InvalidArgument},
      {"padded small elements",
       [](Producer& p) {
         p.managed.dl_tensor.dtype = {0, 4, 1};
         p.managed.flags = 4;
       },
       Code::Unsupported},
  };
  for (const Case& one : cases) {
    CAPTURE(one.name);
    Producer producer;
    one.spoil(producer);
    const Result<Tensor> tensor = producer.import();
    CHECK(tensor.status().code() == one.code);
    CHECK(producer.deleted == 1);
  }
  Producer producer;
  producer.managed.deleter = nullptr;
  CHECK(producer.import().ok());
  CHECK(Tensor::from_dlpack(nullptr).status().code() == Code::InvalidArgument);
  producer.managed.dl_tensor.ndim = -1;
  CHECK(Tensor::from_dlpack(&producer.managed).status().code() == Code::InvalidArgument);
  producer.managed.dl_tensor.ndim = 3;
  producer.managed.dl_tensor.shape = nullptr;
  CHECK(Tensor::from_dlpack(&producer.managed).status().code() == Code::InvalidArgument);
}

TEST_CASE("what goes out holds the tensor until it is deleted") {
  Tensor tensor = Tensor::from(std::vector<std::int64_t>{1, 2, 3, 4, 5, 6}, {3, 2}).value();
  DLManagedTensorVersioned* out = tensor.to_dlpack().value();
  CHECK(out->dl_tensor.data == tensor.bytes().data());
  tensor = {};
  CHECK(out->version.major == 1);
  CHECK(out->dl_tensor.dtype.code == 0);
  CHECK(out->dl_tensor.dtype.bits == 64);
  CHECK(out->dl_tensor.ndim == 2);
  CHECK(out->dl_tensor.shape[0] == 3);
  CHECK(out->dl_tensor.strides[0] == 2);
  CHECK(out->dl_tensor.strides[1] == 1);
  CHECK(static_cast<const std::int64_t*>(out->dl_tensor.data)[5] == 6);
  out->deleter(out);
}

TEST_CASE("every element type goes out and comes back as itself") {
  int types = 0;
  for (int n = 1; n <= 26; ++n) {
    const auto type = static_cast<DataType>(n);
    if (type == DataType::String) continue;
    CAPTURE(n);
    const Tensor tensor = Tensor::empty(type, {2, 4}).value();
    const Result<DLManagedTensorVersioned*> out = tensor.to_dlpack();
    REQUIRE(out);
    CHECK((*out)->dl_tensor.dtype.bits == bits(type));
    CHECK(Tensor::from_dlpack(*out).value().type() == tensor.type());
    ++types;
  }
  CHECK(types == 25);
  const Tensor strings = Tensor::from_strings({"a"}, {1}).value();
  CHECK(strings.to_dlpack().status().code() == Code::Unsupported);
}

TEST_CASE("tensors of a device go out and in under the number the plugin gives") {
  using F = Fake<20>;
  F::backend().devices[0].dlpack_type = 55;
  REQUIRE(F::add().ok());
  const Tensor there = Tensor::from(std::vector<float>{1, 2}, {2}).value().to(F::device()).value();
  DLManagedTensorVersioned* out = there.to_dlpack().value();
  CHECK(out->dl_tensor.device.type == 55);
  CHECK(out->dl_tensor.device.id == 0);
  CHECK(reinterpret_cast<std::uint64_t>(out->dl_tensor.data) == there.block().handle);
  const Tensor back = Tensor::from_dlpack(out).value();
  CHECK(back.device() == F::device());
  CHECK(back.to_vector<float>().value() == std::vector<float>{1, 2});
}

}  // namespace miniinfer
