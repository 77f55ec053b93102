#include "core/runtime/load_model.hpp"

#include <map>

#include "core/base/format.hpp"
#include "core/onnx/importer.hpp"
#include "core/platform/mapped_file.hpp"

namespace miniinfer {
namespace {

std::vector<TensorSpec> to_specs(std::vector<DeclaredValue> declared) {
  std::vector<TensorSpec> specs;
  for (DeclaredValue& value : declared) {
    TensorSpec spec;
    spec.name = std::move(value.name);
    spec.dtype = value.dtype;
    spec.shape = std::move(value.shape);
    spec.dim_names = std::move(value.dim_names);
    spec.known_rank = value.known_rank;
    specs.push_back(std::move(spec));
  }
  return specs;
}

// The bytes of a model and where its external data comes from.
struct Source {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> keep;
  onnx::ExternalReader external;
};

Result<onnx::ExternalBytes> cut(std::span<const std::byte> bytes, std::shared_ptr<const void> keep,
                                const onnx::ExternalRange& range) {
  if (range.offset > bytes.size() || range.length > bytes.size() - range.offset) {
    return Status(
        Code::InvalidArgument,
        format("external data %s: %llu bytes at %llu, the file has %zu",
               printable(range.location).c_str(), static_cast<unsigned long long>(range.length),
               static_cast<unsigned long long>(range.offset), bytes.size()));
  }
  return onnx::ExternalBytes{bytes.subspan(range.offset, range.length), std::move(keep)};
}

Result<Source> open_file(const std::filesystem::path& path) {
  Result<MappedFile> opened = MappedFile::open(path);
  if (!opened) return opened.status();
  auto file = std::make_shared<MappedFile>(std::move(*opened));
  Source source;
  source.bytes = file->bytes();
  source.keep = file;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  // One file holds many tensors: it is mapped once.
  auto mapped = std::make_shared<std::map<std::string, std::shared_ptr<const MappedFile>>>();
  source.external = [folder,
                     mapped](const onnx::ExternalRange& range) -> Result<onnx::ExternalBytes> {
    std::shared_ptr<const MappedFile>& file = (*mapped)[std::string(range.location)];
    if (!file) {
      Result<MappedFile> data = MappedFile::open_beneath(folder, range.location);
      if (!data) return data.status();
      file = std::make_shared<const MappedFile>(std::move(*data));
    }
    return cut(file->bytes(), file, range);
  };
  return source;
}

}  // namespace

Result<LoadedModel> read_model(const Model& model) {
  Source source;
  if (!model.path.empty()) {
    Result<Source> opened = open_file(model.path);
    if (!opened) return opened.status();
    source = std::move(*opened);
  } else {
    source.bytes = model.data;
    source.keep = model.keep;
    if (model.external) {
      source.external = [external = model.external, keep = model.keep](
                            const onnx::ExternalRange& range) -> Result<onnx::ExternalBytes> {
        Result<std::span<const std::byte>> bytes = external(range.location);
        if (!bytes) return bytes.status();
        return cut(*bytes, keep, range);
      };
    }
  }
  Result<ImportedModel> imported = import_model(source.bytes, source.keep, source.external);
  if (!imported) return imported.status();
  LoadedModel loaded;
  loaded.summary.ir_version = imported->ir_version;
  loaded.summary.opsets = std::move(imported->opsets);
  loaded.summary.producer = std::move(imported->producer);
  loaded.summary.operators = std::move(imported->operators);
  loaded.summary.node_count = imported->node_count;
  loaded.summary.parameter_count = imported->parameter_count;
  loaded.summary.parameter_bytes = imported->parameter_bytes;
  loaded.graph = std::move(imported->graph);
  loaded.inputs = to_specs(std::move(imported->inputs));
  loaded.outputs = to_specs(std::move(imported->outputs));
  loaded.summary.inputs = loaded.inputs;
  loaded.summary.outputs = loaded.outputs;
  return loaded;
}

}  // namespace miniinfer
