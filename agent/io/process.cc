#include "agent/io/process.h"

#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <map>
#include <string_view>

#include "agent/io/handle.h"
#include "agent/io/timer.h"

extern char** environ;  // POSIX leaves its declaration to the program

namespace agent::io {

namespace {

constexpr std::size_t kStdinBytesMax = 1U << 20;
constexpr Milliseconds kPipeGrace{200};

/// stdin's bytes and the request that writes them: one block, freed by its callback on every outcome.
struct StdinWrite {
  uv_write_t request{};
  std::string bytes;
};

std::vector<std::string> merged_environment(const ProcessOptions& options) {
  std::map<std::string, std::string> merged;
  for (char** item = environ; item != nullptr && *item != nullptr; ++item) {
    const std::string_view text(*item);
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos) merged[std::string(text.substr(0, equals))] = text.substr(equals + 1);
  }
  for (const auto& [name, value] : options.env_add) merged[name] = value;
  std::vector<std::string> result;
  for (const auto& [name, value] : merged) result.push_back(name + "=" + value);
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

}  // namespace

struct Process::Impl {
  /// One of stdout, stderr: the pipe and what was kept of it.
  struct Capture {
    Impl* owner = nullptr;
    Handle<uv_pipe_s> pipe;
    std::string kept;
    bool open = false;
  };

  Impl(Loop& on_loop, OnExit callback, std::size_t output_max)
      : loop(on_loop),
        on_exit(std::make_shared<OnExit>(std::move(callback))),
        output_bytes_max(output_max),
        deadline(on_loop, [this] { on_deadline(); }),
        grace(on_loop, [this] { on_grace_over(); }) {}
  ~Impl() { kill_group(SIGKILL); }

  Result<void> start(const ProcessOptions& options);
  void feed(const std::string& bytes);
  void listen(Capture& capture);
  void on_deadline();
  void on_ended(std::int64_t exit_status, int term_signal);
  void on_grace_over();
  void report_if_complete();
  void kill_group(int signal_number) const;

  Loop& loop;
  std::shared_ptr<OnExit> on_exit;
  std::size_t output_bytes_max;
  Handle<uv_process_s> process;
  int pid = -1;  // stays the group's id after the child has ended; -1 once the group must not be signalled
  bool ended = false;
  Handle<uv_pipe_s> input;
  Capture output, errors;
  ProcessExit result;
  TimePoint started{};
  Timer deadline;
  Timer grace;
};

Result<void> Process::Impl::start(const ProcessOptions& options) {
  std::vector<std::string> argv = options.argv;
  std::vector<std::string> env = merged_environment(options);
  std::vector<char*> argv_pointers = pointers(argv);
  std::vector<char*> env_pointers = pointers(env);
  for (auto* pipe : {&input, &output.pipe, &errors.pipe}) {
    *pipe = Handle<uv_pipe_s>(new uv_pipe_t);
    uv_pipe_init(loop.raw(), pipe->get(), 0);
  }
  std::array<uv_stdio_container_t, 3> stdio{};
  const auto flags = [](int first, int second) { return static_cast<uv_stdio_flags>(first | second); };
  stdio[0].flags = flags(UV_CREATE_PIPE, UV_READABLE_PIPE);
  stdio[0].data.stream = reinterpret_cast<uv_stream_t*>(input.get());
  stdio[1].flags = stdio[2].flags = flags(UV_CREATE_PIPE, UV_WRITABLE_PIPE);
  stdio[1].data.stream = reinterpret_cast<uv_stream_t*>(output.pipe.get());
  stdio[2].data.stream = reinterpret_cast<uv_stream_t*>(errors.pipe.get());
  uv_process_options_t uv{};
  uv.file = argv_pointers[0];
  uv.args = argv_pointers.data();
  uv.env = env_pointers.data();
  uv.cwd = options.working_directory.empty() ? nullptr : options.working_directory.c_str();
  uv.stdio = stdio.data();
  uv.stdio_count = static_cast<int>(stdio.size());
  uv.flags = UV_PROCESS_DETACHED;  // a session of its own, so that the whole group can be killed
  uv.exit_cb = [](uv_process_t* handle, std::int64_t exit_status, int term_signal) {
    if (handle->data != nullptr) static_cast<Impl*>(handle->data)->on_ended(exit_status, term_signal);
  };
  started = boottime_now();
  auto raw = std::make_unique<uv_process_t>();
  const int status = uv_spawn(loop.raw(), raw.get(), &uv);
  process = Handle<uv_process_s>(raw.release());  // also after a failure libuv wants it closed
  if (status != 0) return tl::unexpected(from_uv(status, "run " + options.argv[0]));
  process->data = this;
  pid = process->pid;
  feed(options.stdin_bytes);
  listen(output);
  listen(errors);
  deadline.arm(started + options.deadline);
  return {};
}

void Process::Impl::feed(const std::string& bytes) {
  if (!bytes.empty()) {
    auto* block = new StdinWrite;
    block->bytes = bytes;
    block->request.data = block;
    const uv_buf_t buffer = uv_buf_init(block->bytes.data(), static_cast<unsigned>(block->bytes.size()));
    auto* stream = reinterpret_cast<uv_stream_t*>(input.get());
    input->data = this;
    const int status = uv_write(&block->request, stream, &buffer, 1, [](uv_write_t* request, int) {
      uv_stream_t* const target = request->handle;
      delete static_cast<StdinWrite*>(request->data);
      // All written, or the child reads no more (EPIPE): either way its stdin ends here.
      if (target->data != nullptr) static_cast<Impl*>(target->data)->input.reset();
    });
    if (status == 0) return;
    delete block;
  }
  input.reset();
}

void Process::Impl::listen(Capture& capture) {
  capture.owner = this;
  capture.open = true;
  capture.pipe->data = &capture;
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(capture.pipe.get()),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        if (handle->data == nullptr) {
          *buffer = uv_buf_init(nullptr, 0);
          return;
        }
        const auto slab = static_cast<Capture*>(handle->data)->owner->loop.cipher_slab();
        *buffer = uv_buf_init(reinterpret_cast<char*>(slab.data()), static_cast<unsigned>(slab.size()));
      },
      [](uv_stream_t* stream, ssize_t got, const uv_buf_t* buffer) {
        if (stream->data == nullptr) return;
        auto* mine = static_cast<Capture*>(stream->data);
        if (got > 0) {
          const std::size_t room = mine->owner->output_bytes_max - mine->kept.size();
          const std::size_t taken = std::min(room, static_cast<std::size_t>(got));
          mine->kept.append(buffer->base, taken);
          if (taken < static_cast<std::size_t>(got)) mine->owner->result.output_cut = true;
        } else if (got < 0) {
          Impl* const owner = mine->owner;
          mine->open = false;
          mine->pipe.reset();
          owner->report_if_complete();
        }
      });
}

