#include "plugins/fake/mapping.hpp"

#include <algorithm>
#include <cstdarg>
#include <iterator>
#include <utility>

#include "miniinfer/sdk/open_device.hpp"
#include "plugins/fake/device.hpp"

namespace miniinfer::fake {
namespace {

unsigned long long number(std::uint64_t value) { return value; }

Mapping& of(miniinfer_device* device) {
  return static_cast<Device&>(sdk::unwrap(device)).memory().mapping();
}

constexpr miniinfer_virtual_memory kTable = {
    MINIINFER_HEAD(miniinfer_virtual_memory),
    [](miniinfer_device* device) noexcept { return of(device).granularity(); },
    [](miniinfer_device* device, std::uint64_t bytes, std::uint64_t* out) noexcept {
      return sdk::detail::guard([&] { *out = of(device).reserve(bytes); });
    },
    [](miniinfer_device* device, std::uint64_t address, std::uint64_t bytes) noexcept {
      sdk::detail::guard_quietly("release failed", [&] { of(device).release(address, bytes); });
    },
    [](miniinfer_device* device, std::uint64_t bytes, miniinfer_physical** out) noexcept {
      return sdk::detail::guard(
          [&] { *out = reinterpret_cast<miniinfer_physical*>(of(device).create(bytes)); });
    },
    [](miniinfer_device* device, miniinfer_physical* physical) noexcept {
      sdk::detail::guard_quietly(
          "destroy failed", [&] { of(device).destroy(reinterpret_cast<std::uint64_t>(physical)); });
    },
    [](miniinfer_device* device, std::uint64_t address, miniinfer_physical* physical) noexcept {
      return sdk::detail::guard(
          [&] { of(device).map(address, reinterpret_cast<std::uint64_t>(physical)); });
    },
    [](miniinfer_device* device, std::uint64_t address, std::uint64_t bytes) noexcept {
      return sdk::detail::guard([&] { of(device).unmap(address, bytes); });
    },
    [](miniinfer_device* device, std::uint64_t address, std::uint64_t bytes,
       miniinfer_access access) noexcept {
      return sdk::detail::guard([&] { of(device).set_access(address, bytes, access); });
    }};

}  // namespace

Mapping::Mapping(Device& device, Room& room, const Settings& settings)
    : device_(device),
      room_(room),
      granularity_(settings.is_inline ? 0 : settings.granularity),
      flat_(settings.flat) {}

Mapping::~Mapping() {
  for (const auto& [address, range] : ranges_) {
    if (range.host != nullptr) BackingFile::release(range.host, range.bytes);
  }
}

const miniinfer_virtual_memory* Mapping::api() const {
  return granularity_ == 0 ? nullptr : &kTable;
}

void Mapping::refuse(const char* format, ...) {
  std::va_list args;
  va_start(args, format);
  const std::string text = sdk::vformat(format, args);
  va_end(args);
  device_.violation("%s", text.c_str());
  throw sdk::Error(MINIINFER_INVALID_ARGUMENT, text);
}

void Mapping::check_size(const char* call, std::uint64_t address, std::uint64_t bytes) {
  if (bytes != 0 && ((address | bytes) & (granularity_ - 1)) == 0) return;
  refuse("%s of %llu bytes at %#llx on %s: not in multiples of %llu", call, number(bytes),
         number(address), device_.id(), number(granularity_));
}

Mapping::Ranges::iterator Mapping::around(std::uint64_t address, std::uint64_t bytes) {
  auto range = ranges_.upper_bound(address);
  if (range == ranges_.begin()) return ranges_.end();
  --range;
  const std::uint64_t offset = address - range->first;
  const bool inside = offset <= range->second.bytes && bytes <= range->second.bytes - offset;
  return inside ? range : ranges_.end();
}

std::uint64_t Mapping::reserve(std::uint64_t bytes) {
  device_.enter("reserve");
  check_size("reserve", 0, bytes);
  const std::uint64_t address = room_.addresses(bytes, granularity_);
  std::lock_guard lock(mutex_);
  ranges_.emplace(address, Range{bytes, nullptr, {}});
  device_.ledger().add(&miniinfer_fake_ledger::live_ranges);
  return address;
}

void Mapping::release(std::uint64_t address, std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  const auto range = ranges_.find(address);
  if (range == ranges_.end() || range->second.bytes != bytes) {
    refuse("release of %llu bytes at %#llx on %s: no such range", number(bytes), number(address),
           device_.id());
  }
  if (!range->second.map.empty()) {
    refuse("release of the range at %#llx on %s: %zu pieces are mapped there", number(address),
           device_.id(), range->second.map.size());
  }
  if (range->second.host != nullptr) BackingFile::release(range->second.host, bytes);
  ranges_.erase(range);
  device_.ledger().subtract(&miniinfer_fake_ledger::live_ranges);
}

std::uint64_t Mapping::create(std::uint64_t bytes) {
  device_.enter("piece");
  check_size("create", 0, bytes);
  if (!room_.take(bytes)) {
    sdk::fail(MINIINFER_OUT_OF_MEMORY, "a piece of %llu bytes on %s failed, %llu of %llu free",
              number(bytes), device_.id(), number(room_.free()), number(room_.total()));
  }
  device_.ledger().made_piece(bytes);
  std::lock_guard lock(mutex_);
  pieces_.emplace_hint(pieces_.end(), ++pieces_made_, bytes);
  return pieces_made_;
}

void Mapping::destroy(std::uint64_t piece) {
  std::lock_guard lock(mutex_);
  const auto found = pieces_.find(piece);
  if (found == pieces_.end()) {
    refuse("destroy of piece %llu on %s: there is none", number(piece), device_.id());
  }
  const Piece& doomed = found->second;
  if (doomed.address != 0) {
    refuse("destroy of piece %llu on %s: it is mapped at %#llx", number(piece), device_.id(),
           number(doomed.address));
  }
  if (doomed.file) file_.drop(*doomed.file, doomed.bytes);
  room_.give(doomed.bytes);
  device_.ledger().destroyed_piece(doomed.bytes);
  pieces_.erase(found);
}

void Mapping::map(std::uint64_t address, std::uint64_t piece) {
  device_.enter("map");
  std::uint64_t bytes = 0;
  {
    std::lock_guard lock(mutex_);
    const auto found = pieces_.find(piece);
    if (found == pieces_.end()) {
      refuse("map of piece %llu on %s: there is none", number(piece), device_.id());
    }
    Piece& mapped = found->second;
    bytes = mapped.bytes;
    check_size("map", address, bytes);
    if (mapped.address != 0) {
      refuse("map of piece %llu on %s: it is mapped at %#llx already", number(piece), device_.id(),
             number(mapped.address));
    }
    const auto range = around(address, bytes);
    if (range == ranges_.end()) {
      refuse("map of %llu bytes at %#llx on %s: no range is reserved there", number(bytes),
             number(address), device_.id());
    }
    const std::uint64_t offset = address - range->first;
    auto& map = range->second.map;
    const auto after = map.lower_bound(offset);
    const bool over_next = after != map.end() && after->first < offset + bytes;
    const bool over_last =
        after != map.begin() && std::prev(after)->first + std::prev(after)->second->bytes > offset;
    if (over_next || over_last) {
      refuse("map of %llu bytes at %#llx on %s: something is mapped there", number(bytes),
             number(address), device_.id());
    }
    map.emplace_hint(after, offset, &mapped);
    mapped.address = address;
    mapped.access = false;
  }
  device_.scheduler().note({address, 0}, bytes, "mapped", nullptr);
}

std::pair<Mapping::Map::iterator, Mapping::Map::iterator> Mapping::pieces(Ranges::iterator range,
                                                                          std::uint64_t address,
                                                                          std::uint64_t bytes,
                                                                          const char* call) {
  if (range == ranges_.end()) {
    refuse("%s of %llu bytes at %#llx on %s: no range is reserved there", call, number(bytes),
           number(address), device_.id());
  }
  const std::uint64_t begin = address - range->first;
  const std::uint64_t end = begin + bytes;
  auto& map = range->second.map;
  const auto first = map.lower_bound(begin);
  const auto last = map.lower_bound(end);
  const auto cut = [&](auto at, std::uint64_t boundary) {
    return at != map.begin() && std::prev(at)->first + std::prev(at)->second->bytes > boundary;
  };
  if (cut(first, begin) || cut(last, end)) {
    refuse("%s of %llu bytes at %#llx on %s: that is a part of a piece", call, number(bytes),
           number(address), device_.id());
  }
  std::uint64_t covered = 0;
  for (auto at = first; at != last; ++at) covered += at->second->bytes;
  if (covered != bytes) {
    refuse("%s of %llu bytes at %#llx on %s: only %llu are mapped there", call, number(bytes),
           number(address), device_.id(), number(covered));
  }
  return {first, last};
}

void Mapping::unmap(std::uint64_t address, std::uint64_t bytes) {
  if (!device_.lost()) device_.enter("unmap");
  {
    std::lock_guard lock(mutex_);
    check_size("unmap", address, bytes);
    const auto range = around(address, bytes);
    const auto [first, last] = pieces(range, address, bytes, "unmap");
    for (auto at = first; at != last; ++at) {
      Piece& piece = *at->second;
      if (piece.at_host) BackingFile::unmap(range->second.host + at->first, piece.bytes);
      piece.at_host = piece.access = false;
      piece.address = 0;
    }
    range->second.map.erase(first, last);
  }
  const std::string race = device_.scheduler().take_away({address, 0}, bytes, "are unmapped");
  if (!race.empty() && !device_.lost()) device_.violation("%s", race.c_str());
  device_.scheduler().note({address, 0}, bytes, "unmapped", nullptr);
}

void Mapping::set_access(std::uint64_t address, std::uint64_t bytes, miniinfer_access access) {
  device_.enter("access");
  std::lock_guard lock(mutex_);
  check_size("set_access", address, bytes);
  if (access != MINIINFER_ACCESS_NONE && access != MINIINFER_ACCESS_READ_WRITE) {
    refuse("set_access at %#llx on %s: %d is no access", number(address), device_.id(), access);
  }
  const auto [first, last] = pieces(around(address, bytes), address, bytes, "set_access");
  for (auto at = first; at != last; ++at) {
    at->second->access = access == MINIINFER_ACCESS_READ_WRITE;
  }
}

std::optional<Place> Mapping::find(miniinfer_mem mem, std::uint64_t bytes, bool running) {
  if (granularity_ == 0) return {};
  std::lock_guard lock(mutex_);
  const std::uint64_t address = mem.handle + mem.offset;
  const auto range = flat_ ? around(address, 0) : ranges_.find(mem.handle);
  if (range == ranges_.end()) return {};
  const std::uint64_t offset = address - range->first;
  auto& [size, host, map] = range->second;
  if (offset > size || bytes > size - offset) return Place{"it reaches past the range's end"};
  auto at = map.upper_bound(offset);
  if (at != map.begin()) --at;
  for (std::uint64_t known = offset; known < offset + bytes; ++at) {
    if (at == map.end() || at->first > known || at->first + at->second->bytes <= known) {
      return Place{"nothing is mapped there"};
    }
    Piece& piece = *at->second;
    if (!piece.access) return Place{"access has not been set"};
    const std::uint64_t end = std::min(offset + bytes, at->first + piece.bytes);
    if (running) {
      bring(range->second, at->first, piece);
      piece.pages.prepare(host + at->first, known - at->first, end - known);
    }
    known = end;
  }
  return Place{nullptr, running && host != nullptr ? host + offset : nullptr};
}

void Mapping::bring(Range& range, std::uint64_t offset, Piece& piece) {
  if (piece.at_host) return;
  if (range.host == nullptr) range.host = BackingFile::reserve(range.bytes);
  if (!piece.file) piece.file = file_.take(piece.bytes);
  file_.map(range.host + offset, *piece.file, piece.bytes);
  piece.at_host = true;
}

}  // namespace miniinfer::fake
