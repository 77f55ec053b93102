#include "npy_header.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace miniinfer::command {
namespace {

struct Descr {
  std::string_view code;
  DataType dtype;
  std::size_t swap_unit;  // of a complex number, one of its two parts
};

constexpr Descr kDescrs[] = {
    {"b1", DataType::Bool, 1},      {"i1", DataType::Int8, 1},        {"u1", DataType::UInt8, 1},
    {"i2", DataType::Int16, 2},     {"u2", DataType::UInt16, 2},      {"i4", DataType::Int32, 4},
    {"u4", DataType::UInt32, 4},    {"i8", DataType::Int64, 8},       {"u8", DataType::UInt64, 8},
    {"f2", DataType::Float16, 2},   {"f4", DataType::Float32, 4},     {"f8", DataType::Float64, 8},
    {"c8", DataType::Complex64, 4}, {"c16", DataType::Complex128, 8},
};

Status bad(std::string what) { return {Code::InvalidArgument, "bad .npy header: " + what}; }

// Walks over the header's literals. Each accept() or parse says by its result whether the text was
// of that form; where it was not, the place is not moved.
class Literals {
 public:
  explicit Literals(std::string_view text) : text_(text) {}

  bool accept(char c) {
    skip_space();
    if (!text_.starts_with(c)) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool at_end() {
    skip_space();
    return text_.empty();
  }

  std::optional<std::string_view> text() {
    skip_space();
    if (text_.empty() || (text_[0] != '\'' && text_[0] != '"')) return std::nullopt;
    const std::size_t end = text_.find(text_[0], 1);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view inside = text_.substr(1, end - 1);
    if (inside.find('\\') != std::string_view::npos) return std::nullopt;
    text_.remove_prefix(end + 1);
    return inside;
  }

  std::optional<bool> boolean() {
    skip_space();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (!text_.starts_with(word)) continue;
      text_.remove_prefix(word.size());
      return value;
    }
    return std::nullopt;
  }

  // "()", "(3,)", "(3, 4)"; Python 2 wrote "3L".
  std::optional<Shape> shape() {
    if (!accept('(')) return std::nullopt;
    Shape shape;
    while (!accept(')')) {
      if (!shape.empty() && !comma_) return std::nullopt;
      skip_space();
      std::int64_t size = 0;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), size);
      if (error != std::errc() || size < 0) return std::nullopt;
      text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
      if (text_.starts_with('L')) text_.remove_prefix(1);
      shape.push_back(size);
      comma_ = accept(',');
    }
    // "(3)" is a number in brackets.
    if (shape.size() == 1 && !comma_) return std::nullopt;
    return shape;
  }

 private:
  void skip_space() {
    const std::size_t begin = text_.find_first_not_of(" \t\n\r");
    text_.remove_prefix(begin == std::string_view::npos ? text_.size() : begin);
  }

  std::string_view text_;
  bool comma_ = false;
};

Status set_descr(std::string_view descr, NpyHeader& header) {
  const auto refuse = [&] {
    const std::string shown(descr.substr(0, 16));
    const bool plain = std::ranges::all_of(shown, [](char c) { return c > ' ' && c <= '~'; });
    return Status(Code::Unsupported, ".npy element type '" + (plain ? shown : "?") + "'",
                  "bool, integers, float16, float32, float64 and complex are read");
  };
  if (descr.empty()) return refuse();
  const char order = descr[0];
  const auto* found = std::ranges::find(kDescrs, descr.substr(1), &Descr::code);
  if (found == std::end(kDescrs)) return refuse();
  const bool single = found->swap_unit == 1;
  if (order != '<' && order != '>' && !(order == '|' && single)) return refuse();
  header.type.dtype = found->dtype;
  header.swap_unit = order == '>' && !single ? found->swap_unit : 0;
  return {};
}

}  // namespace

Result<std::size_t> npy_length_bytes(std::span<const std::byte> magic) {
  const std::string_view bytes(reinterpret_cast<const char*>(magic.data()), magic.size());
  if (bytes.size() != kNpyMagicBytes || !bytes.starts_with("\x93NUMPY")) {
    return Status(Code::InvalidArgument, "not an .npy file");
  }
  const auto version = static_cast<unsigned char>(bytes[6]);
  if (version < 1 || version > 3 || bytes[7] != 0) {
    return Status(Code::Unsupported, ".npy version " + std::to_string(version) + "." +
                                         std::to_string(static_cast<unsigned char>(bytes[7])) +
                                         ": 1.0 to 3.0 are read");
  }
  return version == 1 ? std::size_t{2} : std::size_t{4};
}

Result<std::size_t> npy_header_bytes(std::span<const std::byte> length) {
  std::size_t bytes = 0;
  for (std::size_t i = length.size(); i-- > 0;) {
    bytes = bytes << 8 | std::to_integer<std::size_t>(length[i]);
  }
  if (bytes > kMaxNpyHeader) {
    return Status(Code::LimitExceeded, "an .npy header of " + std::to_string(bytes) +
                                           " bytes: at most " + std::to_string(kMaxNpyHeader));
  }
  return bytes;
}

Result<NpyHeader> parse_npy_header(std::string_view text) {
  NpyHeader header;
  bool has_descr = false;
  bool has_order = false;
  bool has_shape = false;
  Literals in(text);
  if (!in.accept('{')) return bad("it is no dict");
  bool comma = true;
  while (!in.accept('}')) {
    const std::optional<std::string_view> key = in.text();
    if (!comma || !key || !in.accept(':')) return bad("a key is missing");
    if (*key == "descr" && !has_descr) {
      has_descr = true;
      if (in.accept('[')) {
        return Status(Code::Unsupported, ".npy records (structured types) are not read");
      }
      const std::optional<std::string_view> descr = in.text();
      if (!descr) return bad("descr is no string");
      if (Status status = set_descr(*descr, header); !status.ok()) return status;
    } else if (*key == "fortran_order" && !has_order) {
      has_order = true;
      const std::optional<bool> order = in.boolean();
      if (!order) return bad("fortran_order is neither True nor False");
      header.fortran_order = *order;
    } else if (*key == "shape" && !has_shape) {
      has_shape = true;
      std::optional<Shape> shape = in.shape();
      if (!shape) return bad("shape is no tuple of sizes");
      header.type.shape = std::move(*shape);
    } else {
      return bad("a key is unknown or there twice");
    }
    comma = in.accept(',');
  }
  if (!in.at_end()) return bad("something follows the dict");
  if (!has_descr || !has_order || !has_shape)
    return bad("descr, fortran_order or shape is missing");
  return header;
}

Result<std::string> make_npy_header(const TensorType& type) {
  const auto* found = std::ranges::find(kDescrs, type.dtype, &Descr::dtype);
  if (found == std::end(kDescrs)) {
    return Status(Code::Unsupported, "NumPy has no " + std::string(to_string(type.dtype)),
                  "add a Cast to float32 to the model");
  }
  std::string text = "{'descr': '";
  text += found->swap_unit == 1 ? '|' : '<';
  text += std::string(found->code) + "', 'fortran_order': False, 'shape': (";
  for (std::size_t i = 0; i < type.shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(type.shape[i]);
  }
  text += type.shape.size() == 1 ? ",), }" : "), }";
  // The elements begin at a multiple of 64.
  constexpr std::size_t kBefore = kNpyMagicBytes + 2;
  while ((kBefore + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  if (text.size() > 0xffff) return bad("too many axes");
  std::string header("\x93NUMPY\x01\x00", kNpyMagicBytes);
  header += static_cast<char>(text.size() & 0xff);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

}  // namespace miniinfer::command
