#include "plugins/cuda/kernels/pointwise_source.hpp"

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "miniinfer/sdk/data_type.hpp"
#include "miniinfer/sdk/error.hpp"
#include "plugins/cuda/kernels/pointwise_interpreter.hpp"

namespace miniinfer::cuda {
namespace {

using sdk::format;

// pointwise_generated.hpp says these again, for NVRTC.
static_assert(MINIINFER_FAULT_DIVIDE == 2);
static_assert(offsetof(miniinfer_fault, code) == 0 && offsetof(miniinfer_fault, step) == 4 &&
              offsetof(miniinfer_fault, detail) == 8 && sizeof(miniinfer_fault) == 32);
static_assert(std::extent_v<decltype(GeneratedArgs::pointers)> == kMaxPointwiseOperands);
static_assert(std::extent_v<decltype(InterpretedProgram::pointers)> == kMaxPointwiseOperands);
static_assert(std::extent_v<decltype(InterpretedProgram::constants)> == kMaxPointwiseConstants);

struct TypeNames {
  const char* storage;
  const char* compute;
};

TypeNames names_of(miniinfer_dtype dtype) {
  switch (dtype) {
    case MINIINFER_FLOAT32:
      return {"float", "float"};
    case MINIINFER_FLOAT16:
      return {"Float16", "float"};
    case MINIINFER_BFLOAT16:
      return {"BFloat16", "float"};
    case MINIINFER_FLOAT64:
      return {"double", "double"};
    case MINIINFER_INT8:
      return {"signed char", "int"};
    case MINIINFER_INT16:
      return {"short", "int"};
    case MINIINFER_INT32:
      return {"int", "int"};
    case MINIINFER_INT64:
      return {"long long", "long long"};
    case MINIINFER_UINT8:
      return {"unsigned char", "unsigned"};
    case MINIINFER_UINT16:
      return {"unsigned short", "unsigned"};
    case MINIINFER_UINT32:
      return {"unsigned", "unsigned"};
    case MINIINFER_UINT64:
      return {"unsigned long long", "unsigned long long"};
    default:
      return {"Bool", "unsigned"};
  }
}

const char* function_of(int op) {
#define MINIINFER_NAME(opcode, function) \
  case MINIINFER_PW_##opcode:            \
    return #function;
  switch (op) {
    MINIINFER_POINTWISE_COMMON(MINIINFER_NAME)
    MINIINFER_POINTWISE_FLOAT(MINIINFER_NAME)
    MINIINFER_POINTWISE_INTEGER(MINIINFER_NAME)
    MINIINFER_POINTWISE_TESTS(MINIINFER_NAME)
    default:
      return "";
  }
#undef MINIINFER_NAME
}

std::string constant_text(std::uint64_t bits, miniinfer_dtype dtype) {
  const auto slot = read_slot<unsigned long long>(&bits, 0, dtype);
  const std::string compute = names_of(dtype).compute;
  if (compute == "float") return format("float_of(0x%08xu)", static_cast<unsigned>(slot));
  if (compute == "double") return format("double_of(0x%016llxull)", slot);
  return format("static_cast<%s>(0x%llxull)", compute.c_str(), slot);
}

// Elements a thread takes: 16 bytes of the widest operand, fewer where each costs much code.
int vector_of(const PointwiseProgram& program) {
  std::uint32_t widest = 1;
  for (const Operand& operand : program.operands) {
    widest = std::max(widest, sdk::element_bytes(operand.dtype));
  }
  int functions = 0;
  for (const miniinfer_instruction& code : program.code) {
    const bool heavy = (code.op >= MINIINFER_PW_EXP && code.op <= MINIINFER_PW_SOFTPLUS) ||
                       (code.op >= MINIINFER_PW_MOD && code.op <= MINIINFER_PW_POW);
    functions += heavy ? (code.dtype == MINIINFER_FLOAT64 ? 4 : 1) : 0;
  }
  int vector = std::min(8, static_cast<int>(16 / widest));
  while (vector > 1 && vector * functions > 24) vector /= 2;
  return vector;
}

class Generator {
 public:
  explicit Generator(const PointwiseProgram& program) : program_(program) {}

