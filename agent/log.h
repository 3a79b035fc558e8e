#pragma once
/// The agent's log: one JSON object per line on stderr, so that people and programs read the same lines.
/// {"ts":"2026-01-31T12:00:00.123Z","level":"info","event":"promoted","detail":"elected, epoch 7"}

#include <string>
#include <string_view>

#include "agent/config.h"

namespace agent {

/// Call once, before the first line. Lines below `level` are dropped. @param node  stands in every line
void open_log(LogLevel level, const std::string& node);
/// Thread: any. @param event  snake_case name of what happened; @param detail  a sentence for people, never a secret
void log_line(LogLevel level, std::string_view event, std::string_view detail);
void set_log_level(LogLevel level);  ///< from the next line on
void close_log();  ///< flushes

}  // namespace agent
