#include "plugins/cuda/libraries.hpp"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <mutex>
#include <optional>

#include "miniinfer/sdk/host.hpp"
#include "plugins/cuda/cublas_lt.hpp"
#include "plugins/cuda/cudnn.hpp"
#include "plugins/cuda/library_search.hpp"
#include "plugins/cuda/nvrtc.hpp"

namespace miniinfer::cuda {
namespace {

constexpr int kCudaMajor = CUDART_VERSION / 1000;
constexpr std::size_t kOldestCudnn = 90000;  // 9.0.0: the backend interface as it is used here

// A table of functions: filled from an opened library, or why that will not do.
template <class Table>
struct Loaded {
  Table functions{};
  std::string version;
};

template <class F>
bool bind(void* handle, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(handle, name));
  return function != nullptr;
}

#define MINIINFER_BIND(name) \
  if (!bind(handle, #name, loaded.functions.name)) return "has no " #name;

std::string accept(void* handle, Loaded<CublasLt>& loaded) {
  MINIINFER_CUBLAS_LT_FUNCTIONS(MINIINFER_BIND)
  const std::size_t version = loaded.functions.cublasLtGetVersion();
  loaded.version =
      sdk::format("%zu.%zu.%zu", version / 10000, version % 10000 / 100, version % 100);
  if (version / 10000 == kCudaMajor) return "";
  return sdk::format("is version %s, %d is needed", loaded.version.c_str(), kCudaMajor);
}

std::string accept(void* handle, Loaded<Cudnn>& loaded) {
  MINIINFER_CUDNN_FUNCTIONS(MINIINFER_BIND)
  const std::size_t version = loaded.functions.cudnnGetVersion();
  const std::size_t runtime = loaded.functions.cudnnGetCudartVersion() / 1000;
  const std::size_t major = version < 10000 ? 1000 : 10000;  // 8.9.7 was 8907
  loaded.version =
      sdk::format("%zu.%zu.%zu", version / major, version % major / 100, version % 100);
  if (version < kOldestCudnn) {
    return sdk::format("is version %s, 9.0 or newer is needed", loaded.version.c_str());
  }
  if (runtime == kCudaMajor) return "";
  return sdk::format("is for CUDA %zu, one for CUDA %d is needed", runtime, kCudaMajor);
}

std::string accept(void* handle, Loaded<Nvrtc>& loaded) {
  MINIINFER_NVRTC_FUNCTIONS(MINIINFER_BIND)
  int major = 0;
  int minor = 0;
  if (loaded.functions.nvrtcVersion(&major, &minor) != NVRTC_SUCCESS) return "nvrtcVersion failed";
  loaded.version = sdk::format("%d.%d", major, minor);
  if (major == kCudaMajor) return "";
  return sdk::format("is version %s, %d is needed", loaded.version.c_str(), kCudaMajor);
}

#undef MINIINFER_BIND

// One library: looked for once, whatever the outcome.
template <class Table>
class Slot {
 public:
  const Table& get(const char* title, std::vector<std::string> names) {
    std::call_once(once_, [&] { find({title, std::move(names), {}}); });
    if (!missing_.empty()) sdk::fail(MINIINFER_UNSUPPORTED, "%s", missing_.c_str());
    return loaded_.functions;
  }

 private:
  void find(LibraryWanted wanted) {
    wanted.accept = [this](void* handle) { return accept(handle, loaded_); };
    const LibraryFound found = find_library(wanted, LibraryPlaces::of_process());
    if (found.handle == nullptr) {
      missing_ = sdk::format("%s (%s) was not found. Tried %s", wanted.title,
                             wanted.names.front().c_str(), found.refusals.c_str());
      return;
    }
    sdk::log(MINIINFER_LOG_INFO, "%s %s: %s", wanted.title, loaded_.version.c_str(),
             found.path.c_str());
  }

  std::once_flag once_;
  std::string missing_;
  Loaded<Table> loaded_;
};

}  // namespace

struct Libraries::State {
  Slot<CublasLt> cublas_lt;
  Slot<Cudnn> cudnn;
  Slot<Nvrtc> nvrtc;
};

Libraries::Libraries() : state_(new State) {}

Libraries& Libraries::instance() {
  static Libraries* const libraries = new Libraries;
  return *libraries;
}

const CublasLt& Libraries::cublas_lt() {
  return state_->cublas_lt.get("cuBLASLt", {sdk::format("libcublasLt.so.%d", kCudaMajor)});
}

// The graph library is what the other one forwards to; a machine may have it alone.
const Cudnn& Libraries::cudnn() {
  return state_->cudnn.get("cuDNN", {"libcudnn_graph.so.9", "libcudnn.so.9"});
}

const Nvrtc& Libraries::nvrtc() {
  return state_->nvrtc.get("NVRTC", {sdk::format("libnvrtc.so.%d", kCudaMajor)});
}

}  // namespace miniinfer::cuda
