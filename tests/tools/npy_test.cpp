#include "tools/miniinfer/npy.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "tests/tools/scratch_folder.hpp"

namespace miniinfer::command {
namespace {

// An .npy with that dict, as NumPy lays it out.
std::string npy(std::string dict, const std::string& elements, char version = 1) {
  dict += '\n';
  std::string bytes("\x93NUMPY", 6);
  bytes += version;
  bytes += '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) {
    bytes += static_cast<char>(dict.size() >> (8 * i) & 0xff);
  }
  return bytes + dict + elements;
}

std::string dict(const std::string& descr, const std::string& shape, bool fortran = false) {
  return "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") +
         ", 'shape': " + shape + ", }";
}

class Files {
 public:
  Result<Tensor> read(const std::string& bytes) const {
    return read_npy(folder.write("x.npy", bytes));
  }
  Code code(const std::string& bytes) const { return read(bytes).status().code(); }
  test::ScratchFolder folder;
};

TEST_CASE("a tensor comes back from its .npy as it was") {
  const Files files;
  const std::filesystem::path path = files.folder / "t.npy";
  for (const Shape& shape :
       {Shape{}, Shape{1}, Shape{2, 0, 3}, Shape{2, 3}, Shape{1, 1, 1, 1, 6}}) {
    const std::size_t count = *element_count(shape);
    std::vector<float> values;
    for (std::size_t i = 0; i < count; ++i) values.push_back(1.5F * static_cast<float>(i) - 2);
    REQUIRE(write_npy(path, *Tensor::from(values, shape)).ok());
    const Result<Tensor> back = read_npy(path);
    REQUIRE(back.ok());
    CHECK(back->type() == TensorType{DataType::Float32, shape});
    CHECK(back->to_vector<float>().value() == values);
  }
  CHECK(files.folder.file_count() == 1);
}

TEST_CASE("every type NumPy has is written and read, and the others are refused") {
  const Files files;
  const std::filesystem::path path = files.folder / "t.npy";
  for (int number = 1; number <= 26; ++number) {
    const auto dtype = static_cast<DataType>(number);
    if (dtype == DataType::String) continue;
    const std::vector<std::byte> bytes(*byte_count(dtype, {4}), std::byte{1});
    const Result<Tensor> tensor = Tensor::from_bytes(bytes, {dtype, {4}});
    if (!tensor) continue;
    const Status written = write_npy(path, *tensor);
    const bool in_numpy =
        number <= 13 || dtype == DataType::Complex64 || dtype == DataType::Complex128;
    CAPTURE(to_string(dtype));
    CHECK(written.code() == (in_numpy ? Code::Ok : Code::Unsupported));
    if (!in_numpy) continue;
    const Result<Tensor> back = read_npy(path);
    REQUIRE(back.ok());
    CHECK(back->dtype() == dtype);
    CHECK(std::ranges::equal(back->bytes(), bytes));
  }
}

TEST_CASE("big-endian files are converted") {
  const Files files;
  const std::string bytes("\x00\x01\xff\xfe", 4);
  const Result<Tensor> tensor = files.read(npy(dict(">i2", "(2,)"), bytes));
  REQUIRE(tensor.ok());
  CHECK(tensor->to_vector<std::int16_t>().value() == std::vector<std::int16_t>{1, -2});
}

TEST_CASE("files in Fortran order are converted") {
  const Files files;
  // numpy.arange(24).reshape(2, 3, 4), first axis innermost
  std::string bytes;
  for (int k = 0; k < 4; ++k) {
    for (int j = 0; j < 3; ++j) {
      for (int i = 0; i < 2; ++i) bytes += static_cast<char>(i * 12 + j * 4 + k);
    }
  }
  const Result<Tensor> tensor = files.read(npy(dict("|u1", "(2, 3, 4)", true), bytes));
  REQUIRE(tensor.ok());
  const std::vector<std::uint8_t> values = tensor->to_vector<std::uint8_t>().value();
  for (std::size_t i = 0; i < 24; ++i) CHECK(values[i] == i);
}

TEST_CASE("all three header versions are read, whatever the order of the keys") {
  const Files files;
  for (const char version : {1, 2, 3})
    CHECK(files.read(npy(dict("|u1", "(1,)"), "x", version)).ok());
  CHECK(files.read(npy("{\"shape\":(1L,),'descr':\"|u1\" , 'fortran_order':False}  ", "x")).ok());
  CHECK(files.code(npy(dict("|u1", "(1,)"), "x", 9)) == Code::Unsupported);
}

