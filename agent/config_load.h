#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "agent/config.h"
#include "agent/config_sheet.h"

/// Settings together with what was written to get them: for whoever tells two sets apart. load_config is the first half.
namespace agent {

struct ReadSettings {
  Config config;
  ConfigSheet sheet;       ///< every key that was set, by files, environment and flags
  std::string files_text;  ///< config_sheet_text of what the files alone say: agents with the same file have the same
};
/// Names and contents of files. A relative path inside counts from the folder of the name.
using SettingsTexts = std::vector<std::pair<std::filesystem::path, std::string>>;

/// As load_config.
/// @param texts  in the place of `source.file` and what is read beside it, for settings that are only asked about; null = none
[[nodiscard]] tl::expected<ReadSettings, std::vector<ConfigProblem>> read_settings(const ConfigSource& source, const SettingsTexts* texts = nullptr);
/// As parse_config.
[[nodiscard]] tl::expected<ReadSettings, std::vector<ConfigProblem>> parse_settings(std::string_view toml, std::string_view name);
/// What load_config would read of this file: its text, then those of `conf.d/*.toml` beside it. Errors: what cannot be read.
[[nodiscard]] tl::expected<SettingsTexts, std::vector<ConfigProblem>> read_settings_texts(const std::filesystem::path& file);

}  // namespace agent
