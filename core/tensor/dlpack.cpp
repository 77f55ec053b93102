#include <algorithm>
#include <cinttypes>
#include <memory>
#include <utility>

#include "core/base/format.hpp"
#include "core/device/device_record.hpp"
#include "core/tensor/dlpack_abi.hpp"
#include "core/tensor/tensor_impl.hpp"

namespace miniinfer {
namespace {

constexpr std::int32_t kMaxRank = 64;

struct Element {
  DataType type;
  std::uint8_t code;
  std::uint8_t bits;
};

// Codes: 0 signed, 1 unsigned, 2 IEEE float, 4 bfloat, 5 complex, 6 bool, from 7 on the small
// floats.
constexpr Element kElements[] = {
    {DataType::Int2, 0, 2},
    {DataType::Int4, 0, 4},
    {DataType::Int8, 0, 8},
    {DataType::Int16, 0, 16},
    {DataType::Int32, 0, 32},
    {DataType::Int64, 0, 64},
    {DataType::UInt2, 1, 2},
    {DataType::UInt4, 1, 4},
    {DataType::UInt8, 1, 8},
    {DataType::UInt16, 1, 16},
    {DataType::UInt32, 1, 32},
    {DataType::UInt64, 1, 64},
    {DataType::Float16, 2, 16},
    {DataType::Float32, 2, 32},
    {DataType::Float64, 2, 64},
    {DataType::BFloat16, 4, 16},
    {DataType::Complex64, 5, 64},
    {DataType::Complex128, 5, 128},
    {DataType::Bool, 6, 8},
    {DataType::Float8E4M3FN, 10, 8},
    {DataType::Float8E4M3FNUZ, 11, 8},
    {DataType::Float8E5M2, 12, 8},
    {DataType::Float8E5M2FNUZ, 13, 8},
    {DataType::Float8E8M0, 14, 8},
    {DataType::Float4E2M1, 17, 4},
};

// What a tensor that was given away points to.
struct Export {
  DLManagedTensorVersioned managed{};
  Shape shape;
  Shape strides;
  Tensor tensor;
};

Shape dense_strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (std::size_t axis = shape.size(); axis-- > 1;) {
    strides[axis - 1] = strides[axis] * std::max<std::int64_t>(shape[axis], 1);
  }
  return strides;
}

bool is_dense(const dlpack::Tensor& tensor, const Shape& shape) {
  if (!tensor.strides) return true;
  const Shape dense = dense_strides(shape);
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] != 1 && tensor.strides[axis] != dense[axis]) return false;
  }
  return true;
}

Status refused(Code code, const std::string& why) { return {code, "Tensor::from_dlpack: " + why}; }

Result<TensorType> type_of(const dlpack::Tensor& tensor, std::uint64_t flags) {
  TensorType type;
  for (const Element& element : kElements) {
    if (element.code == tensor.dtype.code && element.bits == tensor.dtype.bits &&
        tensor.dtype.lanes == 1) {
      type.dtype = element.type;
    }
  }
  if (type.dtype == DataType::Undefined) {
    return refused(Code::Unsupported,
                   format("no element type has code %u, %u bits and %u lanes", tensor.dtype.code,
                          tensor.dtype.bits, tensor.dtype.lanes));
  }
  if (tensor.dtype.bits < 8 && (flags & dlpack::kPaddedSubBytes) != 0) {
    return refused(Code::Unsupported, "elements below a byte must be packed");
  }
  if (tensor.ndim < 0 || tensor.ndim > kMaxRank || (tensor.ndim > 0 && !tensor.shape)) {
    return refused(Code::InvalidArgument, format("%d axes, or no shape", tensor.ndim));
  }
  if (tensor.ndim > 0) type.shape.assign(tensor.shape, tensor.shape + tensor.ndim);
  return type;
}

Result<Device> device_of(const dlpack::Device& wanted) {
  if (wanted.type == dlpack::kHostType) return Device();
  for (const Device& device : BackendRegistry::instance().devices()) {
    if (record_of(device).info.dlpack_type == wanted.type && device.ordinal() == wanted.id &&
        device.state() != DeviceState::Absent) {
      return device;
    }
  }
  return refused(Code::NotFound,
                 format("no device here is DLPack's (%d, %d)", wanted.type, wanted.id));
}

