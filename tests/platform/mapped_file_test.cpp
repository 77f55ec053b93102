#include "core/platform/mapped_file.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

namespace miniinfer {
namespace {

namespace fs = std::filesystem;

// A temporary folder that is removed with all in it.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "miniinfer_map_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  fs::path operator/(const char* name) const { return path_ / name; }
  const fs::path& path() const { return path_; }
  fs::path write(const char* name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
    return path_ / name;
  }

 private:
  fs::path path_;
};

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST_CASE("A file is mapped with exactly its bytes") {
  const Folder folder;
  std::string text(9000, 'a');
  text += std::string("\0end", 4);
  const Result<MappedFile> file = MappedFile::open(folder.write("f", text));
  REQUIRE(file.ok());
  CHECK(text_of(*file) == text);
}

TEST_CASE("An empty file gives no bytes") {
  const Folder folder;
  const Result<MappedFile> file = MappedFile::open(folder.write("f", ""));
  REQUIRE(file.ok());
  CHECK(file->bytes().empty());
}

TEST_CASE("The bytes outlive the file's name, and move with the object") {
  const Folder folder;
  Result<MappedFile> file = MappedFile::open(folder.write("f", "kept"));
  REQUIRE(file.ok());
  fs::remove(folder / "f");
  MappedFile moved = std::move(*file);
  CHECK(text_of(moved) == "kept");
  MappedFile other;
  other = std::move(moved);
  CHECK(text_of(other) == "kept");
}

TEST_CASE("What is no regular file is refused by its kind, without waiting") {
  const Folder folder;
  REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
  const struct {
    fs::path path;
    Code code;
    const char* word;
  } cases[] = {{folder.path(), Code::InvalidArgument, "directory"},
               {folder / "pipe", Code::InvalidArgument, "pipe"},
               {"/dev/null", Code::InvalidArgument, "device"},
               {folder / "missing", Code::NotFound, "no file"},
               {folder / "missing/below", Code::NotFound, "no file"}};
  for (const auto& c : cases) {
    CAPTURE(c.path);
    const Result<MappedFile> file = MappedFile::open(c.path);
    CHECK(file.status().code() == c.code);
    CHECK(file.status().message().find(c.word) != std::string_view::npos);
  }
}

TEST_CASE("A file beneath a folder is found at any depth") {
  const Folder folder;
  folder.write("weights.bin", "top");
  folder.write("a/b/weights.bin", "deep");
  const Result<MappedFile> top = MappedFile::open_beneath(folder.path(), "weights.bin");
  REQUIRE(top.ok());
  CHECK(text_of(*top) == "top");
  const Result<MappedFile> deep = MappedFile::open_beneath(folder.path(), "a/./b//weights.bin");
  REQUIRE(deep.ok());
  CHECK(text_of(*deep) == "deep");
  CHECK(MappedFile::open_beneath(folder.path(), "a/none").status().code() == Code::NotFound);
}

TEST_CASE("No name leads out of the folder") {
  const Folder folder;
  folder.write("secret", "secret");
  folder.write("model/own", "own");
  folder.write("model/sub/own", "own");
  const fs::path model = folder / "model";
  fs::create_symlink(folder / "secret", model / "link");
  fs::create_symlink("own", model / "inner_link");
  fs::create_symlink(folder.path(), model / "up");
  fs::create_hard_link(folder / "secret", model / "second_name");
  const std::string secret = (folder / "secret").string();
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("../secret"),
        std::string("sub/../../secret"), secret, std::string("link"), std::string("inner_link"),
        std::string("up/secret"), std::string("second_name"), std::string("own\0x", 5),
        std::string("sub\\own"), std::string("sub"), std::string(5000, 'a')}) {
    CAPTURE(name);
    const Result<MappedFile> file = MappedFile::open_beneath(model, name);
    REQUIRE_FALSE(file.ok());
    CHECK(file.status().code() == Code::InvalidArgument);
  }
}

TEST_CASE("A pipe beneath the folder is refused without waiting") {
  const Folder folder;
  REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK(MappedFile::open_beneath(folder.path(), "pipe").status().code() == Code::InvalidArgument);
}

}  // namespace
}  // namespace miniinfer
