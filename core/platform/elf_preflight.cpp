#include "core/platform/elf_preflight.hpp"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "core/base/format.hpp"
#include "core/platform/mapped_file.hpp"
#include "miniinfer/abi/plugin.h"

namespace miniinfer {
namespace {

#if defined(__x86_64__)
constexpr std::uint16_t kMachine = EM_X86_64;
constexpr const char* kMachineName = "x86-64";
#elif defined(__aarch64__)
constexpr std::uint16_t kMachine = EM_AARCH64;
constexpr const char* kMachineName = "aarch64";
#else
#error "name this machine's ELF number here"
#endif

const char* machine_name(std::uint16_t machine) {
  switch (machine) {
    case EM_X86_64:
      return "x86-64";
    case EM_386:
      return "x86";
    case EM_AARCH64:
      return "aarch64";
    case EM_ARM:
      return "arm";
    case EM_RISCV:
      return "risc-v";
    case EM_PPC64:
      return "ppc64";
    default:
      return "another machine";
  }
}

Status bad(std::string what) {
  return {Code::InvalidArgument, "not a plugin: " + std::move(what), "build or copy it again"};
}

// One file under examination. Offsets are in the file, addresses where the loader would map it.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> file) : file_(file) {}

  Result<ElfFacts> run() {
    for (Status (Reader::*step)() :
         {&Reader::read_header, &Reader::read_segments, &Reader::read_dynamic,
          &Reader::check_tables, &Reader::read_symbols, &Reader::check_versions,
          &Reader::read_notes}) {
      if (Status status = (this->*step)(); !status.ok()) return status;
    }
    return std::move(facts_);
  }

 private:
  template <class T>
  bool at_offset(std::uint64_t offset, T* out) const {
    if (offset > file_.size() || sizeof(T) > file_.size() - offset) return false;
    std::memcpy(out, file_.data() + offset, sizeof(T));
    return true;
  }

  // The file offset of [address, address + bytes), which must lie in one segment's file part.
  std::optional<std::uint64_t> offset_of(std::uint64_t address, std::uint64_t bytes) const {
    for (const Elf64_Phdr& load : loads_) {
      if (address < load.p_vaddr || address - load.p_vaddr >= load.p_filesz) continue;
      const std::uint64_t inside = address - load.p_vaddr;
      if (bytes > load.p_filesz - inside) return std::nullopt;
      return load.p_offset + inside;
    }
    return std::nullopt;
  }

  Status read_header() {
    if (!at_offset(0, &header_) || std::memcmp(header_.e_ident, ELFMAG, SELFMAG) != 0) {
      return bad("it is no ELF file");
    }
    if (header_.e_ident[EI_CLASS] != ELFCLASS64 || header_.e_ident[EI_DATA] != ELFDATA2LSB ||
        header_.e_machine != kMachine) {
      return {Code::Incompatible,
              format("built for %s%s, this machine is %s", machine_name(header_.e_machine),
                     header_.e_ident[EI_CLASS] == ELFCLASS32 ? " (32-bit)" : "", kMachineName),
              "get the build for this machine"};
    }
    if (header_.e_type != ET_DYN) return bad("it is no shared library");
    if (header_.e_ident[EI_VERSION] != EV_CURRENT || header_.e_version != EV_CURRENT ||
        header_.e_phentsize != sizeof(Elf64_Phdr) || header_.e_phnum == 0 ||
        header_.e_phnum > 128) {
      return bad("its header is damaged");
    }
    return {};
  }

