#pragma once

#include <optional>
#include <vector>

#include "core/graph/graph.hpp"

namespace miniinfer {

// What a program between a product and a softmax does to the product's elements: it multiplies them
// by a number, and adds what does not depend on them.
struct ScoreProgram {
  double scale = 1;
  KernelAttrsPtr mask;  // the program of what is added, over `mask_inputs`; null: nothing is
  std::vector<ValueId> mask_inputs;
  bool mask_is_input = false;  // the program gives its only input
};

// Nothing where `node` does anything else to its input `scores`. The mask is made in `dtype`. A
// choice between scores and a very low number counts as adding 0 or that number, which is the same
// after rounding.
std::optional<ScoreProgram> read_scores(const Node& node, ValueId scores, DataType dtype);

// The number by which a program of one input multiplies it and does nothing else.
std::optional<double> read_factor(const Node& node);

// What a program makes of probabilities before they meet values: itself, in another float type
// (false), or 0 where they are NaN (true). Nothing where it is anything else.
std::optional<bool> read_probabilities(const Node& node);

}  // namespace miniinfer
