#pragma once
/// Traces behind the API: what this agent's span exporter keeps, and for one trace what all agents keep, asked over the mesh.
/// Ownership: of the agent; everything in its parts outlives it. Thread: the control loop.
/// Bounds: kAskingMax questions under way, TraceParts::wait for the answers to each; an agent that is silent is named.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "agent/api/trace_backend.h"
#include "agent/drivers/span_exporter.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"
#include "agent/trace_wire.h"
#include "store/types.h"

namespace agent {

struct TraceParts {
  std::string node;
  drivers::SpanExporter* spans = nullptr;  ///< null: this agent keeps none, and answers peers so
  std::function<std::map<store::NodeId, std::string>()> peers;  ///< every other member that should be there, by name
  std::function<bool(store::NodeId to, std::string frame)> send;  ///< false: cannot be reached now
  io::Milliseconds wait{1000};  ///< for the answers to one question
};

class AgentTraces final : public api::TraceBackend {
 public:
  static constexpr std::size_t kAskingMax = 64;

  AgentTraces(io::Loop& loop, TraceParts parts);
  ~AgentTraces() override;

  void list(api::TraceQuery query, api::Completion<api::TraceListInfo> done) override;
  void find(std::string id, api::Completion<api::TraceSpansInfo> done) override;
  void receive(api::SpanForm form, std::string body, api::Completion<std::size_t> done) override;
  void on_frame(store::NodeId from, std::string_view frame);
  [[nodiscard]] bool keeps() const { return parts_.spans != nullptr; }

 private:
  struct Question {
    api::TraceSpansInfo found;
    std::map<store::NodeId, std::string> awaited;  ///< by name
    bool own_awaited = true;
    api::Completion<api::TraceSpansInfo> done;
    std::unique_ptr<io::Timer> deadline;
    std::string id;
  };
  void answer(store::NodeId to, const TraceWord& question);
  void take(std::uint64_t number, const std::string& node, std::string chunks, std::uint32_t left_out);
  void finish_if_all(std::uint64_t number);
  void finish(std::uint64_t number);

  io::Loop& loop_;
  TraceParts parts_;
  std::map<std::uint64_t, Question> questions_;
  std::uint64_t last_number_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< answers of the exporter that come later find nobody
};

}  // namespace agent
