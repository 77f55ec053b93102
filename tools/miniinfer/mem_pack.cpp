#include <CLI/CLI.hpp>
#include <limits>

#include "buffer_file.hpp"
#include "command.hpp"
#include "file_io.hpp"

namespace miniinfer::command {
namespace {

struct Options {
  std::string file;
  std::string offsets;
  std::int64_t capacity = -1;  // none
  double seconds = 10;
};

Outcome run(const Options& options, Output& output) {
  output.declare({"file", "buffer_count", "capacity_bytes", "bytes", "lower_bound_bytes", "optimal",
                  "found_by", "search_nodes", "duration_ns"});
  output.document["file"] = options.file;
  const Result<BufferList> list = read_buffers(options.file);
  if (!list) {
    const bool is_file =
        list.status().code() == Code::NotFound || list.status().code() == Code::FailedPrecondition;
    return Outcome::fail(list.status(), is_file ? Stage::File : Stage::Usage, options.file);
  }
  output.document["buffer_count"] = list->buffers.size();
  PlanOptions plan_options;
  plan_options.nodes = options.seconds > 0 ? PlanOptions::kNone : 0;
  plan_options.time = std::chrono::nanoseconds(static_cast<long long>(options.seconds * 1e9));
  plan_options.stop = interrupted();
  if (options.capacity >= 0) {
    plan_options.capacity = static_cast<std::uint64_t>(options.capacity);
    output.document["capacity_bytes"] = options.capacity;
  }
  const Result<std::uint64_t> bound = arena_lower_bound(list->buffers);
  if (!bound) return Outcome::fail(bound.status(), Stage::Usage, options.file);
  output.document["lower_bound_bytes"] = *bound;

  const auto begin = std::chrono::steady_clock::now();
  const Result<ArenaPlan> plan = plan_arena(list->buffers, plan_options);
  const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - begin;
  output.document["duration_ns"] = took.count();
  if (!plan) {
    Outcome outcome = Outcome::fail(plan.status(), Stage::Run, options.file);
    // They do not fit, as far as anyone knows.
    if (plan.status().code() == Code::Timeout) outcome.exit = kMemory;
    return outcome;
  }
  if (Status status = verify_arena(list->buffers, *plan); !status.ok()) {
    return Outcome::fail(status, Stage::Run, options.file);
  }
  output.document["bytes"] = plan->bytes;
  output.document["lower_bound_bytes"] = plan->lower_bound;
  output.document["optimal"] = plan->optimal();
  output.document["found_by"] = plan->found_by;
  output.document["search_nodes"] = plan->nodes;
  output.print("buffers      %zu\n", list->buffers.size());
  output.print("arena        %llu bytes, %s\n", static_cast<unsigned long long>(plan->bytes),
               human_bytes(plan->bytes).c_str());
  output.print("lower bound  %llu bytes%s\n", static_cast<unsigned long long>(plan->lower_bound),
               plan->optimal() ? ": nothing is smaller" : "");
  output.print("found by     %s, %llu nodes, %.3f s\n", std::string(plan->found_by).c_str(),
               static_cast<unsigned long long>(plan->nodes),
               static_cast<double>(took.count()) * 1e-9);
  if (options.offsets.empty()) return Outcome::ok();
  Status status = write_file(options.offsets, buffers_text(*list, plan->offsets));
  return status.ok() ? Outcome::ok() : Outcome::fail(status, Stage::File, options.offsets);
}

}  // namespace

std::function<Outcome()> add_mem_pack(CLI::App& app, Output& output) {
  auto common = std::make_shared<CommonOptions>();
  auto options = std::make_shared<Options>();
  app.add_option("FILE", options->file, "buffers: a CSV file with columns id,lower,upper,size")
      ->required()
      ->type_name("");
  app.add_option("--capacity", options->capacity,
                 "fit into so many bytes; without it, find the smallest arena")
      ->type_name("BYTES")
      ->check(
          CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()).description(""));
  app.add_option("--time", options->seconds, "seconds to search; 0: greedy methods alone")
      ->type_name("S")
      ->check(CLI::Range(0.0, 1e9).description(""))
      ->capture_default_str();
  app.add_option("-o", options->offsets, "write the buffers with their offsets")
      ->type_name("OFFSETS.csv");
  add_common_options(app, *common, output);
  return [options, &output] { return run(*options, output); };
}

}  // namespace miniinfer::command
