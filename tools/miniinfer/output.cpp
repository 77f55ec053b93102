#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstring>

#include "command.hpp"

namespace miniinfer::command {
namespace {

// Columns a terminal gives to UTF-8 text: one for each code point.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

constexpr std::size_t kMostCell = 512;
constexpr std::size_t kMostLine = 1 << 20;

// Whether all cells of a column below its head are numbers: those are read from the right.
bool has_numbers(const std::vector<std::vector<std::string>>& rows, std::size_t column) {
  return rows.size() > 1 && std::all_of(rows.begin() + 1, rows.end(), [&](const auto& row) {
           return column < row.size() && !row[column].empty() &&
                  row[column].find_first_not_of("0123456789.%") == std::string::npos;
         });
}

std::string layout(std::vector<std::vector<std::string>> rows, int indent) {
  for (auto& row : rows) {
    for (std::string& cell : row) cell = printable(cell, kMostCell);
  }
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::vector<bool> to_the_right(widths.size());
  for (std::size_t i = 0; i + 1 < widths.size(); ++i) to_the_right[i] = has_numbers(rows, i);
  std::string text;
  for (const auto& row : rows) {
    std::string line(static_cast<std::size_t>(indent), ' ');
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string room(widths[i] - width(row[i]), ' ');
      line += to_the_right[i] ? room + row[i] : row[i] + room;
      if (i + 1 < row.size()) line += "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

// printf, with control characters other than line ends escaped.
std::string safe_text(const char* format, va_list args) {
  va_list again;
  va_copy(again, args);
  const int length = std::vsnprintf(nullptr, 0, format, args);
  std::string text(length < 0 ? 0 : static_cast<std::size_t>(length) + 1, '\0');
  if (length >= 0) std::vsnprintf(text.data(), text.size(), format, again);
  va_end(again);
  if (!text.empty()) text.pop_back();
  std::string safe;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    safe += printable(std::string_view(text).substr(begin, end - begin), kMostLine);
    if (end < text.size()) safe += '\n';
    begin = end + 1;
  }
  return safe;
}

Json memory_json(const MemoryReport* report) {
  if (report == nullptr) return nullptr;
  const auto shares = [](const std::vector<MemoryReport::Share>& list) {
    Json json = Json::array();
    for (const auto& share : list) json.push_back({{"name", share.name}, {"bytes", share.bytes}});
    return json;
  };
  Json limit, pool, free, total, steps = Json::array();
  if (!report->limit.empty()) {
    limit = {{"name", report->limit},
             {"bytes", report->limit_bytes},
             {"used_bytes", report->limit_used_bytes}};
  }
  if (report->reserved_bytes != 0) {
    pool = {{"reserved_bytes", report->reserved_bytes},
            {"allocated_bytes", report->allocated_bytes},
            {"cached_bytes", report->cached_bytes},
            {"largest_free_bytes", report->largest_free_bytes},
            {"fragmentation", report->fragmentation},
            {"held_back", shares(report->held_back)},
            {"tags", shares(report->tags)}};
  }
  if (report->device_total_bytes != 0) {
    free = report->device_free_bytes;
    total = report->device_total_bytes;
  }
  for (const auto& step : report->steps) {
    steps.push_back({{"name", step.name}, {"duration_ns", step.nanoseconds}});
  }
  return {{"device", report->device},
          {"asked_bytes", report->asked_bytes},
          {"tag", json_text(report->tag)},
          {"limit", std::move(limit)},
          {"device_free_bytes", std::move(free)},
          {"device_total_bytes", std::move(total)},
          {"pool", std::move(pool)},
          {"steps", std::move(steps)}};
}

}  // namespace

Output::Output() {
  // A closed stdout would give its number to the next file opened; hold it.
  if (fcntl(STDOUT_FILENO, F_GETFD) < 0) {
    out_ = nullptr;
  } else {
    std::fflush(stdout);
    out_ = fdopen(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3), "w");
  }
  dup2(STDERR_FILENO, STDOUT_FILENO);
  // Writes fail then, and that is reported.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

Output::~Output() {
  if (out_ != nullptr) std::fclose(out_);
}

void Output::declare(std::initializer_list<const char*> keys) {
  for (const char* key : keys) document[key] = nullptr;
}

bool Output::on_terminal() const { return isatty(STDERR_FILENO) != 0; }

void Output::print(const char* format, ...) {
  if (json || out_ == nullptr) return;
  va_list args;
  va_start(args, format);
  const std::string text = safe_text(format, args);
  va_end(args);
  std::fwrite(text.data(), 1, text.size(), out_);
}

void Output::flush() {
  if (out_ != nullptr) std::fflush(out_);
}

void Output::warn(std::string_view code, const std::string& message) {
  std::fprintf(stderr, "warning: %s\n", printable(message, kMostLine).c_str());
  warnings_->add({{"code", lower(code)}, {"message", message}});
}

void Output::Warnings::add(const Json& warning) {
  const std::lock_guard lock(mutex);
  if (std::find(list.begin(), list.end(), warning) == list.end()) list.push_back(warning);
}

void Output::add_warnings(const Json& warnings) {
  for (const Json& warning : warnings) warnings_->add(warning);
}

std::function<void(Level, std::string_view, std::string_view)> Output::log(Level shown) {
  return [shown, print = log_to_stderr(), warnings = warnings_](
             Level level, std::string_view component, std::string_view text) {
    if (level >= shown) print(level, component, text);
    if (level >= Level::Warn) warnings->add({{"code", component}, {"message", text}});
  };
}

void Output::note(const char* format, ...) {
  if (!on_terminal()) return;
  va_list args;
  va_start(args, format);
  std::vfprintf(stderr, format, args);
  va_end(args);
}

void Output::table(const std::vector<std::vector<std::string>>& rows, int indent) {
  print("%s", layout(rows, indent).c_str());
}

int Output::finish(std::string_view command, const Outcome& outcome) {
  const Status& status = outcome.status;
  if (!status.ok() && !outcome.is_printed) {
    std::string line =
        "error: " + std::string(to_string(status.code())) + ": " + std::string(status.message());
    if (!outcome.where.empty()) line += " (" + outcome.where + ")";
    if (!status.hint().empty()) line += "; " + std::string(status.hint());
    if (!json && out_ != nullptr) std::fflush(out_);
    std::fprintf(stderr, "%s\n", printable(line, kMostLine).c_str());
    if (!status.nodes().empty()) {
      std::vector<std::vector<std::string>> rows = {{"NODE", "OPERATOR", "TYPES", "REASON"}};
      for (const NodeReport& node : status.nodes()) {
        rows.push_back({node.name, node.op, node.types, node.reason});
      }
      std::fputs(layout(rows, 2).c_str(), stderr);
    }
    if (const auto report = status.memory_report()) {
      for (const std::string& text : to_lines(*report)) {
        std::fprintf(stderr, "  %s\n", printable(text, kMostLine).c_str());
      }
    }
  }
  if (json) {
    Json head = {
        {"schema_version", 1},
        {"command", command},
        {"program",
         {{"version", version()}, {"commit", json_text(commit())}, {"abi", abi_version()}}}};
    Json error;
    if (!status.ok()) {
      error = {{"code", lower(to_string(status.code()))},
               {"exit_code", outcome.exit},
               {"message", status.message()},
               {"where", json_text(outcome.where)},
               {"hint", json_text(status.hint())},
               {"nodes", Json::array()},
               {"memory", memory_json(status.memory_report().get())}};
      for (const NodeReport& node : status.nodes()) {
        error["nodes"].push_back({{"name", node.name},
                                  {"operator", node.op},
                                  {"types", node.types},
                                  {"reason", node.reason}});
      }
    }
    head["error"] = std::move(error);
    {
      const std::lock_guard lock(warnings_->mutex);
      head["warnings"] = warnings_->list;
    }
    head.update(document);
    if (out_ != nullptr) {
      // ASCII alone, so that a terminal shows it whatever is in it.
      const std::string text = head.dump(2, ' ', true, Json::error_handler_t::replace) + "\n";
      std::fwrite(text.data(), 1, text.size(), out_);
    }
  }
  if (out_ == nullptr || std::fflush(out_) != 0 || std::ferror(out_) != 0) {
    if (errno != EPIPE) {
      std::fprintf(stderr, "error: writing to stdout failed: %s\n",
                   out_ == nullptr ? "it is closed" : std::strerror(errno));
    }
    return outcome.exit == kOk ? static_cast<int>(kFile) : outcome.exit;
  }
  return outcome.exit;
}

}  // namespace miniinfer::command
