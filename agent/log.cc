#include "agent/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>

namespace agent {
namespace {

std::shared_ptr<spdlog::logger>& logger() {
  static std::shared_ptr<spdlog::logger> instance;
  return instance;
}
std::string& node_json() {
  static std::string text = "\"\"";
  return text;
}

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace: return spdlog::level::trace;
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarn: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string json_text(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

void open_log(LogLevel level, const std::string& node) {
  node_json() = json_text(node);
  logger() = std::make_shared<spdlog::logger>("agent", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger()->set_pattern("{\"ts\":\"%Y-%m-%dT%H:%M:%S.%eZ\",\"level\":\"%l\",%v}", spdlog::pattern_time_type::utc);
  logger()->set_level(level_of(level));
}

void log_line(LogLevel level, std::string_view event, std::string_view detail) {
  if (!logger() || !logger()->should_log(level_of(level))) return;
  logger()->log(level_of(level), "\"node\":{},\"event\":{},\"detail\":{}", node_json(), json_text(event), json_text(detail));
}

void set_log_level(LogLevel level) {
  if (logger()) logger()->set_level(level_of(level));
}

void close_log() {
  if (logger()) logger()->flush();
}

}  // namespace agent
