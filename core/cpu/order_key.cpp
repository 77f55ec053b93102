#include "core/cpu/order_key.hpp"

#include <bit>
#include <type_traits>

#include "core/cpu/select.hpp"

namespace miniinfer::cpu {
namespace {

constexpr std::uint64_t kSign = std::uint64_t{1} << 63;

std::uint64_t key_of(double x) {
  const auto bits = std::bit_cast<std::uint64_t>(x == 0 ? 0.0 : x);
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}

template <class T>
void keys_of(std::uint64_t* keys, const std::byte* from, std::int64_t step, std::int64_t n,
             std::uint64_t flip, std::uint64_t nan) {
  const auto* elements = reinterpret_cast<const T*>(from);
  for (std::int64_t i = 0; i < n; ++i) {
    const T element = elements[i * step];
    if constexpr (std::is_integral_v<T>) {
      keys[i] = (static_cast<std::uint64_t>(element) ^ (std::is_signed_v<T> ? kSign : 0)) ^ flip;
    } else {
      const double x = element;
      keys[i] = x != x ? nan : key_of(x) ^ flip;
    }
  }
}

}  // namespace

OrderKeys order_keys(int dtype) noexcept {
  OrderKeys result = nullptr;
  with_element_type(dtype, [&](auto type) { result = keys_of<decltype(type)>; });
  return result;
}

}  // namespace miniinfer::cpu
