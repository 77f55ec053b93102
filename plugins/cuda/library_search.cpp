#include "plugins/cuda/library_search.hpp"

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "miniinfer/sdk/host.hpp"

namespace miniinfer::cuda {
namespace {

// Below a folder the user names: itself, and where the wheels of CUDA 13 and before put things.
constexpr const char* kWheelFolders[] = {"", "/cu13/lib", "/cudnn/lib", "/cublas/lib",
                                         "/cuda_nvrtc/lib"};

std::string folder_of_this_plugin() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&folder_of_this_plugin), &info) == 0 ||
      info.dli_fname == nullptr) {
    return {};
  }
  const std::string_view file = info.dli_fname;
  const std::size_t slash = file.rfind('/');
  return slash == std::string_view::npos ? std::string() : std::string(file.substr(0, slash));
}

std::string file_of(void* handle) {
  link_map* map = nullptr;
  return dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr ? map->l_name : "";
}

class Search {
 public:
  explicit Search(const LibraryWanted& wanted) : wanted_(wanted) {}

  // Each element of a list of folders, with the folders of wheels below it.
  void try_list(const std::string& list, const char* origin) {
    for (std::size_t begin = 0; begin < list.size() && found_.handle == nullptr;) {
      const std::size_t end = std::min(list.find(':', begin), list.size());
      const std::string folder = list.substr(begin, end - begin);
      begin = end + 1;
      if (folder.empty()) continue;
      if (folder.front() != '/') {
        refuse(folder + " (" + origin + ")", "not an absolute path");
        continue;
      }
      bool there = false;
      for (const char* below : kWheelFolders) there = try_folder(folder + below) || there;
      if (!there) refuse(folder + " (" + origin + ")", "has no such file");
    }
  }

  // Whether a file of that name lies there.
  bool try_folder(const std::string& folder) {
    bool there = false;
    for (const std::string& name : wanted_.names) {
      const std::string file = folder + "/" + name;
      if (found_.handle != nullptr || access(file.c_str(), F_OK) != 0) continue;
      there = true;
      try_file(file, file);
    }
    return there;
  }

  void try_file(const std::string& file, const std::string& place) {
    if (found_.handle != nullptr) return;
    void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* error = dlerror();
      refuse(place, error == nullptr ? "it does not open" : error);
      return;
    }
    std::string reason = wanted_.accept(handle);
    if (!reason.empty()) {
      refuse(place == file ? file_of(handle) : place + ", " + file_of(handle), reason);
      return;
    }
    found_.handle = handle;
    found_.path = file_of(handle);
  }

  void refuse(const std::string& place, const std::string& reason) {
    found_.refusals += (found_.refusals.empty() ? "" : "; ") + place + ": " + reason;
  }

  LibraryFound found_;

 private:
  const LibraryWanted& wanted_;
};

}  // namespace

LibraryPlaces LibraryPlaces::of_process() {
  LibraryPlaces places;
  // Not with raised privileges: whoever sets the variable would choose the code.
  if (const char* list = secure_getenv("MINIINFER_CUDA_LIBRARIES")) places.environment = list;
  if (const char* list = sdk::option("libraries")) places.option = list;
  places.beside = folder_of_this_plugin();
  places.toolkit = "/usr/local/cuda/lib64";
  return places;
}

LibraryFound find_library(const LibraryWanted& wanted, const LibraryPlaces& places) {
  Search search(wanted);
  search.try_list(places.environment, "MINIINFER_CUDA_LIBRARIES");
  search.try_list(places.option, "option cuda.libraries");
  if (!places.beside.empty() && !search.try_folder(places.beside)) {
    search.refuse(places.beside + " (beside the plugin)", "has no such file");
  }
  for (const std::string& name : wanted.names) search.try_file(name, name + " by the loader");
  if (!places.toolkit.empty() && !search.try_folder(places.toolkit)) {
    search.refuse(places.toolkit, "has no such file");
  }
  return search.found_;
}

}  // namespace miniinfer::cuda
