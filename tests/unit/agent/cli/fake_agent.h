#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace agent::cli {

/// An HTTP server on a free loopback port that plays back answers, one per connection, and keeps what it was asked.
/// Thread: its own accepts; `requests()` waits for nothing, since the client under test is blocking.
class FakeAgent {
 public:
  FakeAgent() {
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    void* raw = &address;
    bind(fd_, static_cast<sockaddr*>(raw), length);
    getsockname(fd_, static_cast<sockaddr*>(raw), &length);
    port_ = ntohs(address.sin_port);
    listen(fd_, 8);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeAgent() {
    shutdown(fd_, SHUT_RDWR);  // wakes accept
    thread_.join();
    close(fd_);
  }
  FakeAgent(const FakeAgent&) = delete;
  FakeAgent& operator=(const FakeAgent&) = delete;

  [[nodiscard]] std::string api() const { return "127.0.0.1:" + std::to_string(port_); }
  /// The next answer, raw bytes; when none is left the connection is closed without one.
  void answer(std::string raw) {
    const std::lock_guard lock(mutex_);
    answers_.push_back(std::move(raw));
  }
  void answer(int status, const std::string& body, const std::string& headers = "") {
    answer("HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
           headers + "\r\n" + body);
  }
  /// "METHOD target body" of each request so far.
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void serve() {
    for (;;) {
      const int client = accept(fd_, nullptr, nullptr);
      if (client < 0) return;
      const std::string request = read_request(client);
      std::string reply;
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
        if (!answers_.empty()) {
          reply = answers_.front();
          answers_.pop_front();
        }
      }
      for (std::size_t sent = 0; sent < reply.size();) {
        const auto count = send(client, reply.data() + sent, reply.size() - sent, MSG_NOSIGNAL);
        if (count <= 0) break;
        sent += static_cast<std::size_t>(count);
      }
      close(client);
    }
  }
  static std::string read_request(int client) {
    std::string bytes;
    std::size_t head = std::string::npos, length = 0;
    char buffer[4096];
    while (head == std::string::npos || bytes.size() < head + 4 + length) {
      const auto count = recv(client, buffer, sizeof buffer, 0);
      if (count <= 0) break;
      bytes.append(buffer, static_cast<std::size_t>(count));
      head = bytes.find("\r\n\r\n");
      const auto field = bytes.find("Content-Length: ");
      if (head != std::string::npos && field < head) length = std::stoul(bytes.substr(field + 16));
    }
    if (head == std::string::npos) return bytes;
    const auto line = bytes.substr(0, bytes.find(" HTTP/1.1"));
    const auto body = bytes.substr(head + 4);
    return body.empty() ? line : line + " " + body;
  }

  int fd_ = -1;
  int port_ = 0;
  std::mutex mutex_;
  std::deque<std::string> answers_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

}  // namespace agent::cli