  Status read_segments() {
    for (std::uint16_t i = 0; i < header_.e_phnum; ++i) {
      Elf64_Phdr segment{};
      if (!at_offset(header_.e_phoff + i * sizeof segment, &segment)) return bad("it is cut off");
      const std::uint64_t size = file_.size();
      const bool inside = segment.p_offset <= size && segment.p_filesz <= size - segment.p_offset;
      if (segment.p_type == PT_LOAD) {
        const bool grows =
            loads_.empty() || segment.p_vaddr >= loads_.back().p_vaddr + loads_.back().p_memsz;
        if (!inside) return bad("it is cut off");
        if (segment.p_memsz < segment.p_filesz || segment.p_memsz > std::uint64_t{1} << 32 ||
            segment.p_vaddr > std::uint64_t{1} << 40 || !grows || segment.p_align < 4096 ||
            (segment.p_align & (segment.p_align - 1)) != 0 ||
            segment.p_vaddr % 4096 != segment.p_offset % 4096 ||
            (segment.p_flags & ~std::uint32_t{PF_R | PF_W | PF_X}) != 0) {
          return bad("a segment makes no sense");
        }
        loads_.push_back(segment);
      } else if (segment.p_type == PT_DYNAMIC) {
        if (!inside || segment.p_filesz % sizeof(Elf64_Dyn) != 0 || has_dynamic_) {
          return bad("its dynamic section is damaged");
        }
        dynamic_ = segment;
        has_dynamic_ = true;
      } else if (segment.p_type == PT_GNU_STACK) {
        if ((segment.p_flags & PF_X) != 0) return bad("it asks for an executable stack");
      } else if (segment.p_type == PT_INTERP) {
        return bad("it is a program, not a shared library");
      } else if (segment.p_type == PT_NOTE) {
        if (!inside) return bad("it is cut off");
        notes_.push_back(segment);
      } else if (segment.p_type == PT_TLS || segment.p_type == PT_GNU_RELRO ||
                 segment.p_type == PT_GNU_EH_FRAME) {
        ranges_.push_back(segment);
      }
    }
    if (loads_.empty() || !has_dynamic_) return bad("it has no code to load");
    if (loads_.front().p_vaddr >= 4096 || loads_.front().p_offset >= 4096) {
      return bad("a segment makes no sense");
    }
    for (const Elf64_Phdr& range : ranges_) {
      const bool mapped = std::any_of(loads_.begin(), loads_.end(), [&](const Elf64_Phdr& load) {
        return range.p_vaddr >= load.p_vaddr && range.p_vaddr - load.p_vaddr <= load.p_memsz &&
               (range.p_type == PT_TLS ? range.p_filesz : range.p_memsz) <=
                   align_page(load.p_memsz) - (range.p_vaddr - load.p_vaddr);
      });
      if (!mapped || range.p_memsz > std::uint64_t{1} << 30) return bad("a segment makes no sense");
    }
    const std::optional<std::uint64_t> at = offset_of(dynamic_.p_vaddr, dynamic_.p_filesz);
    if (!at || *at != dynamic_.p_offset) return bad("its dynamic section is damaged");
    return {};
  }

  static std::uint64_t align_page(std::uint64_t value) {
    return (value + 4095) & ~std::uint64_t{4095};
  }

  // Of a tag that is there twice the last one counts, as it does for the loader.
  std::uint64_t tag(std::int64_t wanted) const {
    std::uint64_t last = 0;
    for (const auto& [key, value] : tags_) {
      if (key == wanted) last = value;
    }
    return last;
  }
  bool has(std::int64_t wanted) const {
    return std::any_of(tags_.begin(), tags_.end(),
                       [&](const auto& t) { return t.first == wanted; });
  }

  Status read_dynamic() {
    bool ended = false;
    for (std::uint64_t i = 0; i * sizeof(Elf64_Dyn) < dynamic_.p_filesz; ++i) {
      Elf64_Dyn entry{};
      if (!at_offset(dynamic_.p_offset + i * sizeof entry, &entry)) return bad("it is cut off");
      if (entry.d_tag == DT_NULL) {
        ended = true;
        break;
      }
      tags_.emplace_back(entry.d_tag, entry.d_un.d_val);
    }
    if (!ended) return bad("its dynamic section does not end");
    if (has(DT_TEXTREL) || (tag(DT_FLAGS) & DF_TEXTREL) != 0) {
      return bad("its code must be changed to be loaded (TEXTREL)");
    }
    if (!has(DT_STRTAB) || !has(DT_SYMTAB) || tag(DT_SYMENT) != sizeof(Elf64_Sym)) {
      return bad("its symbol table is damaged");
    }
    const std::optional<std::uint64_t> strings = offset_of(tag(DT_STRTAB), tag(DT_STRSZ));
    if (!strings || tag(DT_STRSZ) == 0) return bad("its string table is damaged");
    strings_ = file_.subspan(*strings, tag(DT_STRSZ));
    if (strings_.back() != std::byte{0}) return bad("its string table is damaged");
    for (const auto& [key, value] : tags_) {
      if (key == DT_NEEDED || key == DT_SONAME || key == DT_RPATH || key == DT_RUNPATH) {
        const std::optional<std::string_view> name = string_at(value);
        if (!name) return bad("a name lies outside its string table");
        if (key == DT_NEEDED) facts_.needed.emplace_back(*name);
      }
    }
    return {};
  }

  std::optional<std::string_view> string_at(std::uint64_t offset) const {
    if (offset >= strings_.size()) return std::nullopt;
    return std::string_view(reinterpret_cast<const char*>(strings_.data()) + offset);
  }

