#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "miniinfer/status.hpp"

namespace miniinfer {

// What a shared library's file says about itself, read without running any of its code.
struct ElfFacts {
  bool has_note = false;
  std::uint32_t abi_major = 0;  // of the plugin boundary, from the note
  std::uint32_t abi_min = 0;
  std::uint32_t abi_max = 0;
  std::string plugin;                // the plugin's name, from the note
  std::vector<std::string> needed;   // DT_NEEDED
  std::vector<std::string> exports;  // defined dynamic symbols
};

// Checks what the dynamic loader relies on without checking: a file that fails here would, likely
// as not, end the process inside dlopen. Linear in the number of headers and symbols.
//
// INVALID_ARGUMENT for what is no shared library or is damaged, INCOMPATIBLE for one of another
// machine.
Result<ElfFacts> elf_preflight(std::span<const std::byte> file);

// The same for a file, of 1 KiB to 2 GiB.
Result<ElfFacts> elf_preflight(const std::filesystem::path& file);

}  // namespace miniinfer
