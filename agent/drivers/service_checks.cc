#include "agent/drivers/service_checks.h"

#include <algorithm>
#include <utility>

namespace agent::drivers {
namespace {

constexpr std::size_t kProgramOutputBytesMax = 64U << 10;
constexpr std::size_t kLocationShownMax = 200;  // bytes of a URL in an output

std::string reason_of(int status) {
  switch (status) {
    case 200: return " OK";
    case 429: return " Too Many Requests";
    case 500: return " Internal Server Error";
    case 503: return " Service Unavailable";
    default: return {};
  }
}

}  // namespace

CheckVerdict judge_http(const CheckPlan& plan, const io::Result<HttpAnswer>& answer) {
  const std::string method = plan.method.empty() ? "GET" : plan.method;
  if (!answer) return {CheckState::kCritical, method + " " + plan.target + ": " + answer.error().detail};
  CheckVerdict out;
  if (answer->status >= 200 && answer->status <= 299) out.state = CheckState::kPassing;
  else if (answer->status == 429) out.state = CheckState::kWarning;
  out.output = "HTTP " + method + " " + plan.target + ": " + std::to_string(answer->status) + reason_of(answer->status) +
               " Output: " + answer->body;
  return out;
}

CheckVerdict judge_program(const io::ProcessExit& exit) {
  CheckVerdict out;
  out.output = exit.standard_output + exit.standard_error;
  if (exit.deadline_passed) {
    out.output += "\nkilled: it did not end within its time-out";
  } else if (exit.signal_number != 0) {
    out.output += "\nended by signal " + std::to_string(exit.signal_number);
  } else if (exit.exit_code == 0) {
    out.state = CheckState::kPassing;
  } else if (exit.exit_code == 1) {
    out.state = CheckState::kWarning;
  }
  return out;
}

// ---------------------------------------------------------------- one run

/// One run of one check, from look-up to verdict. Destroying it ends whatever it waits for.
class ServiceChecks::Runner final : private io::StreamSink {
 public:
  Runner(ServiceChecks& owner, const CheckSchedule::Run& run)
      : owner_(owner), run_(run.run), plan_(run.plan), deadline_(io::boottime_now() + run.plan.timeout),
        timer_(owner.loop_, [this] { critical("no answer within " + std::to_string(plan_.timeout.count()) + " ms"); }),
        start_(owner.loop_, [this] { start(); }) {
    timer_.arm(deadline_);
    start_.schedule();
  }

 private:
  void start() {
    switch (plan_.kind) {
      case CheckPlan::Kind::kTtl: return;  // its owner speaks; the schedule never runs it
      case CheckPlan::Kind::kProgram: return start_program();
      case CheckPlan::Kind::kHttp: {
        auto url = parse_check_url(plan_.target);
        if (!url) return critical(url.error().detail);
        request_ = first_request(plan_, std::move(*url));
        return look_up({request_.url.host, request_.url.port});
      }
      case CheckPlan::Kind::kTcp: {
        auto to = io::parse_host_port(plan_.target, 0);
        if (!to) return critical(to.error().detail);
        return look_up(*to);
      }
    }
  }

  void look_up(const io::HostPort& to) {
    candidate_ = 0;
    timer_.arm(deadline_);
    if (auto address = io::Address::ip(to.host, to.port)) {
      candidates_ = {*address};
      return connect();
    }
    lookup_ = io::resolve(owner_.loop_, to.host, to.port, [this, host = to.host](io::Result<std::vector<io::Address>> found) {
      if (!found) return critical(found.error().detail);
      if (found->empty()) return critical("no address for " + host);
      candidates_ = *found;
      connect();
    });
  }

  /// A name may stand for addresses where nobody listens (localhost is two): those are passed over.
  bool connect_elsewhere(const io::Error& error) {
    const bool nobody = error.code == io::Errc::kRefused || error.code == io::Errc::kUnreachable;
    if (!nobody || candidate_ + 1 >= candidates_.size()) return false;
    ++candidate_;
    connect();
    return true;
  }

