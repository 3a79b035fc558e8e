#include "agent/cli/listener_pids.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "agent/io/address.h"

namespace agent::cli {
namespace {

/// An address as the kernel's table writes it: each word of 32 bits in this machine's order, in hex.
std::string table_text(const io::Address& address) {
  std::string out;
  const auto bytes = address.bytes();
  for (std::size_t word = 0; word + 4 <= bytes.size(); word += 4) {
    for (std::size_t i = 4; i-- > 0;) {
      std::array<char, 3> text{};
      std::snprintf(text.data(), text.size(), "%02X", std::to_integer<unsigned>(bytes[word + i]));
      out += text.data();
    }
  }
  return out;
}

/// Inodes of the sockets that listen on that port, at that address or at all.
std::set<std::string> listening_inodes(const char* table, const std::string& address, std::uint16_t port) {
  std::set<std::string> inodes;
  std::ifstream file(table);
  std::string line;
  std::getline(file, line);  // the headings
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::string slot, local, remote, state, queues, timer, retries, user, timeout, inode;
    fields >> slot >> local >> remote >> state >> queues >> timer >> retries >> user >> timeout >> inode;
    const auto colon = local.find(':');
    if (colon == std::string::npos || state != "0A") continue;
    const std::string at = local.substr(0, colon);
    const bool everywhere = at.find_first_not_of('0') == std::string::npos;
    if ((at == address || everywhere) && std::strtoul(local.c_str() + colon + 1, nullptr, 16) == port) inodes.insert(inode);
  }
  return inodes;
}

bool holds_any(pid_t pid, const std::set<std::string>& inodes) {
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  DIR* open = opendir(folder.c_str());
  if (open == nullptr) return false;
  bool found = false;
  while (const dirent* entry = readdir(open)) {
    std::array<char, 64> target{};
    const ssize_t size = readlink((folder + "/" + entry->d_name).c_str(), target.data(), target.size() - 1);
    const std::string text = size > 0 ? std::string(target.data(), static_cast<std::size_t>(size)) : std::string();
    if (text.starts_with("socket:[") && inodes.contains(text.substr(8, text.size() - 9))) found = true;
  }
  closedir(open);
  return found;
}

}  // namespace

std::vector<pid_t> listener_pids(const std::string& address) {
  const auto parsed = io::Address::parse(address);
  if (!parsed || parsed->port() == 0) return {};
  std::set<std::string> inodes = listening_inodes("/proc/net/tcp", table_text(*parsed), parsed->port());
  inodes.merge(listening_inodes("/proc/net/tcp6", table_text(*parsed), parsed->port()));
  std::vector<pid_t> pids;
  DIR* processes = inodes.empty() ? nullptr : opendir("/proc");
  if (processes == nullptr) return pids;
  while (const dirent* entry = readdir(processes)) {
    const auto pid = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (pid > 0 && holds_any(pid, inodes)) pids.push_back(pid);
  }
  closedir(processes);
  std::sort(pids.begin(), pids.end());
  return pids;
}

std::string command_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline", std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  while (!text.empty() && text.back() == '\0') text.pop_back();
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

}  // namespace agent::cli