  // A table named by two tags: where it begins and how long it is.
  Status check_table(std::int64_t address, std::int64_t bytes, std::uint64_t entry,
                     const char* what) const {
    if (!has(address) && !has(bytes)) return {};
    if (tag(bytes) % entry != 0 || (tag(bytes) > 0 && !offset_of(tag(address), tag(bytes)))) {
      return bad(std::string(what) + " is damaged");
    }
    return {};
  }

  Status check_relocations(std::int64_t address, std::int64_t bytes) {
    if (tag(bytes) == 0) return {};
    const std::uint64_t offset = *offset_of(tag(address), tag(bytes));
    for (std::uint64_t i = 0; i < tag(bytes) / sizeof(Elf64_Rela); ++i) {
      Elf64_Rela relocation{};
      at_offset(offset + i * sizeof relocation, &relocation);
      // Where it writes must be writable memory of a segment.
      const bool writable = std::any_of(loads_.begin(), loads_.end(), [&](const Elf64_Phdr& load) {
        return (load.p_flags & PF_W) != 0 && relocation.r_offset >= load.p_vaddr &&
               load.p_memsz >= 8 && relocation.r_offset - load.p_vaddr <= load.p_memsz - 8;
      });
      if (!writable) return bad("a relocation lies outside its data");
      most_symbol_ = std::max<std::uint64_t>(most_symbol_, ELF64_R_SYM(relocation.r_info));
    }
    return {};
  }

  // Initialisers are called; they must point into code once relocated. The tables themselves:
  Status check_tables() {
    for (Status status :
         {check_table(DT_RELA, DT_RELASZ, sizeof(Elf64_Rela), "its relocation table"),
          check_table(DT_JMPREL, DT_PLTRELSZ, sizeof(Elf64_Rela), "its relocation table"),
          check_table(DT_RELR, DT_RELRSZ, 8, "its relocation table"),
          check_table(DT_INIT_ARRAY, DT_INIT_ARRAYSZ, 8, "its list of initialisers"),
          check_table(DT_FINI_ARRAY, DT_FINI_ARRAYSZ, 8, "its list of finalisers")}) {
      if (!status.ok()) return status;
    }
    if (has(DT_REL) || has(DT_PREINIT_ARRAY) ||
        (has(DT_RELA) && tag(DT_RELAENT) != sizeof(Elf64_Rela)) ||
        (has(DT_JMPREL) && tag(DT_PLTREL) != DT_RELA)) {
      return bad("its relocation table is damaged");
    }
    if (tag(DT_RELACOUNT) > tag(DT_RELASZ) / sizeof(Elf64_Rela)) {
      return bad("its relocation table is damaged");
    }
    for (const std::int64_t function : {DT_INIT, DT_FINI}) {
      if (!has(function)) continue;
      const bool code = std::any_of(loads_.begin(), loads_.end(), [&](const Elf64_Phdr& load) {
        return (load.p_flags & PF_X) != 0 && tag(function) >= load.p_vaddr &&
               tag(function) - load.p_vaddr < load.p_filesz;
      });
      if (!code) return bad("an initialiser is not in its code");
    }
    if (has(DT_PLTGOT) && !offset_of(tag(DT_PLTGOT), 8)) return bad("its PLT is damaged");
    if (Status status = check_relocations(DT_RELA, DT_RELASZ); !status.ok()) return status;
    return check_relocations(DT_JMPREL, DT_PLTRELSZ);
  }