  void connect() {
    const io::Address& to = candidates_[candidate_];
    if (plan_.kind == CheckPlan::Kind::kTcp) {
      stream_ = io::TcpStream::connect(owner_.loop_, to, deadline_, this);
      return;
    }
    client_ = std::make_unique<HttpClient>(owner_.loop_, to, request_.host.empty() ? request_.url.authority : request_.host);
    client_->keep_beginning(kBodyBytesKept);
    if (!plan_.disable_redirects) client_->end_at_location();
    if (request_.url.tls) {
      auto context = owner_.tls_context(!plan_.tls_skip_verify);
      if (!context) return refuse(context.error());
      client_->use_tls(std::move(*context), server_name(), &owner_.offload_);
    }
    ++request_count_;
    timer_.disarm();  // the client has the same deadline, and knows whether the head of an answer has come
    client_->request(request_.method, request_.url.target, headers(), request_.body, deadline_,
                     [this](io::Result<HttpAnswer> answer) { on_answer(answer); });
  }

  /// Views into request_.
  [[nodiscard]] std::vector<proxy::http1::TextHeader> headers() const {
    std::vector<proxy::http1::TextHeader> out;
    bool agent_named = false, accept_named = false;
    for (const auto& [name, values] : request_.header) {
      agent_named = agent_named || proxy::http1::same_text(name, "user-agent");
      accept_named = accept_named || proxy::http1::same_text(name, "accept");
      for (const std::string& value : values) out.push_back({name, value});
    }
    if (!agent_named) out.push_back({"User-Agent", "outrigger-check"});
    if (!accept_named) out.push_back({"Accept", "*/*"});
    out.push_back({"Connection", "close"});
    return out;
  }

  /// What the certificate must carry, and what the other side is told (SNI).
  [[nodiscard]] std::string server_name() const {
    return plan_.tls_server_name.empty() ? request_.url.host : plan_.tls_server_name;
  }

  void on_answer(const io::Result<HttpAnswer>& answer) {
    if (!answer) {
      if (!connect_elsewhere(answer.error())) refuse(answer.error());
    } else if (is_redirect(answer->status) && !answer->location.empty() && !plan_.disable_redirects) {
      follow(*answer);
    } else {
      end(judge_http(plan_, answer));
    }
  }

  void follow(const HttpAnswer& answer) {
    const std::string to = "; the last one leads to \"" + answer.location.substr(0, kLocationShownMax) + "\"";
    if (request_count_ >= kRequestsMax) {
      ++owner_.counters_.redirect_loops;
      return critical("stopped after " + std::to_string(kRequestsMax) + " redirects" + to);
    }
    auto next = redirected(std::move(request_), answer.status, answer.location);
    if (!next) {
      ++owner_.counters_.redirects_refused;
      return critical("a redirect that is not followed: " + next.error().detail);
    }
    ++owner_.counters_.redirects;
    request_ = std::move(*next);
    look_up({request_.url.host, request_.url.port});
  }

  /// A request that got no answer.
  void refuse(const io::Error& error) {
    const std::string where = request_count_ > 1 ? "redirected to " + request_.url.text().substr(0, kLocationShownMax) + ": " : std::string();
    std::string hint;
    if (error.code == io::Errc::kTlsPeer) {
      ++owner_.counters_.certificates_refused;
      if (!plan_.tls_skip_verify)
        hint = "; it must be signed by an authority that this machine trusts and carry the name \"" + server_name() + "\" (TLSServerName, TLSSkipVerify)";
    } else if (error.code == io::Errc::kTlsProtocol || error.code == io::Errc::kCertificate) {
      ++owner_.counters_.tls_failed;
    }
    critical(where + error.detail + hint);
  }

  void start_program() {
    io::ProcessOptions options;
    options.argv = plan_.args;
    options.deadline = plan_.timeout;
    options.output_bytes_max = kProgramOutputBytesMax;
    options.env_add = {{"OUTRIGGER_CHECK_ID", plan_.id}, {"OUTRIGGER_SERVICE_ID", plan_.service_id}};
    timer_.disarm();  // the process has the same deadline and a better word for it
    auto process = io::Process::spawn(owner_.loop_, options, [this](io::ProcessExit exit) { end(judge_program(exit)); });
    if (process) process_ = std::move(*process);
    else critical(process.error().detail);
  }

  void on_open() override { end({CheckState::kPassing, "TCP connect " + plan_.target + ": Success"}); }
  void on_read(std::span<const std::byte>) override {}
  void on_end() override {}
  void on_error(const io::Error& error) override {
    const io::Error kept = error;
    if (!connect_elsewhere(kept)) critical(kept.detail);
  }

