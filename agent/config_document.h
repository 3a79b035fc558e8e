#pragma once
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>
#include <utility>
#include <variant>

#include "agent/config.h"
#include "agent/config_sheet.h"

/// The merged settings before they mean anything: a tree of values that remember where each was written, and the reader
/// that takes typed values out of it. Private to config.cc (one translation unit), hence inline throughout.
/// Invariant: whatever goes wrong becomes a ConfigProblem; no function here throws or stops at the first fault.
namespace agent {

/// Where a key or value was written.
struct ConfigOrigin {
  std::string source;        ///< as ConfigProblem::source
  std::uint32_t line = 0;    ///< as ConfigProblem::line
  std::uint32_t column = 0;  ///< as ConfigProblem::column
  std::string spelled;       ///< variable or flag that set it; empty in files
  std::size_t rank = 0;      ///< order of the sources, for sorting problems
};

/// One value of the tree.
struct ConfigNode {
  struct Foreign {
    std::string type;  ///< a TOML type that no key takes, e.g. "a date"
  };
  using List = std::vector<ConfigNode>;
  using Table = std::map<std::string, ConfigNode>;
  std::variant<bool, std::int64_t, double, std::string, List, Table, Foreign> value = Table{};
  ConfigOrigin at;       ///< of the value
  ConfigOrigin key_at;   ///< of the key in front of it
  bool untyped = false;  ///< a string from environment or flags: converted to whatever the key wants

  /// What a message calls it: "a string", "an integer", ...
  [[nodiscard]] std::string type_name() const {
    static constexpr const char* kNames[] = {"a boolean", "an integer", "a number", "a string", "a list", "a table"};
    const auto* foreign = std::get_if<Foreign>(&value);
    return foreign != nullptr ? foreign->type : kNames[value.index()];
  }
};

inline constexpr std::size_t kConfigProblemsMax = 100;  // more are not read by anybody, and each costs time to be put into words

/// Collects problems and the names of all keys that were asked for. Bound: kConfigProblemsMax; what is beyond is not kept.
struct ConfigFindings {
  std::vector<std::pair<std::size_t, ConfigProblem>> problems;  ///< with the rank of the source
  std::set<std::string> keys;                                   ///< dotted; list elements as "[]"
  ConfigSheet sheet;                                            ///< every key that was taken, with its value
  std::size_t hints = 0;                                        ///< words that were looked for among all others, for `unknown key`

  [[nodiscard]] bool full() const { return problems.size() >= kConfigProblemsMax; }

  void add(const ConfigOrigin& at, std::string key, std::string message, std::string hint) {
    if (full()) return;
    if (!at.spelled.empty()) message += " (set by " + at.spelled + ")";
    problems.push_back({at.rank, {at.source, at.line, at.column, std::move(key), std::move(message), std::move(hint)}});
  }
};

/// Number and unit of "1500ms", "64KiB". `scale` 0 = unknown unit.
struct ConfigQuantity {
  double number = 0;
  std::string unit;
};
inline std::optional<ConfigQuantity> config_quantity(std::string_view text) {
  std::size_t end = 0;
  while (end < text.size() && ((text[end] >= '0' && text[end] <= '9') || text[end] == '.')) ++end;
  ConfigQuantity out;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + end, out.number);
  if (end == 0 || code != std::errc{} || stop != text.data() + end) return std::nullopt;
  if (end < text.size() && text[end] == ' ') ++end;
  out.unit = text.substr(end);
  return out;
}

// ---------------------------------------------------------------- values as they would be written

inline std::string config_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}
inline std::string config_quoted(const std::vector<std::string>& list) {
  std::string out;
  for (const std::string& one : list) out += (out.empty() ? "[" : ", ") + config_quoted(one);
  return out.empty() ? "[]" : out + "]";
}
/// Of statuses, as they are written.
inline std::vector<std::string> config_words(const std::vector<int>& numbers) {
  std::vector<std::string> out;
  for (const int number : numbers) out.push_back(std::to_string(number));
  return out;
}
inline std::string config_duration_text(Milliseconds value) {
  const auto count = value.count();
  if (count != 0 && count % 3600000 == 0) return std::to_string(count / 3600000) + "h";
  return count % 1000 == 0 ? std::to_string(count / 1000) + "s" : std::to_string(count) + "ms";
}
inline std::string config_size_text(std::uint64_t bytes) {
  static constexpr std::pair<std::string_view, unsigned> kUnits[] = {{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}};
  for (const auto& [unit, bits] : kUnits) {
    if (bytes != 0 && bytes % (std::uint64_t{1} << bits) == 0) return std::to_string(bytes >> bits) + std::string(unit);
  }
  return std::to_string(bytes) + "B";
}

