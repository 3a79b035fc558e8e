#pragma once
/// One handshake step on its way through the thread pool. Private to tls_*.cc.
#include <uv.h>

#include <memory>
#include <vector>

#include "agent/io/tls_engine.h"
#include "agent/io/tls_stream.h"

namespace agent::io {

/// Holds the engine while the pool works on it, so a stream may die meanwhile: then `stream` is null and the answer
/// is thrown away.
struct TlsWork {
  uv_work_t request{};
  std::shared_ptr<TlsOffload*> offload;
  TlsStream* stream = nullptr;
  std::unique_ptr<TlsEngine> engine;
  std::vector<std::byte> input;
  TlsEngine::Step step = TlsEngine::Step::kFailed;
};

}  // namespace agent::io
