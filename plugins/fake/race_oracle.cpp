#include "plugins/fake/race_oracle.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "miniinfer/sdk/error.hpp"

namespace miniinfer::fake {
namespace {

constexpr std::size_t kNotesKept = 4096;
constexpr std::size_t kNotesTold = 8;

unsigned long long number(std::uint64_t value) { return value; }

bool is_done(const Work& work, const Clock& before) {
  return covers(before, work.slot, work.position);
}

// "copy, work 3 of stream 1, writes"
std::string tell(const Work& work, bool writes) {
  return sdk::format("%s, work %llu of stream %u, %s", work.name, number(work.number), work.stream,
                     writes ? "writes" : "reads");
}

}  // namespace

RaceOracle::Stretches::iterator RaceOracle::split(std::uint64_t at) {
  const auto after = stretches_.lower_bound(at);
  if (after == stretches_.begin()) return after;
  const auto across = std::prev(after);
  if (across->second.end <= at) return after;
  const auto made = stretches_.emplace_hint(after, at, across->second);
  across->second.end = at;
  return made;
}

std::string RaceOracle::use(const Access& access, const Work& work, const Clock& before,
                            const Clock& host) {
  const std::uint64_t begin = access.mem.handle + access.mem.offset;
  const std::uint64_t end = begin + access.bytes;
  if (begin == end) return {};
  std::string race;
  const auto check = [&](const Work& other, bool writes) {
    if (!race.empty() || other.slot == work.slot || is_done(other, before)) return;
    race = sdk::format(
        "race: %s bytes %llu to %llu of block %#llx, which %s, and nothing orders "
        "them%s",
        tell(work, access.writes).c_str(), number(access.mem.offset),
        number(access.mem.offset + access.bytes), number(access.mem.handle),
        tell(other, writes).c_str(), history(begin, end).c_str());
  };
  split(end);
  auto at = split(begin);
  for (std::uint64_t known = begin; known < end;) {
    if (at == stretches_.end() || at->first > known) {
      const std::uint64_t until = at == stretches_.end() ? end : std::min(end, at->first);
      at = stretches_.emplace_hint(at, known, Stretch{until, {}, {}});
    }
    Stretch& stretch = at->second;
    if (stretch.writer.position != 0) {
      if (is_done(stretch.writer, host)) {
        stretch.writer = {};
      } else {
        check(stretch.writer, true);
      }
    }
    std::erase_if(stretch.readers, [&](const Work& reader) {
      if (access.writes) check(reader, false);
      return reader.slot == work.slot || is_done(reader, host);
    });
    known = stretch.end;
    if (access.writes) {
      at = stretches_.erase(at);
    } else {
      stretch.readers.push_back(work);
      ++at;
    }
  }
  if (access.writes) stretches_.emplace_hint(at, begin, Stretch{end, work, {}});
  return race;
}

std::string RaceOracle::take_away(miniinfer_mem mem, std::uint64_t bytes, const char* how,
                                  const Clock& host) {
  const std::uint64_t begin = mem.handle + mem.offset;
  const std::uint64_t end = begin + bytes;
  std::string race;
  const auto check = [&](const Work& work, bool writes) {
    if (!race.empty() || work.position == 0 || is_done(work, host)) return;
    race = sdk::format(
        "race: %llu bytes at %llu of block %#llx %s while %s it, for which nobody "
        "has waited%s",
        number(bytes), number(mem.offset), number(mem.handle), how, tell(work, writes).c_str(),
        history(begin, end).c_str());
  };
  split(end);
  auto at = split(begin);
  while (at != stretches_.end() && at->first < end) {
    check(at->second.writer, true);
    for (const Work& reader : at->second.readers) check(reader, false);
    at = stretches_.erase(at);
  }
  return race;
}

void RaceOracle::forget(miniinfer_mem mem, std::uint64_t bytes) {
  const std::uint64_t begin = mem.handle + mem.offset;
  const auto last = split(begin + bytes);
  stretches_.erase(split(begin), last);
}

void RaceOracle::note(miniinfer_mem mem, std::uint64_t bytes, const char* what,
                      std::uint32_t stream) {
  const std::uint64_t begin = mem.handle + mem.offset;
  const std::uint64_t number = ++notes_made_;
  const Note made{begin, begin + bytes, what, stream, number};
  if (notes_.size() < kNotesKept) {
    notes_.push_back(made);
  } else {
    notes_[(number - 1) % kNotesKept] = made;
  }
}

std::string RaceOracle::history(std::uint64_t begin, std::uint64_t end) const {
  std::string told;
  std::size_t count = 0;
  for (std::uint64_t n = notes_made_; n > 0 && notes_made_ - n < notes_.size(); --n) {
    const Note& note = notes_[(n - 1) % kNotesKept];
    if (note.end <= begin || end <= note.begin) continue;
    const std::string stream =
        note.stream == 0 ? std::string() : sdk::format(" for stream %u", note.stream);
    told.insert(0, sdk::format("; %llu: %llu bytes at %#llx %s%s", number(note.number),
                               number(note.end - note.begin), number(note.begin), note.what,
                               stream.c_str()));
    if (++count == kNotesTold) break;
  }
  return told;
}

}  // namespace miniinfer::fake
