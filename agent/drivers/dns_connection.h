#pragma once
/// One DNS client over TCP. Private to dns_*.cc.

#include <memory>
#include <vector>

#include "agent/drivers/dns_driver.h"
#include "agent/io/byte_stream.h"
#include "agent/io/clock.h"

namespace agent::drivers {

/// Queries with a length of two bytes in front, one after the other or many at once; answers come in their order.
/// Source: RFC 1035 section 4.2.2, RFC 7766.
/// Ownership: the driver's, which destroys it in on_closed. Bounds: see DnsDriver.
class DnsConnection final : private io::StreamSink {
 public:
  DnsConnection(DnsDriver& driver, std::unique_ptr<io::ByteStream> stream);
  ~DnsConnection() override;
  void start() { stream_->read_start(); }
  [[nodiscard]] io::TimePoint last_query() const { return last_query_; }  ///< or when it was accepted

 private:
  void on_read(std::span<const std::byte> bytes) override;
  void on_end() override;
  void on_error(const io::Error& error) override;
  void on_drained() override;
  void work();
  [[nodiscard]] bool take_query();
  [[nodiscard]] bool answer(std::span<const std::byte> query);

  DnsDriver& driver_;
  std::unique_ptr<io::ByteStream> stream_;
  io::Deferral more_;
  std::vector<std::byte> received_;  // [taken_, size) is still to be answered
  std::size_t taken_ = 0;
  bool ended_ = false;   // the client asks nothing more
  bool broken_ = false;  // nothing can be said any more
  io::TimePoint last_query_;
};

}  // namespace agent::drivers
