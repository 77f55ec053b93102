#pragma once

// Where a vendor's library is looked for, in this order:
//
//   1. MINIINFER_CUDA_LIBRARIES: folders, separated by colons
//   2. the option cuda.libraries: the same
//   3. the folder of this plugin
//   4. the loader: LD_LIBRARY_PATH, what is in the process already, the system's folders
//   5. /usr/local/cuda/lib64
//
// A folder of 1 and 2 may also be the `nvidia` folder of a Python environment, where the vendor's
// wheels put one folder a library.

#include <functional>
#include <string>
#include <vector>

namespace miniinfer::cuda {

struct LibraryPlaces {
  std::string environment;
  std::string option;
  std::string beside;   // empty: unknown
  std::string toolkit;  // empty: none

  static LibraryPlaces of_process();
};

// What is looked for: `names` are file names that serve equally, best first. `accept` says why a
// library that opened will not do, or nothing where it will.
struct LibraryWanted {
  const char* title;  // "cuDNN"
  std::vector<std::string> names;
  std::function<std::string(void* handle)> accept;
};

struct LibraryFound {
  void* handle = nullptr;  // never closed; null where none was found
  std::string path;        // the file, where the loader says
  std::string refusals;    // each place tried and why it was not that; for people
};

LibraryFound find_library(const LibraryWanted& wanted, const LibraryPlaces& places);

}  // namespace miniinfer::cuda
