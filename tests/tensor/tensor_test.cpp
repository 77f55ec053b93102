#include "miniinfer/tensor.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "tests/device/fake_backend.hpp"

namespace miniinfer {
namespace {

using test::Fake;
using test::fake_info;

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::vector<float> counting(std::size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.5f);
  return values;
}

template <int slot>
Device fake_device() {
  static const bool added = Fake<slot>::add().ok();
  REQUIRE(added);
  return Fake<slot>::device();
}

// One more device in the host's memory.
Device host_neighbour() {
  using F = Fake<9>;
  static const bool added = [] {
    miniinfer_device_info info = fake_info("H");
    info.flags =
        MINIINFER_DEVICE_INLINE | MINIINFER_DEVICE_FLAT_ADDRESS | MINIINFER_DEVICE_HOST_VISIBLE;
    std::strcpy(info.memory_domain, "host");
    F::backend().devices = {info};
    F::backend().memory = false;
    F::backend().streams = false;
    return F::add().ok();
  }();
  REQUIRE(added);
  return F::device();
}

}  // namespace

TEST_CASE("a tensor owns a copy of what it is made from") {
  std::vector<float> values = counting(6);
  const Tensor tensor = Tensor::from(values, {2, 3}).value();
  values[0] = -1;
  CHECK(tensor.type() == TensorType{DataType::Float32, {2, 3}});
  CHECK(tensor.element_count() == 6);
  CHECK(tensor.byte_count() == 24);
  CHECK(tensor.device() == Device());
  CHECK(tensor.to_vector<float>().value() == counting(6));
  CHECK(tensor.view<float>().value()[5] == 5.5f);
  CHECK(tensor.bytes().size() == 24);
  CHECK(tensor.block().handle % 64 == 0);
}

TEST_CASE("a shape that does not fit the values is refused with both numbers") {
  const Result<Tensor> tensor = Tensor::from(counting(6), {2, 4});
  CHECK(tensor.status().code() == Code::InvalidArgument);
  CHECK(contains(tensor.status().message(), "float32[2,4] takes 32 bytes, not 24"));
}

TEST_CASE("shapes that cannot be are refused") {
  CHECK(Tensor::empty(DataType::Float32, {-1}).status().code() == Code::InvalidArgument);
  CHECK(Tensor::empty(DataType::Float32, {1ll << 40, 1ll << 40}).status().code() ==
        Code::LimitExceeded);
  CHECK(Tensor::empty(DataType::Float64, {1ll << 61}).status().code() == Code::LimitExceeded);
  CHECK(Tensor::empty(DataType::Float32, {1ll << 50}).status().code() == Code::OutOfMemory);
  CHECK(Tensor::empty(DataType::Undefined, {1}).status().code() == Code::InvalidArgument);
  CHECK(Tensor::empty(static_cast<DataType>(99), {1}).status().code() == Code::InvalidArgument);
}

TEST_CASE("tensors without elements and scalars are tensors") {
  const Tensor none = Tensor::empty(DataType::Int64, {3, 0, 2}).value();
  CHECK(none);
  CHECK(none.byte_count() == 0);
  CHECK(none.view<std::int64_t>().value().empty());
  CHECK(none.to_vector<std::int64_t>().value().empty());
  CHECK(none.clone().value().shape() == Shape{3, 0, 2});
  const Tensor scalar = Tensor::from(std::vector<double>{2.5}, {}).value();
  CHECK(scalar.element_count() == 1);
  CHECK(scalar.to_vector<double>().value() == std::vector<double>{2.5});
}

TEST_CASE("an empty handle answers every question") {
  const Tensor tensor;
  CHECK_FALSE(tensor);
  CHECK(tensor.dtype() == DataType::Undefined);
  CHECK(tensor.bytes().empty());
  CHECK(tensor.strings().empty());
  CHECK(tensor.device() == Device());
  for (const Status& status :
       {tensor.view<float>().status(), tensor.to_vector<float>().status(), tensor.clone().status(),
        tensor.reshape({}).status(), tensor.to_dlpack().status()}) {
    CHECK(status.code() == Code::FailedPrecondition);
  }
}

TEST_CASE("a view needs exactly the type") {
  const Tensor tensor = Tensor::from(std::vector<std::int32_t>{1, 2}, {2}).value();
  const auto view = tensor.view<std::uint32_t>();
  CHECK(view.status().code() == Code::InvalidArgument);
  CHECK(contains(view.status().message(), "int32[2], not uint32"));
  CHECK(tensor.to_vector<float>().status().code() == Code::InvalidArgument);
}

TEST_CASE("bools are 0 and 1 whatever the bytes were") {
  const std::byte bytes[] = {std::byte{0}, std::byte{1}, std::byte{200}};
  const Tensor tensor = Tensor::from_bytes(bytes, {DataType::Bool, {3}}).value();
  CHECK(tensor.bytes()[2] == std::byte{1});
  CHECK(tensor.to_vector<bool>().value() == std::vector<bool>{false, true, true});
  CHECK(Tensor::from(std::vector<bool>{true, false}, {2}).value().to_vector<bool>().value() ==
        std::vector<bool>{true, false});
}