  void critical(const std::string& why) {
    std::string what = plan_.kind == CheckPlan::Kind::kTcp    ? "TCP connect " + plan_.target + ": "
                       : plan_.kind == CheckPlan::Kind::kHttp ? "HTTP " + (plan_.method.empty() ? "GET" : plan_.method) + " " + plan_.target + ": "
                                                              : std::string();
    end({CheckState::kCritical, what + why});
  }
  void end(CheckVerdict verdict) {
    if (ended_) return;
    ended_ = true;
    owner_.finish(run_, std::move(verdict));  // this object lives until the owner's next turn
  }

  ServiceChecks& owner_;
  RunId run_;
  CheckPlan plan_;
  CheckRequest request_;
  std::size_t request_count_ = 0;  // sent, of this run
  std::vector<io::Address> candidates_;
  std::size_t candidate_ = 0;
  io::TimePoint deadline_;
  io::Timer timer_;
  io::Deferral start_;
  bool ended_ = false;
  std::unique_ptr<io::Resolution> lookup_;
  std::unique_ptr<io::TcpStream> stream_;
  std::unique_ptr<HttpClient> client_;
  std::unique_ptr<io::Process> process_;
};

// ---------------------------------------------------------------- all of them

ServiceChecks::ServiceChecks(io::Loop& loop, CheckTls tls, CheckSchedule::Chance chance, ServiceChecksCallbacks callbacks)
    : loop_(loop),
      tls_(std::move(tls)),
      callbacks_(std::move(callbacks)),
      schedule_(std::move(chance)),
      offload_(loop),
      timer_(loop, [this] {
        schedule_.tick(io::boottime_now());
        pump();
      }),
      pump_(loop, [this] { pump(); }) {}

ServiceChecks::~ServiceChecks() = default;

void ServiceChecks::set(std::vector<CheckSchedule::Entry> entries) {
  schedule_.set(std::move(entries), io::boottime_now());
  input();
}

bool ServiceChecks::update_ttl(std::string_view id, CheckState state, std::string output) {
  const bool known = schedule_.update_ttl(id, state, std::move(output), io::boottime_now());
  input();
  return known;
}

void ServiceChecks::finish(RunId run, CheckVerdict verdict) {
  if (const auto it = runners_.find(static_cast<std::uint64_t>(run)); it != runners_.end()) {
    ended_.push_back(std::move(it->second));
    runners_.erase(it);
  }
  schedule_.on_result(run, verdict.state, std::move(verdict.output), io::boottime_now());
  input();
}

void ServiceChecks::pump() {
  ended_.clear();
  for (auto& output : schedule_.take_output()) {
    if (const auto* run = std::get_if<CheckSchedule::Run>(&output)) begin(*run);
    else if (const auto* cancel = std::get_if<CheckSchedule::Cancel>(&output)) runners_.erase(static_cast<std::uint64_t>(cancel->run));
    else if (const auto* changed = std::get_if<CheckSchedule::Changed>(&output)) callbacks_.on_changed(changed->id);
    else if (const auto* gone = std::get_if<CheckSchedule::Deregister>(&output)) callbacks_.on_deregister(gone->service_id, gone->check_id);
  }
  const auto next = schedule_.next_deadline();
  if (next == io::TimePoint::max()) timer_.disarm();
  else timer_.arm(next);
}

void ServiceChecks::begin(const CheckSchedule::Run& run) {
  runners_.emplace(static_cast<std::uint64_t>(run.run), std::make_unique<Runner>(*this, run));
}

io::Result<std::shared_ptr<const io::TlsContext>> ServiceChecks::tls_context(bool verify) {
  auto& kept = verify ? verifying_ : trusting_;
  if (kept) return kept;
  io::TlsOptions options;
  options.role = io::TlsRole::kClient;
  options.verify = verify ? io::TlsVerify::kRequired : io::TlsVerify::kNone;
  options.min_version = io::TlsVersion::kTls12;
  if (verify) options.ca_file = tls_.ca_file;
  auto loaded = io::TlsContext::load(options, io::wall_ms());
  if (!loaded) return tl::make_unexpected(loaded.error());
  kept = std::move(*loaded);
  return kept;
}

}  // namespace agent::drivers
