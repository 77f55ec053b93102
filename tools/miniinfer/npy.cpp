#include "npy.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <unordered_set>

#include "miniinfer/text.hpp"
#include "npy_header.hpp"
#include "zip_archive.hpp"

namespace miniinfer::command {
namespace {

static_assert(std::endian::native == std::endian::little);

// Where an .npy comes from: gives the next bytes, all that are asked for.
using Source = std::function<Status(std::span<std::byte>)>;

void swap_bytes(std::span<std::byte> bytes, std::size_t unit) {
  for (std::size_t i = 0; i + unit <= bytes.size(); i += unit) {
    std::reverse(bytes.data() + i, bytes.data() + i + unit);
  }
}

// Elements whose first axis is innermost, into row-major order.
void from_fortran(std::span<const std::byte> in, std::span<std::byte> out, const Shape& shape,
                  std::size_t unit) {
  const std::size_t rank = shape.size();
  std::vector<std::size_t> stride(rank, 1);
  for (std::size_t i = 1; i < rank; ++i) {
    stride[i] = stride[i - 1] * static_cast<std::size_t>(shape[i - 1]);
  }
  std::vector<std::int64_t> index(rank, 0);
  std::size_t from = 0;
  for (std::size_t to = 0; to < out.size(); to += unit) {
    std::memcpy(out.data() + to, in.data() + from * unit, unit);
    for (std::size_t axis = rank; axis-- > 0;) {
      from += stride[axis];
      if (++index[axis] < shape[axis]) break;
      from -= stride[axis] * static_cast<std::size_t>(shape[axis]);
      index[axis] = 0;
    }
  }
}

Result<Tensor> decode(std::uint64_t size, const Source& source) {
  std::array<std::byte, kNpyMagicBytes + 4> front;
  const std::span<std::byte> magic = std::span(front).first(kNpyMagicBytes);
  if (size < kNpyMagicBytes) return Status(Code::InvalidArgument, "not an .npy file");
  if (Status status = source(magic); !status.ok()) return status;
  const Result<std::size_t> length_bytes = npy_length_bytes(magic);
  if (!length_bytes) return length_bytes.status();
  const std::span<std::byte> length = std::span(front).subspan(kNpyMagicBytes, *length_bytes);
  const auto cut_off = [] { return Status(Code::InvalidArgument, "the .npy header is cut off"); };
  if (size < kNpyMagicBytes + *length_bytes) return cut_off();
  if (Status status = source(length); !status.ok()) return status;
  const Result<std::size_t> header_bytes = npy_header_bytes(length);
  if (!header_bytes) return header_bytes.status();
  if (size < kNpyMagicBytes + *length_bytes + *header_bytes) return cut_off();
  std::string text(*header_bytes, '\0');
  if (Status status = source(std::as_writable_bytes(std::span(text))); !status.ok()) return status;
  Result<NpyHeader> header = parse_npy_header(text);
  if (!header) return header.status();

  const Result<std::uint64_t> bytes = byte_count(header->type.dtype, header->type.shape);
  if (!bytes) return bytes.status();
  const std::uint64_t given = size - kNpyMagicBytes - *length_bytes - *header_bytes;
  if (*bytes != given) {
    return Status(Code::InvalidArgument, std::to_string(given) + " bytes of elements, " +
                                             to_string(header->type) + " needs " +
                                             std::to_string(*bytes));
  }
  Result<Tensor> tensor = Tensor::empty(header->type.dtype, header->type.shape);
  if (!tensor) return tensor;
  const std::span<std::byte> elements = tensor->mutable_bytes();
  if (header->fortran_order && header->type.shape.size() > 1) {
    std::vector<std::byte> columns(elements.size());
    if (Status status = source(columns); !status.ok()) return status;
    from_fortran(columns, elements, header->type.shape, bits(header->type.dtype) / 8);
  } else if (Status status = source(elements); !status.ok()) {
    return status;
  }
  if (header->swap_unit > 1) swap_bytes(elements, header->swap_unit);
  if (header->type.dtype == DataType::Bool) {
    for (std::byte& element : elements) element = std::byte{element != std::byte{0}};
  }
  return tensor;
}

struct Encoded {
  std::string header;
  Tensor host;  // keeps the elements
};

Result<Encoded> encode(const Tensor& tensor) {
  Result<std::string> header = make_npy_header(tensor.type());
  if (!header) return header.status();
  Result<Tensor> host = tensor.to(Device());
  if (!host) return host.status();
  return Encoded{std::move(*header), std::move(*host)};
}

Status save_npy(const std::filesystem::path& path, const Tensor& tensor) {
  const Result<Encoded> encoded = encode(tensor);
  if (!encoded) return encoded.status();
  Result<OutputFile> file = OutputFile::create(path);
  if (!file) return file.status();
  if (Status status = file->write(encoded->header); !status.ok()) return status;
  if (Status status = file->write(encoded->host.bytes()); !status.ok()) return status;
  return file->commit();
}

Result<Tensor> load_npy(const std::filesystem::path& path) {
  const Result<InputFile> file = InputFile::open(path);
  if (!file) return file.status();
  std::uint64_t at = 0;
  return decode(file->size(), [&](std::span<std::byte> out) {
    Status status = file->read_at(at, out);
    at += out.size();
    return status;
  });
}

Result<std::vector<NamedTensor>> load_npz(const std::filesystem::path& path) {
  const Result<InputFile> file = InputFile::open(path);
  if (!file) return file.status();
  const Result<std::vector<ZipMember>> members = read_zip_directory(*file);
  if (!members) return members.status();
  std::vector<NamedTensor> tensors;
  for (const ZipMember& member : *members) {
    constexpr std::string_view kSuffix = ".npy";
    if (!member.name.ends_with(kSuffix) || member.name.size() == kSuffix.size()) {
      return Status(Code::InvalidArgument, "member " + printable(member.name) + " is no .npy");
    }
    Result<ZipReader> reader = ZipReader::open(*file, member);
    if (!reader) return reader.status();
    Result<Tensor> tensor =
        decode(member.bytes, [&](std::span<std::byte> out) { return reader->read(out); });
    if (!tensor) return tensor.status().with_context("member " + printable(member.name));
    if (Status status = reader->finish(); !status.ok()) return status;
    tensors.push_back(
        {member.name.substr(0, member.name.size() - kSuffix.size()), std::move(*tensor)});
  }
  return tensors;
}

Status save_npz(const std::filesystem::path& path, std::span<const NamedTensor> tensors) {
  std::unordered_set<std::string> names;
  for (const NamedTensor& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      return {Code::InvalidArgument, "two tensors are called " + printable(tensor.name)};
    }
  }
  Result<OutputFile> file = OutputFile::create(path);
  if (!file) return file.status();
  ZipWriter zip(*file);
  for (const NamedTensor& tensor : tensors) {
    const Result<Encoded> encoded = encode(tensor.tensor);
    if (!encoded) return encoded.status().with_context(printable(tensor.name));
    if (Status status = zip.add(tensor.name + ".npy", std::as_bytes(std::span(encoded->header)),
                                encoded->host.bytes());
        !status.ok()) {
      return status;
    }
  }
  if (Status status = zip.finish(); !status.ok()) return status;
  return file->commit();
}

}  // namespace

Result<Tensor> read_npy(const std::filesystem::path& file) {
  Result<Tensor> tensor = load_npy(file);
  if (!tensor) return tensor.status().with_context(file.string());
  return tensor;
}

Status write_npy(const std::filesystem::path& file, const Tensor& tensor) {
  return save_npy(file, tensor).with_context(file.string());
}

Result<std::vector<NamedTensor>> read_npz(const std::filesystem::path& file) {
  Result<std::vector<NamedTensor>> tensors = load_npz(file);
  if (!tensors) return tensors.status().with_context(file.string());
  return tensors;
}

Status write_npz(const std::filesystem::path& file, std::span<const NamedTensor> tensors) {
  return save_npz(file, tensors).with_context(file.string());
}

}  // namespace miniinfer::command