  // How many symbols there are: only the hash tables know.
  Result<std::uint64_t> count_symbols() const {
    if (has(DT_GNU_HASH)) {
      std::uint32_t head[4];
      const std::optional<std::uint64_t> at = offset_of(tag(DT_GNU_HASH), sizeof head);
      if (!at || !at_offset(*at, &head)) return bad("its hash table is damaged");
      const std::uint64_t buckets = head[0];
      const std::uint64_t first = head[1];
      const std::uint64_t words = head[2];
      const std::uint64_t chain = sizeof head + words * 8 + buckets * 4;
      if (buckets == 0 || words == 0 || (words & (words - 1)) != 0 || head[3] > 63 ||
          buckets > 1u << 24 || words > 1u << 24 || !offset_of(tag(DT_GNU_HASH), chain)) {
        return bad("its hash table is damaged");
      }
      std::uint64_t last = 0;
      for (std::uint64_t i = 0; i < buckets; ++i) {
        std::uint32_t bucket = 0;
        at_offset(*at + sizeof head + words * 8 + i * 4, &bucket);
        if (bucket != 0 && bucket < first) return bad("its hash table is damaged");
        last = std::max<std::uint64_t>(last, bucket);
      }
      if (last == 0) return first;
      // The chain of the last bucket ends with an odd entry.
      while (true) {
        std::uint32_t entry = 0;
        const std::uint64_t place = chain + (last - first) * 4;
        if (!offset_of(tag(DT_GNU_HASH), place + 4) || !at_offset(*at + place, &entry)) {
          return bad("its hash table is damaged");
        }
        ++last;
        if ((entry & 1) != 0) return last;
      }
    }
    if (!has(DT_HASH)) return bad("it has no hash table");
    std::uint32_t head[2];
    const std::optional<std::uint64_t> at = offset_of(tag(DT_HASH), sizeof head);
    if (!at || !at_offset(*at, &head)) return bad("its hash table is damaged");
    const std::uint64_t bytes = 8 + (std::uint64_t{head[0]} + head[1]) * 4;
    if (head[0] == 0 || !offset_of(tag(DT_HASH), bytes)) return bad("its hash table is damaged");
    for (std::uint64_t i = 8; i < bytes; i += 4) {
      std::uint32_t entry = 0;
      at_offset(*at + i, &entry);
      if (entry >= head[1]) return bad("its hash table is damaged");
    }
    return std::uint64_t{head[1]};
  }

  Status read_symbols() {
    Result<std::uint64_t> count = count_symbols();
    if (!count) return count.status();
    symbols_ = std::max(*count, most_symbol_ + 1);
    const std::optional<std::uint64_t> at = offset_of(tag(DT_SYMTAB), symbols_ * sizeof(Elf64_Sym));
    if (!at) return bad("its symbol table is damaged");
    std::uint64_t names = 0;
    for (std::uint64_t i = 0; i < symbols_; ++i) {
      Elf64_Sym symbol{};
      at_offset(*at + i * sizeof symbol, &symbol);
      const std::optional<std::string_view> name = string_at(symbol.st_name);
      if (!name) return bad("a name lies outside its string table");
      // Names may share their ends; a table in which each is all of it would take forever.
      names += name->size();
      if (names / 4 > strings_.size()) return bad("its symbols' names overlap");
      const bool defined = symbol.st_shndx != SHN_UNDEF && symbol.st_shndx != SHN_ABS;
      const int type = ELF64_ST_TYPE(symbol.st_info);
      if (!defined || name->empty()) continue;
      if (type != STT_TLS) {
        const bool mapped = std::any_of(loads_.begin(), loads_.end(), [&](const Elf64_Phdr& load) {
          return symbol.st_value >= load.p_vaddr && symbol.st_value - load.p_vaddr <= load.p_memsz;
        });
        if (!mapped) return bad("symbol " + printable(*name) + " lies outside it");
      }
      facts_.exports.emplace_back(*name);
    }
    return {};
  }

  // Version tables are chains of offsets; each step must stay inside the file's part in memory. The
  // loader does not count: it goes on until an offset is 0, which must be that of the last.
  template <class Entry, class Item>
  Status check_chain(std::int64_t address, std::int64_t number, const Entry& next_of,
                     const Item& items_of) const {
    if (!has(address)) return {};
    std::uint64_t at = tag(address);
    for (std::uint64_t i = 0; i < tag(number); ++i) {
      const std::optional<std::uint64_t> offset = offset_of(at, 20);
      if (!offset) return bad("its version table is damaged");
      if (Status status = items_of(at, *offset); !status.ok()) return status;
      const std::uint32_t next = next_of(*offset);
      if (next == 0) return i + 1 == tag(number) ? Status() : bad("its version table is damaged");
      at += next;
    }
    return bad("its version table is damaged");
  }

  Status check_versions() {
    std::uint16_t highest = 0;  // index of a version
    if (Status status = check_version_chains(highest); !status.ok()) return status;
    if (!has(DT_VERSYM)) return {};
    // The loader makes an array up to the highest index and looks into it with that of each symbol.
    const std::optional<std::uint64_t> at = offset_of(tag(DT_VERSYM), symbols_ * 2);
    if (!at || highest == 0) return bad("its version table is damaged");
    for (std::uint64_t i = 0; i < symbols_; ++i) {
      std::uint16_t index = 0;
      at_offset(*at + i * sizeof index, &index);
      if ((index & kVersionIndex) > highest) return bad("a symbol's version does not exist");
    }
    return {};
  }

