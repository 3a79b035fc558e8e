// A folder of files in the place of an instance, over a real loop and real files.
#include "agent/drivers/file_stream.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "proxy/http1/writer.h"
#include "tests/unit/agent/io/loop_until.h"

namespace agent::drivers {
namespace {

namespace fs = std::filesystem;

class FileStreams : public testing::Test, public FileHost, public proxy::StreamSink {
 protected:
  FileStreams() : loop_(io::new_loop()) {
    std::string pattern = testing::TempDir() + "outrigger-site-XXXXXX";
    root_ = mkdtemp(pattern.data());
    write("index.html", "<html>");
    proxy::StaticSite site;
    site.root = root_.string();
    site_ = std::make_shared<const proxy::StaticSite>(site);
    tree_ = io::FileTree::open(site.root).value();
  }
  ~FileStreams() override { fs::remove_all(root_); }
  void write(const std::string& name, std::string_view text) { std::ofstream(root_ / name) << text; }
  void connect() {
    stream_ = std::make_unique<FileStream>(*this, site_, *this);
    EXPECT_TRUE(io::run_until(*loop_, [this] { return connected_ || ended_; }));
  }
  void ask(std::string_view target) {
    const std::string text = "GET " + std::string(target) + " HTTP/1.1\r\nHost: h\r\n\r\n";
    const proxy::Bytes piece = proxy::http1::bytes_of(text);
    EXPECT_EQ(stream_->write({&piece, 1}), text.size());
  }
  bool has_body(std::size_t bytes) const {
    const std::size_t at = received_.find("\r\n\r\n");
    return at != std::string::npos && received_.size() == at + 4 + bytes;
  }

  io::Loop& loop() override { return *loop_; }
  std::shared_ptr<const io::FileTree> tree_of(const proxy::StaticSite&) override { return tree_; }
  std::span<std::byte> file_slab() override { return slab_; }
  void file_event() override { ++events_; }
  void on_connected() override { connected_ = true; }
  void on_data(proxy::Bytes bytes) override {
    EXPECT_LE(bytes.size(), proxy::kReadBytesMax);
    received_ += proxy::http1::text_of(bytes);
    if (pause_) stream_->pause_reading();
    if (destroy_) stream_.reset();
  }
  void on_eof() override {}
  void on_writable() override {}
  void on_closed(proxy::StreamEnd) override { ended_ = true; }

  std::unique_ptr<io::Loop> loop_;
  fs::path root_;
  std::shared_ptr<const proxy::StaticSite> site_;
  std::shared_ptr<const io::FileTree> tree_;
  std::vector<std::byte> slab_ = std::vector<std::byte>(proxy::kReadBytesMax);
  std::string received_;
  int events_ = 0;
  bool connected_ = false, ended_ = false, pause_ = false, destroy_ = false;
  std::unique_ptr<FileStream> stream_;
};

TEST_F(FileStreams, AnswersOneRequestAfterTheOther) {
  connect();
  for (int i = 0; i < 3; ++i) {
    received_.clear();
    ask("/");
    ASSERT_TRUE(io::run_until(*loop_, [this] { return has_body(6); }));
    EXPECT_TRUE(received_.ends_with("<html>"));
  }
  received_.clear();
  ask("/missing");
  ASSERT_TRUE(io::run_until(*loop_, [this] { return received_.find("404") != std::string::npos; }));
  EXPECT_FALSE(ended_);
}

TEST_F(FileStreams, ALargeFileComesInPiecesAndStopsWhenNobodyReads) {
  std::string text;
  for (int i = 0; text.size() < 1'000'000; ++i) text += std::to_string(i) + "\n";
  write("big.txt", text);
  connect();
  pause_ = true;
  ask("/big.txt");
  ASSERT_TRUE(io::run_until(*loop_, [this] { return !received_.empty(); }));
  for (int i = 0; i < 5; ++i) loop_->poll();
  EXPECT_LE(received_.size(), proxy::kReadBytesMax);
  pause_ = false;
  stream_->resume_reading();
  ASSERT_TRUE(io::run_until(*loop_, [&] { return has_body(text.size()); }));
  EXPECT_TRUE(received_.ends_with(text));
}

TEST_F(FileStreams, AFileThatIsCutOrChangedEndsTheStream) {
  for (const std::size_t size : {std::size_t{100'000}, std::size_t{300'000}}) {
    write("big.txt", std::string(300'000, 'x'));
    connected_ = ended_ = false;
    received_.clear();
    connect();
    pause_ = true;
    ask("/big.txt");
    ASSERT_TRUE(io::run_until(*loop_, [this] { return !received_.empty(); }));
    write("big.txt", std::string(size, 'y'));
    fs::last_write_time(root_ / "big.txt", fs::file_time_type::clock::now() + std::chrono::seconds(5));
    pause_ = false;
    stream_->resume_reading();
    ASSERT_TRUE(io::run_until(*loop_, [this] { return ended_; }));
    EXPECT_LT(received_.size(), 300'000U);
  }
}

TEST_F(FileStreams, MayBeDestroyedInsideOfItsOwnEvent) {
  write("big.txt", std::string(300'000, 'x'));
  connect();
  destroy_ = true;
  ask("/big.txt");
  ASSERT_TRUE(io::run_until(*loop_, [this] { return stream_ == nullptr; }));
  while (loop_->poll()) {
  }
}

TEST_F(FileStreams, AFolderThatIsNotThereRefusesTheConnection) {
  tree_ = nullptr;
  connect();
  EXPECT_TRUE(ended_);
  EXPECT_FALSE(connected_);
}

}  // namespace
}  // namespace agent::drivers
