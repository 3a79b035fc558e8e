#pragma once
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "agent/config_document.h"

namespace agent {
/// Thrown where toml++ asserts: some of its assertions fail on malformed text, and ours stay on in every build.
struct ConfigTomlConfusion {};
constexpr void config_toml_assert(bool holds) {
  if (!holds) throw ConfigTomlConfusion();
}
}  // namespace agent
// Header-only, since the package's shared library was built with other assertions.
#undef TOML_HEADER_ONLY
#undef TOML_SHARED_LIB
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 1
#define TOML_ASSERT(expr) ::agent::config_toml_assert(static_cast<bool>(expr))
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#include <toml++/toml.h>
#pragma GCC diagnostic pop

/// From files, environment and flags to one tree of values that know where they stand. Private to config.cc, like
/// config_document.h; the only file that includes toml++.
namespace agent {

inline constexpr std::size_t kConfigFileBytesMax = 1 << 20;  // far above any sensible config, far below what would hurt
inline constexpr std::size_t kConfigFilesMax = 100;          // files in conf.d

// ---------------------------------------------------------------- TOML text to tree

inline ConfigOrigin config_origin(const toml::source_position& at, const std::string& source, std::size_t rank) {
  return {source, at.line, at.column, {}, rank};
}

inline ConfigNode config_node(const toml::node& from, const std::string& source, std::size_t rank) {
  ConfigNode out;
  out.at = out.key_at = config_origin(from.source().begin, source, rank);
  if (const auto* table = from.as_table()) {
    ConfigNode::Table entries;
    for (const auto& [key, value] : *table) {
      ConfigNode child = config_node(value, source, rank);
      child.key_at = config_origin(key.source().begin, source, rank);
      entries.emplace(std::string(key.str()), std::move(child));
    }
    out.value = std::move(entries);
  } else if (const auto* array = from.as_array()) {
    ConfigNode::List items;
    for (const auto& item : *array) items.push_back(config_node(item, source, rank));
    out.value = std::move(items);
  } else if (const auto* text = from.as_string()) {
    out.value = text->get();
  } else if (const auto* number = from.as_integer()) {
    out.value = number->get();
  } else if (const auto* fraction = from.as_floating_point()) {
    out.value = fraction->get();
  } else if (const auto* flag = from.as_boolean()) {
    out.value = flag->get();
  } else {
    out.value = ConfigNode::Foreign{"a date or time"};
  }
  return out;
}

/// Byte that no TOML text may hold, with its place; nullopt when there is none.
inline std::optional<ConfigOrigin> config_control_byte(std::string_view text, const std::string& source,
                                                       std::size_t rank) {
  ConfigOrigin at{source, 1, 0, {}, rank};
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    at.column += (byte & 0xc0U) == 0x80U ? 0 : 1;  // code points, not bytes
    const bool ends_line = byte == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
    if ((byte < 0x20 && byte != '\t' && byte != '\n' && !ends_line) || byte == 0x7f) return at;
    if (byte == '\n') ++at.line, at.column = 0;
  }
  return std::nullopt;
}

inline std::optional<ConfigNode> config_parse_toml(std::string_view text, const std::string& source, std::size_t rank,
                                                   ConfigFindings& findings) {
  if (const auto at = config_control_byte(text, source, rank)) {
    findings.add(*at, {}, "a control character", "remove it; is this a text file?");
    return std::nullopt;
  }
  static constexpr const char* kHint = "this is not valid TOML; the rest of the file was not read";
  try {
    return config_node(toml::parse(text, source), source, rank);
  } catch (const toml::parse_error& fault) {
    findings.add(config_origin(fault.source().begin, source, rank), {}, std::string(fault.description()), kHint);
  } catch (const ConfigTomlConfusion&) {
    findings.add({source, 0, 0, {}, rank}, {}, "the text confuses the parser, perhaps in the header of a table", kHint);
  }
  return std::nullopt;
}

/// Later values win; tables are merged key by key, [[listen]] and [[route]] are appended.
inline void config_merge(ConfigNode& base, ConfigNode&& over, bool at_root) {
  auto* into = std::get_if<ConfigNode::Table>(&base.value);
  auto* from = std::get_if<ConfigNode::Table>(&over.value);
  if (into == nullptr || from == nullptr) {
    base = std::move(over);
    return;
  }
  for (auto& [key, value] : *from) {
    const auto it = into->find(key);
    if (it == into->end()) {
      into->emplace(key, std::move(value));
      continue;
    }
    auto* old_list = std::get_if<ConfigNode::List>(&it->second.value);
    auto* new_list = std::get_if<ConfigNode::List>(&value.value);
    if (at_root && (key == "listen" || key == "route") && old_list != nullptr && new_list != nullptr)
      std::move(new_list->begin(), new_list->end(), std::back_inserter(*old_list));
    else
      config_merge(it->second, std::move(value), false);
  }
}

// ---------------------------------------------------------------- other sources