TEST_CASE("types below a byte are packed") {
  const std::byte bytes[] = {std::byte{0x21}, std::byte{0x03}};
  const Tensor tensor = Tensor::from_bytes(bytes, {DataType::Int4, {3}}).value();
  CHECK(tensor.byte_count() == 2);
  CHECK(Tensor::from_bytes(bytes, {DataType::Int4, {5}}).status().code() == Code::InvalidArgument);
  CHECK(Tensor::from_bytes(bytes, {DataType::UInt2, {8}}).ok());
}

TEST_CASE("strings live on the host and keep any bytes") {
  const std::vector<std::string> values = {"", std::string("a\0b", 3),
                                           "long enough not to be small"};
  const Tensor tensor = Tensor::from_strings(values, {3, 1}).value();
  CHECK(tensor.dtype() == DataType::String);
  CHECK(tensor.bytes().empty());
  CHECK(tensor.byte_count() == 0);
  REQUIRE(tensor.strings().size() == 3);
  CHECK(tensor.strings()[1] == values[1]);
  CHECK(tensor.clone().value().strings()[2] == values[2]);
  CHECK(tensor.reshape({3}).value().strings().data() == tensor.strings().data());
  CHECK(Tensor::from_strings(values, {2}).status().code() == Code::InvalidArgument);
  CHECK(Tensor::empty(DataType::String, {2}).value().strings().size() == 2);
  CHECK(tensor.to(fake_device<0>()).status().code() == Code::Unsupported);
  CHECK(Tensor::empty(DataType::String, {2}, fake_device<0>()).status().code() ==
        Code::Unsupported);
}

TEST_CASE("copies share the elements, clones do not") {
  Tensor a = Tensor::from(counting(2), {2}).value();
  const Tensor shared = a;
  const Tensor clone = a.clone().value();
  const Tensor reshaped = a.reshape({2, 1}).value();
  a.mutable_bytes()[0] = std::byte{0xff};
  CHECK(shared.bytes()[0] == std::byte{0xff});
  CHECK(reshaped.bytes()[0] == std::byte{0xff});
  CHECK(reshaped.shape() == Shape{2, 1});
  CHECK(a.shape() == Shape{2});
  CHECK(clone.to_vector<float>().value() == counting(2));
  CHECK(a.reshape({3}).status().code() == Code::InvalidArgument);
  CHECK(a.reshape({-1, 2}).status().code() == Code::InvalidArgument);
}

TEST_CASE("borrowed memory is released once, after the last handle") {
  std::vector<float> values = counting(8);
  int released = 0;
  {
    Tensor outer;
    {
      const Tensor tensor = Tensor::borrow(values.data(), 32, {DataType::Float32, {4, 2}}, {}, [&] {
                              ++released;
                            }).value();
      CHECK(tensor.view<float>()->data() == values.data());
      outer = tensor.reshape({8}).value();
    }
    CHECK(released == 0);
    CHECK(outer.to_vector<float>().value() == values);
  }
  CHECK(released == 1);
}

TEST_CASE("a borrow that fails does not release") {
  std::vector<float> values = counting(2);
  int released = 0;
  const auto release = [&] { ++released; };
  CHECK(Tensor::borrow(values.data(), 8, {DataType::Float32, {3}}, {}, release).status().code() ==
        Code::InvalidArgument);
  CHECK(Tensor::borrow(nullptr, 8, {DataType::Float32, {2}}, {}, release).status().code() ==
        Code::InvalidArgument);
  CHECK(Tensor::borrow(values.data(), 8, {DataType::String, {1}}, {}, release).status().code() ==
        Code::InvalidArgument);
  CHECK(released == 0);
  CHECK(Tensor::borrow(nullptr, 0, {DataType::Float32, {0}}, {}, release).ok());
  CHECK(released == 1);
}

TEST_CASE("a release that throws does not end the program") {
  float value = 1;
  CHECK(Tensor::borrow(&value, 4, {DataType::Float32, {}}, {}, [] { throw 1; }).ok());
}

TEST_CASE("borrowed memory of any alignment can be copied, and viewed where it is aligned") {
  alignas(8) std::byte raw[16] = {};
  const float value = 3.5f;
  std::memcpy(raw + 1, &value, 4);
  const Tensor odd = Tensor::borrow(raw + 1, 4, {DataType::Float32, {1}}).value();
  CHECK(odd.to_vector<float>().value() == std::vector<float>{3.5f});
  const auto view = odd.view<float>();
  CHECK(view.status().code() == Code::InvalidArgument);
  CHECK(contains(view.status().message(), "aligned"));
  CHECK(odd.clone().value().view<float>().value()[0] == 3.5f);
}

