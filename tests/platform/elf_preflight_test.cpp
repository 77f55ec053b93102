#include "core/platform/elf_preflight.hpp"

#include <doctest/doctest.h>
#include <elf.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace miniinfer {
namespace {

namespace fs = std::filesystem;

std::vector<char> plugin(const std::string& variant = "prints") {
  const char* folder = std::getenv("MINIINFER_BUILD");
  REQUIRE_MESSAGE(folder != nullptr, "MINIINFER_BUILD names the build folder");
  std::ifstream in(fs::path(folder) / "tests" / "loader" / ("libodd_" + variant + ".so"),
                   std::ios::binary);
  REQUIRE(in.good());
  return {std::istreambuf_iterator<char>(in), {}};
}

Result<ElfFacts> check(const std::vector<char>& bytes) {
  return elf_preflight(std::as_bytes(std::span(bytes)));
}

// Changes the program headers of one type.
template <class Change>
std::vector<char> with_segment(std::uint32_t type, const Change& change) {
  std::vector<char> bytes = plugin();
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof header);
  int changed = 0;
  for (int i = 0; i < header.e_phnum; ++i) {
    char* at = bytes.data() + header.e_phoff + i * sizeof(Elf64_Phdr);
    Elf64_Phdr segment;
    std::memcpy(&segment, at, sizeof segment);
    if (segment.p_type != type) continue;
    change(segment);
    ++changed;
    std::memcpy(at, &segment, sizeof segment);
  }
  REQUIRE(changed > 0);
  return bytes;
}

// Changes the value of one entry of the dynamic section, or the tag itself.
std::vector<char> with_dynamic(std::int64_t tag, std::int64_t new_tag, std::uint64_t value) {
  std::vector<char> bytes = plugin();
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof header);
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment, bytes.data() + header.e_phoff + i * sizeof segment, sizeof segment);
    if (segment.p_type != PT_DYNAMIC) continue;
    for (std::uint64_t at = 0; at < segment.p_filesz; at += sizeof(Elf64_Dyn)) {
      Elf64_Dyn entry;
      std::memcpy(&entry, bytes.data() + segment.p_offset + at, sizeof entry);
      if (entry.d_tag != tag) continue;
      entry.d_tag = new_tag;
      entry.d_un.d_val = value;
      std::memcpy(bytes.data() + segment.p_offset + at, &entry, sizeof entry);
      return bytes;
    }
  }
  FAIL("the plugin has no such tag");
  return bytes;
}

TEST_CASE("A plugin's note, needs and exports are read without running it") {
  const Result<ElfFacts> facts = check(plugin());
  REQUIRE_MESSAGE(facts, facts.status().to_string());
  CHECK(facts->has_note);
  CHECK(facts->plugin == "odd");
  CHECK(facts->abi_major == 0);
  CHECK(facts->abi_min == 1);
  CHECK(facts->abi_max == 1);
  CHECK(std::find(facts->exports.begin(), facts->exports.end(), "miniinfer_plugin_entry_v0") !=
        facts->exports.end());
  CHECK(std::find(facts->needed.begin(), facts->needed.end(), "libc.so.6") != facts->needed.end());
}

TEST_CASE("A library without the note has none") {
  const Result<ElfFacts> facts = check(plugin("no_note"));
  REQUIRE_MESSAGE(facts, facts.status().to_string());
  CHECK_FALSE(facts->has_note);
}

TEST_CASE("A library with undefined and needed symbols passes: the loader reports those") {
  const Result<ElfFacts> facts = check(plugin("needed"));
  REQUIRE_MESSAGE(facts, facts.status().to_string());
  CHECK(std::find(facts->needed.begin(), facts->needed.end(), "libodd_absent.so.7") !=
        facts->needed.end());
  CHECK(check(plugin("undefined")));
}

