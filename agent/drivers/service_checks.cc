#include "agent/drivers/service_checks.h"

#include <algorithm>
#include <utility>

namespace agent::drivers {
namespace {

constexpr std::size_t kProgramOutputBytesMax = 64U << 10;

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

io::Result<CheckUrl> parse_check_url(std::string_view url) {
  const auto bad = [&url](const std::string& why) {
    return io::fail(io::Errc::kInvalidArgument, "URL \"" + std::string(url.substr(0, 200)) + "\": " + why);
  };
  CheckUrl out;
  std::string_view rest = url;
  if (rest.starts_with("https://")) out.tls = true;
  else if (!rest.starts_with("http://")) return bad("it must begin with http:// or https://");
  rest.remove_prefix(out.tls ? 8 : 7);
  const bool clean = std::all_of(rest.begin(), rest.end(), [](char c) { return c > ' ' && c != '\x7f'; });
  if (!clean) return bad("it holds blanks or control characters");
  rest = rest.substr(0, rest.find('#'));
  const auto end = std::min(rest.find_first_of("/?"), rest.size());
  out.authority = std::string(rest.substr(0, end));
  if (out.authority.find('@') != std::string::npos) return bad("user names are not supported; send a header");
  const auto host = io::parse_host_port(out.authority, out.tls ? 443 : 80);
  if (!host) return bad(host.error().detail);
  if (host->port == 0) return bad("port 0 is none");
  out.host = host->host;
  out.port = host->port;
  out.target = std::string(rest.substr(end));
  if (!out.target.starts_with('/')) out.target.insert(0, "/");
  return out;
}

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
        url_ = std::move(*url);
        return look_up({url_.host, url_.port});
      }
      case CheckPlan::Kind::kTcp: {
        auto to = io::parse_host_port(plan_.target, 0);
        if (!to) return critical(to.error().detail);
        return look_up(*to);
      }
    }
  }

  void look_up(const io::HostPort& to) {
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
    std::vector<proxy::http1::TextHeader> headers;
    std::string host = url_.authority;
    bool agent_named = false, accept_named = false;
    for (const auto& [name, values] : plan_.header) {
      const std::string lower = lower_of(name);
      if (lower == "host" && !values.empty()) host = values.front();
      if (lower == "host" || lower == "content-length" || lower == "connection" || lower == "transfer-encoding") continue;
      agent_named = agent_named || lower == "user-agent";
      accept_named = accept_named || lower == "accept";
      for (const std::string& value : values) headers.push_back({name, value});
    }
    if (!agent_named) headers.push_back({"User-Agent", "outrigger-check"});
    if (!accept_named) headers.push_back({"Accept", "*/*"});
    headers.push_back({"Connection", "close"});
    client_ = std::make_unique<HttpClient>(owner_.loop_, to, host);
    client_->keep_beginning(kBodyBytesKept);
    if (url_.tls) {
      auto context = owner_.tls_context(!plan_.tls_skip_verify);
      if (!context) return critical(context.error().detail);
      client_->use_tls(std::move(*context), plan_.tls_skip_verify ? std::string() : url_.host, &owner_.offload_);
    }
    client_->request(plan_.method.empty() ? "GET" : plan_.method, url_.target, headers, plan_.body, deadline_,
                     [this](io::Result<HttpAnswer> answer) {
                       if (answer || !connect_elsewhere(answer.error())) end(judge_http(plan_, answer));
                     });
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

  static std::string lower_of(std::string text) {
    for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return text;
  }
  void critical(const std::string& why) {
    std::string what = plan_.kind == CheckPlan::Kind::kTcp    ? "TCP connect " + plan_.target + ": "
                       : plan_.kind == CheckPlan::Kind::kHttp ? "HTTP " + plan_.target + ": "
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
  CheckUrl url_;
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
