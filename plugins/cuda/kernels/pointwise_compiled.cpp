#include "plugins/cuda/kernels/pointwise_compiled.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <string_view>
#include <vector>

#include "miniinfer/sdk/host.hpp"
#include "plugins/cuda/check.hpp"
#include "plugins/cuda/device.hpp"
#include "plugins/cuda/disk_cache.hpp"
#include "plugins/cuda/kernels/recently_used.hpp"
#include "plugins/cuda/libraries.hpp"
#include "plugins/cuda/nvrtc.hpp"

namespace miniinfer::cuda {

// With the library that it is from.
class CompiledKernel {
 public:
  CompiledKernel(cudaLibrary_t library, cudaKernel_t kernel) : library_(library), kernel_(kernel) {}
  ~CompiledKernel() { static_cast<void>(CUDA_CHECK(cudaLibraryUnload(library_))); }
  CompiledKernel(const CompiledKernel&) = delete;
  CompiledKernel& operator=(const CompiledKernel&) = delete;
  cudaKernel_t get() const { return kernel_; }

 private:
  cudaLibrary_t library_;
  cudaKernel_t kernel_;
};

namespace {

using KernelPtr = std::shared_ptr<const CompiledKernel>;

// A code object, or PTX for a GPU that is newer than NVRTC.
using Image = std::string;

class Compilation {
 public:
  explicit Compilation(const Nvrtc& nvrtc) : nvrtc_(nvrtc) {}
  ~Compilation() {
    if (program_ != nullptr) nvrtc_.nvrtcDestroyProgram(&program_);
  }
  Compilation(const Compilation&) = delete;
  Compilation& operator=(const Compilation&) = delete;

  // Throws sdk::Error with NVRTC's own words.
  Image run(const std::string& source, int architecture) {
    const int real = newest_known(architecture);
    const bool exact = real == architecture;
    check(nvrtc_.nvrtcCreateProgram(&program_, source.c_str(), "pointwise.cu", 0, nullptr, nullptr),
          "nvrtcCreateProgram");
    const std::string target =
        sdk::format("--gpu-architecture=%s_%d", exact ? "sm" : "compute", real);
    const char* options[] = {target.c_str(), "--std=c++17", "--fmad=false"};
    if (nvrtc_.nvrtcCompileProgram(program_, std::size(options), options) != NVRTC_SUCCESS) {
      sdk::fail(MINIINFER_INTERNAL, "nvrtcCompileProgram for %s: %s", target.c_str(),
                log().c_str());
    }
    std::size_t bytes = 0;
    Image image;
    if (exact) {
      check(nvrtc_.nvrtcGetCUBINSize(program_, &bytes), "nvrtcGetCUBINSize");
      image.resize(bytes);
      check(nvrtc_.nvrtcGetCUBIN(program_, image.data()), "nvrtcGetCUBIN");
    } else {
      check(nvrtc_.nvrtcGetPTXSize(program_, &bytes), "nvrtcGetPTXSize");
      image.resize(bytes);
      check(nvrtc_.nvrtcGetPTX(program_, image.data()), "nvrtcGetPTX");
    }
    return image;
  }

 private:
  int newest_known(int architecture) {
    int count = 0;
    check(nvrtc_.nvrtcGetNumSupportedArchs(&count), "nvrtcGetNumSupportedArchs");
    std::vector<int> known(static_cast<std::size_t>(count));
    check(nvrtc_.nvrtcGetSupportedArchs(known.data()), "nvrtcGetSupportedArchs");
    int newest = 0;
    for (const int each : known) {
      if (each <= architecture) newest = std::max(newest, each);
    }
    if (newest == 0) {
      sdk::fail(MINIINFER_UNSUPPORTED, "NVRTC has no architecture for sm_%d", architecture);
    }
    return newest;
  }

  std::string log() {
    std::size_t bytes = 0;
    if (nvrtc_.nvrtcGetProgramLogSize(program_, &bytes) != NVRTC_SUCCESS || bytes == 0) return "";
    std::string text(bytes, '\0');
    nvrtc_.nvrtcGetProgramLog(program_, text.data());
    text.resize(std::strlen(text.c_str()));
    return text;
  }

  void check(nvrtcResult result, const char* call) const {
    if (result == NVRTC_SUCCESS) return;
    sdk::fail(MINIINFER_INTERNAL, "%s: %s", call, nvrtc_.nvrtcGetErrorString(result));
  }

