#include "agent/cli/incident_svg.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>

namespace agent::cli {
namespace {

constexpr int kWidth = 1000, kLeft = 110, kRight = 40, kTop = 96, kRow = 40, kEventRow = 17;
constexpr int kTickCount = 5, kTimeColumn = kLeft + 70;  // times of events end where their nodes' names begin
constexpr std::size_t kEventsMax = 40, kEventCharsMax = 92;
constexpr std::int64_t kShownMaxMs = 3'600'000;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out.push_back(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
    }
  }
  return out;
}

/// At most so many bytes, never in the middle of a character.
std::string cut(std::string text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xC0) == 0x80) --bytes_max;
  return text.substr(0, bytes_max) + "...";
}

std::int64_t number_of(const Json& object, const std::string& key) {
  const Json value = field(object, key);
  return value.is_number_integer() ? std::clamp<std::int64_t>(value.get<std::int64_t>(), -kShownMaxMs, kShownMaxMs) : 0;
}

std::string text_at(int x, int y, const std::string& more, const std::string& text) {
  return "<text x=\"" + std::to_string(x) + "\" y=\"" + std::to_string(y) + "\" " + more + ">" + escaped(text) + "</text>\n";
}

/// 1, 2 or 5 times a power of ten, so that the axis has about kTickCount marks.
std::int64_t tick_of(std::int64_t total_ms) {
  std::int64_t power = 1;
  while (power * 10 * kTickCount <= total_ms) power *= 10;
  for (const std::int64_t factor : {1, 2, 5})
    if (power * factor * kTickCount >= total_ms) return power * factor;
  return power * 10;
}

std::string axis(std::int64_t total_ms, double scale, int bottom) {
  std::string out;
  const std::int64_t tick = tick_of(total_ms);
  for (std::int64_t at = 0; at <= total_ms; at += tick) {
    const std::string x = std::to_string(kLeft + static_cast<int>(std::lround(static_cast<double>(at) * scale)));
    out += "<line class=\"grid\" x1=\"" + x + "\" y1=\"" + std::to_string(kTop - 8) + "\" x2=\"" + x + "\" y2=\"" + std::to_string(bottom) + "\"/>\n";
    out += text_at(std::stoi(x), kTop - 14, "class=\"small\" text-anchor=\"middle\"", std::to_string(at) + " ms");
  }
  return out;
}

std::string phase_row(const Json& phase, int y, double scale, std::size_t index) {
  const bool happened = field(phase, "happened") == Json(true);
  const std::int64_t at = number_of(phase, "at_ms"), took = std::clamp<std::int64_t>(number_of(phase, "took_ms"), 0, std::max<std::int64_t>(at, 0));
  const int begin = kLeft + static_cast<int>(std::lround(static_cast<double>(at - took) * scale));
  const int width = std::max(3, static_cast<int>(std::lround(static_cast<double>(took) * scale)));
  std::string out = text_at(kLeft - 14, y + 16, "class=\"name\" text-anchor=\"end\"", cell(phase, "name"));
  std::string words = cut(cell(phase, "text"), kEventCharsMax);
  if (happened) {
    out += "<rect class=\"p" + std::to_string(index) + "\" x=\"" + std::to_string(begin) + "\" y=\"" + std::to_string(y + 4) + "\" width=\"" +
           std::to_string(width) + "\" height=\"14\" rx=\"2\"/>\n";
    words = "+" + std::to_string(took) + " ms, at " + milliseconds_text(field(phase, "at_ms")) + "  " + cell(phase, "node") + ": " + words;
  }
  // Beside the bar where there is room for the words, else under it from the left.
  const bool beside = begin + width < kLeft + 200;
  out += text_at(beside ? begin + width + 8 : kLeft, y + (beside ? 15 : 31), happened ? "class=\"small\"" : "class=\"small none\"", words);
  return out;
}

