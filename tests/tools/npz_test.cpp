#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>

#include "tests/tools/scratch_folder.hpp"
#include "tools/miniinfer/npy.hpp"

namespace miniinfer::command {
namespace {

std::string number(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}

std::string deflated(const std::string& data) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, data.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

struct Member {
  std::string name;
  std::string data;
  bool deflate = false;
  // Lies, where they are not -1.
  std::int64_t crc = -1;
  std::int64_t bytes = -1;
  std::int64_t packed = -1;
  int method = -1;
  int flags = 0;
};

// An archive as NumPy writes it: local headers leave their sizes to a ZIP64 field.
std::string archive(const std::vector<Member>& members) {
  std::string out;
  std::string directory;
  for (const Member& m : members) {
    const std::string data = m.deflate ? deflated(m.data) : m.data;
    const auto crc = m.crc >= 0 ? static_cast<std::uint64_t>(m.crc)
                                : crc32(0, reinterpret_cast<const Bytef*>(m.data.data()),
                                        static_cast<uInt>(m.data.size()));
    const std::uint64_t bytes = m.bytes >= 0 ? static_cast<std::uint64_t>(m.bytes) : m.data.size();
    const std::uint64_t packed = m.packed >= 0 ? static_cast<std::uint64_t>(m.packed) : data.size();
    const int method = m.method >= 0 ? m.method : m.deflate ? 8 : 0;
    const std::string front = number(45, 2) + number(static_cast<std::uint64_t>(m.flags), 2) +
                              number(static_cast<std::uint64_t>(method), 2) + number(0, 4) +
                              number(crc, 4);
    directory += "PK\x01\x02" + number(45, 2) + front + number(packed, 4) + number(bytes, 4) +
                 number(m.name.size(), 2) + std::string(12, '\0') + number(out.size(), 4) + m.name;
    out += "PK\x03\x04" + front + number(0xffffffff, 4) + number(0xffffffff, 4) +
           number(m.name.size(), 2) + number(20, 2) + m.name + number(1, 2) + number(16, 2) +
           number(bytes, 8) + number(packed, 8) + data;
  }
  return out + directory + "PK\x05\x06" + number(0, 4) + number(members.size(), 2) +
         number(members.size(), 2) + number(directory.size(), 4) + number(out.size(), 4) +
         number(0, 2);
}

std::string npy(const std::vector<std::uint8_t>& values) {
  const test::ScratchFolder folder;
  const Shape shape = {static_cast<std::int64_t>(values.size())};
  REQUIRE(write_npy(folder / "t.npy", *Tensor::from(values, shape)).ok());
  return folder.read("t.npy");
}

Result<std::vector<NamedTensor>> read(const std::string& bytes) {
  const test::ScratchFolder folder;
  return read_npz(folder.write("t.npz", bytes));
}
Code code(const std::vector<Member>& members) { return read(archive(members)).status().code(); }

TEST_CASE("tensors come back from their .npz by name and in order") {
  const test::ScratchFolder folder;
  const std::vector<NamedTensor> tensors = {
      {"/layer/out_0", *Tensor::from(std::vector<float>{1, 2, 3}, {3})},
      {"b", *Tensor::from(std::vector<std::int64_t>{7}, {})},
      {"\xc3\xa9", *Tensor::from(std::vector<float>{}, {0, 4})}};
  REQUIRE(write_npz(folder / "t.npz", tensors).ok());
  const Result<std::vector<NamedTensor>> back = read_npz(folder / "t.npz");
  REQUIRE(back.ok());
  REQUIRE(back->size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK((*back)[i].name == tensors[i].name);
    CHECK((*back)[i].tensor.type() == tensors[i].tensor.type());
    CHECK(std::ranges::equal((*back)[i].tensor.bytes(), tensors[i].tensor.bytes()));
  }
  CHECK(folder.file_count() == 1);
}

TEST_CASE("stored and deflated members are read") {
  const std::vector<std::uint8_t> values(100'000, 7);
  for (const bool deflate : {false, true}) {
    const Result<std::vector<NamedTensor>> read_back =
        read(archive({{.name = "a.npy", .data = npy(values), .deflate = deflate},
                      {.name = "b.npy", .data = npy({1, 2}), .deflate = deflate}}));
    REQUIRE(read_back.ok());
    CHECK((*read_back)[0].name == "a");
    CHECK((*read_back)[0].tensor.to_vector<std::uint8_t>().value() == values);
    CHECK((*read_back)[1].tensor.element_count() == 2);
  }
}

TEST_CASE("a member may end anywhere in the buffer it is unpacked through") {
  std::vector<std::uint8_t> values;
  std::uint32_t state = 1;
  while (values.size() < (1 << 16) - 160) {
    state = state * 1664525 + 1013904223;
    values.push_back(static_cast<std::uint8_t>(state >> 24));
  }
  bool below = false;
  bool above = false;
  for (int i = 0; i < 64; ++i) {
    values.push_back(static_cast<std::uint8_t>(i));
    const std::string data = npy(values);
    below = below || deflated(data).size() < (1 << 16);
    above = above || deflated(data).size() > (1 << 16);
    CAPTURE(values.size());
    CHECK(code({{.name = "a.npy", .data = data, .deflate = true}}) == Code::Ok);
  }
  CHECK(below);
  CHECK(above);
}

TEST_CASE("an archive cut off anywhere is refused") {
  const std::string whole = archive({{.name = "a.npy", .data = npy({1, 2, 3}), .deflate = true}});
  REQUIRE(read(whole).ok());
  const test::ScratchFolder folder;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(read_npz(folder.write("t.npz", whole.substr(0, size))).status().code() ==
          Code::InvalidArgument);
  }
}

TEST_CASE("an archive with any one byte changed is read or refused, never worse") {
  const std::string whole = archive({{.name = "a.npy", .data = npy({1, 2, 3}), .deflate = true}});
  const test::ScratchFolder folder;
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int change : {0x01, 0x80, 0xff}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ change);
      refused += read_npz(folder.write("t.npz", changed)).ok() ? 0 : 1;
    }
  }
  CHECK(refused > 0);
}

