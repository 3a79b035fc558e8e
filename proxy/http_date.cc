#include "proxy/http_date.h"

#include <algorithm>
#include <array>
#include <chrono>

namespace proxy {
namespace {

constexpr std::string_view kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::int64_t kDay = 86'400;
constexpr std::int64_t kFirst = -62'135'596'800, kLast = 253'402'300'799;  // years 1 and 9999

void append_digits(std::string& out, std::int64_t value, int width) {
  std::array<char, 8> digits{};
  for (int i = width - 1; i >= 0; --i, value /= 10) digits[static_cast<std::size_t>(i)] = static_cast<char>('0' + value % 10);
  out.append(digits.data(), static_cast<std::size_t>(width));
}

// Takes parts from the front; after a failure everything fails.
struct Reader {
  std::string_view text;
  bool good = true;

  void skip(std::string_view wanted) {
    if (!text.starts_with(wanted)) good = false;
    text.remove_prefix(std::min(wanted.size(), text.size()));
  }
  int digits(std::size_t count) {
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (i >= text.size() || text[i] < '0' || text[i] > '9') return good = false, 0;
      value = value * 10 + (text[i] - '0');
    }
    text.remove_prefix(count);
    return value;
  }
  int month() {
    for (int i = 0; i < 12; ++i) {
      if (text.starts_with(kMonths[i])) return text.remove_prefix(3), i + 1;
    }
    return good = false, 1;
  }
  void week_day(std::string_view behind, bool whole) {
    for (const std::string_view day : kDays) {
      if (!text.starts_with(day)) continue;
      text.remove_prefix(3);
      if (whole) text.remove_prefix(std::min(text.find(','), text.size()));
      return skip(behind);
    }
    good = false;
  }
};

struct Parts {
  int year = 0, month = 1, day = 0, hour = 0, minute = 0, second = 0;
};

void read_time(Reader& from, Parts& parts) {
  parts.hour = from.digits(2);
  from.skip(":");
  parts.minute = from.digits(2);
  from.skip(":");
  parts.second = from.digits(2);
}

std::optional<std::int64_t> seconds_of(const Parts& p) {
  namespace ch = std::chrono;
  const ch::year_month_day date{ch::year{p.year}, ch::month{static_cast<unsigned>(p.month)}, ch::day{static_cast<unsigned>(p.day)}};
  if (!date.ok() || p.hour > 23 || p.minute > 59 || p.second > 60) return std::nullopt;
  const std::int64_t days = ch::sys_days{date}.time_since_epoch().count();
  return days * kDay + p.hour * 3600 + p.minute * 60 + p.second;
}

}  // namespace

void append_http_date(std::string& out, std::int64_t seconds) {
  namespace ch = std::chrono;
  seconds = std::clamp(seconds, kFirst, kLast);
  const std::int64_t days = seconds >= 0 ? seconds / kDay : (seconds - kDay + 1) / kDay;
  const std::int64_t rest = seconds - days * kDay;
  const ch::sys_days at{ch::days{days}};
  const ch::year_month_day date{at};
  out += kDays[ch::weekday{at}.c_encoding()];
  out += ", ";
  append_digits(out, static_cast<unsigned>(date.day()), 2);
  out += ' ';
  out += kMonths[static_cast<unsigned>(date.month()) - 1];
  out += ' ';
  append_digits(out, static_cast<int>(date.year()), 4);
  out += ' ';
  append_digits(out, rest / 3600, 2);
  out += ':';
  append_digits(out, rest / 60 % 60, 2);
  out += ':';
  append_digits(out, rest % 60, 2);
  out += " GMT";
}

std::optional<std::int64_t> parse_http_date(std::string_view text) {
  Reader from{text};
  Parts parts;
  const std::size_t comma = text.find(',');
  if (comma == std::string_view::npos) {  // Sun Nov  6 08:49:37 1994
    from.week_day(" ", false);
    parts.month = from.month();
    from.skip(" ");
    const bool padded = from.text.starts_with(' ');
    if (padded) from.skip(" ");
    parts.day = from.digits(padded ? 1 : 2);
    from.skip(" ");
    read_time(from, parts);
    from.skip(" ");
    parts.year = from.digits(4);
  } else {
    const bool old = comma != 3;  // Sunday, 06-Nov-94 08:49:37 GMT
    from.week_day(", ", old);
    const std::string_view between = old ? "-" : " ";
    parts.day = from.digits(2);
    from.skip(between);
    parts.month = from.month();
    from.skip(between);
    parts.year = from.digits(old ? 2 : 4);
    if (old) parts.year += parts.year < 70 ? 2000 : 1900;
    from.skip(" ");
    read_time(from, parts);
    from.skip(" GMT");
  }
  if (!from.good || !from.text.empty()) return std::nullopt;
  return seconds_of(parts);
}

}  // namespace proxy