/// Reads at most `bytes_max` bytes. @return the text or what went wrong, for people.
inline tl::expected<std::string, std::string> config_read_file(const std::filesystem::path& path,
                                                               std::size_t bytes_max) {
  std::error_code code;
  if (std::filesystem::is_directory(path, code)) return tl::unexpected(std::string("it is a folder"));
  std::ifstream in(path, std::ios::binary);
  if (!in) return tl::unexpected(std::string(std::strerror(errno)));
  std::string text(bytes_max + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad()) return tl::unexpected(std::string(std::strerror(errno)));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > bytes_max) return tl::unexpected("it is larger than " + std::to_string(bytes_max) + " bytes");
  return text;
}

inline std::vector<std::filesystem::path> config_files(const std::filesystem::path& main, ConfigFindings& findings) {
  std::vector<std::filesystem::path> out{main}, extra;
  const auto folder = main.parent_path() / "conf.d";
  std::error_code code;
  if (!std::filesystem::is_directory(folder, code)) return out;
  for (std::filesystem::directory_iterator it(folder, code), end; !code && it != end; it.increment(code))
    if (it->path().extension() == ".toml") extra.push_back(it->path());
  std::sort(extra.begin(), extra.end());
  if (code || extra.size() > kConfigFilesMax)
    findings.add({folder.string(), 0, 0, {}, 1}, {},
                 code ? "cannot read the folder: " + code.message() : "holds more than 100 files",
                 "make it readable or remove files");
  else
    out.insert(out.end(), extra.begin(), extra.end());
  return out;
}

/// Gives a value and everything in it one place: text from a variable or flag has no lines.
inline void config_move_to(ConfigNode& node, const ConfigOrigin& at) {
  node.at = node.key_at = at;
  if (auto* table = std::get_if<ConfigNode::Table>(&node.value))
    for (auto& [key, child] : *table) config_move_to(child, at);
  if (auto* list = std::get_if<ConfigNode::List>(&node.value))
    for (auto& child : *list) config_move_to(child, at);
}

/// Puts `text` at the dotted `key`, creating the tables above it. Text that begins with '[' or '{' is read as TOML.
inline void config_put_text(ConfigNode& root, std::string_view key, std::string text, const ConfigOrigin& at) {
  ConfigNode* here = &root;
  for (std::size_t from = 0; from <= key.size();) {
    const auto dot = std::min(key.find('.', from), key.size());
    if (!std::holds_alternative<ConfigNode::Table>(here->value)) here->value = ConfigNode::Table{};
    auto& child = std::get<ConfigNode::Table>(here->value)[std::string(key.substr(from, dot - from))];
    if (child.key_at.source.empty()) child.at = child.key_at = at;
    here = &child;
    from = dot + 1;
  }
  const bool is_new = std::holds_alternative<ConfigNode::Table>(here->value);
  const bool is_toml = text.starts_with('[') || text.starts_with('{');
  if (auto* list = std::get_if<ConfigNode::List>(&here->value); list != nullptr || (!is_new && here->untyped)) {
    // A flag given again: its values become one list.
    ConfigNode::List items;
    if (list != nullptr)
      items = std::move(*list);
    else
      items.push_back(ConfigNode{std::get<std::string>(here->value), here->at, here->key_at, false});
    items.push_back(ConfigNode{std::move(text), at, at, false});
    here->value = std::move(items);
    here->untyped = false;
    return;
  }
  ConfigFindings ignored;
  if (is_toml) {
    auto document = config_parse_toml("x = " + text, at.source, at.rank, ignored);
    auto* entries = document ? std::get_if<ConfigNode::Table>(&document->value) : nullptr;
    if (entries != nullptr && entries->size() == 1) {
      *here = std::move(entries->begin()->second);
      config_move_to(*here, at);
      return;
    }
  }
  here->value = std::move(text);
  here->untyped = true;
}

/// Variables that a container platform makes up for a service called "outrigger" are nobody's settings.
inline bool config_is_foreign_variable(std::string_view rest) {
  return rest == "API" || rest == "CONFIG" || rest == "SERVICE_HOST" || rest.starts_with("SERVICE_PORT") ||
         rest == "PORT" || rest.starts_with("PORT_");
}

inline void config_read_environment(const std::map<std::string, std::string>& environment, std::size_t rank,
                                    ConfigNode& root, ConfigFindings& findings) {
  static constexpr std::string_view kPrefix = "OUTRIGGER_";
  std::map<std::string, std::string> keys;
  std::vector<std::string> names;
  for (const auto& key : config_keys()) {
    if (key.find("[]") != std::string::npos) continue;
    std::string name(kPrefix);
    for (const char c : key) name += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    names.push_back(name);
    keys.emplace(std::move(name), key);
  }
  for (const auto& [name, text] : environment) {
    if (!name.starts_with(kPrefix) || config_is_foreign_variable(std::string_view(name).substr(kPrefix.size())))
      continue;
    const ConfigOrigin at{"environment", 0, 0, name, rank};
    const auto it = keys.find(name);
    if (it != keys.end()) {
      config_put_text(root, it->second, text, at);
      continue;
    }
    const std::string near = nearest_word(name, names);
    findings.add({"environment", 0, 0, {}, rank}, name, "no setting belongs to this variable",
                 near.empty() ? "names are OUTRIGGER_<SECTION>_<KEY>; unset it" : "did you mean " + near + "?");
  }
}

}  // namespace agent
