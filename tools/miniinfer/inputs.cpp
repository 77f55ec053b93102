#include "inputs.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "npy.hpp"

namespace miniinfer::command {
namespace {

// PCG32 (O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for
// Random Number Generation", 2014).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed + kIncrement) { (void)next(); }
  std::uint32_t next() {
    const std::uint64_t old = state_;
    state_ = old * 6364136223846793005ULL + kIncrement;
    const auto shifted = static_cast<std::uint32_t>(((old >> 18) ^ old) >> 27);
    const auto turn = static_cast<std::uint32_t>(old >> 59);
    return (shifted >> turn) | (shifted << ((32 - turn) & 31));
  }
  double unit() { return next() * 0x1p-32; }

 private:
  static constexpr std::uint64_t kIncrement = 1442695040888963407ULL;
  std::uint64_t state_;
};

template <class T>
void fill(std::span<std::byte> bytes, Random& random, double low, double high) {
  const auto count = bytes.size() / sizeof(T);
  for (std::size_t i = 0; i < count; ++i) {
    double value = low + random.unit() * (high - low);
    if constexpr (std::is_integral_v<T>) {
      value = std::floor(low + random.unit() * (high - low + 1));
    }
    const T element = static_cast<T>(value);
    std::memcpy(bytes.data() + i * sizeof(T), &element, sizeof(T));
  }
}

Status fill_tensor(Tensor& tensor, std::uint64_t seed, double low, double high) {
  Random random(seed);
  const std::span<std::byte> bytes = tensor.mutable_bytes();
  switch (tensor.dtype()) {
    case DataType::Float32:
      fill<float>(bytes, random, low, high);
      return {};
    case DataType::Float64:
      fill<double>(bytes, random, low, high);
      return {};
    case DataType::Int8:
      fill<std::int8_t>(bytes, random, low, high);
      return {};
    case DataType::Int16:
      fill<std::int16_t>(bytes, random, low, high);
      return {};
    case DataType::Int32:
      fill<std::int32_t>(bytes, random, low, high);
      return {};
    case DataType::Int64:
      fill<std::int64_t>(bytes, random, low, high);
      return {};
    case DataType::Bool:
    case DataType::UInt8:
      fill<std::uint8_t>(bytes, random, low, high);
      return {};
    case DataType::UInt16:
      fill<std::uint16_t>(bytes, random, low, high);
      return {};
    case DataType::UInt32:
      fill<std::uint32_t>(bytes, random, low, high);
      return {};
    case DataType::UInt64:
      fill<std::uint64_t>(bytes, random, low, high);
      return {};
    default:
      return {Code::Unsupported,
              "random " + std::string(to_string(tensor.dtype())) + " inputs are not implemented",
              "give a file: -i NAME=@F.npy"};
  }
}

// The whole text as a number.
template <class T>
bool parse_number(std::string_view text, T* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// "random[:SEED[:LO..HI]]"
Result<Tensor> parse_random(const TensorType& type, std::string_view text) {
  std::uint64_t seed = 0;
  double low = 0;
  double high = 1;
  bool good = true;
  if (std::string_view rest = text.substr(6); !rest.empty()) {
    const std::size_t colon = rest.find(':', 1);
    good = rest[0] == ':' && parse_number(rest.substr(1, colon - 1), &seed);
    if (good && colon != std::string_view::npos) {
      rest.remove_prefix(colon + 1);
      const std::size_t dots = rest.find("..");
      good = dots != std::string_view::npos && parse_number(rest.substr(0, dots), &low) &&
             parse_number(rest.substr(dots + 2), &high) && low <= high;
    }
  }
  if (!good) {
    return Status(Code::InvalidArgument, std::string(text) + " is not random[:SEED[:LO..HI]]");
  }
  return random_tensor(type, seed, low, high);
}

Result<Tensor> make_input(const TensorType& type, const std::string& how) {
  if (how.starts_with('@')) return read_npy(how.substr(1));
  if (how.starts_with("random")) return parse_random(type, how);
  if (how == "zeros") {
    Result<Tensor> tensor = Tensor::empty(type.dtype, type.shape);
    if (tensor) std::ranges::fill(tensor->mutable_bytes(), std::byte{0});
    return tensor;
  }
  return Status(Code::InvalidArgument, "input value " + how + " is not @F.npy, random or zeros");
}

Result<TensorType> concrete_type(const TensorSpec& spec, const std::vector<NamedShape>& shapes) {
  for (const NamedShape& shape : shapes) {
    if (shape.name == spec.name) return TensorType{spec.dtype, shape.shape};
  }
  if (!spec.known_rank) {
    return Status(Code::InvalidArgument, "input " + spec.name + " has no declared rank",
                  "give its sizes: --shape " + spec.name + "=..");
  }
  TensorType type{spec.dtype, spec.shape};
  for (std::int64_t& size : type.shape) size = size < 0 ? 1 : size;
  return type;
}

}  // namespace

Result<Tensor> random_tensor(const TensorType& type, std::uint64_t seed, double low, double high) {
  Result<Tensor> tensor = Tensor::empty(type.dtype, type.shape);
  if (!tensor) return tensor;
  if (Status status = fill_tensor(*tensor, seed, low, high); !status.ok()) return status;
  return tensor;
}

Result<std::vector<NamedTensor>> read_data_set(const std::filesystem::path& folder,
                                               const std::string& prefix,
                                               std::span<const TensorSpec> specs) {
  std::vector<NamedTensor> tensors;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const std::filesystem::path file = folder / (prefix + std::to_string(i) + ".pb");
    std::error_code error;
    if (!std::filesystem::exists(file, error)) break;
    Result<NamedTensor> tensor = read_onnx_tensor(file);
    if (!tensor) return tensor.status();
    tensor->name = specs[i].name;
    tensors.push_back(std::move(*tensor));
  }
  if (tensors.empty()) {
    return Status(Code::NotFound, "no " + prefix + "0.pb in " + folder.string());
  }
  return tensors;
}

