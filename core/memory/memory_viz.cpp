// The snapshot as PyTorch pickles its own: its _memory_viz.py and torch/utils/viz/MemoryViz.js are
// what reads it.

#include <charconv>
#include <chrono>

#include "core/base/format.hpp"
#include "miniinfer/memory_snapshot.hpp"

namespace miniinfer {
namespace {

using State = MemorySnapshot::State;

// What a number of JavaScript holds exactly. Bits above that all addresses have in common are left
// out.
constexpr std::uint64_t kMostAddress = std::uint64_t{1} << 53;
constexpr std::uint64_t kShown = kMostAddress - 1;
constexpr std::uint64_t kMostOrdinal = 1024;

// The viewer knows few of pickle's opcodes; these are among them. Protocol 2.
class Pickle {
 public:
  Pickle() : text_("\x80\x02") {}

  void dict() { text_ += "}("; }
  void end_dict() { text_ += 'u'; }
  void key(std::string_view name) { string(name); }

  // Elements are added a thousand at a time, as Python does: JavaScript has them as arguments.
  template <class T, class F>
  void list(const std::vector<T>& elements, F&& write) {
    text_ += ']';
    for (std::size_t i = 0; i < elements.size(); ++i) {
      if (i % 1000 == 0) text_ += i == 0 ? "(" : "e(";
      write(elements[i]);
    }
    if (!elements.empty()) text_ += 'e';
  }

  void number(std::uint64_t value) {
    if (value < 256) return little('K', value, 1);
    if (value < 65536) return little('M', value, 2);
    if (value < std::uint64_t{1} << 31) return little('J', value, 4);
    text_ += "\x8a\x08";
    bytes(value, 8);
  }
  void string(std::string_view text) {
    little('X', text.size(), 4);
    text_ += text;
  }
  void field(std::string_view name, std::uint64_t value) {
    key(name);
    number(value);
  }
  void field(std::string_view name, std::string_view value) {
    key(name);
    string(value);
  }
  void pair_of_zeros() { text_ += std::string("K\0K\0\x86", 5); }
  std::string finish() { return std::move(text_ += '.'); }

 private:
  void little(char opcode, std::uint64_t value, int count) {
    text_ += opcode;
    bytes(value, count);
  }
  void bytes(std::uint64_t value, int count) {
    for (int i = 0; i < count; ++i) text_ += static_cast<char>(value >> 8 * i & 0xff);
  }

