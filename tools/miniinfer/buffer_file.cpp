#include "buffer_file.hpp"

#include <charconv>
#include <map>

#include "miniinfer/text.hpp"
#include "text_file.hpp"

namespace miniinfer::command {
namespace {

constexpr std::uint64_t kMostFile = std::uint64_t{1} << 28;

// The numbers of one line. `at` has the place of each column.
class LineReader {
 public:
  LineReader(std::size_t number, std::vector<std::string_view> cells,
             const std::map<std::string, std::size_t, std::less<>>& at)
      : number_(number), cells_(std::move(cells)), at_(at) {}

  std::string_view text(std::string_view column) const {
    const auto place = at_.find(column);
    if (place == at_.end() || place->second >= cells_.size()) return {};
    return cells_[place->second];
  }

  Result<std::uint64_t> value(std::string_view column) const {
    const std::string_view cell = text(column);
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), number);
    if (cell.empty() || error != std::errc() || end != cell.data() + cell.size()) {
      return bad(std::string(column) + " \"" + printable(cell) +
                 "\" is not a whole number from 0 to 2^64 - 1");
    }
    return number;
  }

  Status bad(const std::string& what) const {
    return {Code::InvalidArgument, "line " + std::to_string(number_) + ": " + what};
  }

 private:
  std::size_t number_;
  std::vector<std::string_view> cells_;
  const std::map<std::string, std::size_t, std::less<>>& at_;
};

Result<PlanBuffer> read_buffer(const LineReader& line, bool has_alignment) {
  PlanBuffer buffer;
  struct Field {
    const char* column;
    std::uint64_t* value;
  };
  for (const Field& field : {Field{"lower", &buffer.begin}, Field{"upper", &buffer.end},
                             Field{"size", &buffer.bytes}, Field{"alignment", &buffer.alignment}}) {
    if (field.value == &buffer.alignment && !has_alignment) continue;
    const Result<std::uint64_t> value = line.value(field.column);
    if (!value) return value.status();
    *field.value = *value;
  }
  if (buffer.bytes == 0) return line.bad("a buffer of no bytes");
  if (buffer.end <= buffer.begin) {
    return line.bad("the buffer ends at " + std::to_string(buffer.end) + ", not after its begin " +
                    std::to_string(buffer.begin));
  }
  if (buffer.alignment == 0 || (buffer.alignment & (buffer.alignment - 1)) != 0) {
    return line.bad("alignment " + std::to_string(buffer.alignment) + " is no power of two");
  }
  return buffer;
}

}  // namespace

Result<BufferList> read_buffers(const std::filesystem::path& path) {
  const Result<std::string> text = read_text(path, kMostFile);
  if (!text) return text.status();
  BufferList list;
  std::map<std::string, std::size_t, std::less<>> at;
  std::string_view line;
  for (Lines lines(*text); lines.next(line);) {
    const std::vector<std::string_view> cells = split(line, ',');
    if (at.empty()) {
      for (std::size_t i = 0; i < cells.size(); ++i) at.emplace(cells[i], i);
      for (const char* column : {"id", "lower", "upper", "size"}) {
        if (at.contains(column)) continue;
        return Status(Code::InvalidArgument, "line 1 names no column " + std::string(column),
                      "the first line of a list of buffers is id,lower,upper,size");
      }
      continue;
    }
    const LineReader reader(lines.number(), cells, at);
    const Result<PlanBuffer> buffer = read_buffer(reader, at.contains("alignment"));
    if (!buffer) return buffer.status();
    list.ids.emplace_back(reader.text("id"));
    list.buffers.push_back(*buffer);
  }
  if (list.buffers.empty()) return Status(Code::InvalidArgument, "there is no buffer in the list");
  return list;
}

std::string buffers_text(const BufferList& list, std::span<const std::uint64_t> offsets) {
  bool has_alignment = false;
  for (const PlanBuffer& buffer : list.buffers) has_alignment |= buffer.alignment != 1;
  std::string text = "id,lower,upper,size";
  if (has_alignment) text += ",alignment";
  if (!offsets.empty()) text += ",offset";
  text += '\n';
  for (std::size_t i = 0; i < list.buffers.size(); ++i) {
    const PlanBuffer& buffer = list.buffers[i];
    text += list.ids[i];
    for (const std::uint64_t value : {buffer.begin, buffer.end, buffer.bytes}) {
      text += ',' + std::to_string(value);
    }
    if (has_alignment) text += ',' + std::to_string(buffer.alignment);
    if (!offsets.empty()) text += ',' + std::to_string(offsets[i]);
    text += '\n';
  }
  return text;
}

}  // namespace miniinfer::command
