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

std::string layout(const std::vector<std::vector<std::string>>& rows, int indent) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line(static_cast<std::size_t>(indent), ' ');
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - width(row[i]) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
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
  std::signal(SIGPIPE, SIG_IGN);
}

Output::~Output() {
  if (out_ != nullptr) std::fclose(out_);
}

bool Output::on_terminal() const { return isatty(STDERR_FILENO) != 0; }

void Output::print(const char* format, ...) {
  if (json || out_ == nullptr) return;
  va_list args;
  va_start(args, format);
  std::vfprintf(out_, format, args);
  va_end(args);
}

void Output::flush() {
  if (out_ != nullptr) std::fflush(out_);
}

void Output::warn(std::string_view code, const std::string& message) {
  std::fprintf(stderr, "warning: %s\n", message.c_str());
  warnings_.push_back({{"code", lower(code)}, {"message", message}});
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
  if (!status.ok()) {
    std::string line =
        "error: " + std::string(to_string(status.code())) + ": " + std::string(status.message());
    if (!outcome.where.empty()) line += " (" + outcome.where + ")";
    if (!status.hint().empty()) line += "; " + std::string(status.hint());
    if (!json && out_ != nullptr) std::fflush(out_);
    std::fprintf(stderr, "%s\n", line.c_str());
    if (!status.nodes().empty()) {
      std::vector<std::vector<std::string>> rows = {{"NODE", "OPERATOR", "TYPES", "REASON"}};
      for (const NodeReport& node : status.nodes()) {
        rows.push_back({node.name, node.op, node.types, node.reason});
      }
      std::fputs(layout(rows, 2).c_str(), stderr);
    }
  }
  if (json) {
    Json head = {
        {"schema_version", 1},
        {"command", command},
        {"program", {{"version", version()}, {"commit", commit()}, {"abi", abi_version()}}}};
    Json error;
    if (!status.ok()) {
      error = {{"code", lower(to_string(status.code()))},
               {"exit_code", outcome.exit},
               {"message", status.message()},
               {"where", outcome.where.empty() ? Json() : Json(outcome.where)},
               {"hint", status.hint().empty() ? Json() : Json(status.hint())},
               {"nodes", Json::array()}};
      for (const NodeReport& node : status.nodes()) {
        error["nodes"].push_back({{"name", node.name},
                                  {"operator", node.op},
                                  {"types", node.types},
                                  {"reason", node.reason}});
      }
    }
    head["error"] = std::move(error);
    head["warnings"] = std::move(warnings_);
    head.update(document);
    if (out_ != nullptr) {
      const std::string text = head.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
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