Result<Tensor> import(const DLManagedTensorVersioned& managed, Release release) {
  if (managed.version.major != dlpack::kMajor) {
    return refused(Code::Incompatible, format("version %" PRIu32 ".%" PRIu32 ", not 1.x",
                                              managed.version.major, managed.version.minor));
  }
  const dlpack::Tensor& tensor = managed.dl_tensor;
  Result<TensorType> type = type_of(tensor, managed.flags);
  if (!type) return type.status();
  const Result<std::uint64_t> bytes = byte_count(type->dtype, type->shape);
  if (!bytes) return bytes.status().with_context("Tensor::from_dlpack");
  if (*bytes > 0 && !is_dense(tensor, type->shape)) {
    return refused(Code::Unsupported, to_string(*type) + " is not dense and row-major");
  }
  const Result<Device> device = device_of(tensor.device);
  if (!device) return device.status();
  return borrow_at({tensor.data, tensor.byte_offset, *bytes}, std::move(*type), *device,
                   (managed.flags & dlpack::kReadOnly) != 0, std::move(release));
}

}  // namespace

Result<Tensor> Tensor::from_dlpack(DLManagedTensorVersioned* managed) {
  if (!managed) return refused(Code::InvalidArgument, "the tensor is null");
  const auto give_back = [managed] {
    if (managed->deleter) managed->deleter(managed);
  };
  Result<Tensor> tensor = import(*managed, give_back);
  if (!tensor) give_back();
  return tensor;
}

Result<DLManagedTensorVersioned*> Tensor::to_dlpack() const {
  const auto refuse = [](Code code, const std::string& why) {
    return Status(code, "Tensor::to_dlpack: " + why);
  };
  if (!impl_) return refuse(Code::FailedPrecondition, "the tensor is empty");
  auto out = std::make_unique<Export>();
  DLManagedTensorVersioned& managed = out->managed;
  dlpack::Tensor& tensor = managed.dl_tensor;
  for (const Element& element : kElements) {
    if (element.type == impl_->type.dtype) tensor.dtype = {element.code, element.bits, 1};
  }
  if (tensor.dtype.lanes == 0) {
    return refuse(Code::Unsupported, to_string(impl_->type) + " has no DLPack type");
  }
  const TensorMemory& memory = *impl_->memory;
  if (!memory.device) {
    tensor.device = {dlpack::kHostType, 0};
    tensor.data = memory.block.host;
  } else {
    const OpenDevice& device = *memory.device;
    if (device.info.dlpack_type == 0) {
      return refuse(Code::Unsupported, std::string(impl_->device.id()) + " has no DLPack type");
    }
    if (Status status = device.ready(); !status.ok()) return status;
    tensor.device = {device.info.dlpack_type, impl_->device.ordinal()};
    const bool flat = (device.info.flags & MINIINFER_DEVICE_FLAT_ADDRESS) != 0;
    // Several libraries ignore byte_offset, so it is used only where an address cannot carry it.
    tensor.data = reinterpret_cast<void*>(memory.block.handle + (flat ? memory.block.offset : 0));
    tensor.byte_offset = flat ? 0 : memory.block.offset;
  }
  if (impl_->bytes == 0) {
    tensor.data = nullptr;
    tensor.byte_offset = 0;
  }
  out->shape = impl_->type.shape;
  out->strides = dense_strides(out->shape);
  out->tensor = *this;
  tensor.ndim = static_cast<std::int32_t>(out->shape.size());
  tensor.shape = out->shape.data();
  tensor.strides = out->strides.data();
  managed.version = {dlpack::kMajor, dlpack::kMinor};
  managed.flags = memory.read_only ? dlpack::kReadOnly : 0;
  managed.manager_ctx = out.get();
  managed.deleter = [](DLManagedTensorVersioned* self) {
    delete static_cast<Export*>(self->manager_ctx);
  };
  return &out.release()->managed;
}

}  // namespace miniinfer
