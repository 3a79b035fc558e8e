#pragma once
/// The wall clock to the nanosecond: for dates that other machines compare with theirs. Apart from clock.h because hardly
/// anybody needs it; defined beside the other clocks in clock.cc.
#include <cstdint>

namespace agent::io {

/// Unix time in ns. It can step in either direction, so never for deadlines or differences. Thread: any.
[[nodiscard]] std::int64_t wall_ns();

}  // namespace agent::io
