#include <algorithm>
#include <unordered_set>

#include "zip_archive.hpp"

namespace miniinfer::command {
namespace {

// A record of little-endian fields at fixed places; the caller has checked that it is long enough.
class Record {
 public:
  explicit Record(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::uint32_t u16(std::size_t at) const { return byte(at) | byte(at + 1) << 8; }
  std::uint32_t u32(std::size_t at) const { return u16(at) | u16(at + 2) << 16; }

 private:
  std::uint32_t byte(std::size_t at) const { return std::to_integer<std::uint32_t>(bytes_[at]); }
  std::span<const std::byte> bytes_;
};

constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kEntrySignature = 0x02014b50;
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kEntryBytes = 46;
constexpr std::size_t kLocalBytes = 30;
constexpr std::uint64_t kAlwaysAllowed = std::uint64_t{1} << 30;
constexpr std::uint64_t kMaxRatio = 100;

Status bad(std::string what) { return {Code::InvalidArgument, "not a sound .npz: " + what}; }

struct Directory {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint32_t count = 0;
};

// The end record is the last thing in the file but for a comment of up to 64 KiB.
Result<Directory> find_directory(const InputFile& file) {
  const std::uint64_t tail = std::min<std::uint64_t>(file.size(), kEndBytes + 0xffff);
  std::vector<std::byte> bytes(tail);
  if (Status status = file.read_at(file.size() - tail, bytes); !status.ok()) return status;
  for (std::size_t at = bytes.size() < kEndBytes ? 0 : bytes.size() - kEndBytes + 1; at-- > 0;) {
    const Record end{std::span<const std::byte>(bytes).subspan(at)};
    if (end.u32(0) != kEndSignature || at + kEndBytes + end.u16(20) != bytes.size()) continue;
    Directory directory{end.u32(16), end.u32(12), end.u16(10)};
    if (directory.offset == 0xffffffff || directory.bytes == 0xffffffff ||
        directory.count == 0xffff) {
      return Status(Code::Unsupported, "ZIP64 archives are not read", "use .npy files");
    }
    if (end.u16(4) != 0 || end.u16(6) != 0 || end.u16(8) != directory.count) {
      return bad("it has several parts");
    }
    if (directory.offset + directory.bytes > file.size() - tail + at) {
      return bad("its directory is cut off");
    }
    return directory;
  }
  return bad("it has no directory");
}

Status check_name(const std::string& name) {
  if (name.empty() || name.find('\0') != std::string::npos)
    return bad("a member's name is no name");
  // Nothing is unpacked to a folder; still, such a name is written by nobody honest.
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find_first_of("/\\", begin), name.size());
    if (name.compare(begin, end - begin, "..") == 0) return bad("a member's name climbs out (..)");
    begin = end + 1;
  }
  return {};
}

Status check_members(const std::vector<ZipMember>& members, std::uint64_t file_bytes) {
  std::unordered_set<std::string> names;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;
  std::uint64_t unpacked = 0;
  for (const ZipMember& member : members) {
    if (!names.insert(member.name).second) return bad("a member is there twice");
    if (!member.deflated && member.packed != member.bytes) return bad("a member's sizes disagree");
    // The name of the local header may differ in length; kLocalBytes alone is enough to see reuse.
    extents.emplace_back(member.offset, member.offset + kLocalBytes + member.packed);
    unpacked += member.bytes;
  }
  std::ranges::sort(extents);
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const std::uint64_t limit = i + 1 < extents.size() ? extents[i + 1].first : file_bytes;
    if (extents[i].second > limit) return bad("members overlap or are cut off");
  }
  if (unpacked > kAlwaysAllowed && unpacked / kMaxRatio > file_bytes) {
    return {Code::LimitExceeded, "it would unpack from " + std::to_string(file_bytes) + " to " +
                                     std::to_string(unpacked) + " bytes"};
  }
  return {};
}

}  // namespace

Result<std::vector<ZipMember>> read_zip_directory(const InputFile& file) {
  const Result<Directory> directory = find_directory(file);
  if (!directory) return directory.status();
  std::vector<std::byte> bytes(directory->bytes);
  if (Status status = file.read_at(directory->offset, bytes); !status.ok()) return status;
  std::span<const std::byte> rest(bytes);
  std::vector<ZipMember> members;
  for (std::uint32_t i = 0; i < directory->count; ++i) {
    if (rest.size() < kEntryBytes) return bad("its directory is cut off");
    const Record entry(rest);
    const std::size_t name = entry.u16(28);
    const std::size_t all = kEntryBytes + name + entry.u16(30) + entry.u16(32);
    if (entry.u32(0) != kEntrySignature || rest.size() < all) {
      return bad("its directory is cut off");
    }
    ZipMember member;
    member.name.assign(reinterpret_cast<const char*>(rest.data()) + kEntryBytes, name);
    member.crc = entry.u32(16);
    member.packed = entry.u32(20);
    member.bytes = entry.u32(24);
    member.offset = entry.u32(42);
    const std::uint32_t method = entry.u16(10);
    member.deflated = method == 8;
    if (Status status = check_name(member.name); !status.ok()) return status;
    if (entry.u16(8) & 1) return Status(Code::Unsupported, "encrypted members are not read");
    if (method != 0 && method != 8) {
      return Status(Code::Unsupported,
                    "compression method " + std::to_string(method) + " is not read");
    }
    if (member.packed == 0xffffffff || member.bytes == 0xffffffff || member.offset == 0xffffffff) {
      return Status(Code::Unsupported, "ZIP64 archives are not read", "use .npy files");
    }
    members.push_back(std::move(member));
    rest = rest.subspan(all);
  }
  if (Status status = check_members(members, file.size()); !status.ok()) return status;
  return members;
}

}  // namespace miniinfer::command