Result<std::vector<NamedTensor>> read_tensors(const std::filesystem::path& path,
                                              const std::string& prefix,
                                              std::span<const TensorSpec> specs) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return read_data_set(path, prefix, specs);
  return read_npz(path);
}

Result<std::vector<Input>> gather_inputs(const Session& session, const ModelOptions& options,
                                         const std::string& made_up) {
  std::vector<Input> inputs;
  const auto known = [&](std::string_view name) {
    return std::ranges::any_of(session.inputs(),
                               [&](const TensorSpec& spec) { return spec.name == name; });
  };
  const auto given = [&](std::string_view name) {
    return std::ranges::any_of(inputs, [&](const Input& input) { return input.name == name; });
  };
  Result<std::vector<NamedShape>> shapes = parse_shapes(options);
  if (!shapes) return shapes.status();
  std::string names;
  for (const TensorSpec& spec : session.inputs()) {
    names += (names.empty() ? "" : ", ") + spec.name;
  }
  for (const std::string& text : options.inputs) {
    const std::size_t equals = text.find('=');
    const std::string name = text.substr(0, equals);
    if (equals == std::string::npos || equals == 0) {
      return Status(Code::InvalidArgument, "-i " + text + " is not NAME=VALUE");
    }
    const auto spec = std::ranges::find(session.inputs(), name, &TensorSpec::name);
    if (spec == session.inputs().end()) {
      return Status(Code::InvalidArgument, "no input is called " + name, "inputs: " + names);
    }
    if (given(name)) return Status(Code::InvalidArgument, "input " + name + " is given twice");
    Result<TensorType> type = concrete_type(*spec, *shapes);
    const std::string how = text.substr(equals + 1);
    if (!type && !how.starts_with('@')) return type.status();
    Result<Tensor> tensor = make_input(type ? *type : TensorType(), how);
    if (!tensor) return tensor.status();
    inputs.push_back({name, std::move(*tensor), how});
  }
  for (const std::string& path : options.all) {
    Result<std::vector<NamedTensor>> tensors = read_tensors(path, "input_", session.inputs());
    if (!tensors) return tensors.status();
    for (NamedTensor& tensor : *tensors) {
      if (!known(tensor.name)) {
        return Status(Code::InvalidArgument, path + " has " + tensor.name + ", which is no input",
                      "inputs: " + names);
      }
      if (given(tensor.name)) {
        return Status(Code::InvalidArgument, "input " + tensor.name + " is given twice");
      }
      inputs.push_back({tensor.name, std::move(tensor.tensor), path});
    }
  }
  for (const NamedShape& shape : *shapes) {
    if (!known(shape.name)) {
      return Status(Code::InvalidArgument, "no input is called " + shape.name, "inputs: " + names);
    }
  }
  for (const TensorSpec& spec : session.inputs()) {
    if (given(spec.name)) continue;
    if (made_up.empty()) {
      return Status(Code::InvalidArgument, "input " + spec.name + " is missing",
                    "it is " + to_string(spec) + ": -i " + spec.name + "=@F.npy, or =random");
    }
    Result<TensorType> type = concrete_type(spec, *shapes);
    if (!type) return type.status();
    Result<Tensor> tensor = make_input(*type, made_up);
    if (!tensor) return tensor.status();
    inputs.push_back({spec.name, std::move(*tensor), made_up + ":0"});
  }
  return inputs;
}

Outcome gather_shapes(const Session& session, const ModelOptions& options,
                      std::vector<NamedShape>& shapes) {
  Result<std::vector<NamedShape>> given = parse_shapes(options);
  if (!given) return Outcome::fail(given.status(), Stage::Usage);
  shapes = std::move(*given);
  if (options.inputs.empty() && options.all.empty()) return Outcome::ok();
  const Result<std::vector<Input>> inputs = gather_inputs(session, options, "zeros");
  if (!inputs) return input_failure(inputs.status());
  shapes.clear();
  for (const Input& input : *inputs) shapes.push_back({input.name, input.tensor.shape()});
  return Outcome::ok();
}

Outcome input_failure(const Status& status) {
  const bool file = status.code() == Code::NotFound || status.code() == Code::FailedPrecondition;
  return Outcome::fail(status, file ? Stage::File : Stage::Usage);
}

Json to_json(const std::vector<Input>& inputs) {
  Json json = Json::array();
  for (const Input& input : inputs) {
    json.push_back({{"name", input.name},
                    {"type", to_string(input.tensor.dtype())},
                    {"shape", json_shape(input.tensor.shape())},
                    {"source", input.source}});
  }
  return json;
}

std::vector<Named> named(const std::vector<Input>& inputs) {
  std::vector<Named> list;
  for (const Input& input : inputs) list.push_back({input.name, input.tensor});
  return list;
}

}  // namespace miniinfer::command
