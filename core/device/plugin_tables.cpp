#include "core/device/plugin_tables.hpp"

#include <algorithm>

#include "core/base/checked_math.hpp"
#include "core/base/format.hpp"
#include "core/device/whole_table.hpp"

namespace miniinfer {
namespace {

// The first name with a null slot; null: none.
struct Slot {
  const char* name;
  bool present;
};
template <std::size_t n>
const char* missing(const Slot (&slots)[n]) {
  for (const Slot& slot : slots) {
    if (!slot.present) return slot.name;
  }
  return nullptr;
}

}  // namespace

const char* missing_slot(const miniinfer_device_api& api) noexcept {
  const Slot slots[] = {
      {"op", api.op != nullptr}, {"sync", api.sync != nullptr}, {"close", api.close != nullptr}};
  return missing(slots);
}

const char* missing_slot(const miniinfer_stream_api& api) noexcept {
  const Slot slots[] = {{"stream.create", api.create != nullptr},
                        {"stream.destroy", api.destroy != nullptr},
                        {"stream.sync", api.sync != nullptr},
                        {"stream.query", api.query != nullptr},
                        {"stream.copy", api.copy != nullptr},
                        {"stream.fill", api.fill != nullptr},
                        {"stream.event_create", api.event_create != nullptr},
                        {"stream.event_destroy", api.event_destroy != nullptr},
                        {"stream.event_record", api.event_record != nullptr},
                        {"stream.event_wait", api.event_wait != nullptr},
                        {"stream.event_sync", api.event_sync != nullptr},
                        {"stream.event_query", api.event_query != nullptr}};
  return missing(slots);
}

const char* missing_slot(const miniinfer_op_api& api) noexcept {
  const Slot slots[] = {{"op.support", api.support != nullptr},
                        {"op.create", api.create != nullptr},
                        {"op.destroy", api.destroy != nullptr},
                        {"op.enqueue", api.enqueue != nullptr},
                        {"op.ops", api.ops != nullptr || api.op_count == 0}};
  return missing(slots);
}

bool is_backend_name(std::string_view name) noexcept {
  return !name.empty() && name.front() >= 'a' && name.front() <= 'z' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
         });
}

Status check_plugin_api(const miniinfer_plugin_api* api) {
  if (!api) return {Code::Incompatible, "the entry function returned no table"};
  const miniinfer_plugin_api whole = whole_table(api);
  if (!whole.name || !is_backend_name(whole.name)) {
    return {Code::Incompatible, "the plugin's name '" + printable(whole.name ? whole.name : "") +
                                    "' is not of the form [a-z][a-z0-9_]*"};
  }
  const Slot slots[] = {{"probe", whole.probe != nullptr},
                        {"init", whole.init != nullptr},
                        {"device_open", whole.device_open != nullptr}};
  if (const char* name = missing(slots)) {
    return {Code::Incompatible,
            std::string("the table of ") + whole.name + " has no " + name + " function"};
  }
  return {};
}

void sanitize(miniinfer_device_info& info) noexcept {
  terminate(info.stable_id);
  terminate(info.name);
  terminate(info.memory_domain);
  terminate(info.bus_id);
  terminate(info.driver);
  if (!is_power_of_two(info.memory_alignment)) info.memory_alignment = 64;
  if (info.kind < MINIINFER_KIND_CPU || info.kind > MINIINFER_KIND_ACCELERATOR) {
    info.kind = MINIINFER_KIND_ACCELERATOR;
  }
}

}  // namespace miniinfer
