#pragma once

// The tables of one open device. Authors need not read this.

#include <memory>
#include <utility>
#include <vector>

#include "miniinfer/sdk/device.hpp"

namespace miniinfer::sdk::detail {

// What the host's miniinfer_device points to.
class OpenDevice {
 public:
  explicit OpenDevice(std::unique_ptr<Device> device)
      : device_(std::move(device)), set_(device_->ops()) {
    infos_.reserve(set_.ops.size());
    for (const OpSet::Op& op : set_.ops) {
      infos_.push_back({MINIINFER_HEAD(miniinfer_op_info), op.id, op.attr_size});
    }
    for (const miniinfer_op_info& info : infos_) pointers_.push_back(&info);
    fill_op_table();
    fill_stream_table();
    const bool is_inline = (device_->info().flags & MINIINFER_DEVICE_INLINE) != 0;
    api_ = {MINIINFER_HEAD(miniinfer_device_api),
            is_inline ? nullptr : &stream_,
            &op_,
            sync,
            info,
            extension,
            close};
  }

  Device& device() noexcept { return *device_; }
  const miniinfer_device_api* api() const noexcept { return &api_; }
  miniinfer_device* handle() noexcept { return reinterpret_cast<miniinfer_device*>(this); }

 private:
  static OpenDevice* open(miniinfer_device* device) noexcept {
    return reinterpret_cast<OpenDevice*>(device);
  }
  static Device& of(miniinfer_device* device) noexcept { return *open(device)->device_; }

  static miniinfer_code sync(miniinfer_device* device) noexcept {
    return guard([&] { of(device).sync(); });
  }
  static miniinfer_code info(miniinfer_device* device, miniinfer_device_info* out) noexcept {
    return guard([&] { write(of(device).info().to_abi(), out); });
  }
  static const void* extension(miniinfer_device* device, const char* id) noexcept {
    const void* table = nullptr;
    guard_quietly("device.extension failed", [&] { table = of(device).extension(id); });
    return table;
  }
  static void close(miniinfer_device* device) noexcept { delete open(device); }

  static miniinfer_code make_stream(miniinfer_device* device, std::int32_t priority, void* native,
                                    miniinfer_stream** out) noexcept {
    return guard([&] {
      *out =
          reinterpret_cast<miniinfer_stream*>(of(device).make_stream(priority, native).release());
    });
  }
  static miniinfer_code make_event(miniinfer_device* device, miniinfer_event** out) noexcept {
    return guard(
        [&] { *out = reinterpret_cast<miniinfer_event*>(of(device).make_event().release()); });
  }

  static miniinfer_code support(miniinfer_device* device, const miniinfer_region* region,
                                miniinfer_choice* const* choices, std::uint32_t* count) noexcept {
    miniinfer_code code = MINIINFER_OK;
    const miniinfer_code guarded = guard([&] {
      Choices ours(*count);
      of(device).support(Region(*region), ours);
      code = ours.deliver(choices, count);
    });
    return guarded != MINIINFER_OK ? guarded : code;
  }
  static miniinfer_code create(miniinfer_device* device, const miniinfer_region* region,
                               const miniinfer_choice* choice, miniinfer_kernel** out) noexcept {
    return guard([&] {
      auto kernel = of(device).make_kernel(Region(*region), read<miniinfer_choice>(choice));
      *out = reinterpret_cast<miniinfer_kernel*>(kernel.release());
    });
  }

  void fill_op_table() noexcept {
    op_.head = MINIINFER_HEAD(miniinfer_op_api);
    op_.ops = pointers_.data();
    op_.op_count = static_cast<std::uint32_t>(pointers_.size());
    op_.max_nodes = set_.max_nodes;
    op_.max_instructions = set_.max_instructions;
    op_.max_operands = set_.max_operands;
    op_.pointwise_ops[0] = set_.pointwise_ops[0];
    op_.pointwise_ops[1] = set_.pointwise_ops[1];
    op_.pointwise_dtypes = set_.pointwise_dtypes;
    op_.support = support;
    op_.create = create;
    op_.destroy = kernel_destroy;
    op_.packed = kernel_packed;
    op_.pack = kernel_pack;
    op_.enqueue = kernel_enqueue;
  }

  void fill_stream_table() noexcept {
    stream_ = {MINIINFER_HEAD(miniinfer_stream_api),
               make_stream,
               stream_destroy,
               stream_sync,
               stream_query,
               stream_native,
               stream_copy,
               stream_fill,
               make_event,
               event_destroy,
               event_record,
               event_wait,
               event_sync,
               event_query,
               device_->measures_time() ? event_elapsed : nullptr};
  }

  std::unique_ptr<Device> device_;
  OpSet set_;
  std::vector<miniinfer_op_info> infos_;
  std::vector<const miniinfer_op_info*> pointers_;
  miniinfer_op_api op_{};
  miniinfer_stream_api stream_{};
  miniinfer_device_api api_{};
};

}  // namespace miniinfer::sdk::detail

namespace miniinfer::sdk {

// The author's device, for the functions of an extension's table.
inline Device& unwrap(miniinfer_device* device) noexcept {
  return reinterpret_cast<detail::OpenDevice*>(device)->device();
}

}  // namespace miniinfer::sdk
