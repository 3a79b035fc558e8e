#include "agent/drivers/app_metrics.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

namespace agent::drivers {
namespace {

constexpr std::string_view kOurs = "outrigger_";

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_blank(char c) { return c == ' ' || c == '\t'; }

/// Takes from the front of a line. A reader that met something else than it wanted says so once, at the end.
class LineReader {
 public:
  explicit LineReader(std::string_view line) : rest_(line) {}
  void skip_blanks() {
    while (!rest_.empty() && is_blank(rest_.front())) rest_.remove_prefix(1);
  }
  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  /// @param colons  a metric's name may hold them, a label's not. @return empty: there is none
  std::string_view name(bool colons) {
    std::size_t end = 0;
    while (end < rest_.size() && (is_letter(rest_[end]) || (colons && rest_[end] == ':') || (end > 0 && is_digit(rest_[end])))) ++end;
    return cut(end);
  }
  std::string_view word() {
    std::size_t end = 0;
    while (end < rest_.size() && !is_blank(rest_[end])) ++end;
    return cut(end);
  }
  /// What stands between two quotation marks, escapes as they are.
  std::optional<std::string_view> quoted() {
    if (!take('"')) return std::nullopt;
    std::size_t end = 0;
    while (end < rest_.size() && rest_[end] != '"') {
      if (rest_[end] == '\\' && (++end == rest_.size() || std::string_view("\\\"n").find(rest_[end]) == std::string_view::npos)) return std::nullopt;
      ++end;
    }
    if (end == rest_.size()) return std::nullopt;
    const std::string_view value = cut(end);
    rest_.remove_prefix(1);
    return value;
  }
  [[nodiscard]] std::string_view rest() const { return rest_; }

 private:
  std::string_view cut(std::size_t bytes) {
    const std::string_view out = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return out;
  }
  std::string_view rest_;
};

/// Shortest forms only, no halves of pairs: what a scraper checks before it takes an answer.
bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t more = lead < 0x80 ? 0 : lead >= 0xc2 && lead < 0xe0 ? 1 : lead >= 0xe0 && lead < 0xf0 ? 2 : lead >= 0xf0 && lead < 0xf5 ? 3 : 9;
    if (more == 9 || text.size() - i <= more) return false;
    for (std::size_t k = 1; k <= more; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0U) != 0x80) return false;
    }
    const auto second = more == 0 ? 0U : static_cast<unsigned char>(text[i + 1]);
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second >= 0xa0) || (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second >= 0x90)) return false;
    i += more + 1;
  }
  return true;
}

bool is_value(std::string_view text) {
  if (text == "NaN" || text == "+Inf" || text == "-Inf" || text == "Inf") return true;
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || !(is_digit(text.back()) || text.back() == '.') || text.starts_with('+') || text.find_first_of("iInN") != std::string_view::npos) return false;
  double value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  return end == text.data() + text.size() && fault != std::errc::invalid_argument;
}

/// Labels of one series after its "{", with ours in front. @return false: no scraper would take them
bool read_labels(LineReader& line, std::string& out) {
  // A name that is there twice costs a scraper the whole answer. The name of the series is a label as well.
  std::vector<std::string_view> names{"node", "__name__"};
  while (true) {
    line.skip_blanks();
    if (line.take('}')) break;
    const std::string_view name = line.name(false);
    line.skip_blanks();
    if (name.empty() || !line.take('=')) return false;
    line.skip_blanks();
    const auto value = line.quoted();
    if (!value) return false;
    names.push_back(name == "node" ? "exported_node" : name);
    out.append(",").append(names.back()).append("=\"").append(*value).append("\"");
    line.skip_blanks();
    if (!line.take(',') && !line.rest().starts_with('}')) return false;
  }
  std::sort(names.begin(), names.end());
  return std::adjacent_find(names.begin(), names.end()) == names.end();
}

std::optional<std::string> sample_line(std::string_view text, std::string_view label) {
  LineReader line(text);
  const std::string_view name = line.name(true);
  if (name.empty() || name.starts_with(kOurs)) return std::nullopt;
  std::string out(name);
  out.append("{").append(label);
  line.skip_blanks();
  if (line.take('{') && !read_labels(line, out)) return std::nullopt;
  out += "} ";
  line.skip_blanks();
  const std::string_view value = line.word();
  if (!is_value(value)) return std::nullopt;
  out += value;
  line.skip_blanks();
  if (line.rest().empty() || line.rest().starts_with('#')) return out += '\n';  // behind it OpenMetrics has an exemplar
  const std::string_view time = line.word();
  std::int64_t milliseconds = 0;
  const auto [end, fault] = std::from_chars(time.data(), time.data() + time.size(), milliseconds);
  if (fault != std::errc{} || end != time.data() + time.size()) return std::nullopt;
  line.skip_blanks();
  if (!line.rest().empty() && !line.rest().starts_with('#')) return std::nullopt;
  return out.append(" ").append(time).append("\n");
}

