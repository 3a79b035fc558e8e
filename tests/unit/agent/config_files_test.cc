// What a name in the settings may lead to: a reload and a plan read it while everything else of the agent waits.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "agent/config_load.h"

namespace agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ConfigFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "outrigger-files-XXXXXX").string();
    folder = mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::vector<std::string> problems(const std::string& toml) const {
    ConfigSource source;
    source.file = folder / "outrigger.toml";
    std::ofstream(*source.file) << toml;
    return problems_of(source);
  }
  static std::vector<std::string> problems_of(const ConfigSource& source) {
    std::vector<std::string> out;
    if (const auto read = read_settings(source); !read)
      for (const ConfigProblem& problem : read.error()) out.push_back(problem.text());
    return out;
  }
  std::filesystem::path folder;
};

/// A pipe that a writer holds open and has filled beyond what is read of a key: reading it ends, also where it should not begin.
class FullPipe {
 public:
  explicit FullPipe(const std::filesystem::path& path) {
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    fd_ = ::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    const std::string bytes(8000, 'x');
    EXPECT_EQ(::write(fd_, bytes.data(), bytes.size()), 8000);
  }
  FullPipe(const FullPipe&) = delete;
  FullPipe& operator=(const FullPipe&) = delete;
  ~FullPipe() { ::close(fd_); }

 private:
  int fd_ = -1;
};

TEST_F(ConfigFiles, APipeIsRefusedAndNotRead) {
  const FullPipe pipe(folder / "pipe");
  EXPECT_THAT(problems("[mesh]\ngossip_key_file = \"pipe\"\n"), ElementsAre(HasSubstr("mesh.gossip_key_file: cannot read " + (folder / "pipe").string() + ": it is no file but a pipe")));
}

TEST_F(ConfigFiles, NobodyIsWaitedForWhoMayNeverWrite) {
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  ConfigSource source;
  source.file = folder / "pipe";
  EXPECT_THAT(problems_of(source), ElementsAre(HasSubstr("cannot read the file: it is no file but a pipe")));
  EXPECT_THAT(problems("[mesh]\nca = \"pipe\"\ncert = \"pipe\"\nkey = \"pipe\"\n"), ElementsAre(HasSubstr("mesh.ca"), HasSubstr("mesh.cert"), HasSubstr("mesh.key")));
  EXPECT_THAT(read_settings_texts(folder / "pipe").error().at(0).message, HasSubstr("it is no file but a pipe"));
}

TEST_F(ConfigFiles, SocketsAndDevicesAreNoFiles) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = folder / "socket";
  ASSERT_LT(path.size(), sizeof(address.sun_path));
  std::copy(path.begin(), path.end(), address.sun_path);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_THAT(problems("[mesh]\ngossip_key_file = \"socket\"\n"), ElementsAre(HasSubstr("it is no file but a pipe, a socket or a device")));
  ::close(fd);
  EXPECT_THAT(problems("[mesh]\ngossip_key_file = \"/dev/zero\"\n"), ElementsAre(HasSubstr("it is no file but a pipe, a socket or a device")));
  ConfigSource none;
  none.file = "/dev/null";
  EXPECT_THAT(problems_of(none), ElementsAre()) << "no settings at all";
}

TEST_F(ConfigFiles, LinksLeadToFilesAndFilesHaveABound) {
  const std::string key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
  std::ofstream(folder / "key") << key << "\n" << std::string(4096 - key.size() - 1, ' ');
  std::filesystem::create_symlink(folder / "key", folder / "link");
  EXPECT_THAT(problems("[mesh]\ngossip_key_file = \"link\"\n"), ElementsAre()) << "as mounted secrets are";
  std::ofstream(folder / "key", std::ios::app) << " ";
  EXPECT_THAT(problems("[mesh]\ngossip_key_file = \"link\"\n"), ElementsAre(HasSubstr("it is larger than 4096 bytes")));
}

}  // namespace
}  // namespace agent