constexpr const char* kStyle =
    "<style>text{font:13px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1b2733}.small{font-size:11px}.title{font-size:17px;font-weight:600}"
    ".name{font-weight:600}.none{fill:#7b8794}.back{fill:#fff}.grid{stroke:#d5dce3}.p0{fill:#d9822b}.p1{fill:#c23030}.p2{fill:#2965cc}"
    ".p3{fill:#7157d9}.p4{fill:#0f9960}@media(prefers-color-scheme:dark){text{fill:#e4e9ee}.none{fill:#93a1af}.back{fill:#151b21}"
    ".grid{stroke:#36424e}}</style>\n";

}  // namespace

std::string milliseconds_text(const Json& number) {
  if (!number.is_number_integer()) return "-";
  std::string digits = std::to_string(number.get<std::int64_t>());
  const std::size_t first = digits.starts_with('-') ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, ",");
  return digits + " ms";
}

std::string moment_text(const Json& number) {
  if (!number.is_number_integer()) return "-";
  const std::int64_t ms = number.get<std::int64_t>();
  const std::chrono::sys_time<std::chrono::milliseconds> moment{std::chrono::milliseconds(ms)};
  const auto day = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(moment - day);
  std::array<char, 80> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02u %02d:%02d:%02d.%03d", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                static_cast<int>(time.seconds().count()), static_cast<int>(time.subseconds().count()));
  return text.data();
}

std::string incident_svg(const Json& incident) {
  const Json phases = field(incident, "phases"), events = field(incident, "events");
  const std::size_t rows = phases.is_array() ? std::min<std::size_t>(phases.size(), 5) : 0;
  const std::size_t lines = events.is_array() ? std::min(events.size(), kEventsMax) : 0;
  const std::int64_t total = std::max<std::int64_t>(1, number_of(incident, "total_ms"));
  const double scale = static_cast<double>(kWidth - kLeft - kRight) / static_cast<double>(total);
  const int bottom = kTop + static_cast<int>(rows) * kRow;
  const int height = bottom + 40 + static_cast<int>(lines) * kEventRow;
  const bool over = field(incident, "over") == Json(true);
  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + std::to_string(kWidth) + " " + std::to_string(height) + "\" width=\"" +
                    std::to_string(kWidth) + "\" height=\"" + std::to_string(height) + "\">\n" + kStyle;
  out += "<rect class=\"back\" width=\"100%\" height=\"100%\"/>\n";
  out += text_at(20, 30, "class=\"title\"", "Primary " + cell(incident, "from") + " -> " + cell(incident, "to") + ", epoch " + cell(incident, "from_epoch") +
                                                " -> " + cell(incident, "epoch") + (over ? ": " + milliseconds_text(field(incident, "total_ms")) : ": not over"));
  out += text_at(20, 52, "class=\"small\"", moment_text(field(incident, "began_ms")) + " UTC, from the first sign to the first order under the new epoch");
  out += axis(total, scale, bottom);
  for (std::size_t i = 0; i < rows; ++i) out += phase_row(phases[i], kTop + static_cast<int>(i) * kRow, scale, i);
  const std::int64_t began = field(incident, "began_ms").is_number_integer() ? field(incident, "began_ms").get<std::int64_t>() : 0;
  for (std::size_t i = 0; i < lines; ++i) {
    const Json& event = events[i];
    const Json at = field(event, "at_ms");
    const int y = bottom + 34 + static_cast<int>(i) * kEventRow;
    const std::string words = cell(event, "node") + ": " + cell(event, "what") + (field(event, "about").is_string() ? " " + cell(event, "about") : "") +
                              (field(event, "epoch").is_number() ? ", epoch " + cell(event, "epoch") : "") + (cell(event, "text").empty() ? "" : " (" + cell(event, "text") + ")");
    out += text_at(kTimeColumn, y, "class=\"small\" text-anchor=\"end\"", at.is_number_integer() ? milliseconds_text(Json(at.get<std::int64_t>() - began)) : "-");
    out += text_at(kTimeColumn + 16, y, "class=\"small\"", cut(words, kEventCharsMax));
  }
  return out + "</svg>\n";
}

}  // namespace agent::cli
