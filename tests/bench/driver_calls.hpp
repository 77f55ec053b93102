#pragma once

// The two calls that a replayed run makes of the CUDA driver, cuGraphLaunch and
// cuStreamSynchronize, as this program makes them, however deep in a library: whoever asks the
// loader or the driver for one of them is given ours, which notes the time and calls the driver's.
// So nothing of what is measured is built for it, and the graph can be launched again, alone.

#include <string>

namespace miniinfer::bench {

// Since it was cleared, by one thread. Nanoseconds by the clock.
struct DriverCalls {
  int launches = 0, waits = 0;
  double launch_ns = 0, wait_ns = 0;
  // Of the last launch: a CUgraphExec, a CUstream, and the CUcontext that was current.
  void* graph = nullptr;
  void* stream = nullptr;
  void* context = nullptr;
};
DriverCalls& driver_calls();

// The launch and the wait for it, by the driver's functions with nothing around them. What `seen`
// launched last is launched once more, in its context. Empty, or why it was not.
std::string launch_again(const DriverCalls& seen, double& launch_ns, double& total_ns);

}  // namespace miniinfer::bench
