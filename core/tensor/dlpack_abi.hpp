#pragma once

// The layout of DLPack 1.x (https://dmlc.github.io/dlpack), as much of it as is exchanged here.
// Numbers of device types are the plugins' to know (miniinfer_device_info.dlpack_type).

#include <cstdint>

namespace miniinfer::dlpack {

inline constexpr std::uint32_t kMajor = 1;
inline constexpr std::uint32_t kMinor = 1;
inline constexpr std::int32_t kHostType = 1;
inline constexpr std::uint64_t kReadOnly = 1u << 0;
inline constexpr std::uint64_t kPaddedSubBytes = 1u << 2;

struct Version {
  std::uint32_t major;
  std::uint32_t minor;
};

struct Device {
  std::int32_t type;
  std::int32_t id;
};

struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: dense and row-major
  std::uint64_t byte_offset;
};

}  // namespace miniinfer::dlpack

// The name is DLPack's, for include/miniinfer/tensor.hpp and its users speak of the same struct.
struct DLManagedTensorVersioned {
  miniinfer::dlpack::Version version;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned* self);
  std::uint64_t flags;
  miniinfer::dlpack::Tensor dl_tensor;
};

static_assert(sizeof(void*) != 8 ||
              (sizeof(miniinfer::dlpack::Tensor) == 48 && sizeof(DLManagedTensorVersioned) == 80));
