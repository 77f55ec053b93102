#include "zip_archive.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>

#include "miniinfer/text.hpp"

namespace miniinfer::command {
namespace {

constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::size_t kLocalBytes = 30;
constexpr std::uint64_t kMost = 0xfffffffe;  // 0xffffffff says ZIP64
constexpr std::size_t kChunk = std::size_t{1} << 30;

void put(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

std::uint32_t checksum(std::uint32_t crc, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t step = std::min(bytes.size(), kChunk);
    crc = static_cast<std::uint32_t>(
        ::crc32(crc, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(step)));
    bytes = bytes.subspan(step);
  }
  return crc;
}

Status damaged(const ZipMember& member, const char* what) {
  return {Code::InvalidArgument, "member " + printable(member.name) + " " + what};
}

}  // namespace

struct ZipReader::Impl {
  Impl(const InputFile& f, const ZipMember& m) : file(f), member(m) {}
  ~Impl() {
    if (member.deflated) inflateEnd(&stream);
  }

  Status refill() {
    if (stream.avail_in > 0 || left == 0) return {};
    const std::size_t step = std::min<std::uint64_t>(left, buffer.size());
    if (Status status = file.read_at(at, std::span(buffer).first(step)); !status.ok()) {
      return status;
    }
    at += step;
    left -= step;
    stream.next_in = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_in = static_cast<uInt>(step);
    return {};
  }

  Status inflate_into(std::span<std::byte> out) {
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    while (stream.avail_out > 0) {
      if (Status status = refill(); !status.ok()) return status;
      const int code = ::inflate(&stream, Z_NO_FLUSH);
      if (code == Z_STREAM_END && stream.avail_out > 0) return damaged(member, "is too short");
      if (code != Z_OK && code != Z_STREAM_END) return damaged(member, "is damaged");
    }
    return {};
  }

  // The packed data ends where the declared bytes do; its last bits may not have been read yet.
  Status inflate_end() {
    Bytef beyond = 0;
    stream.next_out = &beyond;
    stream.avail_out = 1;
    int code = Z_OK;
    while (code == Z_OK && stream.avail_out == 1) {
      if (Status status = refill(); !status.ok()) return status;
      code = ::inflate(&stream, Z_NO_FLUSH);
    }
    const bool ended = code == Z_STREAM_END && stream.avail_out == 1;
    if (ended && stream.avail_in == 0 && left == 0) return {};
    return damaged(member, "does not end where the directory says");
  }

  const InputFile& file;
  const ZipMember& member;
  std::uint64_t at = 0;    // in the file
  std::uint64_t left = 0;  // packed bytes not read yet
  std::uint64_t wanted = 0;
  std::uint32_t crc = 0;
  z_stream stream{};
  std::array<std::byte, 1 << 16> buffer;
};

ZipReader::ZipReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ZipReader::ZipReader(ZipReader&&) noexcept = default;
ZipReader::~ZipReader() = default;

Result<ZipReader> ZipReader::open(const InputFile& file, const ZipMember& member) {
  std::array<std::byte, kLocalBytes> local;
  if (Status status = file.read_at(member.offset, local); !status.ok()) return status;
  const auto number = [&](std::size_t at, int bytes) {
    std::uint32_t value = 0;
    for (int i = bytes; i-- > 0;)
      value = value << 8 | std::to_integer<std::uint32_t>(local[at + i]);
    return value;
  };
  if (number(0, 4) != kLocalSignature) return damaged(member, "is not where the directory says");
  auto impl = std::make_unique<Impl>(file, member);
  // Its own sizes may be left out (NumPy marks them ZIP64); the directory's count.
  impl->at = member.offset + kLocalBytes + number(26, 2) + number(28, 2);
  impl->left = member.packed;
  impl->wanted = member.bytes;
  if (impl->at > file.size() || member.packed > file.size() - impl->at) {
    return damaged(member, "is cut off");
  }
  // Negative: deflate without a zlib header.
  if (member.deflated && inflateInit2(&impl->stream, -MAX_WBITS) != Z_OK) {
    return Status(Code::OutOfMemory, "no memory to unpack");
  }
  return ZipReader(std::move(impl));
}

Status ZipReader::read(std::span<std::byte> out) {
  if (out.size() > impl_->wanted) return damaged(impl_->member, "is too short");
  impl_->wanted -= out.size();
  while (!out.empty()) {
    const std::span<std::byte> piece = out.first(std::min(out.size(), kChunk));
    if (impl_->member.deflated) {
      if (Status status = impl_->inflate_into(piece); !status.ok()) return status;
    } else {
      if (Status status = impl_->file.read_at(impl_->at, piece); !status.ok()) return status;
      impl_->at += piece.size();
    }
    impl_->crc = checksum(impl_->crc, piece);
    out = out.subspan(piece.size());
  }
  return {};
}

Status ZipReader::finish() {
  if (impl_->wanted != 0) return damaged(impl_->member, "is longer than its tensor");
  if (impl_->member.deflated) {
    if (Status status = impl_->inflate_end(); !status.ok()) return status;
  }
  if (impl_->crc != impl_->member.crc) return damaged(impl_->member, "has a wrong checksum");
  return {};
}

Status ZipWriter::add(const std::string& name, std::span<const std::byte> head,
                      std::span<const std::byte> tail) {
  const std::uint64_t bytes = std::uint64_t{head.size()} + tail.size();
  if (offset_ + bytes > kMost - kLocalBytes - name.size() || count_ >= 0xfffe) {
    return {Code::Unsupported, "an .npz of 4 GiB or more", "write .npy files: -o NAME=@F.npy"};
  }
  if (name.size() > 0xffff) return {Code::InvalidArgument, "a name of more than 65535 bytes"};
  const bool ascii =
      std::ranges::all_of(name, [](char c) { return static_cast<signed char>(c) > 0; });
  std::string fields;
  put(fields, 20, 2);                   // version that can read it
  put(fields, ascii ? 0 : 1 << 11, 2);  // the name is UTF-8
  put(fields, 0, 2);                    // stored
  put(fields, 0, 2);                    // time: midnight
  put(fields, 0x21, 2);  // date: 1 January 1980, so that equal outputs give equal files
  put(fields, checksum(checksum(0, head), tail), 4);
  put(fields, bytes, 4);
  put(fields, bytes, 4);
  put(fields, name.size(), 2);
  put(fields, 0, 2);  // no extra fields

  put(directory_, 0x02014b50, 4);
  put(directory_, 20, 2);
  directory_ += fields;
  directory_.append(2 + 2 + 2 + 4, '\0');  // comment, part, attributes
  put(directory_, offset_, 4);
  directory_ += name;
  ++count_;

  std::string local;
  put(local, kLocalSignature, 4);
  local += fields + name;
  offset_ += local.size() + bytes;
  if (Status status = file_.write(local); !status.ok()) return status;
  if (Status status = file_.write(head); !status.ok()) return status;
  return file_.write(tail);
}

Status ZipWriter::finish() {
  std::string end;
  put(end, 0x06054b50, 4);
  put(end, 0, 4);
  put(end, count_, 2);
  put(end, count_, 2);
  put(end, directory_.size(), 4);
  put(end, offset_, 4);
  put(end, 0, 2);
  if (offset_ + directory_.size() > kMost) {
    return {Code::Unsupported, "an .npz of 4 GiB or more", "write .npy files: -o NAME=@F.npy"};
  }
  if (Status status = file_.write(directory_); !status.ok()) return status;
  return file_.write(end);
}

}  // namespace miniinfer::command