  Status check_version_chains(std::uint16_t& highest) const {
    if (tag(DT_VERNEEDNUM) > 1024 || tag(DT_VERDEFNUM) > 1024) {
      return bad("its version table is damaged");
    }
    const Status needed = check_chain(
        DT_VERNEED, DT_VERNEEDNUM,
        [&](std::uint64_t offset) {
          Elf64_Verneed entry{};
          at_offset(offset, &entry);
          return entry.vn_next;
        },
        [&](std::uint64_t address, std::uint64_t offset) -> Status {
          Elf64_Verneed entry{};
          at_offset(offset, &entry);
          if (entry.vn_version != 1 || !string_at(entry.vn_file)) {
            return bad("its version table is damaged");
          }
          std::uint64_t at = address + entry.vn_aux;
          for (std::uint16_t i = 0; i < entry.vn_cnt; ++i) {
            Elf64_Vernaux item{};
            const std::optional<std::uint64_t> place = offset_of(at, sizeof item);
            if (!place || !at_offset(*place, &item) || !string_at(item.vna_name)) {
              return bad("its version table is damaged");
            }
            highest = std::max<std::uint16_t>(highest, item.vna_other & kVersionIndex);
            if (item.vna_next == 0) return {};
            at += item.vna_next;
          }
          return bad("its version table is damaged");
        });
    if (!needed.ok()) return needed;
    return check_chain(
        DT_VERDEF, DT_VERDEFNUM,
        [&](std::uint64_t offset) {
          Elf64_Verdef entry{};
          at_offset(offset, &entry);
          return entry.vd_next;
        },
        [&](std::uint64_t address, std::uint64_t offset) -> Status {
          Elf64_Verdef entry{};
          Elf64_Verdaux item{};
          at_offset(offset, &entry);
          const std::optional<std::uint64_t> place = offset_of(address + entry.vd_aux, sizeof item);
          if (entry.vd_version != 1 || !place || !at_offset(*place, &item) ||
              !string_at(item.vda_name)) {
            return bad("its version table is damaged");
          }
          highest = std::max<std::uint16_t>(highest, entry.vd_ndx & kVersionIndex);
          return {};
        });
  }

  static constexpr std::uint16_t kVersionIndex = 0x7fff;  // the bit above hides a symbol

  // The owner's name tells our note; sanitizers pad it, linkers align it as they like.
  Status read_notes() {
    constexpr char kOwner[] = "miniinfer";
    for (const Elf64_Phdr& segment : notes_) {
      const std::span<const std::byte> bytes = file_.subspan(segment.p_offset, segment.p_filesz);
      for (std::size_t at = 0; at + sizeof(miniinfer_note) <= bytes.size(); at += 4) {
        miniinfer_note note;
        std::memcpy(&note, bytes.data() + at, sizeof note);
        if (note.name_bytes != sizeof kOwner || note.type != MINIINFER_NOTE_TYPE ||
            std::memcmp(note.owner, kOwner, sizeof kOwner) != 0 || note.desc_bytes < 64) {
          continue;
        }
        if (facts_.has_note) return bad("it carries two notes");
        facts_.has_note = true;
        facts_.abi_major = note.abi_major;
        facts_.abi_min = note.abi_min;
        facts_.abi_max = note.abi_max;
        facts_.plugin.assign(note.plugin, strnlen(note.plugin, sizeof note.plugin));
      }
    }
    return {};
  }

  std::span<const std::byte> file_;
  ElfFacts facts_;
  Elf64_Ehdr header_{};
  Elf64_Phdr dynamic_{};
  bool has_dynamic_ = false;
  std::vector<Elf64_Phdr> loads_, notes_, ranges_;
  std::vector<std::pair<std::int64_t, std::uint64_t>> tags_;
  std::span<const std::byte> strings_;
  std::uint64_t most_symbol_ = 0;
  std::uint64_t symbols_ = 0;
};

}  // namespace

Result<ElfFacts> elf_preflight(std::span<const std::byte> file) {
  if (file.size() < 1024) return bad(format("a file of %zu bytes", file.size()));
  if (file.size() > std::uint64_t{2} << 30) return bad("it is larger than 2 GiB");
  return Reader(file).run();
}

Result<ElfFacts> elf_preflight(const std::filesystem::path& file) {
  Result<MappedFile> mapped = MappedFile::open(file);
  if (!mapped) return mapped.status();
  return elf_preflight(mapped->bytes());
}

}  // namespace miniinfer
