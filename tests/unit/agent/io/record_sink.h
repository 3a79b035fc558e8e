#pragma once
/// A StreamSink that writes down what it hears.
#include <functional>
#include <optional>
#include <string>

#include "agent/io/byte_stream.h"

namespace agent::io {

inline std::string text_of(std::span<const std::byte> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}
inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

struct RecordSink : StreamSink {
  bool opened = false, ended = false;
  int drained = 0, reads = 0;
  std::string data;
  std::optional<Error> error;
  std::function<void()> on_any;  ///< called last in every event; may destroy the stream or this sink's owner

  void on_open() override {
    opened = true;
    any();
  }
  void on_read(std::span<const std::byte> bytes) override {
    ++reads;
    data += text_of(bytes);
    any();
  }
  void on_end() override {
    ended = true;
    any();
  }
  void on_error(const Error& cause) override {
    error = cause;
    any();
  }
  void on_drained() override {
    ++drained;
    any();
  }

 private:
  void any() {
    const auto call = on_any;
    if (call) call();
  }
};

}  // namespace agent::io
