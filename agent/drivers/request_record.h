#pragma once
/// One request's record as bytes in this process, and as a line of JSON.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "agent/io/clock.h"
#include "proxy/observe.h"

namespace agent::drivers {

/// What of a record is kept and shown. Secrets stay out: no field of a request but the ones in AccessRecord is ever here.
struct RecordRules {
  bool query = false;                       ///< false: the query string is cut off and forgotten
  bool trail = false;                       ///< the decisions are kept too
  bool spans = false;                       ///< so are the attempts as spans
  std::size_t target_bytes_max = 2048;      ///< longer targets are cut; `target_bytes` says how long they were
};

/// Appends the record and the texts that it names. Only read_record of this process can read it.
void append_record(std::string& out, const proxy::AccessRecord& record, const RecordRules& rules);
/// @param bytes  of append_record; must stay where they are as long as the views of the result are used
/// @param target_bytes  how long the target was
[[nodiscard]] proxy::AccessRecord read_record(std::string_view bytes, std::uint64_t& target_bytes);

/// "text" as a JSON string, quotes included. Control bytes, quotes, backslashes, DEL and bytes above 0x7f become escapes,
/// so the result is one line of ASCII whatever the text is (a byte above 0x7f reads as the letter with its number).
void append_json_text(std::string& out, std::string_view text);
/// "2026-01-31T12:00:00.123Z" @param unix_ms  >= 0
void append_utc(std::string& out, std::int64_t unix_ms);

/// Wall clock and boot time read together: what turns the times of records into dates.
struct ClockPair {
  std::int64_t wall_ms = 0;
  io::TimePoint boot{};
  [[nodiscard]] std::int64_t wall_of(io::TimePoint at) const {
    return wall_ms + std::chrono::duration_cast<io::Milliseconds>(at - boot).count();
  }
};
/// Appends one JSON object without line feed. Times are seconds; what did not happen is null.
/// @param node_json  name of this agent, as JSON
void append_access_json(std::string& out, const proxy::AccessRecord& record, std::uint64_t target_bytes,
                        std::string_view node_json, const ClockPair& clocks);

}  // namespace agent::drivers