  const Nvrtc& nvrtc_;
  nvrtcProgram program_ = nullptr;
};

// What is in use is kept, so a kernel only goes where another is made: when CUDA may be called, and
// nothing that was launched or recorded still needs it.
class KernelCache {
 public:
  static KernelCache& instance() {
    static auto* const cache = new KernelCache;  // never destroyed: the driver may go first
    return *cache;
  }

  KernelPtr get(const Device& device, const std::string& text, bool worth_compiling) {
    const std::string key = sdk::format("%d ", device.properties().compute_capability) + text;
    const std::lock_guard lock(mutex_);
    if (const KernelPtr* found = kernels_.find(key)) return *found;
    KernelPtr kernel;
    try {
      if (!make(device, text, worth_compiling, kernel)) return nullptr;
    } catch (const sdk::Error& error) {
      sdk::log(MINIINFER_LOG_WARN, "%s: a pointwise program is interpreted: %s", device.id(),
               error.what());
    }
    kernels_.add(key, kernel);
    return kernel;
  }

 private:
  // False where it was not tried: it may be worth more the next time.
  bool make(const Device& device, const std::string& text, bool worth_compiling,
            KernelPtr& kernel) {
    const Nvrtc* nvrtc = find_nvrtc(device);
    if (nvrtc == nullptr) return false;
    const int architecture = device.properties().compute_capability;
    const std::string source = generated_prelude() + text;
    int major = 0;
    int minor = 0;
    nvrtc->nvrtcVersion(&major, &minor);
    const std::string kind = sdk::format("pointwise-sm%d-nvrtc%d.%d", architecture, major, minor);
    Image image = read_cache(kind, source);
    if (!image.empty() && (kernel = load(image)) != nullptr) return true;
    if (!worth_compiling) return false;
    image = Compilation(*nvrtc).run(source, architecture);
    kernel = load(image);
    if (kernel != nullptr) write_cache(kind, source, image);
    return true;
  }

  const Nvrtc* find_nvrtc(const Device& device) {
    if (nvrtc_ != nullptr || is_missing_) return nvrtc_;
    try {
      nvrtc_ = &device.libraries().nvrtc();
    } catch (const sdk::Error& error) {
      is_missing_ = true;
      sdk::log(MINIINFER_LOG_WARN, "%s: pointwise programs are interpreted: %s", device.id(),
               error.what());
    }
    return nvrtc_;
  }

  static KernelPtr load(const Image& image) {
    cudaLibrary_t library = nullptr;
    if (CUDA_CHECK(cudaLibraryLoadData(&library, image.data(), nullptr, nullptr, 0, nullptr,
                                       nullptr, 0)) != MINIINFER_OK) {
      return nullptr;
    }
    cudaKernel_t kernel = nullptr;
    const bool found =
        CUDA_CHECK(cudaLibraryGetKernel(&kernel, library, kGeneratedName)) == MINIINFER_OK;
    auto made = std::make_shared<const CompiledKernel>(library, kernel);
    if (!found) return nullptr;
    // Code is loaded when it is first asked for: here, and not inside a graph's capture.
    cudaFuncAttributes attributes;
    static_cast<void>(CUDA_CHECK(cudaFuncGetAttributes(&attributes, kernel)));
    return made;
  }

  std::mutex mutex_;
  RecentlyUsed<const CompiledKernel> kernels_{256};  // by architecture and text; of nothing: fails
  const Nvrtc* nvrtc_ = nullptr;
  bool is_missing_ = false;
};

}  // namespace

KernelPtr compile_pointwise(const Device& device, const GeneratedSource& source,
                            bool worth_compiling) {
  const char* option = sdk::option("nvrtc");
  const std::string_view wanted = option == nullptr ? "" : option;
  if (wanted == "off") return nullptr;
  return KernelCache::instance().get(device, source.text, worth_compiling || wanted == "always");
}

cudaError_t launch_compiled(const CompiledKernel& kernel, const GeneratedArgs& args, int vector,
                            cudaStream_t stream) {
  const std::uint64_t per_block = std::uint64_t{kGeneratedThreads} * static_cast<unsigned>(vector);
  const std::uint64_t blocks = (args.count + per_block - 1) / per_block;
  constexpr std::uint64_t kMost = 1 << 20;
  void* parameters[] = {const_cast<GeneratedArgs*>(&args)};
  return cudaLaunchKernel(kernel.get(), dim3(static_cast<unsigned>(std::min(blocks, kMost))),
                          dim3(kGeneratedThreads), parameters, 0, stream);
}

}  // namespace miniinfer::cuda
