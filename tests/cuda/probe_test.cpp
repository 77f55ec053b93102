#include "plugins/cuda/probe.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/cuda/fake_system.hpp"

using miniinfer::cuda::driver_floor;
using miniinfer::cuda::probe_system;
using miniinfer::sdk::Probe;
using miniinfer::test::FakeSystem;
using namespace std::string_literals;  // NOLINT

namespace {

enum State { kAbsent, kFound, kUnknown };

State state(const Probe& probe) {
  if (probe.unknown) return kUnknown;
  return probe.devices.empty() ? kAbsent : kFound;
}

std::vector<std::string> bus_ids(const Probe& probe) {
  std::vector<std::string> ids;
  for (const auto& device : probe.devices) ids.push_back(device.bus_id);
  return ids;
}

bool says(const Probe& probe, const std::string& text) {
  return probe.reason.find(text) != std::string::npos;
}

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("a machine without any sign of a driver has no device, and the reason names the signs") {
  FakeSystem system;
  const Probe probe = probe_system(system.get());
  CHECK_EQ(state(probe), kAbsent);
  CHECK(says(probe, "/dev/nvidiactl"));
  CHECK(says(probe, "/proc/driver/nvidia"));
}

TEST_CASE("a GPU on the bus without a driver is absent, and said to be there") {
  FakeSystem system;
  system.pci("0000:65:00.0")
      .pci("0000:66:00.0", "0x10de", "0x040300")
      .pci("0000:01:00.0", "0x1002");
  const Probe probe = probe_system(system.get());
  CHECK_EQ(state(probe), kAbsent);
  CHECK(says(probe, "1 NVIDIA GPU is on the bus"));
}

TEST_CASE("a GPU on the bus with an installed library may come to life when it is opened") {
  FakeSystem system;
  system.pci("0000:65:00.0").library("580.65.06");
  const Probe probe = probe_system(system.get());
  CHECK_EQ(state(probe), kUnknown);
  CHECK_EQ(probe.devices.size(), 1);
}

TEST_CASE("a whole driver gives names, bus ids, uuids and its version") {
  FakeSystem system;
  system.driver().gpu(0).gpu(1, "NVIDIA L4");
  const Probe probe = probe_system(system.get());
  REQUIRE_EQ(state(probe), kFound);
  REQUIRE_EQ(bus_ids(probe), Ids{"0000:10:00.0", "0000:20:00.0"});
  CHECK_EQ(probe.driver, "580.65.06");
  CHECK_EQ(probe.devices[0].name, "NVIDIA H200");
  CHECK_EQ(probe.devices[1].name, "NVIDIA L4");
  CHECK_EQ(probe.devices[1].stable_id, "GPU-1a1f0000-1111-2222-3333-444455556666");
  CHECK_EQ(probe.devices[0].memory_bytes, 0);
  CHECK_NE(probe.devices[0].memory_domain, probe.devices[1].memory_domain);
}

TEST_CASE("the order is the bus's, not that of the minor numbers") {
  FakeSystem system;
  system.driver().gpu(0, "NVIDIA H200", "0000:ab:00.0").gpu(1, "NVIDIA H200", "0000:1c:00.0");
  CHECK_EQ(bus_ids(probe_system(system.get())), Ids{"0000:1c:00.0", "0000:ab:00.0"});
}

TEST_CASE("a uuid that the driver does not know yet is left out") {
  FakeSystem system;
  system.driver().gpu(0);
  system.file("/proc/driver/nvidia/gpus/0000:10:00.0/information",
              "Model: NVIDIA H200\nGPU UUID: GPU-" + std::string(8, '?') + "\nDevice Minor: 0\n");
  const Probe probe = probe_system(system.get());
  REQUIRE_EQ(probe.devices.size(), 1);
  CHECK_EQ(probe.devices[0].stable_id, "0000:10:00.0");
}

TEST_CASE("a GPU that the driver was told to leave alone does not count") {
  FakeSystem system;
  system.driver().gpu(0).gpu(1);
  system.file("/proc/driver/nvidia/gpus/0000:20:00.0/information",
              "Model: NVIDIA H200\nDevice Minor: 1\nGPU Excluded: Yes\n");
  CHECK_EQ(bus_ids(probe_system(system.get())), Ids{"0000:10:00.0"});
}

TEST_CASE("a container sees the host's GPUs and has those it was given a node of") {
  FakeSystem system;
  system.driver().gpu(0).gpu(1).gpu(2).remove("/dev/nvidia0").remove("/dev/nvidia2");
  const Probe probe = probe_system(system.get());
  CHECK_EQ(state(probe), kFound);
  CHECK_EQ(bus_ids(probe), Ids{"0000:20:00.0"});
}

TEST_CASE(
    "parts of a driver leave it to opening, with something to open and the part that is missing") {
  struct Case {
    const char* gone;
    const char* text;
    std::size_t devices;
  };
  for (const Case& each : {Case{"/dev/nvidiactl", "/dev/nvidiactl", 2},
                           Case{"/usr/lib/x86_64-linux-gnu/libcuda.so.1", "libcuda.so.1", 2}}) {
    CAPTURE(each.gone);
    FakeSystem system;
    system.driver().gpu(0).gpu(1).remove(each.gone);
    const Probe probe = probe_system(system.get());
    CHECK_EQ(state(probe), kUnknown);
    CHECK(says(probe, each.text));
    CHECK_EQ(probe.devices.size(), each.devices);
  }
  FakeSystem hidden;  // the container has none of the host's GPUs
  hidden.driver().gpu(0).gpu(1).remove("/dev/nvidia0").remove("/dev/nvidia1");
  const Probe probe = probe_system(hidden.get());
  CHECK_EQ(state(probe), kUnknown);
  CHECK_EQ(probe.devices.size(), 1);
}

TEST_CASE("where /proc is hidden the bus and the library tell") {
  FakeSystem system;
  system.driver().gpu(0).gpu(1).remove("/proc");
  system.pci("0000:10:00.0").pci("0000:20:00.0");
  const Probe probe = probe_system(system.get());
  CHECK_EQ(state(probe), kFound);
  CHECK_EQ(bus_ids(probe), Ids{"0000:10:00.0", "0000:20:00.0"});
  CHECK_EQ(probe.devices[0].name, "NVIDIA GPU");
  CHECK_EQ(probe.driver, "580.65.06");
}

TEST_CASE("where /proc and /sys are hidden the device nodes are counted, and opening decides") {
  FakeSystem system;
  system.driver().gpu(0).gpu(1).remove("/proc");
  const Probe probe = probe_system(system.get());
  CHECK_EQ(state(probe), kUnknown);
  REQUIRE_EQ(probe.devices.size(), 2);
  CHECK_EQ(probe.devices[0].stable_id, "");
  CHECK_NE(probe.devices[0].memory_domain, probe.devices[1].memory_domain);
}

TEST_CASE("WSL 2 shows only /dev/dxg: opening decides") {
  FakeSystem system;
  system.file("/dev/dxg");
  const Probe probe = probe_system(system.get());
  CHECK_EQ(state(probe), kUnknown);
  CHECK_EQ(probe.devices.size(), 1);
  CHECK(says(probe, "/dev/dxg"));
}

TEST_CASE("a driver below the toolkit's floor is absent, with both numbers") {
  CHECK_EQ(driver_floor(13000), "580");
  CHECK_EQ(driver_floor(12080), "525");
  FakeSystem system;
  system.driver("570.86.15").gpu(0);
  const Probe probe = probe_system(system.get());
  CHECK_EQ(state(probe), kAbsent);
  CHECK(says(probe, "570.86.15"));
  CHECK(says(probe, "580"));
}

TEST_CASE("a newer library put before an old driver's own counts") {
  FakeSystem system;
  system.driver("570.86.15").gpu(0);
  system.link("/compat/libcuda.so.1", "libcuda.so.580.65.06")
      .variable("LD_LIBRARY_PATH", ":/compat");
  CHECK_EQ(state(probe_system(system.get())), kFound);
}

TEST_CASE("the loader's cache leads to the library") {
  FakeSystem system;
  system.driver().gpu(0).remove("/usr/lib/x86_64-linux-gnu/libcuda.so.1");
  system.link("/opt/driver/libcuda.so.1", "libcuda.so.580.65.06");
  system.file("/etc/ld.so.cache",
              "glibc-ld.so.cache1.1\0libc.so.6\0/lib/libc.so.6\0"
              "libcuda.so.1\0/opt/driver/libcuda.so.1\0"s);
  CHECK_EQ(state(probe_system(system.get())), kFound);
}

TEST_CASE("an empty CUDA_VISIBLE_DEVICES hides all, and is named") {
  FakeSystem system;
  system.driver().gpu(0).variable("CUDA_VISIBLE_DEVICES", "");
  const Probe probe = probe_system(system.get());
  CHECK_EQ(state(probe), kAbsent);
  CHECK(says(probe, "CUDA_VISIBLE_DEVICES is empty"));
}

TEST_CASE("CUDA_VISIBLE_DEVICES chooses among the GPUs of the bus order") {
  struct Case {
    const char* mask;
    Ids visible;
  };
  const Ids all = {"0000:10:00.0", "0000:20:00.0", "0000:30:00.0"};
  for (const Case& each : {
           Case{"0", {all[0]}},
           Case{"2,0", {all[0], all[2]}},
           Case{" 1 , 2", {all[1], all[2]}},
           Case{"1,-1,2", {all[1]}},
           Case{"0,7,1", {all[0]}},
           Case{"0,,1", {all[0]}},
           Case{"1,junk,2", {all[1]}},
           Case{"GPU-1a1f", {all[1]}},
           Case{"GPU-2,GPU-0", {all[0], all[2]}},
           Case{"GPU-0,GPU-ffff,GPU-1", {all[0]}},
       }) {
    CAPTURE(each.mask);
    FakeSystem system;
    system.driver().gpu(0).gpu(1).gpu(2).variable("CUDA_VISIBLE_DEVICES", each.mask);
    const Probe probe = probe_system(system.get());
    CHECK_EQ(state(probe), kFound);
    CHECK_EQ(bus_ids(probe), each.visible);
  }
}

TEST_CASE("a CUDA_VISIBLE_DEVICES that names nothing hides all, and is quoted") {
  for (const char* mask : {"-1", "7", "junk", "NoDevFiles", ",0", "gpu-0", "GPU-", "0x0", "1.5"}) {
    CAPTURE(mask);
    FakeSystem system;
    system.driver().gpu(0).gpu(1).variable("CUDA_VISIBLE_DEVICES", mask);
    const Probe probe = probe_system(system.get());
    CHECK_EQ(state(probe), kAbsent);
    CHECK(says(probe, std::string("\"") + mask + "\""));
  }
}

TEST_CASE("numbers over unlike GPUs are known only in the bus's order") {
  FakeSystem system;
  system.driver().gpu(0, "NVIDIA L4").gpu(1).variable("CUDA_VISIBLE_DEVICES", "1");
  Probe probe = probe_system(system.get());
  CHECK_EQ(state(probe), kUnknown);
  REQUIRE_EQ(probe.devices.size(), 1);
  CHECK_EQ(probe.devices[0].bus_id, "");
  CHECK(says(probe, "CUDA_DEVICE_ORDER"));
  system.variable("CUDA_DEVICE_ORDER", "FASTEST_FIRST");
  CHECK_EQ(state(probe_system(system.get())), kUnknown);
  system.variable("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
  probe = probe_system(system.get());
  CHECK_EQ(state(probe), kFound);
  CHECK_EQ(bus_ids(probe), Ids{"0000:20:00.0"});
}

TEST_CASE("all unlike GPUs by number are all of them, in whatever order") {
  FakeSystem system;
  system.driver().gpu(0, "NVIDIA L4").gpu(1).variable("CUDA_VISIBLE_DEVICES", "1,0");
  const Probe probe = probe_system(system.get());
  CHECK_EQ(state(probe), kFound);
  CHECK_EQ(probe.devices.size(), 2);
}

TEST_CASE("a device named twice, and uuids that are not shown, leave it to opening") {
  FakeSystem twice;
  twice.driver().gpu(0).gpu(1).variable("CUDA_VISIBLE_DEVICES", "0,0");
  CHECK_EQ(state(probe_system(twice.get())), kUnknown);
  FakeSystem hidden;
  hidden.driver().gpu(0).gpu(1).remove("/proc").pci("0000:10:00.0").pci("0000:20:00.0");
  hidden.variable("CUDA_VISIBLE_DEVICES", "GPU-1a1f");
  CHECK_EQ(state(probe_system(hidden.get())), kUnknown);
}

TEST_CASE("a slice of a GPU is one device that opening finds") {
  for (const char* mask : {"MIG-7d3a", "MIG-GPU-0a1f/1/0,MIG-GPU-0a1f/2/0"}) {
    FakeSystem system;
    system.driver().gpu(0).gpu(1).variable("CUDA_VISIBLE_DEVICES", mask);
    const Probe probe = probe_system(system.get());
    CHECK_EQ(state(probe), kUnknown);
    CHECK_EQ(probe.devices.size(), 1);
  }
}

TEST_CASE("files of nonsense are survived") {
  FakeSystem system;
  system.driver().gpu(0);
  system.file("/proc/driver/nvidia/version", std::string(100000, '\xff'));
  system.file("/proc/driver/nvidia/gpus/0000:10:00.0/information", "GPU UUID:");
  system.file("/etc/ld.so.cache", "/libcuda.so.1");
  CHECK_EQ(probe_system(system.get()).devices.size(), 1);
}