TEST_CASE("elements go to a device and come back") {
  const Device device = fake_device<0>();
  const Tensor host = Tensor::from(counting(1000), {10, 100}).value();
  const Tensor there = host.to(device).value();
  CHECK(there.device() == device);
  CHECK(there.bytes().empty());
  CHECK(there.view<float>().status().code() == Code::FailedPrecondition);
  CHECK(there.to_vector<float>().value() == counting(1000));
  CHECK(there.to(device).value().block().handle == there.block().handle);  // the same elements
  const Tensor clone = there.clone().value();
  CHECK(clone.block().offset != there.block().offset);
  CHECK(clone.to_vector<float>().value() == counting(1000));
  CHECK(there.to(Device()).value().shape() == Shape{10, 100});
}

TEST_CASE("elements go from one device to another, also more than are staged at once") {
  const std::size_t count = (std::size_t{9} << 20) / sizeof(float) + 3;
  const Tensor a = Tensor::from(counting(count), {static_cast<std::int64_t>(count)})
                       .value()
                       .to(fake_device<0>())
                       .value();
  const Tensor b = a.to(fake_device<1>()).value();
  CHECK(b.device() == fake_device<1>());
  CHECK(b.to_vector<float>().value() == counting(count));
}

TEST_CASE("devices in the host's memory share elements") {
  const Device neighbour = host_neighbour();
  const Tensor host = Tensor::from(counting(4), {4}).value();
  const Tensor there = host.to(neighbour).value();
  CHECK(there.device() == neighbour);
  CHECK(there.bytes().data() == host.bytes().data());
  CHECK(there.to(Device()).value().bytes().data() == host.bytes().data());
  const Tensor own = Tensor::empty(DataType::Float32, {4}, neighbour).value();
  CHECK(own.bytes().size() == 16);
}

TEST_CASE("devices of one memory domain share elements, those without a domain do not") {
  using F = Fake<6>;
  F::backend().devices = {fake_info("F-a"), fake_info("F-b"), fake_info("F-c"), fake_info("F-d")};
  std::strcpy(F::backend().devices[0].memory_domain, "pool");
  std::strcpy(F::backend().devices[1].memory_domain, "pool");
  REQUIRE(F::add().ok());
  const Tensor host = Tensor::from(counting(4), {4}).value();
  const Tensor a = host.to(F::device(0)).value();
  const Tensor b = a.to(F::device(1)).value();
  CHECK(b.device() == F::device(1));
  CHECK(b.block().handle == a.block().handle);
  CHECK(b.to_vector<float>().value() == counting(4));
  const Tensor c = host.to(F::device(2)).value();
  CHECK(c.to(F::device(3)).value().block().handle != c.block().handle);
}

TEST_CASE("a copy that fails says so, and no work is left that could write later") {
  const Device device = fake_device<2>();
  const Tensor there = Tensor::from(counting(4), {4}).value().to(device).value();
  Fake<2>::backend().copy_code = MINIINFER_TIMEOUT;
  const Result<Tensor> back = there.to(Device());
  CHECK(back.status().code() == Code::Timeout);
  CHECK(contains(back.status().message(), "the link went down"));
  Fake<2>::backend().copy_code = MINIINFER_OK;
  CHECK(there.to_vector<float>().value() == counting(4));
}

TEST_CASE("a device that is out of memory gives an error, not a tensor") {
  const Device device = fake_device<3>();
  Fake<3>::backend().alloc_code = MINIINFER_OUT_OF_MEMORY;
  const Tensor host = Tensor::from(counting(4), {4}).value();
  CHECK(host.to(device).status().code() == Code::OutOfMemory);
  CHECK(Tensor::empty(DataType::Float32, {4}, device).status().code() == Code::OutOfMemory);
}

TEST_CASE("memory on a device can be borrowed, and is forgotten before it is released") {
  const Device device = fake_device<4>();
  test::FakeBackend& backend = Fake<4>::backend();
  std::vector<float> values = counting(4);  // the fake reaches its importer's memory
  int forgotten = -1;
  {
    const Tensor tensor = Tensor::borrow(values.data(), 16, {DataType::Float32, {4}}, device, [&] {
                            forgotten = backend.releases;
                          }).value();
    CHECK(backend.imports == 1);
    CHECK(tensor.bytes().empty());
    CHECK(tensor.to_vector<float>().value() == values);
    CHECK(BackendRegistry::instance().close(device).code() == Code::FailedPrecondition);
  }
  CHECK(forgotten == 1);
  CHECK(BackendRegistry::instance().close(device).ok());
}

TEST_CASE("a device that cannot use memory of others says so") {
  Fake<5>::backend().can_import = false;
  const Device device = fake_device<5>();
  float value = 0;
  CHECK(Tensor::borrow(&value, 4, {DataType::Float32, {}}, device).status().code() ==
        Code::Unsupported);
}

}  // namespace miniinfer
