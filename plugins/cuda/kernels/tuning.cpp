#include "plugins/cuda/kernels/tuning.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string_view>
#include <utility>

#include "miniinfer/abi/op.h"
#include "miniinfer/sdk/host.hpp"
#include "miniinfer/sdk/reference/number.hpp"
#include "plugins/cuda/backend.hpp"
#include "plugins/cuda/disk_cache.hpp"
#include "plugins/cuda/findings.hpp"

namespace miniinfer::cuda {
namespace {

namespace reference = sdk::reference;

constexpr const char* kKind = "fastest-1";  // with the revision of what is stored

// Some of the result, from beginning to end: all of a large one would take longer than the run.
std::vector<double> sample(Bench& bench, const Trial& trial) {
  constexpr std::uint64_t kPieces = 16, kPieceBytes = 8u << 10;
  const std::uint64_t element = sdk::element_bytes(trial.dtype);
  const std::uint64_t piece = std::min(trial.out_bytes, kPieceBytes);
  std::vector<std::byte> bytes(piece);
  std::vector<double> values;
  const std::uint64_t pieces = trial.out_bytes > kPieces * kPieceBytes
                                   ? kPieces
                                   : (trial.out_bytes + kPieceBytes - 1) / kPieceBytes;
  for (std::uint64_t i = 0; i < pieces; ++i) {
    const std::uint64_t last = (trial.out_bytes - piece) / element;
    const std::uint64_t start = pieces == 1 ? 0 : last * i / (pieces - 1) * element;
    bench.read(bytes.data(), trial.out + start, piece);
    reference::with_type(trial.dtype, [&](auto type) {
      using S = typename decltype(type)::Stored;
      for (std::uint64_t at = 0; at + sizeof(S) <= piece; at += sizeof(S)) {
        values.push_back(static_cast<double>(reference::load<S>(bytes.data() + at)));
      }
    });
  }
  return values;
}

// Of the largest number of a result: wide enough for every order of summing and for what `math`
// allows, far too narrow for a wrong result.
double tolerance(const Trial& trial) {
  switch (trial.dtype) {
    case MINIINFER_FLOAT64:
      return 1e-10;
    case MINIINFER_BFLOAT16:
      return 4e-2;
    case MINIINFER_FLOAT16:
      return 1e-2;
    default:
      return trial.math != 0 ? 1e-2 : 1e-4;
  }
}

bool agree(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  double largest = 0, apart = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(b[i])) return false;
    largest = std::max(largest, std::fabs(a[i]));
    apart = std::max(apart, std::fabs(a[i] - b[i]));
  }
  return apart <= largest * tolerance;
}

}  // namespace

bool tuning_wanted() {
  const char* const wanted = sdk::option("tune");
  return wanted != nullptr && std::string_view(wanted) == "on";
}

Fastest::Fastest(Device& device, const std::string& problem)
    : device_(device),
      subject_(sdk::format("%s; %s, sm%d; plugin %s", problem.c_str(),
                           device.properties().name.c_str(), device.properties().compute_capability,
                           Backend::kVersion)) {}

std::string Fastest::recall() const {
  auto& known = device_.findings().fastest;
  if (const auto* found = known.find(subject_)) {
    return *found == nullptr ? std::string() : **found;
  }
  const std::string way = read_cache(kKind, subject_);
  known.add(subject_, way.empty() ? nullptr : std::make_shared<const std::string>(way));
  return way;
}

void Fastest::remember(const std::string& way) const {
  device_.findings().fastest.add(subject_, std::make_shared<const std::string>(way));
  write_cache(kKind, subject_, way);
}

std::vector<std::byte> tuning_numbers(miniinfer_dtype dtype) {
  constexpr std::size_t kCount = 65521;  // a prime, so that rows do not repeat
  std::vector<std::byte> bytes(kCount * sdk::element_bytes(dtype));
  std::minstd_rand random(1);
  reference::with_type(dtype, [&](auto type) {
    using S = typename decltype(type)::Stored;
    if constexpr (reference::kIsFloat<S>) {
      for (std::size_t i = 0; i < kCount; ++i) {
        const double number = (static_cast<double>(random()) - 1073741823.5) / 1073741823.5;
        reference::store<S>(bytes.data() + i * sizeof(S), number);
      }
    }
  });
  return bytes;
}

std::optional<std::size_t> find_fastest(Device& device, Bench& bench, const Trial& trial) {
  constexpr double kHopeless = 4, kMargin = 0.97;
  constexpr double kLaunchNs = 2e4;  // what putting a small one on the stream may take
  std::vector<double> expected;
  std::optional<std::size_t> best;
  double best_ns = std::numeric_limits<double>::infinity();
  double first_ns = 0;
  for (std::size_t way = 0; way < trial.ways; ++way) {
    const auto run = [&] { trial.run(way); };
    try {
      bench.clear(trial.out, trial.out_bytes);
      bench.run(run);
      const std::vector<double> got = sample(bench, trial);
      if (expected.empty()) expected = got;
      if (!agree(expected, got, tolerance(trial))) {
        sdk::log(MINIINFER_LOG_INFO, "%s: way %zu of %s gives another result, and is left out",
                 device.id(), way, trial.problem.c_str());
        continue;
      }
      const double ns = bench.time_ns(run, best_ns * kHopeless + kLaunchNs);
      sdk::log(MINIINFER_LOG_DEBUG, "%s: way %zu of %s takes %.1f us", device.id(), way,
               trial.problem.c_str(), ns / 1e3);
      if (!best) first_ns = ns;
      if (ns >= best_ns * kMargin) continue;
      best = way;
      best_ns = ns;
    } catch (const sdk::Error& error) {
      if (error.code() != MINIINFER_INTERNAL && error.code() != MINIINFER_UNSUPPORTED) throw;
      sdk::log(MINIINFER_LOG_DEBUG, "%s: way %zu of %s: %s", device.id(), way,
               trial.problem.c_str(), error.what());
    }
  }
  const double took = bench.elapsed_ms();
  double& all = device.findings().measured_ms;
  all += took;
  sdk::log(MINIINFER_LOG_INFO,
           "%s: measured %zu ways of %s in %.0f ms, %.0f ms in all: %.1f us, the first %.1f us",
           device.id(), trial.ways, trial.problem.c_str(), took, all, best ? best_ns / 1e3 : 0.0,
           first_ns / 1e3);
  return best;
}

}  // namespace miniinfer::cuda
