#include "plugins/cuda/kernels/recently_used.hpp"

#include <doctest/doctest.h>

using miniinfer::cuda::RecentlyUsed;

TEST_CASE("what was used longest ago goes first") {
  RecentlyUsed<int> kept(3);
  for (const char* key : {"a", "b", "c"}) kept.add(key, std::make_shared<int>(1));
  REQUIRE(kept.find("a") != nullptr);
  kept.add("d", std::make_shared<int>(4));
  CHECK_EQ(kept.size(), 3);
  CHECK(kept.find("b") == nullptr);
  CHECK(kept.find("a") != nullptr);
  CHECK_EQ(**kept.find("d"), 4);
}

TEST_CASE("what somebody holds stays, and goes once nobody does") {
  RecentlyUsed<int> kept(2);
  auto held = std::make_shared<int>(7);
  kept.add("held", held);
  for (const char* key : {"a", "b", "c"}) kept.add(key, std::make_shared<int>(1));
  CHECK_EQ(kept.size(), 2);
  REQUIRE(kept.find("held") != nullptr);
  CHECK_EQ(*kept.find("held"), held);
  kept.add("d", std::make_shared<int>(1));
  held.reset();
  kept.add("e", std::make_shared<int>(1));
  CHECK_EQ(kept.size(), 2);
  kept.add("f", std::make_shared<int>(1));
  CHECK(kept.find("held") == nullptr);
}

TEST_CASE("a key may be of nothing, and be given another value") {
  RecentlyUsed<int> kept(2);
  kept.add("a", nullptr);
  REQUIRE(kept.find("a") != nullptr);
  CHECK(*kept.find("a") == nullptr);
  kept.add("a", std::make_shared<int>(3));
  CHECK_EQ(**kept.find("a"), 3);
  CHECK_EQ(kept.size(), 1);
  for (const char* key : {"b", "c"}) kept.add(key, nullptr);
  CHECK_EQ(kept.size(), 2);
  CHECK(kept.find("a") == nullptr);
}
