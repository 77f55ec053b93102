#include "core/platform/shared_library.hpp"

// Changes types of Boost.DLL, so it must stand in every file that includes it: this one.
#define BOOST_DLL_USE_STD_FS
#include <dlfcn.h>

#include <boost/dll/shared_library.hpp>
#include <cstddef>
#include <new>
#include <string>
#include <vector>

#include "core/base/format.hpp"

namespace miniinfer {

Result<SharedLibrary> SharedLibrary::open(const std::filesystem::path& file) {
  if (!file.is_absolute()) {
    return Status(
        Code::InvalidArgument,
        printable(file.string(), 256) + " is no absolute path: libraries are not searched for");
  }
  // Boost.DLL has no name for RTLD_NODELETE, binds lazily by default, and keeps no error text.
  const auto mode = static_cast<boost::dll::load_mode::type>(RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  try {
    // Never destroyed: the destructor would close it. It owns the handle alone.
    alignas(boost::dll::shared_library) std::byte place[sizeof(boost::dll::shared_library)];
    auto* library = new (place) boost::dll::shared_library();
    std::error_code error;
    (void)dlerror();
    library->load(file, error, mode);
    if (!error) return SharedLibrary(library->native());
    const char* text = dlerror();
    return Status(Code::Unavailable, text != nullptr ? printable(text, 512) : "it does not open");
  } catch (const std::exception& error) {
    return Status(Code::Unavailable, printable(error.what(), 512));
  }
}

void* SharedLibrary::symbol(const char* name) const noexcept { return dlsym(handle_, name); }

std::filesystem::path SharedLibrary::file_of(const void* address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return {};
  std::error_code error;
  std::filesystem::path file = std::filesystem::canonical(info.dli_fname, error);
  // The main program may be named as it was called.
  if (error) file = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::filesystem::path() : file;
}

}  // namespace miniinfer
