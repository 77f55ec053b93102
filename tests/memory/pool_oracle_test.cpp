// The pool over a device whose streams go on as a seed decides.

#include <doctest/doctest.h>

#include <string_view>

#include "tests/memory/subjects.hpp"
#include "tests/support/stream_scenarios.hpp"

namespace miniinfer::testing {
namespace {

template <class Check>
void for_each_pool(Check&& check) {
  for (const Policy& policy : kPolicies) {
    const std::string_view name = policy.name;
    if (name != "pool" && name != "caching") continue;
    for (const DeviceKind& kind : kDeviceKinds) {
      CAPTURE(policy.name);
      CAPTURE(kind.name);
      check(fuzz_subject(policy), kind.options);
    }
  }
}

}  // namespace

TEST_CASE("a third stream waits for all that used what it gets") {
  for_each_pool([](const FuzzSubject& subject, OracleOptions options) {
    if (options.is_inline) return;
    for (options.seed = 0; options.seed < 20; ++options.seed) {
      CAPTURE(options.seed);
      CHECK(third_stream_scenario(subject, options) == "");
    }
  });
}

TEST_CASE("the pool looks again at what it has when streams are done") {
  for_each_pool([](const FuzzSubject& subject, OracleOptions options) {
    if (options.is_inline) return;
    for (options.seed = 0; options.seed < 20; ++options.seed) {
      CAPTURE(options.seed);
      CHECK(look_again_scenario(subject, options) == "");
    }
  });
}

TEST_CASE("random work over a device of any kind finds the pool right") {
  for_each_pool([](const FuzzSubject& subject, OracleOptions options) {
    for (options.seed = 1; options.seed <= 3; ++options.seed) {
      CAPTURE(options.seed);
      CHECK(fuzz(subject, {.oracle = options, .operations = 5000}).failure == "");
      CHECK(fuzz(subject, {.oracle = options, .operations = 5000, .threads = 3}).failure == "");
    }
  });
}

}  // namespace miniinfer::testing
