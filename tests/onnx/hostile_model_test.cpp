#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <functional>

#include "tests/onnx/import_helpers.hpp"
#include "tests/support/sanitized.hpp"

namespace miniinfer::test::onnx {
namespace {

using testing::kSlack;

const std::string kRelu = with_node(node("Relu", {"x"}, {"y"}));

// By how many bytes the peak of this process's memory grows in `work`, measured in a child.
std::uint64_t peak_growth(const std::function<void()>& work) {
  // Large blocks come from the system and go back at once: memory that earlier work has left in the
  // heap is resident already, and would hide the growth.
  ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
  ::malloc_trim(0);
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  const auto peak = [] {
    rusage usage;
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  };
  if (child == 0) {
    const std::uint64_t before = peak();
    work();
    const std::uint64_t growth = peak() - before;
    const bool written = ::write(ends[1], &growth, sizeof growth) == sizeof growth;
    ::_exit(written ? 0 : 1);
  }
  ::close(ends[1]);
  std::uint64_t growth = 0;
  CHECK(::read(ends[0], &growth, sizeof growth) == sizeof growth);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
  return growth;
}

// Of processor time, so that a busy machine does not matter.
double seconds(const std::function<void()>& work) {
  const std::clock_t begin = std::clock();
  work();
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

// If inside If.
std::string nested(int depth) {
  std::string graph = kRelu;
  for (int i = 0; i < depth; ++i) {
    graph =
        with_node(node("If", {"x"}, {"y"}, "", bytes(5, graph_attribute("then_branch", graph))));
  }
  return model_of(graph);
}

TEST_CASE("a model cut off anywhere is refused or read, never worse") {
  const std::string whole = model_of(
      with_node(node("Add", {"x", "w"}, {"y"}, "add")) + with_initializer(floats("w", {2}, {1, 2})),
      function("F", {"a"}, {"b"}, in_body(node("Relu", {"a"}, {"b"}))));
  REQUIRE(code_of(whole) == Code::Ok);
  const std::size_t graph_end = whole.size() - 1;
  int refused = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    // Its own memory, so that a sanitizer sees a read beyond the end.
    const std::string part(whole.data(), size);
    const Code code = code_of(part);
    CAPTURE(size);
    CHECK((code == Code::InvalidArgument || code == Code::Unsupported || size > graph_end / 2));
    refused += code == Code::Ok ? 0 : 1;
  }
  CHECK(refused > static_cast<int>(whole.size() * 9 / 10));
}

TEST_CASE("a model with any one byte changed is refused or read, never worse") {
  const std::string whole =
      model_of(with_node(node("Softmax", {"x"}, {"t"}, "sm", bytes(5, attribute("axis", 0)))) +
               with_node(node("Add", {"t", "w"}, {"y"}, "add")) +
               with_initializer(floats("w", {2}, {1, 2})));
  REQUIRE(code_of(whole) == Code::Ok);
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      refused += code_of(changed) == Code::Ok ? 0 : 1;
    }
  }
  CHECK(refused > 0);
}

TEST_CASE("lengths that lie are found, also where they wrap") {
  const std::string front = integer(1, 8);
  for (const std::uint64_t length :
       {std::uint64_t{1} << 63, std::uint64_t{1} << 32, (std::uint64_t{1} << 32) + 1,
        ~std::uint64_t{0}, std::uint64_t{100}}) {
    CAPTURE(length);
    CHECK(code_of(front + tag(7, 2) + varint(length) + "x") == Code::InvalidArgument);
    CHECK(code_of(front + tag(99, 2) + varint(length) + "x") == Code::InvalidArgument);
    CHECK(code_of(front + bytes(7, tag(1, 2) + varint(length) + "x")) == Code::InvalidArgument);
    // The sound rest must not be taken for what the wrapped length leaves over.
    CHECK(code_of(tag(99, 2) + varint(length & ~std::uint64_t{0xffffffff}) + model_of(kRelu)) ==
          (length >> 32 == 0 ? Code::Ok : Code::InvalidArgument));
  }
  CHECK(code_of(front + tag(1, 0) + std::string(11, '\xff')) == Code::InvalidArgument);
  CHECK(code_of(front + tag(7, 3)) == Code::InvalidArgument);
  CHECK(code_of(front + tag(7, 7)) == Code::InvalidArgument);
  CHECK(code_of(std::string(1, '\0')) == Code::InvalidArgument);
  CHECK(code_of("") == Code::InvalidArgument);
  CHECK(code_of("not a model") == Code::InvalidArgument);
}

TEST_CASE("a known field of a wrong wire type is no field, and unknown ones are skipped") {
  CHECK(code_of(integer(1, 8) + integer(7, 1)) == Code::InvalidArgument);
  CHECK(code_of(model_of(kRelu, integer(900, 1) + bytes(901, "x") + fixed(902, 1.0F) +
                                    fixed(903, 1.0) + integer(2, 1))) == Code::Ok);
}

