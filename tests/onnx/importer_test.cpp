#include "core/onnx/importer.hpp"

#include "tests/onnx/import_helpers.hpp"

namespace miniinfer::test::onnx {
namespace {

const std::string kRelu = with_node(node("Relu", {"x"}, {"y"}, "relu_1"));

TEST_CASE("a model is read with its names, types and versions") {
  const Result<ImportedModel> imported = import(model(
      kRelu +
          with_input(bytes(1, "x") +
                     bytes(2, bytes(1, integer(1, 1) +
                                           bytes(2, bytes(1, bytes(2, "N")) +
                                                        bytes(1, integer(1, 3)) + bytes(1, ""))))) +
          y_out(),
      17, opset(1, "com.microsoft.nchwc")));
  REQUIRE(imported.ok());
  CHECK(imported->ir_version == 8);
  CHECK(imported->producer == "model_writer");
  CHECK(imported->opsets.size() == 2);
  CHECK(imported->node_count == 1);
  CHECK(imported->operators[0] == std::pair<std::string, int>("Relu", 1));
  REQUIRE(imported->inputs.size() == 1);
  CHECK(imported->inputs[0].name == "x");
  CHECK(imported->inputs[0].dtype == DataType::Float32);
  CHECK(imported->inputs[0].shape == Shape{-1, 3, -1});
  CHECK(imported->inputs[0].dim_names == std::vector<std::string>{"N", "", ""});
  CHECK(imported->outputs[0].shape == Shape{2});
  CHECK(ops_of(imported->graph) == "Relu");
  CHECK(describe(imported->graph, 0, "").name == "relu_1");
  CHECK(verify(imported->graph).ok());
}

TEST_CASE("an initializer that is also an input is a constant, not an input") {
  const Result<ImportedModel> imported = import(model_of(
      with_node(node("Add", {"x", "w"}, {"y"})) + with_initializer(floats("w", {2}, {1, 2})) +
      with_input(value("w", DataType::Float32, {2}))));
  REQUIRE(imported.ok());
  CHECK(imported->inputs.size() == 1);
  CHECK(imported->graph.inputs.size() == 1);
  CHECK(imported->parameter_count == 2);
  CHECK(imported->parameter_bytes == 8);
  const Value& w = imported->graph.value(imported->graph.node(0).inputs[1]);
  REQUIRE(w.constant);
  CHECK(w.constant->as_doubles() == std::vector<double>{1, 2});
}

TEST_CASE("weights are views into the model's bytes") {
  const std::string bytes = model_of(with_node(node("Add", {"x", "w"}, {"y"})) +
                                     with_initializer(floats("w", {2}, {1, 2})));
  const Result<ImportedModel> imported = import_model(as_bytes(bytes), nullptr, {});
  REQUIRE(imported.ok());
  const Value& w = imported->graph.value(imported->graph.node(0).inputs[1]);
  const auto* data = reinterpret_cast<const char*>(w.constant->bytes.data());
  CHECK((data >= bytes.data() && data < bytes.data() + bytes.size()));
}

TEST_CASE("a Constant node is a constant, whichever attribute holds it") {
  const auto import_constant = [](const std::string& attribute) {
    const Result<ImportedModel> imported =
        import(model(with_node(node("Constant", {}, {"y"}, "c", bytes(5, attribute))) + y_out()));
    REQUIRE(imported.ok());
    CHECK(imported->graph.node_count() == 0);
    return imported->graph.value(imported->graph.outputs[0]).constant;
  };
  CHECK(import_constant(tensor_attribute("value", floats("", {2}, {1, 2})))->as_doubles() ==
        std::vector<double>{1, 2});
  CHECK(import_constant(attribute("value_int", -5))->as_ints() == std::vector<std::int64_t>{-5});
  CHECK(import_constant(attribute("value_int", -5))->type.shape.empty());
  CHECK(import_constant(bytes(1, "value_ints") + integer(8, 1) + integer(8, 2) + integer(20, 7))
            ->type == TensorType{DataType::Int64, {2}});
  CHECK(import_constant(bytes(1, "value_ints") + bytes(8, packed({3, -4})) + integer(20, 7))
            ->as_ints() == std::vector<std::int64_t>{3, -4});
  CHECK(import_constant(bytes(1, "value_ints") + integer(20, 7))->type ==
        TensorType{DataType::Int64, {0}});
  CHECK(import_constant(bytes(1, "value_float") + fixed(2, 1.5F) + integer(20, 1))->as_doubles() ==
        std::vector<double>{1.5});
  CHECK(import_constant(bytes(1, "value_float") + integer(20, 1))->as_doubles() ==
        std::vector<double>{0});
  CHECK(import_constant(bytes(1, "value_floats") + bytes(7, raw<float>({1, 2})) + integer(20, 6))
            ->as_doubles() == std::vector<double>{1, 2});
  CHECK(import_constant(bytes(1, "value_string") + bytes(4, "text") + integer(20, 3))->strings ==
        std::vector<std::string>{"text"});
  const ConstantPtr strings =
      import_constant(bytes(1, "value_strings") + bytes(9, "a") + bytes(9, "") + integer(20, 8));
  CHECK(strings->type == TensorType{DataType::String, {2}});
  CHECK(strings->strings == std::vector<std::string>{"a", ""});
}

TEST_CASE("nodes out of order are sorted") {
  const Result<ImportedModel> imported = import(
      model_of(with_node(node("Relu", {"a"}, {"y"})) + with_node(node("Neg", {"x"}, {"a"}))));
  REQUIRE(imported.ok());
  CHECK(ops_of(imported->graph) == "Neg Relu");
}

TEST_CASE("both names of the default domain are one") {
  const std::string nodes = with_node(node("Relu", {"x"}, {"y"}, "", "", "ai.onnx"));
  CHECK(code_of(model_of(nodes)) == Code::Ok);
  CHECK(code_of(integer(1, 8) + bytes(7, nodes + x_in() + y_out()) + opset(17, "ai.onnx")) ==
        Code::Ok);
}

TEST_CASE("every unknown operator is listed at once, by the file's names") {
  const Result<ImportedModel> imported = import(model_of(
      with_node(node("Nope", {"x"}, {"a"}, "first")) + with_node(node("Relu", {"a"}, {"b"})) +
          with_node(node("Mine", {"b"}, {"y"}, "", "", "org.example")),
      opset(1, "org.example")));
  CHECK(imported.status().code() == Code::Unsupported);
  REQUIRE(imported.status().nodes().size() == 2);
  CHECK(imported.status().nodes()[0].name == "first");
  CHECK(imported.status().nodes()[0].op == "Nope");
  CHECK(imported.status().nodes()[1].name == "Mine_2");
  CHECK(imported.status().nodes()[1].op == "org.example.Mine");
}

TEST_CASE("versions that are not known are refused") {
  const auto with_ir = [](std::int64_t ir) {
    return integer(1, ir) + bytes(7, kRelu + x_in() + y_out()) + opset(17);
  };
  CHECK(code_of(with_ir(2)) == Code::Unsupported);
  CHECK(code_of(with_ir(3)) == Code::Ok);
  CHECK(code_of(with_ir(13)) == Code::Ok);
  CHECK(code_of(with_ir(14)) == Code::Unsupported);
  CHECK(code_of(with_ir(255)) == Code::Unsupported);
  const std::string graph = kRelu + x_in() + y_out();
  CHECK(code_of(model(graph, 27)) == Code::Ok);
  for (const std::int64_t version :
       {std::int64_t{28}, std::int64_t{1'000'000'000}, std::int64_t{0}, std::int64_t{-1}}) {
    CAPTURE(version);
    const Result<ImportedModel> imported = import(model(graph, version));
    CHECK(imported.status().code() == Code::Unsupported);
    REQUIRE(imported.status().nodes().size() == 1);
    CHECK(contains(imported.status().nodes()[0].reason, std::to_string(version)));
  }
  CHECK(code_of(integer(1, 8) + bytes(7, graph)) == Code::InvalidArgument);
  CHECK(code_of(model(graph, 17, opset(16))) == Code::InvalidArgument);
}

TEST_CASE("a graph that is none is refused, naming the node or the value") {
  // A circle, with a node before it that only waits.
  const std::string circle = message_of(model_of(with_node(node("Relu", {"b"}, {"y"}, "victim")) +
                                                 with_node(node("Add", {"x", "c"}, {"b"}, "one")) +
                                                 with_node(node("Neg", {"b"}, {"c"}, "two"))));
  CHECK((contains(circle, "one") || contains(circle, "two")));
  CHECK(contains(message_of(model_of(with_node(node("Add", {"x", "y"}, {"y"}, "self")))), "self"));
  CHECK(contains(message_of(model_of(kRelu + with_node(node("Neg", {"x"}, {"y"}, "again")))),
                 "again"));
  CHECK(contains(message_of(model_of(with_node(node("Add", {"x", "ghost"}, {"y"}, "reader")))),
                 "reader reads ghost"));
  CHECK(contains(message_of(model_of(with_node(node("Relu", {"x"}, {"z"})))), "output y"));
  CHECK(contains(message_of(model_of(kRelu + x_in())), "input x"));
  CHECK(contains(message_of(model_of(kRelu + y_out())), "output y"));
  CHECK(contains(message_of(model_of(kRelu + with_initializer(floats("w", {}, {1})) +
                                     with_initializer(floats("w", {}, {1})))),
                 "initializer w"));
  CHECK(contains(message_of(model_of(with_node(node("Relu", {"x"}, {"x"}, "over")))), "over"));
  CHECK(contains(message_of(model(kRelu + x_in())), "no output"));
  CHECK(code_of(model("")) == Code::InvalidArgument);
  CHECK(code_of(integer(1, 8) + opset(17)) == Code::InvalidArgument);
}

TEST_CASE("attributes are held against the operator's schema") {
  const auto softmax = [](const std::string& attributes) {
    return model_of(with_node(node("Softmax", {"x"}, {"y"}, "sm", attributes)));
  };
  CHECK(code_of(softmax(bytes(5, attribute("axis", 0)))) == Code::Ok);
  CHECK(
      contains(message_of(softmax(bytes(5, attribute("axis", 0)) + bytes(5, attribute("axis", 0)))),
               "axis is there twice"));
  CHECK(code_of(softmax(bytes(5, bytes(1, "axis") + bytes(4, "text") + integer(20, 3)))) ==
        Code::InvalidArgument);
  CHECK(code_of(softmax(bytes(5, integer(3, 1) + integer(20, 2)))) == Code::InvalidArgument);
  // Outside a function there is nothing to refer to, and no value to guess.
  CHECK(contains(message_of(softmax(bytes(5, reference("axis", "where", 2)))), "attribute axis"));
  CHECK(contains(message_of(model(with_node(node("Constant", {}, {"y"}, "c",
                                                 bytes(5, reference("value_int", "where", 2)))) +
                                  y_out())),
                 "attribute value_int"));
  CHECK(code_of(model_of(with_node(node("Relu", {"x", "x", "x"}, {"y"})))) ==
        Code::InvalidArgument);
  CHECK(code_of(model_of(with_node(node("Add", {"x"}, {"y"})))) == Code::InvalidArgument);
}

TEST_CASE("what is no tensor at the model's border is refused by its kind") {
  const std::string sequence = with_input(bytes(1, "s") + bytes(2, bytes(4, "")));
  const Result<ImportedModel> imported = import(model_of(kRelu + sequence));
  CHECK(imported.status().code() == Code::Unsupported);
  CHECK(contains(imported.status().message(), "sequence"));
  CHECK(code_of(model_of(kRelu + bytes(15, bytes(1, bytes(8, "sparse"))))) == Code::Unsupported);
}

TEST_CASE("inputs left out stay left out, and at the end they go") {
  const Result<ImportedModel> imported = import(model_of(
      with_node(node("Clip", {"x", "", "m"}, {"y"})) + with_initializer(floats("m", {}, {1}))));
  REQUIRE(imported.ok());
  REQUIRE(imported->graph.node(0).inputs.size() == 3);
  CHECK(imported->graph.node(0).inputs[1] == kNoValue);
  const Result<ImportedModel> shorter =
      import(model_of(with_node(node("Clip", {"x", "", ""}, {"y"}))));
  REQUIRE(shorter.ok());
  CHECK(shorter->graph.node(0).inputs.size() == 1);
}

}  // namespace
}  // namespace miniinfer::test::onnx
