#include "core/graph/attributes.hpp"

#include <doctest/doctest.h>

namespace miniinfer {
namespace {

TEST_CASE("an attribute set again has its new value, in its old place") {
  Attributes attributes;
  attributes.set("axis", std::int64_t{1});
  attributes.set("mode", std::string("linear"));
  attributes.set("axis", std::int64_t{-1});
  CHECK(attributes.size() == 2);
  CHECK(attributes.begin()->first == "axis");
  CHECK(attributes.get_int("axis", 0) == -1);
  attributes.erase("axis");
  CHECK(attributes.find("axis") == nullptr);
  CHECK(attributes.get_string("mode", "") == "linear");
}

TEST_CASE("an attribute that is missing or of another type gives the fallback") {
  Attributes attributes;
  attributes.set("a", 2.5F);
  attributes.set("list", std::vector<std::int64_t>{1, 2});
  CHECK(attributes.get_float("a", 0) == 2.5F);
  CHECK(attributes.get_int("a", 7) == 7);
  CHECK(attributes.get_int("b", 7) == 7);
  CHECK(attributes.get_string("a", "no") == "no");
  CHECK(attributes.get_ints("list")->size() == 2);
  CHECK_FALSE(attributes.get_floats("list").has_value());
  CHECK_FALSE(attributes.get_ints("a").has_value());
}

}  // namespace
}  // namespace miniinfer
