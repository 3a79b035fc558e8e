#pragma once
/// Asks the application something: runs a program or posts to an HTTP URL, JSON in, text out.
///
/// Beside HookDriver, which only tells. One question at a time; its deadline is the asker's, who drops it then: a program is
/// killed with its whole group, a connection cut. Questions must be safe to repeat.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/drivers/hook_driver.h"
#include "agent/drivers/http_client.h"
#include "agent/io/loop.h"
#include "agent/io/process.h"

namespace agent::drivers {

/// Ownership: of whoever asks; destruction ends a question without a word. Thread: its loop's.
class AskingHook {
 public:
  /// @param ok    exit code 0, or status 200..299
  /// @param text  ok: the whole standard output, or body; else why not, for people
  using Done = std::function<void(bool ok, std::string text)>;

  AskingHook(io::Loop& loop, HookTarget target, std::size_t answer_bytes_max)
      : loop_(loop), target_(std::move(target)), answer_bytes_max_(answer_bytes_max) {}

  /// Drops what runs. @param most  a program or connection does not live longer, if nobody drops it
  /// @param done  once, never inside this call; may ask again
  void ask(std::string json, std::vector<std::pair<std::string, std::string>> environment, io::Milliseconds most, Done done);
  void drop();

 private:
  void finish(bool ok, std::string text);

  io::Loop& loop_;
  HookTarget target_;
  std::size_t answer_bytes_max_;
  Done done_;
  std::unique_ptr<io::Process> process_;
  std::unique_ptr<HttpClient> client_;
  std::unique_ptr<io::Deferral> failed_;  // a program that could not be begun
};

}  // namespace agent::drivers
