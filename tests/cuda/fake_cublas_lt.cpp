#include "tests/cuda/fake_cublas_lt.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "miniinfer/sdk/reference/number.hpp"
#include "plugins/cuda/cublas_lt.hpp"
#include "tests/cuda/fake_bench.hpp"

namespace miniinfer::test {
namespace {

namespace reference = sdk::reference;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "fake cuBLASLt: %s\n", what);
  std::abort();
}

struct Matrix {
  std::uint64_t type, rows, columns, ld, batch, step;
};
static_assert(sizeof(Matrix) <= sizeof(cublasLtMatrixLayoutOpaque_t));

struct Description {
  std::uint64_t compute, scale, transpose_a, transpose_b, epilogue;
  const std::byte* bias;
};
static_assert(sizeof(Description) <= sizeof(cublasLtMatmulDescOpaque_t));

template <class T, class From>
T read_as(const From* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class T, class To>
void write_as(const T& value, To* to) {
  std::memcpy(static_cast<void*>(to), &value, sizeof value);
}

miniinfer_dtype dtype_of(std::uint64_t type) {
  return type == CUDA_R_64F    ? MINIINFER_FLOAT64
         : type == CUDA_R_16F  ? MINIINFER_FLOAT16
         : type == CUDA_R_16BF ? MINIINFER_BFLOAT16
                               : MINIINFER_FLOAT32;
}

double element(miniinfer_dtype dtype, const std::byte* base, std::uint64_t index) {
  return reference::with_type(dtype, [&](auto type) {
    using S = typename decltype(type)::Stored;
    return static_cast<double>(reference::load<S>(base + index * sizeof(S)));
  });
}

cublasStatus_t create_layout(cublasLtMatrixLayout_t* out, cudaDataType type, std::uint64_t rows,
                             std::uint64_t columns, std::int64_t ld) {
  require(rows > 0 && columns > 0, "an empty matrix");
  require(ld >= static_cast<std::int64_t>(rows), "a leading dimension below the rows");
  *out = new cublasLtMatrixLayoutOpaque_t{};
  write_as(
      Matrix{static_cast<std::uint64_t>(type), rows, columns, static_cast<std::uint64_t>(ld), 1, 0},
      *out);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t set_layout(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute,
                          const void* value, std::size_t bytes) {
  Matrix matrix = read_as<Matrix>(layout);
  if (attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) {
    require(bytes == sizeof(std::int32_t), "the batch count is an int32");
    matrix.batch = static_cast<std::uint64_t>(read_as<std::int32_t>(value));
  } else {
    require(
        attribute == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET && bytes == sizeof(std::int64_t),
        "a layout attribute that is not known");
    matrix.step = read_as<std::uint64_t>(value);
  }
  write_as(matrix, layout);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t create_description(cublasLtMatmulDesc_t* out, cublasComputeType_t compute,
                                  cudaDataType_t scale) {
  *out = new cublasLtMatmulDescOpaque_t{};
  write_as(Description{static_cast<std::uint64_t>(compute), static_cast<std::uint64_t>(scale), 0, 0,
                       CUBLASLT_EPILOGUE_DEFAULT, nullptr},
           *out);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t set_description(cublasLtMatmulDesc_t to, cublasLtMatmulDescAttributes_t attribute,
                               const void* value, std::size_t bytes) {
  Description description = read_as<Description>(to);
  if (attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER) {
    require(bytes == sizeof(void*), "the bias is a pointer");
    description.bias = read_as<const std::byte*>(value);
  } else {
    require(bytes == sizeof(std::int32_t), "an attribute of another size");
    const auto number = read_as<std::uint32_t>(value);
    switch (attribute) {
      case CUBLASLT_MATMUL_DESC_TRANSA:
        description.transpose_a = number == CUBLAS_OP_T;
        break;
      case CUBLASLT_MATMUL_DESC_TRANSB:
        description.transpose_b = number == CUBLAS_OP_T;
        break;
      case CUBLASLT_MATMUL_DESC_EPILOGUE:
        description.epilogue = number;
        break;
      default:
        require(false, "an attribute that is not known");
    }
  }
  write_as(description, to);
  return CUBLAS_STATUS_SUCCESS;
}

// A preference is the alignment it asks for.
cublasStatus_t create_preference(cublasLtMatmulPreference_t* out) {
  *out = new cublasLtMatmulPreferenceOpaque_t{};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t set_preference(cublasLtMatmulPreference_t to,
                              cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                              std::size_t bytes) {
  require(bytes == (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? 8u : 4u),
          "a preference of another size");
  if (attribute == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES) {
    to->data[0] = read_as<std::uint32_t>(value);
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t find(cublasLtHandle_t, cublasLtMatmulDesc_t description, cublasLtMatrixLayout_t,
                    cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                    cublasLtMatmulPreference_t preference, int room,
                    cublasLtMatmulHeuristicResult_t* results, int* count) {
  const Description d = read_as<Description>(description);
  const bool plain = d.epilogue == CUBLASLT_EPILOGUE_DEFAULT;
  require((d.epilogue & CUBLASLT_EPILOGUE_BIAS) == 0 || d.bias != nullptr, "no bias to choose by");
  *count =
      plain || fake_cublas_lt().knows_epilogues ? std::min(room, fake_cublas_lt().algorithms) : 0;
  if (*count == 0) return CUBLAS_STATUS_NOT_SUPPORTED;
  static std::uint64_t answers = 0;
  ++answers;
  for (int i = 0; i < *count; ++i) {
    results[i] = {};
    results[i].algo.data[0] = preference->data[0];
    results[i].algo.data[1] = static_cast<std::uint64_t>(i);
    results[i].algo.data[2] = fake_cublas_lt().changes_its_mind ? answers : 0;
    results[i].state = CUBLAS_STATUS_SUCCESS;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t check(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                     cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                     const cublasLtMatmulAlgo_t* algorithm,
                     cublasLtMatmulHeuristicResult_t* result) {
  *result = {};
  if (algorithm->data[1] >= static_cast<std::uint64_t>(fake_cublas_lt().algorithms)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  result->algo = *algorithm;
  result->workspaceSize =
      static_cast<int>(algorithm->data[1]) == fake_cublas_lt().greedy ? std::size_t{1} << 40 : 0;
  return CUBLAS_STATUS_SUCCESS;
}

double finish(std::uint64_t epilogue, double x) {
  if ((epilogue & CUBLASLT_EPILOGUE_GELU) != 0) {
    return 0.5 * x *
           (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
  }
  return (epilogue & CUBLASLT_EPILOGUE_RELU) != 0 && x < 0 ? 0 : x;
}

// By columns, as the library stores.
cublasStatus_t multiply(cublasLtHandle_t, cublasLtMatmulDesc_t description, const void* alpha,
                        const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                        cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                        cublasLtMatrixLayout_t c_layout, void* out,
                        cublasLtMatrixLayout_t out_layout, const cublasLtMatmulAlgo_t* algorithm,
                        void*, std::size_t, cudaStream_t) {
  const auto d = read_as<Description>(description);
  const auto ma = read_as<Matrix>(a_layout), mb = read_as<Matrix>(b_layout);
  const auto mc = read_as<Matrix>(c_layout), mo = read_as<Matrix>(out_layout);
  const bool wide = d.scale == CUDA_R_64F;
  const double one = wide ? read_as<double>(alpha) : read_as<float>(alpha);
  const double factor = wide ? read_as<double>(beta) : read_as<float>(beta);
  const std::uint64_t k = d.transpose_a != 0 ? ma.rows : ma.columns;
  require((d.transpose_a != 0 ? ma.columns : ma.rows) == mo.rows, "a's rows are not the output's");
  require((d.transpose_b != 0 ? mb.rows : mb.columns) == mo.columns, "b's columns do not fit");
  require((d.transpose_b != 0 ? mb.columns : mb.rows) == k, "a and b do not fit");
  require(mc.rows == mo.rows && mc.columns == mo.columns, "c and the output differ");
  require(ma.batch == mo.batch && mb.batch == mo.batch && mc.batch == mo.batch, "batches differ");
  const bool has_bias = (d.epilogue & CUBLASLT_EPILOGUE_BIAS) != 0;
  for (const void* pointer : {a, b, c, static_cast<const void*>(out),
                              static_cast<const void*>(has_bias ? d.bias : nullptr)}) {
    require(reinterpret_cast<std::uintptr_t>(pointer) % algorithm->data[0] == 0,
            "a pointer is less aligned than asked");
  }
  ++fake_cublas_lt().calls;
  fake_cublas_lt().tf32_calls += d.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  fake_cublas_lt().fused_calls += d.epilogue != CUBLASLT_EPILOGUE_DEFAULT;
  const int index = static_cast<int>(algorithm->data[1]);
  fake_cublas_lt().last_algorithm = index;
  FakeBench::spend(fake_cublas_lt().ns[index]);
  if (index == fake_cublas_lt().wrong) return CUBLAS_STATUS_SUCCESS;
  const miniinfer_dtype dtype = dtype_of(mo.type);
  const auto bytes = [](const void* p) { return static_cast<const std::byte*>(p); };
  for (std::uint64_t batch = 0; batch < mo.batch; ++batch) {
    for (std::uint64_t column = 0; column < mo.columns; ++column) {
      for (std::uint64_t row = 0; row < mo.rows; ++row) {
        double sum = 0;
        for (std::uint64_t i = 0; i < k; ++i) {
          const std::uint64_t at_a = d.transpose_a != 0 ? row * ma.ld + i : i * ma.ld + row;
          const std::uint64_t at_b = d.transpose_b != 0 ? i * mb.ld + column : column * mb.ld + i;
          sum += element(dtype, bytes(a), batch * ma.step + at_a) *
                 element(dtype, bytes(b), batch * mb.step + at_b);
        }
        sum *= one;
        if (factor != 0) {
          sum += factor * element(dtype, bytes(c), batch * mc.step + column * mc.ld + row);
        }
        if (has_bias) sum += element(dtype, d.bias, row);
        sum = finish(d.epilogue, sum);
        reference::with_type(dtype, [&](auto type) {
          using S = typename decltype(type)::Stored;
          if constexpr (reference::kIsFloat<S>) {
            reference::store<S>(
                static_cast<std::byte*>(out) + (batch * mo.step + column * mo.ld + row) * sizeof(S),
                sum);
          }
        });
      }
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

FakeCublasLt& fake_cublas_lt() {
  static FakeCublasLt instance;
  return instance;
}

const cuda::CublasLt& fake_cublas_lt_table() {
  static const cuda::CublasLt instance = [] {
    cuda::CublasLt lt{};
    lt.cublasLtGetStatusName = [](cublasStatus_t) { return "status"; };
    lt.cublasLtGetStatusString = [](cublasStatus_t) { return "text"; };
    lt.cublasLtGetVersion = [] { return std::size_t{130000}; };
    lt.cublasLtCreate = [](cublasLtHandle_t* handle) {
      *handle = reinterpret_cast<cublasLtHandle_t>(1);
      return CUBLAS_STATUS_SUCCESS;
    };
    lt.cublasLtMatrixLayoutCreate = create_layout;
    lt.cublasLtMatrixLayoutSetAttribute = set_layout;
    lt.cublasLtMatrixLayoutDestroy = [](cublasLtMatrixLayout_t layout) {
      delete layout;
      return CUBLAS_STATUS_SUCCESS;
    };
    lt.cublasLtMatmulDescCreate = create_description;
    lt.cublasLtMatmulDescSetAttribute = set_description;
    lt.cublasLtMatmulDescDestroy = [](cublasLtMatmulDesc_t description) {
      delete description;
      return CUBLAS_STATUS_SUCCESS;
    };
    lt.cublasLtMatmulPreferenceCreate = create_preference;
    lt.cublasLtMatmulPreferenceSetAttribute = set_preference;
    lt.cublasLtMatmulPreferenceDestroy = [](cublasLtMatmulPreference_t preference) {
      delete preference;
      return CUBLAS_STATUS_SUCCESS;
    };
    lt.cublasLtMatmulAlgoGetHeuristic = find;
    lt.cublasLtMatmulAlgoCheck = check;
    lt.cublasLtMatmul = multiply;
    return lt;
  }();
  return instance;
}

}  // namespace miniinfer::test