void Process::Impl::kill_group(int signal_number) const {
  if (pid > 0) ::kill(-pid, signal_number);
}

void Process::Impl::on_deadline() {
  // We may be late ourselves, with the news of its end still unread behind this timer: then it has not run too long.
  siginfo_t ended_already{};
  const bool seen = ::waitid(P_PID, static_cast<id_t>(pid), &ended_already, WEXITED | WNOHANG | WNOWAIT) == 0;
  if (seen && ended_already.si_pid == pid) return;
  result.deadline_passed = true;
  kill_group(SIGKILL);
}

void Process::Impl::on_ended(std::int64_t exit_status, int term_signal) {
  ended = true;
  deadline.disarm();
  result.signal_number = term_signal;
  result.exit_code = term_signal != 0 ? -1 : static_cast<int>(exit_status);
  result.duration = std::chrono::duration_cast<Milliseconds>(boottime_now() - started);
  grace.arm_after(kPipeGrace);
  report_if_complete();
}

void Process::Impl::on_grace_over() {
  kill_group(SIGKILL);  // a grandchild that holds the pipes
  output.open = errors.open = false;
  output.pipe.reset();
  errors.pipe.reset();
  report_if_complete();
}

void Process::Impl::report_if_complete() {
  if (!ended || output.open || errors.open) return;
  grace.disarm();
  // The child is reaped; with its pipes closed nobody of the group that we know of is left, and the number may be
  // given to a stranger from now on.
  pid = -1;
  input.reset();
  process.reset();
  ended = false;
  result.standard_output = std::move(output.kept);
  result.standard_error = std::move(errors.kept);
  ProcessExit done = std::move(result);
  const auto call = on_exit;
  (*call)(std::move(done));
}

Process::Process(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Process::~Process() = default;

Result<std::unique_ptr<Process>> Process::spawn(Loop& loop, const ProcessOptions& options, OnExit on_exit) {
  if (options.argv.empty() || options.argv[0].empty()) return fail(Errc::kInvalidArgument, "run: no program named");
  if (options.stdin_bytes.size() > kStdinBytesMax) return fail(Errc::kInvalidArgument, "run: stdin is over 1 MiB");
  auto impl = std::make_unique<Impl>(loop, std::move(on_exit), options.output_bytes_max);
  if (auto started = impl->start(options); !started) return tl::unexpected(started.error());
  return std::unique_ptr<Process>(new Process(std::move(impl)));
}

int Process::pid() const { return impl_->pid; }
void Process::kill_group(int signal_number) { impl_->kill_group(signal_number); }

}  // namespace agent::io