  GeneratedSource run() {
    out_.vector = vector_of(program_);
    const Axes<kMaxPointwiseOperands>& axes = program_.axes;
    const std::int64_t inner = axes.rank > 0 ? axes.dims[axes.rank - 1] : 1;
    whole_rows_ = inner % out_.vector == 0;
    for (std::size_t k = 0; k < program_.operands.size(); ++k) modes_.push_back(mode_of(k));
    fill_args();

    line("using namespace miniinfer::cuda;");
    line("extern \"C\" __global__ void __launch_bounds__(%u) %s(", kGeneratedThreads,
         kGeneratedName);
    line("    const __grid_constant__ GeneratedArgs args) {");
    line("constexpr int V = %d;", out_.vector);
    line("const GeneratedSink sink{args.fault, args.step};");
    write_constants();
    line("for (unsigned first = (blockIdx.x * blockDim.x + threadIdx.x) * V; first < args.count;");
    line("     first += gridDim.x * blockDim.x * V) {");
    line("const unsigned n = args.count - first < V ? args.count - first : V;");
    line("const bool whole = args.aligned != 0 && n == V;");
    write_loads();
    write_body();
    for (std::uint32_t o = 0; o < program_.outputs(); ++o) {
      line("store_pack(args.pointers[%u], first, whole, n, out%u);", program_.inputs + o, o);
    }
    line("}\n}");
    return std::move(out_);
  }

 private:
  enum class Mode {
    Direct,   // element p is at p
    Single,   // one element for all
    Packed,   // whole rows, and a row's elements side by side
    Row,      // whole rows, and one element for a row
    Strided,  // whole rows, and a row's elements at any step
    Element,  // anything else, element by element
  };

  [[gnu::format(printf, 2, 3)]] void line(const char* text, ...) {
    std::va_list args;
    va_start(args, text);
    out_.text += sdk::vformat(text, args) + "\n";
    va_end(args);
  }

  Mode mode_of(std::size_t k) const {
    if (program_.is_direct(k)) return Mode::Direct;
    const Axes<kMaxPointwiseOperands>& axes = program_.axes;
    const std::int64_t* strides = axes.strides[k];
    if (std::all_of(strides, strides + axes.rank, [](std::int64_t s) { return s == 0; })) {
      return Mode::Single;
    }
    if (!whole_rows_) return Mode::Element;
    const std::int64_t step = strides[axes.rank - 1];
    return step == 1 ? Mode::Packed : step == 0 ? Mode::Row : Mode::Strided;
  }

  void fill_args() {
    const Axes<kMaxPointwiseOperands>& axes = program_.axes;
    out_.args.count = static_cast<unsigned>(program_.count);
    for (int axis = 0; axis < axes.rank; ++axis) {
      if (program_.count == 0) break;
      out_.args.divisors[axis] = make_fast_divisor(static_cast<unsigned>(axes.dims[axis]));
    }
    for (std::size_t k = 0; k < modes_.size(); ++k) {
      std::copy_n(axes.strides[k], axes.rank, out_.args.strides[k]);
      if (modes_[k] != Mode::Direct && modes_[k] != Mode::Packed) continue;
      out_.pack_bytes[k] =
          static_cast<std::uint32_t>(out_.vector) * sdk::element_bytes(program_.operands[k].dtype);
      if (modes_[k] == Mode::Direct) continue;
      for (int axis = 0; axis + 1 < axes.rank; ++axis) {
        if (axes.strides[k][axis] % out_.vector != 0) out_.strides_fit = false;
      }
    }
  }

  void write_constants() {
    for (std::size_t i = 0; i < program_.constants.size(); ++i) {
      const std::size_t r = program_.inputs + i;
      line("const %s r%zu = %s;", names_of(program_.types[r]).compute, r,
           constant_text(program_.constants[i], program_.types[r]).c_str());
    }
    for (std::size_t k = 0; k < program_.inputs; ++k) {
      if (modes_[k] != Mode::Single) continue;
      line("const %s one%zu = *static_cast<const %s*>(args.pointers[%zu]);", storage(k), k,
           storage(k), k);
    }
  }

  const char* storage(std::size_t k) const { return names_of(program_.operands[k].dtype).storage; }

  // Coordinates of element `element` along every axis: c0, c1, ...
  void write_coordinates(const char* element) {
    line("unsigned rest = %s;", element);
    for (int axis = program_.axes.rank - 1; axis > 0; --axis) {
      line("const unsigned c%d = args.divisors[%d].split(rest);", axis, axis);
    }
    line("const unsigned c0 = rest;");
  }

  std::string offset(std::size_t k) const {
    std::string sum = "0ll";
    for (int axis = 0; axis < program_.axes.rank; ++axis) {
      const std::int64_t stride = program_.axes.strides[k][axis];
      if (stride == 0) continue;
      sum += stride == 1 ? format(" + c%d", axis)
                         : format(" + c%d * args.strides[%zu][%d]", axis, k, axis);
    }
    return sum;
  }

