// A steady run allocates nothing: counted by replacing operator new.

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <new>

#include "miniinfer/miniinfer.hpp"
#include "miniinfer/onnx_tensor.hpp"

namespace {

std::atomic<bool> g_counting{false};
std::atomic<int> g_allocations{0};

// Null where there is no memory.
void* counted(std::size_t bytes, std::size_t alignment) noexcept {
  if (g_counting.load(std::memory_order_relaxed)) ++g_allocations;
  void* memory = nullptr;
  (void)posix_memalign(&memory, std::max(alignment, sizeof(void*)),
                       std::max<std::size_t>(bytes, 1));
  return memory;
}

void* counted_or_throw(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) {
  void* const memory = counted(bytes, alignment);
  return memory != nullptr ? memory : throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t bytes) { return counted_or_throw(bytes); }
void* operator new[](std::size_t bytes) { return counted_or_throw(bytes); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return counted(bytes, alignof(std::max_align_t));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

TEST_SUITE("runtime.allocations") {
  TEST_CASE("a steady run through a binding allocates nothing") {
    const char* source = std::getenv("MINIINFER_SOURCE");
    REQUIRE(source != nullptr);
    const std::filesystem::path digits = std::filesystem::path(source) / "examples" / "digits";
    const miniinfer::Runtime runtime;
    const auto session = runtime.load(digits / "digits.onnx", "cpu").value();
    auto binding = session.bind().value();
    const auto image = miniinfer::read_onnx_tensor(digits / "images.pb").value().tensor;
    REQUIRE(binding.set("image", image).ok());
    REQUIRE(binding.run().ok());
    REQUIRE(binding.run().ok());
    const auto pool = miniinfer::AllocatorFactory::get("cpu:0/caching").value();
    const auto before = pool->stats().allocations;
    const auto driver_calls = [&] { return pool->pool()->pool_stats().num_driver_calls; };
    const auto calls = driver_calls();
    g_counting = true;
    bool good = true;
    for (int i = 0; i < 100; ++i) good = good && binding.run().ok();
    g_counting = false;
    CHECK(good);
    CHECK(g_allocations == 0);
    CHECK(pool->stats().allocations == before);
    for (int i = 0; i < 10; ++i) good = good && session.run(image).ok();
    CHECK(good);
    CHECK(pool->stats().allocations > before);  // of outputs, from what came back
    CHECK(driver_calls() == calls);
    // The counter counts: a run that makes its outputs does allocate.
    g_counting = true;
    (void)session.bind();
    g_counting = false;
    CHECK(g_allocations > 0);
  }
}
