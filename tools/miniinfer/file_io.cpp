#include "file_io.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace miniinfer::command {
namespace {

Status failed(const char* call, int error) {
  const Code code = error == ENOENT || error == ENOTDIR ? Code::NotFound : Code::FailedPrecondition;
  return {code, std::string(call) + ": " + std::strerror(error)};
}

}  // namespace

Result<InputFile> InputFile::open(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return failed("open", errno);
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return Status(Code::InvalidArgument, "not a regular file");
  }
  return InputFile(fd, static_cast<std::uint64_t>(info.st_size));
}

InputFile::InputFile(InputFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

InputFile::~InputFile() {
  if (fd_ >= 0) ::close(fd_);
}

Status InputFile::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > size_ || out.size() > size_ - offset) {
    return {Code::InvalidArgument, "the file ends too early: " + std::to_string(size_) + " bytes"};
  }
  while (!out.empty()) {
    const ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed("read", errno);
    if (got == 0) return {Code::InvalidArgument, "the file became shorter while it was read"};
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

Result<OutputFile> OutputFile::create(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path target = std::filesystem::is_symlink(path, error)
                                           ? std::filesystem::weakly_canonical(path, error)
                                           : path;
  struct stat info;
  if (::stat(target.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    const int fd = ::open(target.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return failed("open", errno);
    // Only the opening must not wait, for a FIFO's reader.
    (void)::fcntl(fd, F_SETFL, 0);
    return OutputFile(fd, target, {});
  }
  std::string temporary = target.string() + ".XXXXXX";
  const int fd = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return failed("open", errno);
  // mkostemp makes a private file; the result is as public as any file the user writes.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  (void)::fchmod(fd, 0666 & ~mask);
  return OutputFile(fd, target, std::move(temporary));
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})) {}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Status OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return failed("write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

Status OutputFile::commit() {
  // Some file systems report a failed write only here.
  if (::close(std::exchange(fd_, -1)) != 0) return failed("close", errno);
  if (temporary_.empty()) return {};
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return failed("rename", errno);
  temporary_.clear();
  return {};
}

Status write_file(const std::filesystem::path& path, const std::string& bytes) {
  Result<OutputFile> file = OutputFile::create(path);
  if (!file) return file.status().with_context(path.string());
  Status status = file->write(bytes);
  if (status.ok()) status = file->commit();
  return status.with_context(path.string());
}

}  // namespace miniinfer::command
