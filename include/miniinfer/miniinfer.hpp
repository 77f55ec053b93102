#pragma once

// Everything an application needs.
//
//   miniinfer::Runtime runtime;                                     // finds plugins and devices
//   auto session = runtime.load("digits.onnx", "cuda:0,cpu").value();
//   auto image = miniinfer::Tensor::from(pixels, {1, 1, 8, 8}).value();
//   auto scores = session.run(image).value().only().value().to_vector<float>().value();

#include "miniinfer/allocator.hpp"
#include "miniinfer/data_type.hpp"
#include "miniinfer/device.hpp"
#include "miniinfer/device_context.hpp"
#include "miniinfer/memory_snapshot.hpp"
#include "miniinfer/plugin.hpp"
#include "miniinfer/pool_allocator.hpp"
#include "miniinfer/runtime.hpp"
#include "miniinfer/session.hpp"
#include "miniinfer/status.hpp"
#include "miniinfer/storage.hpp"
#include "miniinfer/tensor.hpp"
#include "miniinfer/text.hpp"
#include "miniinfer/trace.hpp"
#include "miniinfer/tracking_allocator.hpp"
