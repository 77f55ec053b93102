#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "core/graph/constant.hpp"

namespace miniinfer {

// Constants of float32 in a narrower float type, each converted once while a plan uses it.
// [any-thread]
class NarrowConstants {
 public:
  // Null where an element is finite and leaves the type's range.
  ConstantPtr get(const ConstantPtr& wide, DataType narrow);

 private:
  std::mutex mutex_;
  // The bytes, and the types of both, tell one from another.
  std::map<std::pair<const void*, std::string>, std::weak_ptr<const Constant>> made_;
};

}  // namespace miniinfer