TEST_CASE("subgraphs nest to the limit, with little stack, and no deeper") {
  struct Run {
    Code at_limit = Code::Ok;
    Code beyond = Code::Ok;
    Code far_beyond = Code::Ok;
  } run;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, (256 << 10) * kSlack);
  pthread_t thread;
  REQUIRE(pthread_create(
              &thread, &attributes,
              [](void* argument) -> void* {
                auto& out = *static_cast<Run*>(argument);
                out.at_limit = code_of(nested(32));
                out.beyond = code_of(nested(33));
                out.far_beyond = code_of(nested(10'000));
                return nullptr;
              },
              &run) == 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  CHECK(run.at_limit != Code::LimitExceeded);
  CHECK(run.beyond == Code::LimitExceeded);
  CHECK(run.far_beyond == Code::LimitExceeded);
}

TEST_CASE("ten megabytes of empty messages take no more than twice that and 64 MB") {
  constexpr std::uint64_t kFile = 10 << 20;
  const auto filled = [](const std::string& piece) {
    std::string out;
    out.reserve(kFile + piece.size());
    while (out.size() < kFile) out += piece;
    return out;
  };
  struct Row {
    std::string what;
    std::string model;
  };
  const std::vector<Row> rows = {
      {"nodes", model_of(filled(with_node("")))},
      {"initializers", model_of(filled(with_initializer("")))},
      {"inputs", model_of(filled(with_input("")))},
      {"outputs", model_of(filled(with_output("")))},
      {"value infos", model_of(filled(bytes(13, "")))},
      {"attributes", model_of(with_node(node("Relu", {"x"}, {"y"}, "", filled(bytes(5, "")))))},
      {"named attributes",
       model_of(with_node(node("Relu", {"x"}, {"y"}, "", filled(bytes(5, bytes(1, "a"))))))},
      {"opset imports", model_of(kRelu, filled(bytes(8, "")))},
      {"functions", model_of(kRelu, filled(bytes(25, "")))},
      {"external keys",
       model_of(with_initializer(tensor("w", DataType::Float32, {1}) + filled(bytes(13, ""))))},
      {"strings of a tensor",
       model_of(with_initializer(tensor("w", DataType::String, {1}) + filled(bytes(6, ""))))},
      {"strings of attributes",
       model_of(with_node(
           node("Relu", {"x"}, {"y"}, "", bytes(5, bytes(1, "a") + filled(bytes(9, ""))))))},
      {"inputs of a node", model_of(with_node(node("Relu", {}, {"y"}, "", filled(bytes(1, "")))))},
      {"inputs of a function", model_of(kRelu, function("F", {}, {}, filled(bytes(4, ""))))},
      {"graphs", integer(1, 8) + filled(bytes(7, "")) + opset(17)},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    Code code = Code::Ok;
    CHECK(seconds([&] { code = code_of(row.model); }) < 10 * kSlack);
    CHECK((code == Code::Ok || code == Code::InvalidArgument || code == Code::LimitExceeded ||
           code == Code::Unsupported));
    // The model's bytes are there before; what is left is twice the file less one, and 64 MB.
    CHECK(peak_growth([&] { (void)import_model(as_bytes(row.model), nullptr, {}); }) <
          kSlack * (kFile + (64 << 20)));
  }
}

TEST_CASE("a chain of a million nodes is read in seconds, one more is refused") {
  const auto chain = [](int count) {
    std::string nodes;
    std::string from = "x";
    for (int i = 0; i < count; ++i) {
      const std::string to = i + 1 == count ? "y" : std::to_string(i);
      nodes += with_node(node("Neg", {from}, {to}));
      from = to;
    }
    return model_of(nodes);
  };
  const std::string million = chain(1'000'000);
  Result<ImportedModel> imported = Status(Code::Internal, "");
  CHECK(seconds([&] { imported = import(million); }) < 10 * kSlack);
  REQUIRE(imported.ok());
  CHECK(imported->graph.node_count() == 1'000'000);
  CHECK(code_of(chain(1'000'001)) == Code::LimitExceeded);
}

TEST_CASE("a node with a hundred thousand inputs is read, one with as many attributes is not") {
  std::string inputs;
  for (int i = 0; i < 100'000; ++i) inputs += bytes(1, "x");
  const std::string concat =
      with_node(inputs + bytes(2, "y") + bytes(4, "Concat") + bytes(5, attribute("axis", 0)));
  CHECK(seconds([&] { CHECK(code_of(model_of(concat)) == Code::Ok); }) < 5 * kSlack);
  std::string attributes;
  for (int i = 0; i < 100'000; ++i) attributes += bytes(5, attribute("a" + std::to_string(i), 1));
  CHECK(code_of(model_of(with_node(node("Relu", {"x"}, {"y"}, "", attributes)))) ==
        Code::LimitExceeded);
}

TEST_CASE("names are any bytes up to 64 KiB, and printed so that they do no harm") {
  const std::string odd = "a\x1b[31m\xff\n";
  const Result<ImportedModel> imported =
      import(model_of(with_node(node("Add", {"x", "ghost"}, {"y"}, odd))));
  CHECK(imported.status().message().find('\x1b') == std::string_view::npos);
  CHECK(imported.status().message().find('\n') == std::string_view::npos);
  CHECK(code_of(model_of(with_node(node("Relu", {"x"}, {"y"}, odd)))) == Code::Ok);
  CHECK(code_of(model_of(with_node(node("Relu", {"x"}, {"y"}, std::string(1 << 20, 'n'))))) ==
        Code::LimitExceeded);
}

}  // namespace
}  // namespace miniinfer::test::onnx
