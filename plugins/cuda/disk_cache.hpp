#pragma once

#include <string>
#include <string_view>

namespace miniinfer::cuda {

// The host's cache of bytes that outlive the process, where an entry says what it is of: it is
// `subject`, a NUL, a checksum and what was written. So an entry of another subject under the same
// key, or one that was cut or damaged, is no entry: what comes back is given to libraries that
// trust it. `kind` tells uses apart. [any-thread]

// Empty where there is no such entry, or no cache.
std::string read_cache(std::string_view kind, const std::string& subject);

// Best effort: without a cache, or where it cannot be written, nothing happens.
void write_cache(std::string_view kind, const std::string& subject, std::string_view content);

}  // namespace miniinfer::cuda
