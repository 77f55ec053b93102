#include "plugins/fake/stream.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <thread>
#include <vector>

#include "tests/fake/fake_device.hpp"

using miniinfer::test::FakeDevice;

namespace {

using Bytes = std::vector<std::uint8_t>;

struct TwoStreams {
  explicit TwoStreams(FakeDevice& device)
      : fake(device), a(device.make_stream()), b(device.make_stream()), mem(device.alloc(4)) {}
  ~TwoStreams() {
    fake.stream->destroy(a);
    fake.stream->destroy(b);
    fake.free(mem, 4);
  }
  FakeDevice& fake;
  miniinfer_stream* a;
  miniinfer_stream* b;
  miniinfer_mem mem;
};

}  // namespace

TEST_CASE("nothing happens before somebody waits") {
  FakeDevice fake;
  TwoStreams on(fake);
  Bytes in = {1, 2, 3, 4};
  Bytes out(4);
  fake.upload(on.a, on.mem, in);
  in[0] = 9;  // the copy reads this: it has not run
  fake.download(on.a, out, on.mem);
  CHECK_EQ(out, Bytes(4));
  CHECK_EQ(fake.stream->sync(on.a), MINIINFER_OK);
  CHECK_EQ(out, Bytes{9, 2, 3, 4});
}

TEST_CASE("a stream that nobody made wait does not") {
  FakeDevice fake;
  TwoStreams on(fake);
  const Bytes in = {1, 2, 3, 4};
  Bytes out(4);
  fake.upload(on.a, on.mem, in);
  fake.download(on.b, out, on.mem);
  CHECK_EQ(fake.stream->sync(on.b), MINIINFER_OK);
  CHECK_EQ(out, Bytes(4, 0xFF));
  CHECK_EQ(fake.stream->sync(on.a), MINIINFER_OK);  // `in` is read until then
}

TEST_CASE("an event orders two streams, by the work before its record") {
  FakeDevice fake;
  TwoStreams on(fake);
  const Bytes in = {1, 2, 3, 4};
  Bytes out(4);
  miniinfer_event* event = fake.make_event();
  fake.upload(on.a, on.mem, in);
  CHECK_EQ(fake.stream->event_record(event, on.a), MINIINFER_OK);
  fake.stream->fill(on.a, on.mem, 4, 7, 1);  // after the record: need not be seen
  CHECK_EQ(fake.stream->event_wait(event, on.b), MINIINFER_OK);
  fake.download(on.b, out, on.mem);
  fake.stream->event_destroy(event);  // the wait stands
  CHECK_EQ(fake.stream->sync(on.b), MINIINFER_OK);
  CHECK_EQ(out, in);
}

TEST_CASE("event_sync runs up to the event and no further") {
  FakeDevice fake;
  TwoStreams on(fake);
  Bytes out(4);
  Bytes later(4);
  miniinfer_event* event = fake.make_event();
  fake.stream->fill(on.a, on.mem, 4, 0x0201, 2);
  fake.download(on.a, out, on.mem);
  fake.stream->event_record(event, on.a);
  fake.download(on.a, later, on.mem);
  CHECK_EQ(fake.stream->event_sync(event), MINIINFER_OK);
  CHECK_EQ(out, Bytes{1, 2, 1, 2});
  CHECK_EQ(later, Bytes(4));
  CHECK_EQ(fake.stream->sync(on.a), MINIINFER_OK);
  CHECK_EQ(later, out);
  fake.stream->event_destroy(event);
}

TEST_CASE("an event that was never recorded is done") {
  FakeDevice fake;
  miniinfer_event* event = fake.make_event();
  std::uint32_t done = 0;
  CHECK_EQ(fake.stream->event_query(event, &done), MINIINFER_OK);
  CHECK_EQ(done, 1u);
  fake.stream->event_destroy(event);
}

TEST_CASE("who polls gets there, one piece of work a question") {
  FakeDevice fake;
  TwoStreams on(fake);
  fake.stream->fill(on.a, on.mem, 4, 1, 1);
  fake.stream->fill(on.a, on.mem, 4, 2, 1);
  std::uint32_t done = 1;
  int questions = 0;
  do {
    REQUIRE_EQ(fake.stream->query(on.a, &done), MINIINFER_OK);
    ++questions;
  } while (done == 0);
  CHECK_EQ(questions, 3);
}

TEST_CASE("destroying a stream waits for its work, and sync of the device for all") {
  FakeDevice fake;
  TwoStreams on(fake);
  Bytes out(4);
  Bytes also(4);
  fake.stream->fill(on.a, on.mem, 4, 3, 1);
  fake.download(on.a, out, on.mem);
  miniinfer_stream* brief = fake.make_stream();
  fake.download(brief, also, on.mem);
  fake.stream->destroy(brief);
  CHECK_EQ(also, Bytes(4, 0xFF));
  CHECK_EQ(fake.api->sync(fake.device), MINIINFER_OK);
  CHECK_EQ(out, Bytes(4, 3));
}

TEST_CASE("a fill of a wrong size is refused") {
  FakeDevice fake;
  TwoStreams on(fake);
  CHECK_EQ(fake.stream->fill(on.a, on.mem, 4, 0, 3), MINIINFER_INVALID_ARGUMENT);
  CHECK_EQ(fake.stream->fill(on.a, on.mem, 3, 0, 2), MINIINFER_INVALID_ARGUMENT);
  CHECK_EQ(fake.ledger().violations, 2u);
}

TEST_CASE("the optional slot for measuring time is empty") {
  FakeDevice fake;
  CHECK_FALSE(static_cast<bool>(fake.stream->event_elapsed));
}

TEST_CASE("a foreign stream is refused: there is none") {
  FakeDevice fake;
  miniinfer_stream* stream = nullptr;
  int foreign = 0;
  CHECK_EQ(fake.stream->create(fake.device, 0, &foreign, &stream), MINIINFER_UNSUPPORTED);
  CHECK_EQ(stream, nullptr);
}

TEST_CASE("threads with streams of their own do not disturb each other") {
  FakeDevice fake;
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&fake, &wrong, t] {
      miniinfer_stream* stream = nullptr;
      wrong[t] += fake.stream->create(fake.device, 0, nullptr, &stream);
      for (std::uint8_t round = 0; round < 50; ++round) {
        miniinfer_mem mem{};
        wrong[t] += fake.alloc(16, &mem);
        wrong[t] += fake.stream->fill(stream, mem, 16, round, 1);
        Bytes out(16);
        wrong[t] += fake.download(stream, out, mem);
        fake.free(mem, 16, stream);
        wrong[t] += fake.stream->sync(stream);
        wrong[t] += out != Bytes(16, round);
      }
      fake.stream->destroy(stream);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong, std::vector<int>(4));
  fake.close();
  CHECK_EQ(fake.ledger().allocations, 200u);
  CHECK_EQ(fake.ledger().live_allocations, 0u);
  CHECK_EQ(fake.ledger().violations, 0u);
}
