#include <sys/stat.h>
#include <unistd.h>

#include "core/runtime/load_model.hpp"
#include "tests/onnx/import_helpers.hpp"
#include "tests/tools/scratch_folder.hpp"

namespace miniinfer::test::onnx {
namespace {

// models/m.onnx and models/w.bin beside it; outside/w.bin is what an attacker would like to read.
class Folder {
 public:
  Folder() {
    for (const char* name : {"models", "models/sub", "outside", "models_evil"}) {
      std::filesystem::create_directory(scratch / name);
    }
    const std::string weights = raw<float>({7, 8, 9});
    for (const char* name :
         {"models/w.bin", "models/sub/w.bin", "outside/w.bin", "models_evil/w.bin"}) {
      scratch.write(name, weights);
    }
  }

  Result<LoadedModel> load(const std::string& location, const std::string& offset = "4") const {
    const std::string w = external("w", DataType::Float32, {2},
                                   {{"location", location}, {"offset", offset}, {"length", "8"}});
    return read_model(Model::file(
        scratch.write("models/m.onnx",
                      model_of(with_node(node("Add", {"x", "w"}, {"y"})) + with_initializer(w)))));
  }
  Code code(const std::string& location, const std::string& offset = "4") const {
    return load(location, offset).status().code();
  }

  ScratchFolder scratch;
};

TEST_CASE("external data beside the model is read where it says") {
  const Folder folder;
  for (const char* location : {"w.bin", "sub/w.bin"}) {
    const Result<LoadedModel> loaded = folder.load(location);
    REQUIRE(loaded.ok());
    const Value& w = loaded->graph.value(loaded->graph.node(0).inputs[1]);
    CHECK(w.constant->as_doubles() == std::vector<double>{8, 9});
  }
}

TEST_CASE("no location leads out of the model's folder") {
  const Folder folder;
  const std::string absolute = (folder.scratch / "outside/w.bin").string();
  for (const std::string& location :
       {std::string("../outside/w.bin"), std::string("sub/../../outside/w.bin"),
        std::string("../models_evil/w.bin"), absolute, std::string("."), std::string(".."),
        std::string("/"), std::string("C:\\w.bin"), std::string("\\\\host\\w.bin"),
        std::string("/proc/self/mem"), std::string("*/_ORT_MEM_ADDR_/*"), std::string(5000, 'a')}) {
    CAPTURE(location);
    CHECK((folder.code(location) == Code::InvalidArgument ||
           folder.code(location) == Code::NotFound));
  }
  CHECK(folder.code("../models/w.bin") != Code::Ok);
}

TEST_CASE("links, folders and pipes are no external data") {
  const Folder folder;
  const auto in_models = [&](const char* name) {
    return folder.scratch / ("models/" + std::string(name));
  };
  std::filesystem::create_symlink(folder.scratch / "outside/w.bin", in_models("soft.bin"));
  std::filesystem::create_symlink("w.bin", in_models("near.bin"));
  std::filesystem::create_directory_symlink(folder.scratch / "outside", in_models("parent"));
  std::filesystem::create_hard_link(folder.scratch / "outside/w.bin", in_models("hard.bin"));
  REQUIRE(::mkfifo(in_models("fifo.bin").c_str(), 0600) == 0);
  for (const char* location :
       {"soft.bin", "near.bin", "parent/w.bin", "hard.bin", "fifo.bin", "sub"}) {
    CAPTURE(std::string(location));
    const Status status = folder.load(location).status();
    CHECK(status.code() == Code::InvalidArgument);
    CHECK(contains(status.message(), "tensor w"));
  }
}

TEST_CASE("a part beyond the end of the file is refused") {
  const Folder folder;
  CHECK(folder.code("w.bin", "4") == Code::Ok);
  CHECK(folder.code("w.bin", "5") == Code::InvalidArgument);
  CHECK(folder.code("w.bin", "12") == Code::InvalidArgument);
  CHECK(folder.code("w.bin", "18446744073709551612") == Code::InvalidArgument);
  CHECK(folder.code("none.bin") == Code::NotFound);
}

TEST_CASE("what is no model file is refused without waiting") {
  const ScratchFolder scratch;
  const auto code = [](const std::filesystem::path& path) {
    return read_model(Model::file(path)).status().code();
  };
  CHECK(code(scratch / "none.onnx") == Code::NotFound);
  CHECK(code(scratch / ".") == Code::InvalidArgument);
  CHECK(code(scratch.write("empty.onnx", "")) == Code::InvalidArgument);
  CHECK(code(scratch.write("text.onnx", "not a model")) == Code::InvalidArgument);
  REQUIRE(::mkfifo((scratch / "fifo.onnx").c_str(), 0600) == 0);
  CHECK(code(scratch / "fifo.onnx") == Code::InvalidArgument);
}

}  // namespace
}  // namespace miniinfer::test::onnx
