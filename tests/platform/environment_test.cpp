#include "core/platform/environment.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace miniinfer {
namespace {

TEST_CASE("A variable that is set to nothing is told from one that is not set") {
  unsetenv("MINIINFER_TEST_VARIABLE");
  CHECK_FALSE(environment("MINIINFER_TEST_VARIABLE").has_value());
  setenv("MINIINFER_TEST_VARIABLE", "", 1);
  CHECK(environment("MINIINFER_TEST_VARIABLE") == "");
  setenv("MINIINFER_TEST_VARIABLE", "a:b", 1);
  CHECK(environment("MINIINFER_TEST_VARIABLE") == "a:b");
  unsetenv("MINIINFER_TEST_VARIABLE");
}

TEST_CASE("A test runs without raised privileges") { CHECK_FALSE(raised_privileges()); }

TEST_CASE("A list keeps its empty elements") {
  using List = std::vector<std::string>;
  CHECK(split_list("", ':') == List{""});
  CHECK(split_list("a", ':') == List{"a"});
  CHECK(split_list("a:", ':') == List{"a", ""});
  CHECK(split_list(":a::b", ':') == List{"", "a", "", "b"});
}

}  // namespace
}  // namespace miniinfer
