// Writes the snapshot of a pool that was used a little, in each format: write_snapshots FOLDER

#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "miniinfer/memory_snapshot.hpp"

int main(int count, char** arguments) {
  using namespace miniinfer;
  if (count != 2) return 2;
  const AllocatorPtr allocator =
      AllocatorFactory::get("cpu:0/caching?limit=64MiB/tracking?history=10000").value();
  std::vector<Block> kept;
  const auto take = [&](std::uint64_t bytes, std::string_view tag, Lifetime lifetime) {
    return allocator->allocate({.bytes = bytes, .lifetime = lifetime, .tag = tag}).value();
  };
  for (std::uint64_t i = 0; i < 3000; ++i) {  // more than the reader is given at once
    kept.push_back(take(1 + i % 700, i % 3 == 0 ? "" : "small \"blocks\"", Lifetime::Transient));
  }
  for (std::size_t i = 0; i < kept.size(); i += 2) allocator->deallocate(kept[i], {});
  static_cast<void>(take(std::uint64_t{24} << 20, "weights", Lifetime::Weights));
  std::thread([&] {
    allocator->deallocate(take(1000, "of a thread\x01", Lifetime::Arena), {});
  }).join();
  if (allocator->allocate({.bytes = std::uint64_t{1} << 30, .tag = "too much"}).ok()) return 1;
  const MemorySnapshot snapshot = allocator->snapshot();
  for (const char* name : {"snapshot.pickle", "snapshot.json", "snapshot.csv"}) {
    const Status status = write_snapshot(snapshot, std::string(arguments[1]) + "/" + name);
    if (status.ok()) continue;
    std::fprintf(stderr, "%s\n", status.to_string().c_str());
    return 1;
  }
  return 0;
}