  void write_loads() {
    const auto uses = [&](std::initializer_list<Mode> modes) {
      return std::any_of(modes_.begin(), modes_.begin() + program_.inputs, [&](Mode mode) {
        return std::find(modes.begin(), modes.end(), mode) != modes.end();
      });
    };
    if (uses({Mode::Packed, Mode::Row, Mode::Strided})) write_coordinates("first");
    for (std::size_t k = 0; k < program_.inputs; ++k) {
      switch (modes_[k]) {
        case Mode::Direct:
          line("const auto in%zu = load_pack<%s, V>(args.pointers[%zu], first, whole, n);", k,
               storage(k), k);
          break;
        case Mode::Packed:
          line("const auto in%zu = load_pack<%s, V>(args.pointers[%zu], %s, whole, n);", k,
               storage(k), k, offset(k).c_str());
          break;
        case Mode::Row:
          line("const %s one%zu = static_cast<const %s*>(args.pointers[%zu])[%s];", storage(k), k,
               storage(k), k, offset(k).c_str());
          break;
        case Mode::Strided:
          line("const auto in%zu = load_strided<%s, V>(args.pointers[%zu], %s,", k, storage(k), k,
               offset(k).c_str());
          line("    args.strides[%zu][%d]);", k, program_.axes.rank - 1);
          break;
        case Mode::Element:
          line("Pack<%s, V> in%zu;", storage(k), k);
          break;
        case Mode::Single:
          break;
      }
    }
    if (!uses({Mode::Element})) return;
    line("#pragma unroll\nfor (unsigned e = 0; e < V; ++e) {");
    write_coordinates("first + (e < n ? e : 0)");
    for (std::size_t k = 0; k < program_.inputs; ++k) {
      if (modes_[k] != Mode::Element) continue;
      line("in%zu.v[e] = static_cast<const %s*>(args.pointers[%zu])[%s];", k, storage(k), k,
           offset(k).c_str());
    }
    line("}");
  }

  void write_body() {
    for (std::uint32_t o = 0; o < program_.outputs(); ++o) {
      line("Pack<%s, V> out%u;", storage(program_.inputs + o), o);
    }
    line("#pragma unroll\nfor (int e = 0; e < V; ++e) {");
    for (std::size_t k = 0; k < program_.inputs; ++k) {
      const bool one = modes_[k] == Mode::Single || modes_[k] == Mode::Row;
      line("const %s r%zu = Number<%s>::load(%s%zu%s);", names_of(program_.types[k]).compute, k,
           storage(k), one ? "one" : "in", k, one ? "" : ".v[e]");
    }
    std::size_t result = program_.inputs + program_.constants.size();
    for (const miniinfer_instruction& code : program_.code) write_instruction(code, result++);
    for (std::uint32_t o = 0; o < program_.outputs(); ++o) {
      line("out%u.v[e] = Number<%s>::store(r%u);", o, storage(program_.inputs + o),
           program_.out[o]);
    }
    line("}");
  }

  void write_instruction(const miniinfer_instruction& code, std::size_t result) {
    const TypeNames type = names_of(code.dtype);
    if (pointwise_gives_bool(code.op)) {
      const unsigned b = pointwise_arity(code.op) > 1 ? code.b : code.a;
      line("const unsigned r%zu = op_%s(r%u, r%u) ? 1u : 0u;", result, function_of(code.op), code.a,
           b);
      return;
    }
    switch (code.op) {
      case MINIINFER_PW_COPY:
        line("const %s r%zu = r%u;", type.compute, result, code.a);
        return;
      case MINIINFER_PW_CAST:
        line("const %s r%zu = Number<%s>::load(convert<%s>(r%u));", type.compute, result,
             type.storage, type.storage, code.a);
        return;
      case MINIINFER_PW_SELECT:
        line("const %s r%zu = r%u != 0 ? r%u : r%u;", type.compute, result, code.a, code.b, code.c);
        return;
      default:
        break;
    }
    const int arity = pointwise_arity(code.op);
    line("const %s r%zu = narrow<%s>(op_%s(r%u, r%u, r%u, Site<GeneratedSink>{%u, sink}));",
         type.compute, result, type.storage, function_of(code.op), code.a,
         arity > 1 ? code.b : code.a, arity > 2 ? code.c : code.a,
         sdk::element_bytes(code.dtype) * 8);
  }

  const PointwiseProgram& program_;
  GeneratedSource out_;
  bool whole_rows_ = true;
  std::vector<Mode> modes_;
};

}  // namespace

std::optional<GeneratedSource> generate(const PointwiseProgram& program) {
  if (!program.small) return std::nullopt;
  for (std::size_t k = program.inputs; k < program.operands.size(); ++k) {
    if (!program.is_direct(k)) return std::nullopt;
  }
  return Generator(program).run();
}

const char* generated_prelude() {
  return
#include "plugins/cuda/pointwise_prelude.inc"
      ;
}

}  // namespace miniinfer::cuda
