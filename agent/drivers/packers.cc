#include "agent/drivers/packers.h"

#include <utility>

namespace agent::drivers {

class Packers::Gzip final : public proxy::Packer {
 public:
  Gzip(std::unique_ptr<io::GzipStream> stream, int level) : stream_(std::move(stream)), level_(level) {}
  bool pack(proxy::Bytes bytes, proxy::PackFlush flush, std::string& out) override {
    using Flush = io::GzipStream::Flush;
    switch (flush) {
      case proxy::PackFlush::kNone: return stream_->write(bytes, Flush::kNone, out);
      case proxy::PackFlush::kAll: return stream_->write(bytes, Flush::kSync, out);
      case proxy::PackFlush::kFinish: return stream_->write(bytes, Flush::kFinish, out);
    }
    return false;
  }
  void restart() { stream_->restart(); }
  [[nodiscard]] int level() const { return level_; }

 private:
  std::unique_ptr<io::GzipStream> stream_;
  int level_;
};

std::unique_ptr<proxy::Packer> Packers::lend(int level) {
  if (lent_ >= lent_max_ || level < 1 || level > 9) return nullptr;
  auto& idle = idle_[level];
  if (!idle.empty()) {
    ++lent_;
    auto packer = std::move(idle.back());
    idle.pop_back();
    return packer;
  }
  auto stream = io::GzipStream::create(level);
  if (!stream) return nullptr;
  ++lent_;
  return std::make_unique<Gzip>(std::move(*stream), level);
}

void Packers::take(std::unique_ptr<proxy::Packer> packer) {
  if (packer == nullptr) return;
  --lent_;
  auto& gzip = static_cast<Gzip&>(*packer);  // there are no others here
  auto& idle = idle_[gzip.level()];
  if (idle.size() >= kIdleMax) return;
  gzip.restart();
  idle.push_back(std::move(packer));
}

}  // namespace agent::drivers