/// Takes the keys of one table. Every getter leaves its target alone when the key is absent or wrong.
class ConfigReader {
 public:
  /// @param table  the table's node, or nullptr when the section is absent
  /// @param path   dotted name for messages ("route[0]"), `pattern` the same with "[]"
  ConfigReader(const ConfigNode* table, std::string path, std::string pattern, ConfigFindings& findings)
      : node_(table), path_(std::move(path)), pattern_(std::move(pattern)), findings_(&findings) {
    if (node_ != nullptr) table_ = std::get_if<ConfigNode::Table>(&node_->value);
    if (table_ != nullptr && !path_.empty()) findings_->sheet[path_].is_table = true;
    if (node_ != nullptr && table_ == nullptr)
      findings_->add(node_->at, path_, "expected a table, found " + node_->type_name(), "write it as [" + path_ + "]");
  }

  [[nodiscard]] ConfigFindings& findings() { return *findings_; }
  [[nodiscard]] bool present() const { return table_ != nullptr; }
  [[nodiscard]] bool has(const std::string& key) const { return table_ != nullptr && table_->contains(key); }
  [[nodiscard]] const ConfigNode* find(const std::string& key) {
    own_.insert(key);
    if (table_ == nullptr) return nullptr;
    const auto it = table_->find(key);
    return it == table_->end() ? nullptr : &it->second;
  }
  /// Reports against a key: at its value when it is set, else at the table.
  void problem(const std::string& key, std::string message, std::string hint) {
    const auto* at = table_ == nullptr ? nullptr : (table_->contains(key) ? &table_->at(key).at : &node_->at);
    findings_->add(at == nullptr ? ConfigOrigin{"defaults", 0, 0, {}, 0} : *at, name_of(key), std::move(message),
                   std::move(hint));
  }

