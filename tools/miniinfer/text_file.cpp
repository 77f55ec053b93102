#include "text_file.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <span>

#include "command.hpp"
#include "file_io.hpp"

namespace miniinfer::command {
namespace {

constexpr int kGzip = 16 + MAX_WBITS;  // what inflateInit2 takes for it

Status too_long(std::uint64_t most) {
  return {Code::LimitExceeded,
          "a text of more than " + human_bytes(most) + ", which is the most that is read"};
}

class Gunzip {
 public:
  explicit Gunzip(const InputFile& file) : file_(file) {}
  ~Gunzip() {
    if (ready_) inflateEnd(&stream_);
  }

  Status read(std::string& text, std::uint64_t most) {
    ready_ = inflateInit2(&stream_, kGzip) == Z_OK;
    if (!ready_) return {Code::OutOfMemory, "no memory to unpack"};
    std::array<char, 1 << 16> out;
    int code = Z_OK;
    bool pending = false;  // more may come of what was read
    while (true) {
      if (stream_.avail_in == 0 && !pending) {
        if (at_ == file_.size()) break;
        if (Status status = refill(); !status.ok()) return status;
      }
      // A file may be several, one after the other.
      if (code == Z_STREAM_END && inflateReset(&stream_) != Z_OK) return damaged("is damaged");
      stream_.next_out = reinterpret_cast<Bytef*>(out.data());
      stream_.avail_out = static_cast<uInt>(out.size());
      code = ::inflate(&stream_, Z_NO_FLUSH);
      if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
        return damaged("is damaged");
      }
      pending = stream_.avail_out == 0 && code == Z_OK;
      const std::size_t got = out.size() - stream_.avail_out;
      if (got > most - text.size()) return too_long(most);
      text.append(out.data(), got);
    }
    return code == Z_STREAM_END ? Status() : damaged("is cut off");
  }

 private:
  Status refill() {
    const std::size_t step = std::min<std::uint64_t>(file_.size() - at_, in_.size());
    if (Status status = file_.read_at(at_, std::span(in_).first(step)); !status.ok()) return status;
    at_ += step;
    stream_.next_in = reinterpret_cast<Bytef*>(in_.data());
    stream_.avail_in = static_cast<uInt>(step);
    return {};
  }
  static Status damaged(const char* how) {
    return {Code::InvalidArgument, std::string("what gzip packed ") + how};
  }

  const InputFile& file_;
  std::uint64_t at_ = 0;
  bool ready_ = false;
  z_stream stream_{};
  std::array<std::byte, 1 << 16> in_;
};

}  // namespace

Result<std::string> read_text(const std::filesystem::path& path, std::uint64_t most) {
  const Result<InputFile> file = InputFile::open(path);
  if (!file) return file.status();
  std::string text;
  std::array<std::byte, 2> magic{};
  if (file->size() >= magic.size()) {
    if (Status status = file->read_at(0, magic); !status.ok()) return status;
  }
  Status status;
  if (magic == std::array{std::byte{0x1f}, std::byte{0x8b}}) {
    status = Gunzip(*file).read(text, most);
  } else if (file->size() > most) {
    status = too_long(most);
  } else {
    text.resize(file->size());
    status = file->read_at(0, std::as_writable_bytes(std::span(text)));
  }
  if (!status.ok()) return status;
  return text;
}

std::vector<std::string_view> split(std::string_view text, char by) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(by);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool Lines::next(std::string_view& line) {
  while (!rest_.empty()) {
    const std::size_t end = std::min(rest_.find('\n'), rest_.size());
    line = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    ++number_;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) return true;
  }
  return false;
}

}  // namespace miniinfer::command