TEST_CASE("names that climb, are there twice, or are no .npy are refused") {
  const std::string one = npy({1});
  CHECK(code({{.name = "../a.npy", .data = one}}) == Code::InvalidArgument);
  CHECK(code({{.name = "x/../a.npy", .data = one}}) == Code::InvalidArgument);
  CHECK(code({{.name = "x\\..\\a.npy", .data = one}}) == Code::InvalidArgument);
  CHECK(code({{.name = std::string("a\0b.npy", 7), .data = one}}) == Code::InvalidArgument);
  CHECK(code({{.name = "a.txt", .data = one}}) == Code::InvalidArgument);
  CHECK(code({{.name = ".npy", .data = one}}) == Code::InvalidArgument);
  CHECK(code({{.name = "", .data = one}}) == Code::InvalidArgument);
  CHECK(code({{.name = "a.npy", .data = one}, {.name = "a.npy", .data = one}}) ==
        Code::InvalidArgument);
  CHECK(code({{.name = "a..b.npy", .data = one}}) == Code::Ok);
}

TEST_CASE("a directory that lies is found out") {
  const std::string one = npy({1});
  CHECK(code({{.name = "a.npy", .data = one, .crc = 1}}) == Code::InvalidArgument);
  CHECK(code({{.name = "a.npy", .data = one, .bytes = 1}}) == Code::InvalidArgument);
  CHECK(code({{.name = "a.npy", .data = one, .deflate = true, .bytes = 1 << 20}}) ==
        Code::InvalidArgument);
  CHECK(code({{.name = "a.npy", .data = one, .deflate = true, .packed = 1}}) ==
        Code::InvalidArgument);
  // More comes out than was declared, and the checksum is that of the declared part.
  const auto crc =
      crc32(0, reinterpret_cast<const Bytef*>(one.data()), static_cast<uInt>(one.size()));
  CHECK(code({{.name = "a.npy",
               .data = one + "more",
               .deflate = true,
               .crc = static_cast<std::int64_t>(crc),
               .bytes = static_cast<std::int64_t>(one.size())}}) == Code::InvalidArgument);
  CHECK(code({{.name = "a.npy", .data = one, .packed = 1 << 20}}) == Code::InvalidArgument);
  CHECK(code({{.name = "a.npy", .data = one, .method = 12}}) == Code::Unsupported);
  CHECK(code({{.name = "a.npy", .data = one, .flags = 1}}) == Code::Unsupported);
  CHECK(code({{.name = "a.npy", .data = one, .bytes = 0xffffffff, .packed = 0xffffffff}}) ==
        Code::Unsupported);
}

TEST_CASE("a bomb is refused before it is unpacked") {
  std::vector<Member> members;
  for (int i = 0; i < 4; ++i) {
    members.push_back({.name = std::to_string(i) + ".npy",
                       .data = npy({1}),
                       .deflate = true,
                       .bytes = std::int64_t{1} << 30});
  }
  CHECK(code(members) == Code::LimitExceeded);
}

TEST_CASE("members that share bytes are refused") {
  std::string bytes =
      archive({{.name = "a.npy", .data = npy({1})}, {.name = "b.npy", .data = npy({2})}});
  const std::size_t second = bytes.rfind("PK\x01\x02");
  bytes.replace(second + 42, 4, number(0, 4));  // b begins where a does
  CHECK(read(bytes).status().code() == Code::InvalidArgument);
}

TEST_CASE("tensors with one name are not written") {
  const test::ScratchFolder folder;
  const Tensor tensor = *Tensor::from(std::vector<float>{1}, {1});
  const std::vector<NamedTensor> twice = {{"a", tensor}, {"a", tensor}};
  CHECK(write_npz(folder / "t.npz", twice).code() == Code::InvalidArgument);
  CHECK(folder.file_count() == 0);
}

}  // namespace
}  // namespace miniinfer::command