TEST_CASE("Another class, machine, byte order or kind of file is refused") {
  const auto with_byte = [](std::size_t at, int value) {
    std::vector<char> bytes = plugin();
    bytes[at] = static_cast<char>(value);
    return check(bytes).status();
  };
  CHECK(with_byte(0, 'x').code() == Code::InvalidArgument);
  CHECK(with_byte(EI_CLASS, ELFCLASS32).code() == Code::Incompatible);
  CHECK(with_byte(EI_DATA, ELFDATA2MSB).code() == Code::Incompatible);
  CHECK(with_byte(offsetof(Elf64_Ehdr, e_machine), EM_RISCV).code() == Code::Incompatible);
  CHECK(with_byte(offsetof(Elf64_Ehdr, e_type), ET_EXEC).code() == Code::InvalidArgument);
}

TEST_CASE("A program is no plugin") { CHECK_FALSE(elf_preflight(fs::path("/proc/self/exe"))); }

TEST_CASE("Segments must lie in the file and make sense") {
  CHECK_FALSE(
      check(with_segment(PT_LOAD, [](Elf64_Phdr& s) { s.p_filesz = s.p_memsz = 1 << 30; })));
  CHECK_FALSE(check(with_segment(PT_LOAD, [](Elf64_Phdr& s) { s.p_offset = ~0ull - 100; })));
  CHECK_FALSE(check(with_segment(PT_LOAD, [](Elf64_Phdr& s) { s.p_memsz = 0; })));
  CHECK_FALSE(check(with_segment(PT_LOAD, [](Elf64_Phdr& s) { s.p_vaddr = 0; })));
  CHECK_FALSE(check(with_segment(PT_DYNAMIC, [](Elf64_Phdr& s) { s.p_offset += 16; })));
  CHECK_FALSE(check(with_segment(PT_DYNAMIC, [](Elf64_Phdr& s) { s.p_type = PT_NULL; })));
  CHECK_FALSE(check(with_segment(PT_GNU_STACK, [](Elf64_Phdr& s) { s.p_flags |= PF_X; })));
}

TEST_CASE("Tables that the loader follows must lie in the file") {
  for (const std::int64_t tag : {DT_STRTAB, DT_SYMTAB, DT_RELA, DT_GNU_HASH, DT_VERSYM, DT_VERNEED,
                                 DT_INIT_ARRAY, DT_INIT, DT_PLTGOT}) {
    CAPTURE(tag);
    CHECK_FALSE(check(with_dynamic(tag, tag, 1ull << 50)));
  }
  for (const std::int64_t tag : {DT_STRSZ, DT_RELASZ, DT_INIT_ARRAYSZ}) {
    CAPTURE(tag);
    CHECK_FALSE(check(with_dynamic(tag, tag, 1ull << 31)));
  }
  CHECK_FALSE(check(with_dynamic(DT_NEEDED, DT_NEEDED, 1 << 30)));
  CHECK_FALSE(check(with_dynamic(DT_NEEDED, DT_TEXTREL, 0)));
}

TEST_CASE("A version table must end where its number says, as the loader looks for its end alone") {
  CHECK_FALSE(check(with_dynamic(DT_VERNEEDNUM, DT_VERNEEDNUM, 0)));
  CHECK_FALSE(check(with_dynamic(DT_VERNEEDNUM, DT_VERNEEDNUM, 2)));
}

TEST_CASE("A symbol's version must exist: the loader looks it up in an array") {
  std::vector<char> bytes = plugin();
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof header);
  for (int i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section;
    std::memcpy(&section, bytes.data() + header.e_shoff + i * sizeof section, sizeof section);
    if (section.sh_type != SHT_GNU_versym) continue;
    const std::uint16_t beyond = 0x0c86;
    std::memcpy(bytes.data() + section.sh_offset + sizeof beyond, &beyond, sizeof beyond);
    CHECK_FALSE(check(bytes));
    return;
  }
  FAIL("the plugin has no versions");
}

TEST_CASE("Of two entries of one kind the last one is checked, as the loader uses it") {
  CHECK_FALSE(check(with_dynamic(DT_RELACOUNT, DT_SYMTAB, 1ull << 50)));
}

TEST_CASE("Files that are too small, missing, or no files are refused") {
  CHECK_FALSE(check({}));
  CHECK_FALSE(check(std::vector<char>(1023)));
  CHECK(elf_preflight(fs::path("/nowhere")).status().code() == Code::NotFound);
  CHECK(elf_preflight(fs::path("/dev")).status().code() == Code::InvalidArgument);
}

}  // namespace
}  // namespace miniinfer
