#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace miniinfer::pool {

// Sizes in bins, eight to each power of two, so that the sizes of a bin differ by an eighth at
// most. The first sixteen hold one size each. Sizes are in units, at least 1.
//
// This is the segregated fit of TLSF (Masmano, Ripoll, Crespo, Real: "TLSF: a new dynamic memory
// allocator for real-time systems", 2004).
inline constexpr std::uint32_t kOctaves = 60;
inline constexpr std::uint32_t kBinsPerOctave = 8;
inline constexpr std::uint32_t kBins = kOctaves * kBinsPerOctave;
inline constexpr std::uint32_t kExactBins = 2 * kBinsPerOctave;  // of one size each

constexpr std::uint32_t bin_of(std::uint64_t units) noexcept {
  const auto shift = static_cast<std::uint32_t>(std::bit_width(units | kBinsPerOctave)) - 4;
  return shift * kBinsPerOctave + static_cast<std::uint32_t>(units >> shift);
}

// Which bins are not empty; finds the next one in two steps, however many there are.
class BinSet {
 public:
  void add(std::uint32_t bin) noexcept {
    bins_[bin / kBinsPerOctave] |= static_cast<std::uint8_t>(1u << bin % kBinsPerOctave);
    octaves_ |= std::uint64_t{1} << bin / kBinsPerOctave;
  }
  void remove(std::uint32_t bin) noexcept {
    std::uint8_t& octave = bins_[bin / kBinsPerOctave];
    octave &= static_cast<std::uint8_t>(~(1u << bin % kBinsPerOctave));
    if (octave == 0) octaves_ &= ~(std::uint64_t{1} << bin / kBinsPerOctave);
  }
  // The first bin at or after `bin`; kBins where there is none.
  std::uint32_t at_or_after(std::uint32_t bin) const noexcept {
    if (bin >= kBins) return kBins;
    const std::uint32_t octave = bin / kBinsPerOctave;
    const auto here = static_cast<std::uint32_t>(bins_[octave]) >> bin % kBinsPerOctave;
    if (here != 0) return bin + static_cast<std::uint32_t>(std::countr_zero(here));
    const std::uint64_t later = octaves_ >> octave >> 1;
    if (later == 0) return kBins;
    const std::uint32_t next = octave + 1 + static_cast<std::uint32_t>(std::countr_zero(later));
    return next * kBinsPerOctave +
           static_cast<std::uint32_t>(std::countr_zero(static_cast<unsigned>(bins_[next])));
  }
  // The last bin; kBins where all are empty.
  std::uint32_t last() const noexcept {
    if (octaves_ == 0) return kBins;
    const auto octave = static_cast<std::uint32_t>(std::bit_width(octaves_)) - 1;
    return octave * kBinsPerOctave + static_cast<std::uint32_t>(std::bit_width(bins_[octave])) - 1;
  }
  bool empty() const noexcept { return octaves_ == 0; }

 private:
  std::uint64_t octaves_ = 0;
  std::array<std::uint8_t, kOctaves> bins_{};
};

}  // namespace miniinfer::pool