/// HELP and TYPE. @return none: another comment, which says nothing to a scraper; `bad`: one that it would refuse
std::optional<std::string> comment_line(std::string_view text, bool& bad) {
  LineReader line(text);
  line.take('#');
  line.skip_blanks();
  const std::string_view what = line.word();
  if (what != "HELP" && what != "TYPE") return std::nullopt;
  line.skip_blanks();
  const std::string_view name = line.name(true);
  bad = name.empty() || name.starts_with(kOurs) || !(line.rest().empty() || is_blank(line.rest().front()));
  line.skip_blanks();
  std::string_view rest = line.rest();
  if (what == "TYPE") {
    static constexpr std::array<std::string_view, 5> kTypes{"counter", "gauge", "histogram", "summary", "untyped"};
    while (!rest.empty() && is_blank(rest.back())) rest.remove_suffix(1);
    bool known = false;
    for (const std::string_view type : kTypes) known = known || type == rest;
    if (rest == "unknown" || rest == "gaugehistogram") rest = "untyped", known = true;
    if (rest == "info" || rest == "stateset") rest = "gauge", known = true;
    bad = bad || !known;
  }
  if (bad) return std::nullopt;
  return std::string("# ").append(what).append(" ").append(name).append(" ").append(rest).append("\n");
}

std::string label_of(std::string_view node) {
  std::string out = "node=\"";
  for (const char c : node) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') out += "\\n";
    else out += c;
  }
  return out += '"';
}

}  // namespace

MetricsLabeller::MetricsLabeller(std::string text, std::string_view node) : text_(std::move(text)), label_(label_of(node)) {
  out_.text.reserve(std::min(text_.size() + text_.size() / 4, kTextBytesMax));
}

bool MetricsLabeller::step(std::size_t bytes) {
  const std::size_t stop = bytes < text_.size() - read_ ? read_ + bytes : text_.size();
  while (read_ < stop) {
    const std::string_view rest = std::string_view(text_).substr(read_);
    LineReader line(rest.substr(0, rest.find('\n')));
    read_ += std::min(rest.size(), line.rest().size() + 1);
    line.skip_blanks();
    std::string_view one = line.rest();
    if (one.ends_with('\r')) one.remove_suffix(1);
    if (one.empty()) continue;
    bool bad = one.size() > kLineBytesMax || !is_utf8(one) || one.find('\0') != std::string_view::npos;
    std::optional<std::string> told;
    if (!bad && one.starts_with('#')) {
      told = comment_line(one, bad);
    } else if (!bad) {
      told = sample_line(one, label_);
      bad = !told;
    }
    if (told) out_.text += *told;
    if (bad) ++out_.dropped;
    if (out_.text.size() <= kTextBytesMax) continue;
    out_.text = {};
    out_.too_long = true;
    read_ = text_.size();
    return true;
  }
  return read_ == text_.size();
}

AppMetricsText labelled_metrics(std::string_view text, std::string_view node) {
  MetricsLabeller labeller{std::string(text), node};
  labeller.step(text.size());
  return labeller.take();
}

AppMetrics::AppMetrics(io::Loop& loop, AppMetricsSettings settings)
    : settings_(std::move(settings)), handshakes_(loop, 1), client_(loop, settings_.address, settings_.host),
      next_slice_(loop, [this] { read_on(); }) {
  client_.begin_with(settings_.preface);
  client_.allow_body(kBytesMax);
  if (settings_.tls) client_.use_tls(settings_.tls, settings_.server_name, &handshakes_);
}

void AppMetrics::fetch(Done done) {
  if (askers_.size() >= kAskersMax) return done({});
  askers_.push_back(std::move(done));
  if (client_.busy() || labeller_ || askers_.size() > 1) return;
  ++counters_.fetches;
  static const std::vector<proxy::http1::TextHeader> kHeaders{{"User-Agent", "outrigger-metrics"}, {"Accept", "text/plain;version=0.0.4"}};
  client_.request("GET", settings_.path, kHeaders, {}, io::boottime_now() + kTimeout, [this](io::Result<HttpAnswer> answer) { on_answer(std::move(answer)); });
}

void AppMetrics::on_answer(io::Result<HttpAnswer> answer) {
  if (!answer || answer->status != 200) return tell({}, false);
  labeller_.emplace(std::move(answer->body), settings_.node);
  read_on();
}

void AppMetrics::read_on() {
  if (!labeller_->step(kSliceBytes)) return next_slice_.arm_after(io::Milliseconds(1));  // not 0: that may still be this turn
  AppMetricsText told = labeller_->take();
  labeller_.reset();
  const bool up = !told.too_long;
  tell(std::move(told), up);
}

void AppMetrics::tell(AppMetricsText told, bool up) {
  counters_.up = up;
  if (!up) ++counters_.failures;
  counters_.lines_dropped += told.dropped;
  for (const Done& asker : std::exchange(askers_, {})) asker(told.text);
}

}  // namespace agent::drivers
