// Reads handwritten digits on every device this machine has.
//
//   digits FOLDER [DEVICE..]
//
// FOLDER holds digits.onnx, images.pb and labels.pb (examples/digits in the source). The network
// was trained on other people's digits; these 20 are the first of those held out.

#include <miniinfer/miniinfer.hpp>
#include <miniinfer/onnx_tensor.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace {

using miniinfer::Device;
using miniinfer::Result;
using miniinfer::Session;
using miniinfer::Tensor;

constexpr int kSide = 8;
constexpr int kPixels = kSide * kSide;
constexpr int kClasses = 10;
constexpr int kDrawn = 5;

int best_class(std::span<const float> scores) {
  return static_cast<int>(std::max_element(scores.begin(), scores.end()) - scores.begin());
}

// Two rows of pixels to a line of text, with half blocks.
void draw(std::span<const float> images) {
  static constexpr const char* kBlocks[] = {" ", "▄", "▀", "█"};
  for (int row = 0; row < kSide; row += 2) {
    std::string line = "  ";
    for (int image = 0; image < kDrawn; ++image) {
      for (int column = 0; column < kSide; ++column) {
        const auto ink = [&](int r) {
          return images[static_cast<std::size_t>(image * kPixels + r * kSide + column)] > 0.5F;
        };
        line += kBlocks[(ink(row) ? 2 : 0) + (ink(row + 1) ? 1 : 0)];
      }
      line += "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    std::printf("%s\n", line.c_str());
  }
}

void print_scores(std::span<const float> scores) {
  std::string line = "  ";
  for (int image = 0; image < kDrawn; ++image) {
    const auto of_image = scores.subspan(static_cast<std::size_t>(image * kClasses), kClasses);
    const int found = best_class(of_image);
    char text[32];
    std::snprintf(text, sizeof text, "%d %.2f    ", found,
                  static_cast<double>(of_image[static_cast<std::size_t>(found)]));
    line += text;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  std::printf("%s\n", line.c_str());
}

// "19 of 20 right (no. 14: an 8 read as 9)"
std::string score(std::span<const float> scores, std::span<const std::int64_t> labels) {
  int right = 0;
  std::string errors;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const int found = best_class(scores.subspan(i * kClasses, kClasses));
    if (found == labels[i]) {
      ++right;
      continue;
    }
    errors += (errors.empty() ? " (" : ", ") + ("no. " + std::to_string(i + 1)) + ": a " +
              std::to_string(labels[i]) + " read as " + std::to_string(found);
  }
  return std::to_string(right) + " of " + std::to_string(labels.size()) + " right" + errors +
         (errors.empty() ? "" : ")");
}

// Time for one image at a time, the median of many, in microseconds.
double microseconds_each(const Session& session, const Tensor& images) {
  const auto pixels = images.to_vector<float>().value();
  std::vector<Tensor> single;
  for (std::size_t i = 0; i + kPixels <= pixels.size(); i += kPixels) {
    const std::vector<float> one(pixels.begin() + static_cast<std::ptrdiff_t>(i),
                                 pixels.begin() + static_cast<std::ptrdiff_t>(i) + kPixels);
    single.push_back(Tensor::from(one, {1, 1, kSide, kSide}).value());
  }
  std::vector<double> times;
  for (int round = 0; round < 50; ++round) {
    for (const Tensor& image : single) {
      const auto begin = std::chrono::steady_clock::now();
      (void)session.run(image).value();
      const auto end = std::chrono::steady_clock::now();
      times.push_back(std::chrono::duration<double, std::micro>(end - begin).count());
    }
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                   times.end());
  return times[times.size() / 2];
}

void read_digits(const miniinfer::Runtime& runtime, const std::string& device,
                 const std::filesystem::path& folder, bool drawing) {
  const Session session = runtime.load(folder / "digits.onnx", device).value();
  const Tensor images = miniinfer::read_onnx_tensor(folder / "images.pb").value().tensor;
  const Tensor truth = miniinfer::read_onnx_tensor(folder / "labels.pb").value().tensor;
  const auto labels = truth.to_vector<std::int64_t>().value();
  const auto scores = session.run(images).value().only().value().to_vector<float>().value();
  if (drawing) {
    draw(images.view<float>().value());
    print_scores(scores);
  }
  std::printf("%-9s %s, %.1f us each\n", device.c_str(), score(scores, labels).c_str(),
              microseconds_each(session, images));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: digits FOLDER [DEVICE..]\n", stderr);
    return 2;
  }
  std::vector<std::string> devices(argv + 2, argv + argc);
  const miniinfer::Runtime runtime;
  if (devices.empty()) {
    for (const Device& device : runtime.devices()) {
      if (device.state() != miniinfer::DeviceState::Absent) devices.emplace_back(device.id());
    }
  }
  try {
    for (std::size_t i = 0; i < devices.size(); ++i) {
      read_digits(runtime, devices[i], argv[1], i == 0);
    }
  } catch (const miniinfer::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
