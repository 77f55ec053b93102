#include "core/onnx/tensor_data.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "core/base/format.hpp"

namespace miniinfer::onnx {
namespace {

template <class T>
bool append(T value, std::vector<std::byte>& out) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof value);
  return true;
}

Status bad(const RawTensor& raw, const std::string& what) {
  return {Code::InvalidArgument, "tensor " + printable(raw.name) + ": " + what};
}

// Kernels count on 0 and 1.
void normalise(Constant& constant) {
  if (std::ranges::all_of(constant.bytes, [](std::byte b) { return b <= std::byte{1}; })) return;
  auto owned =
      std::make_shared<std::vector<std::byte>>(constant.bytes.begin(), constant.bytes.end());
  for (std::byte& element : *owned) element = std::byte{element != std::byte{0}};
  constant.bytes = *owned;
  constant.keep = std::move(owned);
}

Result<ExternalRange> external_range(const RawTensor& raw) {
  ExternalRange range;
  for (const auto& [key, value] : raw.external_data) {
    if (key == "location") {
      range.location = value;
      continue;
    }
    if (key != "offset" && key != "length") continue;
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size()) {
      return bad(raw, "external " + std::string(key) + " " + printable(value) + " is no size");
    }
    (key == "offset" ? range.offset : range.length) = number;
  }
  if (range.location.empty() || range.location.find('\0') != std::string::npos) {
    return bad(raw, "its external data has no location");
  }
  return range;
}

}  // namespace

bool append_element(DataType type, std::int64_t value, std::vector<std::byte>& out) {
  switch (type) {
    case DataType::Int32:
      return append(static_cast<std::int32_t>(value), out);
    case DataType::Int16:
      return append(static_cast<std::int16_t>(value), out);
    case DataType::UInt16:
    case DataType::Float16:
    case DataType::BFloat16:
      return append(static_cast<std::uint16_t>(value), out);
    case DataType::Bool:
      return append(static_cast<std::uint8_t>(value != 0), out);
    case DataType::Int8:
    case DataType::UInt8:
    case DataType::Float8E4M3FN:
    case DataType::Float8E4M3FNUZ:
    case DataType::Float8E5M2:
    case DataType::Float8E5M2FNUZ:
    case DataType::Float8E8M0:
    // Types below a byte: one entry holds the elements of one byte.
    case DataType::UInt4:
    case DataType::Int4:
    case DataType::Float4E2M1:
    case DataType::UInt2:
    case DataType::Int2:
      return append(static_cast<std::uint8_t>(value), out);
    default:
      return false;
  }
}

bool append_element(DataType type, float value, std::vector<std::byte>& out) {
  return (type == DataType::Float32 || type == DataType::Complex64) && append(value, out);
}

bool append_element(DataType type, double value, std::vector<std::byte>& out) {
  return (type == DataType::Float64 || type == DataType::Complex128) && append(value, out);
}

bool append_element64(DataType type, std::uint64_t bits, std::vector<std::byte>& out) {
  if (type == DataType::Int64 || type == DataType::UInt64) return append(bits, out);
  return type == DataType::UInt32 && append(static_cast<std::uint32_t>(bits), out);
}

Result<Tensor> finish_tensor(RawTensor raw, const std::shared_ptr<const void>& keep,
                             const ExternalReader& external) {
  const auto dtype = static_cast<DataType>(raw.data_type);
  if (raw.data_type <= 0 || raw.data_type > 26) {
    return Status(Code::Unsupported,
                  format("tensor %s: element type %lld is not known", printable(raw.name).c_str(),
                         static_cast<long long>(raw.data_type)));
  }
  auto constant = std::make_shared<Constant>();
  constant->type = {dtype, std::move(raw.dims)};
  const Result<std::uint64_t> count = element_count(constant->type.shape);
  if (!count) return bad(raw, std::string(count.status().message()));
  Tensor tensor{raw.name, nullptr};

  if (dtype == DataType::String) {
    if (raw.strings.size() != *count || raw.has_raw || raw.external) {
      return bad(raw, format("%zu strings for %llu elements", raw.strings.size(),
                             static_cast<unsigned long long>(*count)));
    }
    constant->strings = std::move(raw.strings);
    tensor.constant = std::move(constant);
    return tensor;
  }
  const Result<std::uint64_t> bytes = byte_count(dtype, constant->type.shape);
  if (!bytes) return bad(raw, std::string(bytes.status().message()));
  const int ways =
      (raw.has_raw ? 1 : 0) + (raw.typed_field.empty() ? 0 : 1) + (raw.external ? 1 : 0);
  if (ways > 1) return bad(raw, "its data is given in two ways");

  std::uint64_t got = 0;
  if (raw.external) {
    Result<ExternalRange> range = external_range(raw);
    if (!range) return range.status();
    if (range->length != 0 && range->length != *bytes) {
      return bad(
          raw, format("%llu bytes of external data, %s needs %llu",
                      static_cast<unsigned long long>(range->length),
                      to_string(constant->type).c_str(), static_cast<unsigned long long>(*bytes)));
    }
    range->length = *bytes;
    Result<ExternalBytes> read =
        external ? external(*range)
                 : Status(Code::InvalidArgument, "a model in memory has no external data",
                          "load it from its file");
    if (!read) return read.status().with_context("tensor " + printable(raw.name));
    constant->bytes = read->bytes;
    constant->keep = read->keep;
    got = read->bytes.size();
  } else if (raw.has_raw) {
    constant->bytes = std::as_bytes(std::span(raw.raw.data(), raw.raw.size()));
    constant->keep = keep;
    got = raw.raw.size();
  } else {
    auto owned = std::make_shared<std::vector<std::byte>>(std::move(raw.typed));
    constant->bytes = *owned;
    got = owned->size();
    constant->keep = std::move(owned);
  }
  if (got != *bytes) {
    return bad(raw,
               format("%llu bytes of data, %s needs %llu", static_cast<unsigned long long>(got),
                      to_string(constant->type).c_str(), static_cast<unsigned long long>(*bytes)));
  }
  if (dtype == DataType::Bool) normalise(*constant);
  tensor.constant = std::move(constant);
  return tensor;
}

}  // namespace miniinfer::onnx