  /// For the sheet: a key that no getter takes. @return true
  bool note(const std::string& key, std::string otherwise, std::string text) {
    findings_->sheet[name_of(key)] = {std::move(text), std::move(otherwise), false, false};
    return true;
  }
  /// For the sheet, of a key that a getter has taken: what it means, where that can be written in more than one way.
  void note_meaning(const std::string& key, std::string text) {
    if (const auto found = findings_->sheet.find(name_of(key)); found != findings_->sheet.end()) found->second.text = std::move(text);
  }
  /// The same: without it the value follows from others (ConfigSetting::by_others). @param otherwise  for people
  void note_by_others(const std::string& key, std::string otherwise) {
    const auto found = findings_->sheet.find(name_of(key));
    if (found == findings_->sheet.end()) return;
    found->second.otherwise = std::move(otherwise);
    found->second.by_others = true;
  }
  bool text(const std::string& key, std::string& out, std::size_t bytes_max = 4096) {
    std::string otherwise = config_quoted(out);
    return plain_text(key, out, bytes_max) && note(key, std::move(otherwise), config_quoted(out));
  }
  bool plain_text(const std::string& key, std::string& out, std::size_t bytes_max = 4096) {
    const auto* node = leaf(key);
    if (node == nullptr) return false;
    const auto* value = std::get_if<std::string>(&node->value);
    if (value == nullptr) return wrong_type(key, *node, "a string", {});
    if (value->size() > bytes_max || value->find('\0') != std::string::npos) {
      problem(key, "the text is longer than " + std::to_string(bytes_max) + " bytes or holds a NUL", "shorten it");
      return false;
    }
    out = *value;
    return true;
  }
  /// A path; with `beside_file` a relative one counts from the folder of the file that names it.
  bool path(const std::string& key, std::filesystem::path& out, bool beside_file) {
    std::string value;
    if (!plain_text(key, value)) return false;
    note(key, config_quoted(out.string()), config_quoted(value));
    out = value;
    const ConfigNode& node = table_->at(key);
    if (beside_file && node.at.line != 0 && out.is_relative() && !value.empty())
      out = std::filesystem::path(node.at.source).parent_path() / out;
    return true;
  }
  bool boolean(const std::string& key, bool& out) {
    const auto* node = leaf(key);
    if (node == nullptr) return false;
    const auto take = [&](bool value) {
      note(key, out ? "true" : "false", value ? "true" : "false");
      return out = value, true;
    };
    if (const auto* value = std::get_if<bool>(&node->value)) return take(*value);
    if (const auto* value = untyped(*node)) {
      if (*value == "true" || *value == "1" || *value == "yes") return take(true);
      if (*value == "false" || *value == "0" || *value == "no") return take(false);
    }
    return wrong_type(key, *node, "true or false", "write true or false without quotes");
  }
  template <typename T>
  bool number(const std::string& key, T& out, std::uint64_t min, std::uint64_t max) {
    const auto* node = leaf(key);
    if (node == nullptr) return false;
    const auto* value = std::get_if<std::int64_t>(&node->value);
    std::int64_t parsed = 0;
    if (const auto* digits = untyped(*node); digits != nullptr) {
      const auto [stop, code] = std::from_chars(digits->data(), digits->data() + digits->size(), parsed);
      if (!digits->empty() && code == std::errc{} && stop == digits->data() + digits->size()) value = &parsed;
    }
    if (value == nullptr) return wrong_type(key, *node, "an integer", "write the number without quotes or fraction");
    if (*value < 0 || static_cast<std::uint64_t>(*value) < min || static_cast<std::uint64_t>(*value) > max)
      return out_of_range(key, std::to_string(*value), std::to_string(min), std::to_string(max));
    note(key, std::to_string(out), std::to_string(*value));
    out = static_cast<T>(*value);
    return true;
  }
  /// Without the key there is no number: none is a default that could be written out.
  template <typename T>
  bool number(const std::string& key, std::optional<T>& out, std::uint64_t min, std::uint64_t max) {
    T value{};
    if (!number(key, value, min, max)) return false;
    out = value;
    return note(key, {}, std::to_string(value));
  }
  bool duration(const std::string& key, Milliseconds& out, Milliseconds min, Milliseconds max) {
    static constexpr std::pair<std::string_view, double> kUnits[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    const auto value = quantity(key, kUnits, "a duration such as \"1500ms\", \"5s\" or \"2m\"", "s", "ms, s, m, h");
    if (!value) return false;
    if (std::abs(*value - std::round(*value)) > 1e-6)
      return problem(key, "the duration is not a whole number of milliseconds", "round it"), false;
    if (*value < static_cast<double>(min.count()) || *value > static_cast<double>(max.count()))
      return out_of_range(key, written(key), config_duration_text(min), config_duration_text(max));
    const Milliseconds before = std::exchange(out, Milliseconds(std::llround(*value)));
    return note(key, config_duration_text(before), config_duration_text(out));
  }
  /// A size in bytes: "64KiB" or a plain integer.
  bool size(const std::string& key, std::uint64_t& out, std::uint64_t min, std::uint64_t max) {
    static constexpr std::pair<std::string_view, double> kUnits[] = {
        {"", 1}, {"B", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {"TiB", 1099511627776}};
    const auto* node = leaf(key);
    if (node != nullptr && std::holds_alternative<std::int64_t>(node->value)) {
      const std::uint64_t before = out;
      return number(key, out, min, max) && note(key, config_size_text(before), config_size_text(out));
    }
    const auto value = quantity(key, kUnits, "a size such as \"64KiB\"", "KiB", "B, KiB, MiB, GiB, TiB");
    if (!value) return false;
    if (*value != std::floor(*value) || *value < static_cast<double>(min) || *value > static_cast<double>(max))
      return out_of_range(key, written(key), std::to_string(min) + " bytes", std::to_string(max) + " bytes");
    const std::uint64_t before = std::exchange(out, static_cast<std::uint64_t>(*value));
    return note(key, config_size_text(before), config_size_text(out));
  }
  /// As the number that may be absent.
  bool size(const std::string& key, std::optional<std::uint64_t>& out, std::uint64_t min, std::uint64_t max) {
    std::uint64_t value = 0;
    if (!size(key, value, min, max)) return false;
    out = value;
    return note(key, {}, config_size_text(value));
  }
  bool list(const std::string& key, std::vector<std::string>& out, std::size_t count_max) {
    const auto* node = leaf(key);
    if (node == nullptr) return false;
    std::vector<std::string> read;
    if (const auto* value = untyped(*node)) {
      for (std::size_t from = 0; from <= value->size() && !value->empty();) {
        const auto comma = std::min(value->find(',', from), value->size());
        read.push_back(value->substr(from, comma - from));
        from = comma + 1;
      }
    } else if (const auto* items = std::get_if<ConfigNode::List>(&node->value)) {
      for (const auto& item : *items) {
        const auto* text = std::get_if<std::string>(&item.value);
        if (text == nullptr) return wrong_type(key, item, "a list of strings", "quote every element");
        read.push_back(*text);
      }
    } else {
      return wrong_type(key, *node, "a list of strings", "write " + key + " = [\"...\"]");
    }
    if (read.size() > count_max)
      return problem(key, "more than " + std::to_string(count_max) + " elements", "shorten the list"), false;
    note(key, config_quoted(out), config_quoted(read));
    out = std::move(read);
    return true;
  }
  /// One of a few words.
  template <typename E>
  bool choice(const std::string& key, E& out, const std::vector<std::pair<std::string, E>>& words) {
    std::string value, before;
    if (!plain_text(key, value)) return false;
    std::vector<std::string> names;
    for (const auto& [word, meaning] : words) {
      if (meaning == out) before = config_quoted(word);
      names.push_back(word);
    }
    for (const auto& [word, meaning] : words)
      if (word == value) return out = meaning, note(key, before, config_quoted(value));
    const std::string near = nearest_word(value, names);
    std::string hint = near.empty() ? "write one of" : "did you mean \"" + near + "\"? Valid are";
    for (std::size_t i = 0; i < names.size(); ++i) hint += (i == 0 ? " \"" : ", \"") + names[i] + "\"";
    return problem(key, "unknown value \"" + value + "\"", hint), false;
  }
  /// As the number that may be absent.
  bool address(const std::string& key, std::optional<HostPort>& out) {
    HostPort value;
    if (!address(key, value)) return false;
    out = value;
    return note(key, {}, config_quoted(value.text()));
  }
  bool address(const std::string& key, HostPort& out) {
    std::string value;
    if (!plain_text(key, value)) return false;
    const auto parsed = parse_host_port(value);
    if (!parsed) {
      problem(key, "\"" + value + "\" is no address", "write \"127.0.0.1:8500\", \"[::1]:8500\" or \"unix:/path\"");
      return false;
    }
    note(key, config_quoted(out.text()), config_quoted(parsed->text()));
    out = *parsed;
    return true;
  }

  ConfigReader section(const std::string& key) { return {find(key), name_of(key), pattern_of(key), *findings_}; }
  /// The elements of [[key]]; one pattern element is read even when there are none, so that its keys are known.
  std::vector<ConfigReader> tables(const std::string& key, std::size_t count_max) {
    std::vector<ConfigReader> out;
    const auto* node = find(key);
    const auto* items = node == nullptr ? nullptr : std::get_if<ConfigNode::List>(&node->value);
    if (node != nullptr && items == nullptr)
      findings_->add(node->at, name_of(key), "expected a list of tables, found " + node->type_name(),
                     "write [[" + name_of(key) + "]]");
    for (std::size_t i = 0; items != nullptr && i < items->size() && i < count_max; ++i)
      out.push_back({&(*items)[i], name_of(key) + "[" + std::to_string(i) + "]", pattern_of(key) + "[]", *findings_});
    if (items != nullptr && items->size() > count_max)
      problem(key, "more than " + std::to_string(count_max) + " tables", "remove some");
    return out;
  }
  /// Where and under which name this table stands, for checks across tables.
  [[nodiscard]] const std::string& name() const { return path_; }
  /// Reports every key that no getter asked for. Call it last.
  void finish(const std::set<std::string>& all_keys) {
    if (table_ == nullptr) return;
    for (const auto& [key, node] : *table_)
      if (findings_->full()) return;  // whoever sends a text decides how many wrong keys there are
      else if (!own_.contains(key))
        findings_->add(node.key_at, name_of(key), "unknown key \"" + key + "\"", unknown_hint(key, all_keys));
  }

 private:
  [[nodiscard]] std::string name_of(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }
  [[nodiscard]] std::string pattern_of(const std::string& key) const {
    return pattern_.empty() ? key : pattern_ + "." + key;
  }
  const ConfigNode* leaf(const std::string& key) {
    findings_->keys.insert(pattern_of(key));
    return find(key);
  }
  static const std::string* untyped(const ConfigNode& node) {
    return node.untyped ? std::get_if<std::string>(&node.value) : nullptr;
  }
  bool wrong_type(const std::string& key, const ConfigNode& node, const std::string& wanted, std::string hint) {
    std::string found = node.type_name();
    if (const auto* value = untyped(node)) found = "\"" + *value + "\"";
    findings_->add(node.at, name_of(key), "expected " + wanted + ", found " + found, std::move(hint));
    return false;
  }
  bool out_of_range(const std::string& key, const std::string& value, const std::string& min, const std::string& max) {
    problem(key, value + " is out of range", "allowed is " + min + " to " + max);
    return false;
  }
  /// The value as the user wrote it; only for values that are strings.
  std::string written(const std::string& key) const { return std::get<std::string>(table_->at(key).value); }
  template <std::size_t N>
  std::optional<double> quantity(const std::string& key, const std::pair<std::string_view, double> (&units)[N],
                                 const std::string& wanted, const std::string& example, const std::string& valid) {
    const auto* node = leaf(key);
    if (node == nullptr) return std::nullopt;
    const auto* text = std::get_if<std::string>(&node->value);
    if (text == nullptr) {
      const auto* count = std::get_if<std::int64_t>(&node->value);
      wrong_type(key, *node, wanted,
                 count == nullptr ? "" : "write \"" + std::to_string(*count) + example + "\" with its unit");
      return std::nullopt;
    }
    const auto parsed = config_quantity(*text);
    if (!parsed)
      return problem(key, "expected " + wanted + ", found \"" + *text + "\"", "units: " + valid), std::nullopt;
    std::vector<std::string> names;
    for (const auto& [unit, scale] : units) {
      if (unit == parsed->unit) return parsed->number * scale;
      names.emplace_back(unit);
    }
    std::reverse(names.begin(), names.end());  // of two equally near units take the larger: "KB" is KiB, not B
    const std::string near = nearest_word(parsed->unit, names);
    problem(key, parsed->unit.empty() ? "\"" + *text + "\" has no unit" : "unknown unit \"" + parsed->unit + "\"",
            (near.empty() ? "" : "did you mean \"" + near + "\"? ") + ("units: " + valid));
    return std::nullopt;
  }
  std::string unknown_hint(const std::string& key, const std::set<std::string>& all_keys) {
    ++findings_->hints;
    const std::vector<std::string> own(own_.begin(), own_.end());
    if (const auto near = nearest_word(key, own); !near.empty()) return "did you mean \"" + near + "\"?";
    for (const auto& known : all_keys) {
      const auto dot = known.rfind('.');
      if (dot == std::string::npos || known.substr(dot + 1) != key) continue;
      const std::string table = known.substr(0, dot);
      return "\"" + key + "\" belongs to [" +
             (table.ends_with("[]") ? "[" + table.substr(0, table.size() - 2) + "]" : table) + "]";
    }
    std::string hint = "valid here:";
    for (std::size_t i = 0; i < own.size(); ++i) hint += (i == 0 ? " " : ", ") + own[i];
    return hint;
  }

  const ConfigNode* node_;
  const ConfigNode::Table* table_ = nullptr;
  std::string path_, pattern_;
  ConfigFindings* findings_;
  std::set<std::string> own_;
};

}  // namespace agent
