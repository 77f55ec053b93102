#pragma once

#include "command.hpp"

namespace miniinfer::command {

// What a measurement depends on beside the program: processor, cores, load, variables.
Json environment_json(const Runtime& runtime);
double load_average();  // over a minute; 0 where it is not known

}  // namespace miniinfer::command