  std::string text_;
};

// A tag stands where PyTorch has the line of Python.
void write_frames(Pickle& out, const std::string& tag) {
  out.key("frames");
  const std::vector<std::string> frames(tag.empty() ? 0 : 1, printable(tag, 256));
  out.list(frames, [&](const std::string& name) {
    out.dict();
    out.field("name", name);
    out.field("filename", "tag");
    out.field("line", 0);
    out.end_dict();
  });
}

std::string_view name_of(State state) {
  switch (state) {
    case State::Active:
      return "active_allocated";
    case State::PendingFree:
      return "active_pending_free";
    case State::Inactive:
      break;
  }
  return "inactive";
}

std::uint64_t ordinal_of(std::string_view device) {
  const std::size_t colon = device.find(':');
  std::uint64_t ordinal = 0;
  if (colon == std::string_view::npos) return 0;
  std::from_chars(device.data() + colon + 1, device.data() + device.size(), ordinal);
  return ordinal;
}

Status check(const MemorySnapshot& snapshot) {
  std::uint64_t high = 0;
  if (!snapshot.segments.empty()) {
    high = snapshot.segments[0].address & ~kShown;
  } else if (!snapshot.events.empty()) {
    high = snapshot.events[0].address & ~kShown;
  }
  const auto wrong = [](std::string text) {
    return Status(Code::InvalidArgument, std::move(text));
  };
  for (const MemorySnapshot::Segment& segment : snapshot.segments) {
    std::uint64_t end = 0;
    for (const MemorySnapshot::Block& block : segment.blocks) {
      if (block.offset != end || block.requested > block.bytes) break;
      end += block.bytes;
    }
    const auto address = static_cast<unsigned long long>(segment.address);
    if (end != segment.bytes) return wrong(format("no blocks tile the segment at %#llx", address));
    if ((segment.address & ~kShown) != high || end > kMostAddress - (segment.address & kShown)) {
      return wrong(format("the segment at %#llx is too far from others for the viewer", address));
    }
  }
  for (const MemoryEvent& event : snapshot.events) {
    if (event.kind != MemoryEvent::Kind::Failure && (event.address & ~kShown) != high) {
      return wrong(format("an event at %#llx is too far from others for the viewer",
                          static_cast<unsigned long long>(event.address)));
    }
  }
  if (ordinal_of(snapshot.device) >= kMostOrdinal) {
    return wrong("device " + printable(snapshot.device) + " has no place in a list of traces");
  }
  return {};
}

void write_segment(Pickle& out, const MemorySnapshot::Segment& segment, std::uint64_t device) {
  std::uint64_t allocated = 0, pending = 0;
  for (const MemorySnapshot::Block& block : segment.blocks) {
    if (block.state == State::Active) allocated += block.bytes;
    if (block.state == State::PendingFree) pending += block.bytes;
  }
  out.dict();
  out.field("device", device);
  out.field("address", segment.address & kShown);
  out.field("total_size", segment.bytes);
  out.field("allocated_size", allocated);
  out.field("active_size", allocated + pending);
  out.field("stream", 0);  // segments are no stream's
  out.field("segment_type", "large");
  out.key("segment_pool_id");
  out.pair_of_zeros();
  out.key("frames");
  out.list(std::vector<int>{}, [](int) {});
  out.key("blocks");
  out.list(segment.blocks, [&](const MemorySnapshot::Block& block) {
    out.dict();
    out.field("address", (segment.address & kShown) + block.offset);
    out.field("size", block.bytes);
    out.field("requested_size", block.requested);
    out.field("state", name_of(block.state));
    write_frames(out, block.tag);
    out.end_dict();
  });
  out.end_dict();
}

void write_action(Pickle& out, const MemoryEvent& event, std::string_view action,
                  std::uint64_t device_free) {
  using std::chrono::microseconds;
  const auto since = std::chrono::duration_cast<microseconds>(event.time.time_since_epoch());
  out.dict();
  out.field("action", action);
  out.field("addr", event.address & kShown);
  out.field("size", event.bytes);
  out.field("stream", event.stream);
  out.field("time_us", static_cast<std::uint64_t>(since.count()));
  if (event.kind == MemoryEvent::Kind::Failure) out.field("device_free", device_free);
  write_frames(out, event.tag);
  out.end_dict();
}

}  // namespace

Result<std::string> to_memory_viz(const MemorySnapshot& snapshot) {
  if (Status status = check(snapshot); !status.ok()) return status;
  const std::uint64_t device = ordinal_of(snapshot.device);
  Pickle out;
  out.dict();
  out.key("segments");
  out.list(snapshot.segments, [&](const auto& segment) { write_segment(out, segment, device); });
  out.key("device_traces");
  const std::vector<MemoryEvent> none;
  std::vector<const std::vector<MemoryEvent>*> traces(device + 1, &none);
  traces[device] = &snapshot.events;
  out.list(traces, [&](const std::vector<MemoryEvent>* trace) {
    // What is given back takes two entries, which the viewer makes one.
    struct Entry {
      const MemoryEvent* event;
      std::string_view action;
    };
    std::vector<Entry> entries;
    for (const MemoryEvent& event : *trace) {
      switch (event.kind) {
        case MemoryEvent::Kind::Allocate:
          entries.push_back({&event, "alloc"});
          break;
        case MemoryEvent::Kind::Free:
          entries.push_back({&event, "free_requested"});
          entries.push_back({&event, "free_completed"});
          break;
        case MemoryEvent::Kind::Failure:
          entries.push_back({&event, "oom"});
      }
    }
    out.list(entries, [&](const Entry& entry) {
      write_action(out, *entry.event, entry.action, snapshot.memory.free_bytes);
    });
  });
  out.end_dict();
  return out.finish();
}

}  // namespace miniinfer
