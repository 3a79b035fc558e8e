#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <vector>

#include "tests/fuzz/fuzz.h"

// Runs a target over files and folders, each input as it is and in a fixed number of mutated forms, the same in every
// run. No fuzzer: it keeps the corpus and the properties from rotting where there is no clang.
namespace {

constexpr int kMutationsPerInput = 300;

/// The input that is running, for whoever has to look at a crash.
const std::vector<std::uint8_t>* running = nullptr;
extern "C" void on_abort(int) {
  if (running == nullptr) return;
  const int fd = open("replay-crash", O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  const auto written = write(fd, running->data(), running->size());
  const char text[] = "the input is in ./replay-crash\n";
  if (written >= 0) static_cast<void>(!write(STDERR_FILENO, text, sizeof text - 1));
}
void test(const std::vector<std::uint8_t>& bytes) {
  running = &bytes;
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  running = nullptr;
}

/// splitmix64: small, and the same everywhere.
std::uint64_t next(std::uint64_t& state) {
  std::uint64_t z = state += 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

void mutate(std::vector<std::uint8_t>& bytes, std::uint64_t& state) {
  const auto at = [&bytes, &state] { return bytes.empty() ? 0 : next(state) % bytes.size(); };
  switch (next(state) % 6) {
    case 0:
      if (!bytes.empty()) bytes[at()] = static_cast<std::uint8_t>(next(state));
      break;
    case 1:
      if (!bytes.empty()) bytes[at()] ^= static_cast<std::uint8_t>(1U << (next(state) % 8));
      break;
    case 2:
      bytes.resize(at());
      break;
    case 3:
      bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at()), static_cast<std::uint8_t>(next(state)));
      break;
    case 4:
      if (!bytes.empty()) bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at()));
      break;
    default:
      if (!bytes.empty()) {
        const std::vector<std::uint8_t> part(bytes.begin() + static_cast<std::ptrdiff_t>(at()), bytes.end());
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at()), part.begin(), part.end());
        if (bytes.size() > 65536) bytes.resize(65536);
      }
  }
}

void run(const std::filesystem::path& file, std::uint64_t& state) {
  std::ifstream in(file, std::ios::binary);
  const std::vector<std::uint8_t> seed{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  test(seed);
  for (int i = 0; i < kMutationsPerInput; ++i) {
    auto bytes = seed;
    for (auto edits = next(state) % 4 + 1; edits > 0; --edits) mutate(bytes, state);
    test(bytes);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGABRT, on_abort);
  std::size_t count = 0;
  std::uint64_t state = 1;
  for (int i = 1; i < argc; ++i) {
    std::vector<std::filesystem::path> files;
    if (std::filesystem::is_directory(argv[i]))
      for (const auto& entry : std::filesystem::directory_iterator(argv[i])) files.push_back(entry.path());
    else
      files.emplace_back(argv[i]);
    std::sort(files.begin(), files.end());
    for (const auto& file : files) run(file, state), ++count;
  }
  if (count == 0) {
    std::cerr << "no inputs: a target without a corpus proves nothing\n";
    return 1;
  }
  std::cout << count << " inputs, " << count * (kMutationsPerInput + 1) << " runs\n";
  return 0;
}
