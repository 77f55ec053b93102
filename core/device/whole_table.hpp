#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "miniinfer/abi/base.h"

namespace miniinfer {

// A copy in which what the writer's older version lacks is zero or null, so that the rest of the
// core can test a slot for null and needs no sizes. `table` is not null.
template <class T>
T whole_table(const T* table) {
  static_assert(std::is_trivially_copyable_v<T> && offsetof(T, head) == 0);
  T whole{};
  std::memcpy(&whole, table, std::min<std::size_t>(table->head.size, sizeof(T)));
  whole.head = MINIINFER_HEAD(T);
  return whole;
}

}  // namespace miniinfer
