#include "tests/sim/trader.h"

#include <utility>

namespace sim {
namespace {

constexpr Nanos kPulse = 10 * kMillisecond;
constexpr Nanos kPatience = 400 * kMillisecond;  // with the exchange

}  // namespace

void Trader::start() {
  pulse();
  idea();
}

// What it had in memory is gone with it, and its connections break.
bool Trader::runs() {
  const Instance& instance = machine_->instance();
  if (instance.deaths() != deaths_ || machine_->boots() != boots_) {
    deaths_ = instance.deaths();
    boots_ = machine_->boots();
    ++life_;
    believes_ = 0;
    for (Work& work : std::exchange(waiting_, {})) machine_->world().scheduler.after(kMillisecond, std::move(work.broken));
  }
  if (machine_->stopped() && frozen_ != machine_->stops()) {
    frozen_ = machine_->stops();
    shares_stop_ = support::Random(seed_, 0x66726f7a656e + frozen_ * 32 + static_cast<std::uint64_t>(machine_->index())).chance_ppm(500'000);
  }
  const bool frozen = machine_->stopped() && shares_stop_;
  return instance.mood() != Mood::kHung && instance.mood() != Mood::kCrashed && !frozen;
}

void Trader::pulse() {
  if (runs()) {
    for (const Work& work : std::exchange(waiting_, {})) work.run();
    if (told_ != believes_ && random_.chance_ppm(15'000)) believes_ = told_;  // it missed the news
  }
  machine_->world().scheduler.after(kPulse, [this] { pulse(); });
}

// Inside the trader, when it runs and if it still is the same process then.
void Trader::soon(Nanos delay, std::function<void()> task, std::function<void()> broken) {
  machine_->world().scheduler.after(delay, [this, life = life_, run = std::move(task), gone = std::move(broken)] {
    const bool now = runs();
    if (life != life_) return gone();
    if (now && waiting_.empty()) return run();
    waiting_.push_back({run, gone});
  });
}

void Trader::tell_role(std::uint64_t epoch) {
  told_ = epoch;
  if (random_.chance_ppm(700'000)) soon(random_.between(0, 5) * kMillisecond, [this, epoch] { believes_ = epoch; });
}

bool Trader::give(const std::string& key, std::uint64_t epoch, Answer answer) {
  static_cast<void>(runs());
  if (machine_->instance().mood() == Mood::kCrashed) return false;
  const Nanos came = machine_->world().scheduler.now();
  const Nanos thinking = random_.chance_ppm(200'000) ? random_.between(0, 350) * kMillisecond : random_.between(0, 3) * kMillisecond;
  soon(100 * kMicrosecond, [this, key, epoch, came, thinking, answer] {
    soon(thinking, [this, key, epoch, came, answer] { place(key, epoch, came, answer); }, [answer] { answer(TraderWord::kSilent, {}); });
  }, [answer] { answer(TraderWord::kSilent, {}); });
  return true;
}

void Trader::place(const std::string& key, std::uint64_t epoch, Nanos came, const Answer& answer) {
  if (machine_->world().scheduler.now() - came > kLetsGo) return answer(TraderWord::kSilent, {});
  auto over = std::make_shared<bool>(false);
  const auto say = [this, over, answer](TraderWord word, const std::string& text) {
    soon(100 * kMicrosecond, [over, answer, word, text] {
      if (!std::exchange(*over, true)) answer(word, text);
    }, [over, answer] {
      if (!std::exchange(*over, true)) answer(TraderWord::kSilent, {});
    });
  };
  // Every other time it tells its client that it was refused, else it breaks off.
  const TraderWord refused = random_.chance_ppm(500'000) ? TraderWord::kRefused : TraderWord::kSilent;
  if (!machine_->up() || egress_ == nullptr) return say(refused, {});
  machine_->run([this, life = machine_->life(), key, epoch, say, refused] {
    if (life != machine_->life() || egress_ == nullptr) return;
    egress_->take(key, epoch, [say, refused](EgressEnd end, const std::string& text) {
      say(end == EgressEnd::kAnswered ? TraderWord::kPlaced : end == EgressEnd::kRefused ? refused : TraderWord::kSilent, text);
    });
  });
  soon(kPatience, [say] { say(TraderWord::kSilent, {}); });
}

void Trader::idea() {
  if (ends_ || own_ >= kOwnMax) return;
  soon(random_.exponential(100 * kMillisecond), [this] {
    if (believes_ != 0) place("own" + std::to_string(machine_->index()) + "-" + std::to_string(++own_), believes_, machine_->world().scheduler.now(), [](TraderWord, const std::string&) {});
  });
  machine_->world().scheduler.after(random_.exponential(120 * kMillisecond), [this] { idea(); });
}

}  // namespace sim