TEST_CASE("a bool that is neither 0 nor 1 becomes 1") {
  const Files files;
  const Result<Tensor> tensor =
      files.read(npy(dict("|b1", "(3,)"), std::string("\x00\x01\x7f", 3)));
  REQUIRE(tensor.ok());
  CHECK(tensor->bytes()[2] == std::byte{1});
}

TEST_CASE("objects, records, dates and text are refused by their type") {
  const Files files;
  for (const char* descr : {"|O", "<M8[ns]", "<U5", "|S5", "|V4", "<f16", "=f4", "f4", ">", ""}) {
    CAPTURE(descr);
    CHECK(files.code(npy(dict(descr, "(1,)"), std::string(8, '\0'))) == Code::Unsupported);
  }
  const std::string record = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }";
  CHECK(files.code(npy(record, std::string(4, '\0'))) == Code::Unsupported);
}

TEST_CASE("a header is a literal, nothing else") {
  const Files files;
  for (const char* text :
       {"", "{", "{}", "[]", "{'descr': '|u1'}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1)}",
        "{'descr': '|u1', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (0+1,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1 1)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)} x",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'shape': (1,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        "{'descr': '|\\x75' '1', 'fortran_order': False, 'shape': (1,)}",
        "__import__('os').system('true')"}) {
    CAPTURE(text);
    CHECK(files.code(npy(text, "x")) == Code::InvalidArgument);
  }
}

TEST_CASE("an .npy cut off anywhere is refused, as is one with bytes left over") {
  const Files files;
  const std::string whole = npy(dict("<f4", "(2,)"), std::string(8, 'x'));
  REQUIRE(files.read(whole).ok());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(files.code(whole.substr(0, size)) == Code::InvalidArgument);
  }
  CHECK(files.code(whole + "x") == Code::InvalidArgument);
}

TEST_CASE("a header above 64 KiB is refused, whether it is there or only claimed") {
  const Files files;
  CHECK(files.code(npy(dict("|u1", "(1,)") + std::string(70000, ' '), "x", 2)) ==
        Code::LimitExceeded);
  CHECK(files.code(std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12)) == Code::LimitExceeded);
}

TEST_CASE("sizes that overflow are refused") {
  const Files files;
  CHECK_FALSE(files.read(npy(dict("<f8", "(4611686018427387904, 8)"), "")).ok());
  CHECK_FALSE(files.read(npy(dict("<f8", "(2147483648, 2147483648, 4)"), "")).ok());
  CHECK(files.code(npy(dict("<f8", "(1099511627776,)"), "")) == Code::InvalidArgument);
}

TEST_CASE("what is no regular file is refused without waiting") {
  const test::ScratchFolder folder;
  CHECK(read_npy(folder / "none.npy").status().code() == Code::NotFound);
  CHECK(read_npy(folder / ".").status().code() == Code::InvalidArgument);
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  CHECK(read_npy(folder / "fifo").status().code() == Code::InvalidArgument);
}

TEST_CASE("a write that fails leaves the old file and nothing else") {
  const test::ScratchFolder folder;
  const Tensor tensor = *Tensor::from(std::vector<float>{1}, {1});
  const std::filesystem::path path = folder.write("t.npy", "old");
  const std::vector<std::byte> half(2);
  const Tensor bfloat = *Tensor::from_bytes(half, {DataType::BFloat16, {1}});
  CHECK_FALSE(write_npy(path, bfloat).ok());
  CHECK(folder.read("t.npy") == "old");
  CHECK(folder.file_count() == 1);
  CHECK(write_npy(folder / "none/t.npy", tensor).code() == Code::NotFound);
  CHECK_FALSE(write_npy(folder / ".", tensor).ok());
}

TEST_CASE("a full device is an error, and stays a device") {
  if (!std::filesystem::exists("/dev/full")) return;
  const Status status = write_npy("/dev/full", *Tensor::from(std::vector<float>{1}, {1}));
  CHECK(status.code() == Code::FailedPrecondition);
  CHECK(std::filesystem::is_character_file("/dev/full"));
}

TEST_CASE("a link is written through, and messages name the file") {
  const test::ScratchFolder folder;
  folder.write("real.npy", "old");
  std::filesystem::create_symlink(folder / "real.npy", folder / "link.npy");
  REQUIRE(write_npy(folder / "link.npy", *Tensor::from(std::vector<float>{1}, {1})).ok());
  CHECK(std::filesystem::is_symlink(folder / "link.npy"));
  CHECK(read_npy(folder / "real.npy").ok());
  CHECK(read_npy(folder / "none.npy").status().message().find("none.npy") != std::string::npos);
}

}  // namespace
}  // namespace miniinfer::command
