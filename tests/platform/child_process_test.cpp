#include "core/platform/child_process.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <string>

namespace miniinfer {
namespace {

using std::chrono::milliseconds;

// The shell gets "--answer-fd" and "3" as $0 and $1.
Result<ChildOutcome> shell(const std::string& script, milliseconds deadline = milliseconds(10000)) {
  return run_child("/bin/sh", {"-c", script}, deadline);
}

TEST_CASE("What a child writes to the answer descriptor is its answer, all else is not") {
  const Result<ChildOutcome> outcome = shell("echo noise; echo \"answer on $1\" >&3; exit 3");
  REQUIRE(outcome);
  CHECK(outcome->answer == "answer on 3\n");
  CHECK(outcome->exit_status == 3);
  CHECK_FALSE(outcome->timed_out);
}

TEST_CASE("A signal is told from an exit status") {
  const Result<ChildOutcome> outcome = shell("kill -9 $$");
  REQUIRE(outcome);
  CHECK(outcome->exit_status == 128 + SIGKILL);
  CHECK(outcome->answer.empty());
}

TEST_CASE("A child that does not end is killed at the deadline") {
  for (const char* script : {"exec sleep 60", "exec 3>&-; exec sleep 60"}) {
    CAPTURE(script);
    const auto begin = std::chrono::steady_clock::now();
    const Result<ChildOutcome> outcome = shell(script, milliseconds(200));
    const auto took = std::chrono::steady_clock::now() - begin;
    REQUIRE(outcome);
    CHECK(outcome->timed_out);
    CHECK(took >= milliseconds(190));
    CHECK(took < milliseconds(5000));
  }
}

TEST_CASE("An answer is cut at 64 KiB and a bit, and the child still ends") {
  const Result<ChildOutcome> outcome =
      shell("head -c 1000000 /dev/zero >&3 2>/dev/null", milliseconds(20000));
  REQUIRE(outcome);
  CHECK_FALSE(outcome->timed_out);
  CHECK(outcome->answer.size() >= 64 * 1024);
  CHECK(outcome->answer.size() < 70 * 1024);
}

TEST_CASE("A program that is not there is a status") {
  CHECK(run_child("/nowhere/program", {}, milliseconds(1000)).status().code() == Code::Unavailable);
  CHECK(run_child("/etc/passwd", {}, milliseconds(1000)).status().code() == Code::Unavailable);
}

TEST_CASE("A program that ignores SIGCHLD gets the answer, too, and at once") {
  struct sigaction ignore{};
  struct sigaction before{};
  ignore.sa_handler = SIG_IGN;
  REQUIRE(sigaction(SIGCHLD, &ignore, &before) == 0);
  const auto begin = std::chrono::steady_clock::now();
  const Result<ChildOutcome> outcome = shell("echo yes >&3");
  const auto took = std::chrono::steady_clock::now() - begin;
  sigaction(SIGCHLD, &before, nullptr);
  REQUIRE(outcome);
  CHECK(outcome->answer == "yes\n");
  CHECK_FALSE(outcome->timed_out);
  CHECK(took < milliseconds(5000));
}

TEST_CASE("Where a child starts, nothing of ours is open") {
  const int leak = fcntl(STDERR_FILENO, F_DUPFD, 20);  // without O_CLOEXEC, as careless programs do
  REQUIRE(leak >= 20);
  const Result<ChildOutcome> outcome =
      shell("for f in /proc/self/fd/*; do echo ${f##*/}; done | tr '\\n' ' ' >&3");
  close(leak);
  REQUIRE(outcome);
  CHECK(outcome->answer.find(" " + std::to_string(leak) + " ") == std::string::npos);
}

}  // namespace
}  // namespace miniinfer
