#include "allocation_trace.hpp"

#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "miniinfer/text.hpp"
#include "text_file.hpp"

namespace miniinfer::command {
namespace {

constexpr std::uint64_t kMostText = std::uint64_t{1} << 30;
constexpr std::uint64_t kMostLive = std::uint64_t{1} << 62;  // bytes; their sums fit
constexpr std::size_t kMostStreams = 1024;
constexpr std::size_t kMostEvents = std::uint32_t{1} << 31;

Status wrong(const std::string& what, const std::string& hint = {}) {
  return {Code::InvalidArgument, what, hint};
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  out += printable(text);
  out += '"';
  return out;
}

// "12", "0xc"; RMM writes "(nil)" too.
std::optional<std::uint64_t> number(std::string_view text, bool hexadecimal) {
  if (hexadecimal && text == "(nil)") return 0;
  const bool prefixed = hexadecimal && text.starts_with("0x");
  if (prefixed) text.remove_prefix(2);
  std::uint64_t value = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value, prefixed ? 16 : 10);
  if (text.empty() || error != std::errc() || end != last) return std::nullopt;
  return value;
}

Status no_number(const char* what, std::string_view text) {
  return wrong(std::string(what) + " " + quoted(text) +
               " is not a whole number from 0 to 2^64 - 1");
}

// Gives blocks and streams their numbers.
class Builder {
 public:
  Status take(std::uint64_t id, std::uint64_t bytes, std::uint64_t stream) {
    if (bytes > kMostLive - live_) {
      return wrong(std::to_string(bytes) + " bytes beside " + std::to_string(live_) +
                   " that are live, 2^62 are allowed");
    }
    if (trace_.events.size() >= kMostEvents) return wrong("more than 2^31 events");
    const auto [place, is_new] = blocks_.try_emplace(id);
    if (!is_new) return wrong("the block is live already");
    Block& block = place->second;
    block.bytes = bytes;
    if (Status status = find_stream(stream, block.stream); !status.ok()) return status;
    if (free_.empty()) {
      block.number = trace_.blocks++;
    } else {
      block.number = free_.back();
      free_.pop_back();
    }
    live_ += bytes;
    trace_.events.push_back({bytes, block.number, block.stream, true});
    return {};
  }

  // `bytes` and `stream` where the trace has them.
  Status give(std::uint64_t id, std::optional<std::uint64_t> bytes,
              std::optional<std::uint64_t> stream) {
    const auto place = blocks_.find(id);
    if (place == blocks_.end()) return wrong("no such block is live");
    const Block block = place->second;
    if (bytes && *bytes != block.bytes) {
      return wrong("the block has " + std::to_string(block.bytes) + " bytes, not " +
                   std::to_string(*bytes));
    }
    std::uint16_t on = block.stream;
    if (stream) {
      if (Status status = find_stream(*stream, on); !status.ok()) return status;
    }
    blocks_.erase(place);
    free_.push_back(block.number);
    live_ -= block.bytes;
    trace_.events.push_back({block.bytes, block.number, on, false});
    return {};
  }

  AllocationTrace finish() {
    trace_.streams = static_cast<std::uint16_t>(streams_.size());
    return std::move(trace_);
  }

 private:
  struct Block {
    std::uint64_t bytes = 0;
    std::uint32_t number = 0;
    std::uint16_t stream = 0;
  };

  Status find_stream(std::uint64_t stream, std::uint16_t& number) {
    number =
        streams_.try_emplace(stream, static_cast<std::uint16_t>(streams_.size())).first->second;
    if (streams_.size() <= kMostStreams) return {};
    return wrong("more than " + std::to_string(kMostStreams) + " streams");
  }

  AllocationTrace trace_;
  std::unordered_map<std::uint64_t, Block> blocks_;  // that are live
  std::unordered_map<std::uint64_t, std::uint16_t> streams_;
  std::vector<std::uint32_t> free_;
  std::uint64_t live_ = 0;
};

Status read_event(std::string_view line, Builder& builder) {
  const std::vector<std::string_view> words = split(line, ' ');
  const bool takes = words[0] == "a";
  if (words.size() != (takes ? 4 : 2) || (!takes && words[0] != "f")) {
    return wrong(quoted(line) + " is neither a ID BYTES STREAM nor f ID");
  }
  constexpr const char* kNames[] = {"the block's number", "the size", "the stream"};
  std::array<std::uint64_t, 3> values{};
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::optional<std::uint64_t> value = number(words[i], false);
    if (!value) return no_number(kNames[i - 1], words[i]);
    values[i - 1] = *value;
  }
  return takes ? builder.take(values[0], values[1], values[2])
               : builder.give(values[0], std::nullopt, std::nullopt);
}

// RMM's columns.
class Table {
 public:
  Status read_head(std::string_view line) {
    const std::vector<std::string_view> names = split(line, ',');
    for (std::size_t column = 0; column < kColumns.size(); ++column) {
      std::size_t at = 0;
      while (at < names.size() && names[at] != kColumns[column]) ++at;
      if (at == names.size()) {
        return wrong(
            quoted(line) + " begins no trace: it names no column " + std::string(kColumns[column]),
            "a trace has lines a ID BYTES STREAM and f ID, or RMM's columns "
            "Thread,Time,Action,Pointer,Size,Stream");
      }
      at_[column] = at;
    }
    columns_ = names.size();
    return {};
  }

  Status read_event(std::string_view line, Builder& builder) const {
    const std::vector<std::string_view> cells = split(line, ',');
    if (cells.size() != columns_) {
      return wrong(std::to_string(cells.size()) + " cells, the first line has " +
                   std::to_string(columns_));
    }
    const std::string_view action = cells[at_[0]];
    if (action == "allocate failure") return {};
    if (action != "allocate" && action != "free") {
      return wrong("the action " + quoted(action) + " is not known",
                   "actions are allocate, free, allocate failure");
    }
    std::array<std::uint64_t, kColumns.size()> values{};
    for (std::size_t column = 1; column < kColumns.size(); ++column) {
      const std::optional<std::uint64_t> value = number(cells[at_[column]], true);
      if (!value) return no_number(kColumns[column].data(), cells[at_[column]]);
      values[column] = *value;
    }
    return action == "free" ? builder.give(values[1], values[2], values[3])
                            : builder.take(values[1], values[2], values[3]);
  }

 private:
  static constexpr std::array<std::string_view, 4> kColumns = {"Action", "Pointer", "Size",
                                                               "Stream"};
  std::array<std::size_t, kColumns.size()> at_{};
  std::size_t columns_ = 0;
};

}  // namespace

Result<AllocationTrace> read_allocation_trace(const std::filesystem::path& path,
                                              std::string& where) {
  where = path.string();
  const Result<std::string> text = read_text(path, kMostText);
  if (!text) return text.status();
  Builder builder;
  Table table;
  Lines lines(*text);
  std::string_view line;
  bool is_first = true, is_table = false;
  while (lines.next(line)) {
    Status status;
    if (is_first && !line.starts_with("a ") && !line.starts_with("f ")) {
      is_table = true;
      status = table.read_head(line);
    } else {
      status = is_table ? table.read_event(line, builder) : read_event(line, builder);
    }
    is_first = false;
    if (!status.ok()) {
      where += ':';
      where += std::to_string(lines.number());
      return status;
    }
  }
  AllocationTrace trace = builder.finish();
  if (trace.events.empty()) return wrong("there is no event in the trace");
  return trace;
}

}  // namespace miniinfer::command
