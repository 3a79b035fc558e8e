#pragma once

#include <cstdlib>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

/// Scripts in the shape of the public vectors: a directive with arguments, more input lines, a line "----", what is
/// expected up to the next blank line. Lines that begin with # are comments.
namespace script {

struct Arg {
  std::string key;
  std::vector<std::string> values;
};

struct Command {
  std::string name;
  std::vector<Arg> args;
  std::string input;     ///< lines between directive and "----", each with its newline
  std::string expected;  ///< lines after "----", each with its newline
  int line = 0;          ///< of the directive, counted from 1

  [[nodiscard]] const Arg* find(const std::string& key) const {
    for (const Arg& arg : args) {
      if (arg.key == key) return &arg;
    }
    return nullptr;
  }
  [[nodiscard]] bool has(const std::string& key) const { return find(key) != nullptr; }
  /// First value of `key`, or `otherwise` if the argument or its value is missing.
  [[nodiscard]] std::string text(const std::string& key, const std::string& otherwise = {}) const {
    const Arg* arg = find(key);
    return arg == nullptr || arg->values.empty() ? otherwise : arg->values[0];
  }
  [[nodiscard]] std::uint64_t number(const std::string& key, std::uint64_t otherwise = 0) const {
    const std::string value = text(key);
    return value.empty() ? otherwise : std::strtoull(value.c_str(), nullptr, 10);
  }
  [[nodiscard]] bool truth(const std::string& key) const { return has(key) && text(key, "true") == "true"; }
};

/// One command and the text in front of it, so that a file can be written again around new expectations.
struct Block {
  std::string before;  ///< comments and blank lines
  std::string head;    ///< directive and input as written
  Command command;
};

struct File {
  std::vector<Block> blocks;
  std::string after;
};

/// Splits "name key=(a, b) word key2=c" into name and arguments; words without "=" get no values.
inline void parse_directive(const std::string& line, Command& command) {
  std::size_t at = 0;
  const auto skip_blanks = [&] {
    while (at < line.size() && (line[at] == ' ' || line[at] == '\t' || line[at] == ',')) ++at;
  };
  const auto word = [&] {
    const std::size_t from = at;
    while (at < line.size() && std::string(" \t,=()").find(line[at]) == std::string::npos) ++at;
    return line.substr(from, at - from);
  };
  skip_blanks();
  command.name = word();
  for (skip_blanks(); at < line.size(); skip_blanks()) {
    Arg arg{word(), {}};
    if (at < line.size() && line[at] == '=') {
      ++at;
      if (at < line.size() && line[at] == '(') {
        ++at;
        for (skip_blanks(); at < line.size() && line[at] != ')'; skip_blanks()) arg.values.push_back(word());
        if (at < line.size()) ++at;
      } else {
        arg.values.push_back(word());
      }
    } else if (arg.key.empty()) {
      ++at;  // a stray character: skip it
      continue;
    }
    command.args.push_back(std::move(arg));
  }
}

inline File parse(const std::string& text) {
  File file;
  std::istringstream in(text);
  std::string line;
  std::string pending;
  int number = 0;
  while (std::getline(in, line)) {
    ++number;
    if (line.empty() || line[0] == '#') {
      pending += line + "\n";
      continue;
    }
    Block block;
    block.before = std::exchange(pending, {});
    block.command.line = number;
    block.head = line + "\n";
    parse_directive(line, block.command);
    while (std::getline(in, line) && ++number && line != "----") {
      block.head += line + "\n";
      block.command.input += line + "\n";
    }
    while (std::getline(in, line) && ++number && !line.empty()) block.command.expected += line + "\n";
    if (in) pending = "\n";
    file.blocks.push_back(std::move(block));
  }
  file.after = pending;
  return file;
}

inline std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> all;
  for (std::string one; in >> one;) all.push_back(one);
  return all;
}

/// Every line two blanks further in.
inline std::string indent(const std::string& text) {
  std::istringstream in(text);
  std::string out;
  for (std::string line; std::getline(in, line);) out += "  " + line + "\n";
  return out;
}

}  // namespace script
