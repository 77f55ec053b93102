#include "core/onnx/inline_functions.hpp"

#include "tests/onnx/import_helpers.hpp"

namespace miniinfer::test::onnx {
namespace {

std::string call(std::string_view name, Names inputs, Names outputs, std::string_view more = {}) {
  return node(name, inputs, outputs, "call", more, "f");
}
const std::string kDomain = opset(1, "f");

TEST_CASE("a call becomes the function's body, with names of its own") {
  const std::string body =
      in_body(node("Neg", {"a"}, {"t"}, "inner")) + in_body(node("Relu", {"t"}, {"b"}));
  const Result<ImportedModel> imported =
      import(model_of(with_node(call("F", {"x"}, {"t"})) + with_node(call("F", {"t"}, {"y"})),
                      kDomain + function("F", {"a"}, {"b"}, body)));
  REQUIRE(imported.ok());
  CHECK(ops_of(imported->graph) == "Neg Relu Neg Relu");
  CHECK(contains(describe(imported->graph, 0, "").name, "inner"));
  CHECK(imported->node_count == 2);
}

TEST_CASE("attributes come from the call, else the default, else not at all") {
  const std::string body =
      in_body(node("Softmax", {"a"}, {"b"}, "", bytes(5, reference("axis", "where", 2))));
  const auto axis = [&](const std::string& given, const std::string& defaults) {
    const std::string plain =
        function("F", {"a"}, {"b"}, body + bytes(11, attribute("other", 5)) + defaults);
    const Result<ImportedModel> imported =
        import(model_of(with_node(call("F", {"x"}, {"y"}, given)), kDomain + plain));
    REQUIRE(imported.ok());
    return imported->graph.node(0).attributes.get_int("axis", 99);
  };
  CHECK(axis(bytes(5, attribute("where", 0)), bytes(11, attribute("where", -1))) == 0);
  CHECK(axis("", bytes(11, attribute("where", -1))) == -1);
  CHECK(axis("", "") == 99);
}

TEST_CASE("overloads are told apart, and one name twice is refused") {
  const std::string relu = bytes(1, "F") + bytes(4, "a") + bytes(5, "b") +
                           in_body(node("Relu", {"a"}, {"b"})) + bytes(9, integer(2, 17)) +
                           bytes(10, "f") + bytes(13, "second");
  const std::string neg = function("F", {"a"}, {"b"}, in_body(node("Neg", {"a"}, {"b"})));
  const std::string calls =
      with_node(call("F", {"x"}, {"t"})) + with_node(call("F", {"t"}, {"y"}, bytes(8, "second")));
  const Result<ImportedModel> imported = import(model_of(calls, kDomain + neg + bytes(25, relu)));
  REQUIRE(imported.ok());
  CHECK(ops_of(imported->graph) == "Neg Relu");
  CHECK(code_of(model_of(calls, kDomain + neg + neg)) == Code::InvalidArgument);
}

TEST_CASE("a body is read by its own opset, not the model's") {
  // Softmax before 13 works on a matrix: its upgrade adds nodes or refuses, Softmax-13 does
  // neither.
  const auto nodes_with = [](std::int64_t version) {
    const std::string f =
        function("F", {"a"}, {"b"},
                 in_body(node("Clip", {"a"}, {"b"}, "",
                              bytes(5, bytes(1, "min") + fixed(2, 0.5F) + integer(20, 1)))),
                 version);
    return import(model_of(with_node(call("F", {"x"}, {"y"})), kDomain + f));
  };
  CHECK(nodes_with(6).ok());         // Clip-6 has min as an attribute
  CHECK_FALSE(nodes_with(17).ok());  // later ones do not
}

TEST_CASE("recursion, direct and mutual, is refused") {
  const std::string calls = with_node(call("F", {"x"}, {"y"}));
  const std::string itself = function("F", {"a"}, {"b"}, in_body(call("F", {"a"}, {"b"})));
  CHECK(code_of(model_of(calls, kDomain + itself)) == Code::InvalidArgument);
  const std::string mutual = function("F", {"a"}, {"b"}, in_body(call("G", {"a"}, {"b"}))) +
                             function("G", {"a"}, {"b"}, in_body(call("F", {"a"}, {"b"})));
  CHECK(code_of(model_of(calls, kDomain + mutual)) == Code::InvalidArgument);
  const std::string through_if = function(
      "F", {"a"}, {"b"},
      in_body(node("If", {"a"}, {"b"}, "",
                   bytes(5, graph_attribute("then_branch", with_node(call("F", {"a"}, {"b"})))))));
  CHECK(code_of(model_of(calls, kDomain + through_if)) == Code::InvalidArgument);
}

std::string name(int i) { return "F" + std::to_string(i); }

// Functions F0 (with that body) to F<depth>, each calling the one before `times` times.
std::string tower(int depth, int times, const std::string& ground) {
  std::string functions = function("F0", {"a"}, {"b"}, ground);
  for (int i = 1; i <= depth; ++i) {
    std::string body;
    std::string from = "a";
    for (int k = 0; k < times; ++k) {
      const std::string to = k + 1 == times ? "b" : "t" + std::to_string(k);
      body += in_body(call(name(i - 1), {from}, {to}));
      from = to;
    }
    functions += function(name(i), {"a"}, {"b"}, body);
  }
  return functions;
}

TEST_CASE("calls nest 63 deep and no deeper") {
  const std::string relu = in_body(node("Relu", {"a"}, {"b"}));
  const auto at = [&](int depth) {
    return code_of(
        model_of(with_node(call(name(depth), {"x"}, {"y"})), kDomain + tower(depth, 1, relu)));
  };
  CHECK(at(63) == Code::Ok);
  CHECK(at(64) == Code::InvalidArgument);
  CHECK(at(101) == Code::InvalidArgument);
}

TEST_CASE("calls that double with each level end at a limit, even where nothing comes of them") {
  const std::string calls = with_node(call(name(50), {"x"}, {"y"}));
  const std::string relu = in_body(node("Relu", {"a"}, {"b"}));
  CHECK(code_of(model_of(calls, kDomain + tower(50, 2, relu))) == Code::LimitExceeded);
  CHECK(code_of(model_of(calls, kDomain + tower(50, 2, ""))) == Code::LimitExceeded);
}

TEST_CASE("attributes and names that multiply end at a limit") {
  const std::string big = in_body(node(
      "Relu", {"a"}, {"b"}, "", bytes(5, bytes(1, "big") + bytes(8, std::string(1 << 20, '\1')))));
  CHECK(code_of(model_of(with_node(call(name(10), {"x"}, {"y"})), kDomain + tower(10, 2, big))) ==
        Code::LimitExceeded);
  const std::string long_name(60'000, 'n');
  const std::string named = in_body(node("Relu", {"a"}, {"b"}, long_name));
  CHECK(code_of(model_of(with_node(call(name(13), {"x"}, {"y"})), kDomain + tower(13, 2, named))) ==
        Code::LimitExceeded);
}

TEST_CASE("more than ten thousand functions are refused") {
  std::string functions;
  for (int i = 0; i < 10'001; ++i) functions += function(name(i), {}, {}, "");
  CHECK(code_of(model_of(with_node(node("Relu", {"x"}, {"y"})), kDomain + functions)) ==
        Code::LimitExceeded);
}

TEST_CASE("a call with too many inputs or outputs is refused") {
  const std::string f = function("F", {"a"}, {"b"}, in_body(node("Relu", {"a"}, {"b"})));
  CHECK(code_of(model_of(with_node(call("F", {"x", "x"}, {"y"})), kDomain + f)) ==
        Code::InvalidArgument);
  CHECK(code_of(model_of(with_node(call("F", {"x"}, {"y", "z"})), kDomain + f)) ==
        Code::InvalidArgument);
}

}  // namespace
}  // namespace miniinfer::test::onnx
