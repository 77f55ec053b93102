#include "plugins/fake/memory.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/fake/fake_device.hpp"

using miniinfer::test::FakeDevice;

TEST_CASE("memory of the device is nothing the host could look into") {
  FakeDevice fake;
  const miniinfer_mem mem = fake.alloc(256);
  CHECK_NE(mem.handle, 0u);
  CHECK_EQ(fake.host_pointer(mem), nullptr);
  // Bits 47 to 63 of an address are all equal.
  const std::uint64_t high = mem.handle >> 47;
  CHECK_NE(high, 0u);
  CHECK_NE(high, 0x1FFFFu);
  fake.free(mem, 256);
}

TEST_CASE("fresh memory is NaN in every float type") {
  FakeDevice fake;
  miniinfer_stream* stream = fake.make_stream();
  const miniinfer_mem mem = fake.alloc(64);
  std::vector<float> floats(8);
  std::vector<double> doubles(4);
  fake.download(stream, floats, mem);
  fake.download(stream, doubles, {mem.handle, 32});
  REQUIRE_EQ(fake.stream->sync(stream), MINIINFER_OK);
  for (const float value : floats) CHECK(std::isnan(value));
  for (const double value : doubles) CHECK(std::isnan(value));
  fake.free(mem, 64);
  fake.stream->destroy(stream);
  CHECK_EQ(fake.ledger().violations, 0u);
}

TEST_CASE("what was freed holds another pattern and its use is a violation") {
  FakeDevice fake;
  miniinfer_stream* stream = fake.make_stream();
  const miniinfer_mem mem = fake.alloc(64);
  fake.free(mem, 64);
  std::vector<std::uint8_t> out(4, 1);
  CHECK_EQ(fake.download(stream, out, mem), MINIINFER_OK);
  CHECK_EQ(fake.stream->sync(stream), MINIINFER_INVALID_ARGUMENT);
  CHECK_NE(fake.host.error.find("the block was freed"), std::string::npos);
  CHECK_EQ(out, std::vector<std::uint8_t>(4, 1));
  CHECK_EQ(fake.ledger().violations, 1u);
  fake.stream->destroy(stream);
}

TEST_CASE("a block freed on a stream lives until the stream gets there") {
  FakeDevice fake;
  miniinfer_stream* stream = fake.make_stream();
  const miniinfer_mem mem = fake.alloc(4);
  CHECK_EQ(fake.stream->fill(stream, mem, 4, 5, 1), MINIINFER_OK);
  std::vector<std::uint8_t> out(4);
  CHECK_EQ(fake.download(stream, out, mem), MINIINFER_OK);
  fake.free(mem, 4, stream);
  CHECK_EQ(fake.stream->sync(stream), MINIINFER_OK);
  CHECK_EQ(out, std::vector<std::uint8_t>(4, 5));
  fake.stream->destroy(stream);
  CHECK_EQ(fake.ledger().violations, 0u);
}

TEST_CASE("an access past a block's end is a violation") {
  FakeDevice fake;
  miniinfer_stream* stream = fake.make_stream();
  const miniinfer_mem mem = fake.alloc(64);
  std::vector<std::uint8_t> out(8);
  fake.download(stream, out, {mem.handle, 60});
  CHECK_EQ(fake.stream->sync(stream), MINIINFER_INVALID_ARGUMENT);
  CHECK_NE(fake.violation().find("past the block's end"), std::string::npos);
  fake.free(mem, 64);
  fake.stream->destroy(stream);
}

TEST_CASE("an address is no handle") {
  FakeDevice fake;
  miniinfer_stream* stream = fake.make_stream();
  const miniinfer_mem mem = fake.alloc(64);
  std::vector<std::uint8_t> out(8);
  fake.download(stream, out, {mem.handle + 8, 0});
  CHECK_EQ(fake.stream->sync(stream), MINIINFER_INVALID_ARGUMENT);
  CHECK_NE(fake.violation().find("no such block"), std::string::npos);
  fake.free(mem, 64);
  fake.stream->destroy(stream);
}

TEST_CASE("memory ends at the limit and the message has the numbers") {
  FakeDevice fake("", "1000");
  const miniinfer_mem mem = fake.alloc(600);
  miniinfer_mem more{};
  CHECK_EQ(fake.alloc(401, &more), MINIINFER_OUT_OF_MEMORY);
  CHECK_EQ(fake.host.error, "alloc of 401 bytes on fake:0 failed, 400 of 1000 free");
  CHECK_EQ(fake.alloc(UINT64_MAX, &more), MINIINFER_OUT_OF_MEMORY);
  CHECK_EQ(fake.alloc(400, &more), MINIINFER_OK);
  fake.free(mem, 600);
  fake.free(more, 400);
}

TEST_CASE("a block is given back once, whole") {
  FakeDevice fake;
  const miniinfer_mem mem = fake.alloc(64);
  fake.free(mem, 32);
  CHECK_EQ(fake.ledger().violations, 1u);
  fake.free(mem, 64);
  fake.free(mem, 64);
  CHECK_EQ(fake.ledger().violations, 2u);
  CHECK_EQ(fake.ledger().live_allocations, 0u);
}
