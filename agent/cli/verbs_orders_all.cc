#include <unistd.h>

#include <charconv>
#include <ctime>
#include <istream>
#include <ostream>

#include "agent/cli/verbs_orders.h"

namespace agent::cli {
namespace {

constexpr std::uint64_t kPage = 200;
constexpr int kConflict = 409;

std::uint64_t number_of(const Json& value) { return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0; }

std::string utc(std::uint64_t ms) {
  const auto seconds = static_cast<std::time_t>(ms / 1000);
  std::tm parts{};
  char text[32] = "";
  if (::gmtime_r(&seconds, &parts) != nullptr) std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

class Walk {
 public:
  Walk(Session& session, const AllUnknown& wanted) : session_(session), wanted_(wanted) {}

  int run() {
    int code = kExitOk;
    auto page = fetch(code);
    if (!page) return code;
    if (total_ == 0) return told();
    if (!agreed(*page)) return kExitFailed;
    for (;;) {
      const Json orders = field(*page, "orders");
      for (const Json& order : orders.is_array() ? orders : Json::array()) {
        if (!decide(order, code)) return stopped(code);
      }
      const Json next = field(*page, "next");
      if (next.is_null()) return told();
      progress();
      from_ = cell(*page, "next");
      page = fetch(code);
      if (!page) return stopped(code);
    }
  }

 private:
  [[nodiscard]] std::string service(char first) const { return wanted_.service.empty() ? "" : first + ("service=" + url_encode(wanted_.service)); }

  std::optional<Json> fetch(int& code) {
    std::string target = "/outrigger/v1/orders?state=unknown&limit=" + std::to_string(kPage) + service('&');
    if (!from_.empty()) target += "&from=" + url_encode(from_);
    const auto reply = session_.call("GET", target, code);
    if (!reply) return std::nullopt;
    auto page = session_.parse(*reply, code);
    if (!page || !from_.empty()) return page;
    total_ = number_of(field(field(*page, "counts"), "unknown"));
    std::from_chars(reply->index.data(), reply->index.data() + reply->index.size(), looked_at_);
    return page;
  }

  /// @return somebody says yes to what is shown, or has said so before
  bool agreed(const Json& page) {
    if (looked_at_ == 0) return session_.fail("the agent does not say of when its list is"), false;
    if (wanted_.yes) return true;
    if (session_.json() || isatty(STDIN_FILENO) != 1)
      return session_.fail(std::to_string(total_) + " orders are unknown, and nobody is here to be asked", "add --yes; see them with: outrigger orders list --state unknown"), false;
    const Json orders = field(page, "orders");
    const Json oldest = orders.is_array() && !orders.empty() ? orders.front() : Json();
    std::ostream& out = session_.host.out;
    out << total_ << " orders of " << cell(oldest, "service") << " are unknown, the oldest (" << cell(oldest, "zone") << " " << cell(oldest, "key") << ") since "
        << utc(number_of(field(oldest, "reserved_ms"))) << ".\n";
    if (wanted_.before_ms) out << "Those that were reserved before " << utc(*wanted_.before_ms) << " will be " << wanted_.verdict << ".\n";
    else out << "All of them will be " << wanted_.verdict << ".\n";
    out << (wanted_.verdict == "not_sent" ? "Each is sent again when its client repeats it: one that is at the broker after all is there twice then.\n"
                                          : "None of them is ever sent again.\n")
        << "Has the broker been asked? Type yes: " << std::flush;
    std::string answer;
    if (std::getline(session_.host.in, answer) && answer == "yes") return true;
    return session_.fail("nothing was decided", "type yes, or add --yes"), false;
  }

  /// One order. @return false: it failed, `code` is set and the reason printed
  bool decide(const Json& order, int& code) {
    const bool newer = number_of(field(order, "changed")) > looked_at_;
    if (newer || (wanted_.before_ms && number_of(field(order, "reserved_ms")) >= *wanted_.before_ms)) {
      ++left_;
      return true;
    }
    Json body = {{"state", wanted_.verdict}, {"fence", field(order, "changed")}, {"who", wanted_.who}, {"reason", wanted_.reason}};
    if (wanted_.status != 0) body["status"] = wanted_.status;
    if (!wanted_.body.empty()) body["body"] = wanted_.body;
    const std::string target = "/outrigger/v1/orders/" + url_segment(cell(order, "zone")) + "/" + url_segment(cell(order, "key")) + "/resolve" + service('?');
    const auto reply = session_.call("POST", target, code, body.dump(), kConflict);
    if (!reply) return false;
    ++(reply->status == kConflict ? changed_ : decided_);
    return true;
  }

  void progress() { session_.host.err << decided_ << " decided, " << changed_ << " changed meanwhile, " << left_ << " left, of " << total_ << std::endl; }

  int stopped(int code) {
    progress();
    session_.host.err << "stopped there; what was decided is decided, run it again for the rest\n";
    return code;
  }

  int told() {
    if (session_.json()) {
      session_.print({{"unknown", total_}, {"decided", decided_}, {"changed", changed_}, {"left", left_}});
      return kExitOk;
    }
    if (total_ == 0) session_.host.out << "no order is unknown\n";
    else session_.host.out << decided_ << " orders are " << wanted_.verdict << " from now on; " << changed_ << " changed meanwhile and " << left_ << " newer ones were left\n";
    return kExitOk;
  }

  Session& session_;
  const AllUnknown& wanted_;
  std::string from_;
  std::uint64_t looked_at_ = 0;  // entry of the log up to which the first page knew
  std::uint64_t total_ = 0, decided_ = 0, changed_ = 0, left_ = 0;
};

}  // namespace

std::optional<std::uint64_t> parse_utc(const std::string& text) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  const std::time_t seconds = ::timegm(&parts);
  return seconds < 0 ? std::nullopt : std::optional(static_cast<std::uint64_t>(seconds) * 1000);
}

int resolve_all_unknown(Session& session, const AllUnknown& wanted) { return Walk(session, wanted).run(); }

}  // namespace agent::cli
