#include "core/platform/mapped_file.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "core/base/format.hpp"

namespace miniinfer {
namespace {

constexpr int kOpenFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  int get() const { return value_; }
  int release() { return std::exchange(value_, -1); }
  void reset(int value) {
    if (value_ >= 0) close(value_);
    value_ = value;
  }

 private:
  int value_;
};

Status cannot_open(const std::string& label, int error) {
  return {Code::NotFound, format("%s cannot be opened: %s", label.c_str(), std::strerror(error))};
}

Status refuse_name(std::string_view name, const char* why) {
  return {Code::InvalidArgument, format("external data %s: %s", printable(name, 128).c_str(), why),
          "external data lies beneath the model's folder"};
}

// Component by component, for kernels and sandboxes without openat2.
int open_steps(int folder, std::string_view name) {
  Descriptor at(fcntl(folder, F_DUPFD_CLOEXEC, 0));
  while (at.get() >= 0) {
    const std::size_t slash = name.find('/');
    const std::string part(name.substr(0, slash));
    if (part == "..") {
      errno = EXDEV;
      return -1;
    }
    if (slash == std::string_view::npos) {
      return openat(at.get(), part.c_str(), kOpenFlags | O_NOFOLLOW);
    }
    name.remove_prefix(slash + 1);
    if (part.empty() || part == ".") continue;
    at.reset(openat(at.get(), part.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }
  return -1;
}

int open_beneath_folder(int folder, const std::string& name) {
  open_how how{};
  how.flags = kOpenFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  const long opened = syscall(SYS_openat2, folder, name.c_str(), &how, sizeof how);
  if (opened >= 0) return static_cast<int>(opened);
  if (errno != ENOSYS && errno != EPERM && errno != EACCES) return -1;
  return open_steps(folder, name);
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

Result<MappedFile> MappedFile::map(int descriptor, const std::string& label, bool single_link) {
  const Descriptor file(descriptor);
  struct stat info{};
  if (fstat(file.get(), &info) != 0) return cannot_open(label, errno);
  if (!S_ISREG(info.st_mode)) {
    return Status(Code::InvalidArgument,
                  format("%s is %s, not a file", label.c_str(), kind_of(info.st_mode)));
  }
  if (single_link && info.st_nlink != 1) {
    return Status(Code::InvalidArgument, label + " has another name elsewhere (a hard link)");
  }
  MappedFile mapped;
  if (info.st_size == 0) return mapped;
  const auto size = static_cast<std::size_t>(info.st_size);
  void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) {
    return Status(Code::OutOfMemory, format("%s of %s cannot be mapped: %s", label.c_str(),
                                            format_bytes(size).c_str(), std::strerror(errno)));
  }
  mapped.bytes_ = {static_cast<const std::byte*>(address), size};
  return mapped;
}

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const std::string label = printable(path.string(), 256);
  const int descriptor = ::open(path.c_str(), kOpenFlags);
  if (descriptor < 0) {
    if (errno == ENOENT) return Status(Code::NotFound, "there is no file " + label);
    return cannot_open(label, errno);
  }
  return map(descriptor, label, false);
}

Result<MappedFile> MappedFile::open_beneath(const std::filesystem::path& folder,
                                            std::string_view name) {
  if (name.empty() || name.size() > 4096) return refuse_name(name, "no usable name");
  if (name.find('\0') != std::string_view::npos) return refuse_name(name, "a NUL in the name");
  if (name.front() == '/' || name.find('\\') != std::string_view::npos) {
    return refuse_name(name, "not a relative path");
  }
  const Descriptor at(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (at.get() < 0) return cannot_open(printable(folder.string(), 256), errno);
  const int descriptor = open_beneath_folder(at.get(), std::string(name));
  if (descriptor < 0) {
    if (errno == EXDEV) return refuse_name(name, "it leads out of the model's folder");
    if (errno == ELOOP) return refuse_name(name, "it goes through a symbolic link");
    return cannot_open(printable(name, 256), errno);
  }
  return map(descriptor, "external data " + printable(name, 128), true);
}

}  // namespace miniinfer
