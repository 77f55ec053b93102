#include "plugins/cuda/kernels/pointwise_compiled.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "miniinfer/sdk/host.hpp"
#include "plugins/cuda/check.hpp"
#include "plugins/cuda/device.hpp"
#include "plugins/cuda/disk_cache.hpp"
#include "plugins/cuda/libraries.hpp"
#include "plugins/cuda/nvrtc.hpp"

namespace miniinfer::cuda {
namespace {

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

// Libraries stay loaded: a kernel that was made may be in use anywhere.
class KernelCache {
 public:
  static KernelCache& instance() {
    static auto* const cache = new KernelCache;  // never destroyed: the driver may go first
    return *cache;
  }

  cudaKernel_t get(const Device& device, const std::string& text, bool worth_compiling) {
    const int architecture = device.properties().compute_capability;
    const std::lock_guard lock(mutex_);
    const auto found = kernels_.find({architecture, text});
    if (found != kernels_.end()) return found->second;
    cudaKernel_t kernel = nullptr;
    try {
      if (!make(device, text, worth_compiling, &kernel)) return nullptr;
    } catch (const sdk::Error& error) {
      sdk::log(MINIINFER_LOG_WARN, "%s: a pointwise program is interpreted: %s", device.id(),
               error.what());
    }
    kernels_[{architecture, text}] = kernel;
    return kernel;
  }

 private:
  // False where it was not tried: it may be worth more the next time.
  bool make(const Device& device, const std::string& text, bool worth_compiling,
            cudaKernel_t* kernel) {
    const Nvrtc* nvrtc = find_nvrtc(device);
    if (nvrtc == nullptr) return false;
    const int architecture = device.properties().compute_capability;
    const std::string source = generated_prelude() + text;
    int major = 0;
    int minor = 0;
    nvrtc->nvrtcVersion(&major, &minor);
    const std::string kind = sdk::format("pointwise-sm%d-nvrtc%d.%d", architecture, major, minor);
    Image image = read_cache(kind, source);
    if (!image.empty() && load(image, kernel)) return true;
    if (!worth_compiling) return false;
    image = Compilation(*nvrtc).run(source, architecture);
    if (!load(image, kernel)) return true;
    write_cache(kind, source, image);
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

  bool load(const Image& image, cudaKernel_t* kernel) {
    cudaLibrary_t library = nullptr;
    if (CUDA_CHECK(cudaLibraryLoadData(&library, image.data(), nullptr, nullptr, 0, nullptr,
                                       nullptr, 0)) != MINIINFER_OK) {
      return false;
    }
    if (CUDA_CHECK(cudaLibraryGetKernel(kernel, library, kGeneratedName)) != MINIINFER_OK) {
      *kernel = nullptr;
      return false;
    }
    // Code is loaded when it is first asked for: here, and not inside a graph's capture.
    cudaFuncAttributes attributes;
    static_cast<void>(CUDA_CHECK(cudaFuncGetAttributes(&attributes, *kernel)));
    return true;
  }

  std::mutex mutex_;
  std::map<std::pair<int, std::string>, cudaKernel_t> kernels_;  // null: cannot be made
  const Nvrtc* nvrtc_ = nullptr;
  bool is_missing_ = false;
};

}  // namespace

cudaKernel_t compile_pointwise(const Device& device, const GeneratedSource& source,
                               bool worth_compiling) {
  const char* option = sdk::option("nvrtc");
  const std::string_view wanted = option == nullptr ? "" : option;
  if (wanted == "off") return nullptr;
  return KernelCache::instance().get(device, source.text, worth_compiling || wanted == "always");
}

cudaError_t launch_compiled(cudaKernel_t kernel, const GeneratedArgs& args, int vector,
                            cudaStream_t stream) {
  const std::uint64_t per_block = std::uint64_t{kGeneratedThreads} * static_cast<unsigned>(vector);
  const std::uint64_t blocks = (args.count + per_block - 1) / per_block;
  constexpr std::uint64_t kMost = 1 << 20;
  void* parameters[] = {const_cast<GeneratedArgs*>(&args)};
  return cudaLaunchKernel(kernel, dim3(static_cast<unsigned>(std::min(blocks, kMost))),
                          dim3(kGeneratedThreads), parameters, 0, stream);
}

}  // namespace miniinfer::cuda
