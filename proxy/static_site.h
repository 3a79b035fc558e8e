#pragma once
/// Files as an origin: which file answers a request, and with what head. A core without a file of its own: the host opens
/// what it is told to, says what it has found, and sends the bytes that it is told to.
/// Source: RFC 9110, sections 8.8 (validators), 13 (conditions), 14 (ranges) and 15.3.7.
/// Invariant: a name given to the host never begins with '/', holds no NUL, no empty segment and no "." or "..". That what
/// it names lies beneath the root, symbolic links included, is for the host to see to when it opens it.

#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/http1/message.h"

namespace proxy {

/// One folder shown to clients. Immutable; shared by all workers.
struct StaticSite {
  std::string root;                      ///< path of the folder, for the host
  std::string prefix = "/";              ///< path of the route; what stands behind it is looked for beneath the root
  std::string index = "index.html";      ///< answers for a folder; empty = folders are not found
  std::string fallback;                  ///< answers for what is not found (an application of one page); empty = 404
  std::string cache_control;             ///< of files; empty = none
  bool precompressed = true;             ///< "x.js.gz" beside "x.js", not older than it, goes to clients that take gzip
  static constexpr std::string_view kFallbackCacheControl = "no-cache";  ///< so that a new version of it is seen at once
  friend bool operator==(const StaticSite&, const StaticSite&) = default;
};

/// What the host has found under a name.
struct FileFacts {
  std::uint64_t bytes = 0;
  std::int64_t modified_ns = 0;   ///< since 1970
  bool is_folder = false;
};

/// What is to be done next.
enum class StaticStep : std::uint8_t {
  kOpen,        ///< open name() and report found() or missing()
  kOpenBeside,  ///< the same for name(), and keep the file opened before: it is the one to send if this is missing
  kSend,        ///< send head(), then length() bytes from first() of the file opened last; done
  kSendKept,    ///< the same from the file kept
  kReply,       ///< send head(), which holds the whole answer; done
};

/// One request to a site, from its head to the head of its answer. Recycled by begin().
class StaticAnswer {
 public:
  /// @param now  seconds since 1970, for Date
  StaticStep begin(const StaticSite& site, const http1::RequestHead& request, std::int64_t now);
  StaticStep found(const FileFacts& facts);
  StaticStep missing();  ///< not there, not readable, not beneath the root, neither a file nor a folder

  [[nodiscard]] const std::string& name() const { return name_; }   ///< relative to the root
  [[nodiscard]] const std::string& head() const { return head_; }
  [[nodiscard]] std::uint64_t first() const { return first_; }
  [[nodiscard]] std::uint64_t length() const { return length_; }
  [[nodiscard]] bool keep_alive() const { return keep_alive_; }

 private:
  enum class Looking : std::uint8_t { kFile, kIndex, kFallback, kBeside };
  bool set_name(std::string_view path);
  StaticStep reply(int status, std::string_view fields, std::string_view body);
  StaticStep not_found();
  StaticStep answer(bool packed);
  [[nodiscard]] int judge(std::string_view tag) const;
  void choose_range(std::string_view tag);
  void begin_head(int status);

  const StaticSite* site_ = nullptr;
  Looking looking_ = Looking::kFile;
  bool is_head_ = false, takes_gzip_ = false, keep_alive_ = true, fell_back_ = false;
  bool partial_ = false, unsatisfiable_ = false;
  std::string path_, query_;             // of the request, canonical
  std::string name_, file_name_, head_;
  std::string if_match_, if_none_match_, if_range_, range_, scratch_;
  std::int64_t modified_since_ = -1, unmodified_since_ = -1;  // -1 = not asked
  FileFacts facts_, packed_facts_;
  std::int64_t now_ = 0;
  std::uint64_t first_ = 0, length_ = 0;
};

/// The name of a file beneath the root for a canonical path, in `out`. @return false: there can be no such file (a hidden
/// name other than ".well-known", an escaped slash or NUL, a segment of dots)
[[nodiscard]] bool file_name_of(std::string_view path, std::string_view prefix, std::string& out);

/// By the ending of the name; "application/octet-stream" for unknown ones. Texts say that they are UTF-8.
[[nodiscard]] std::string_view media_type_of(std::string_view name);
/// True for types that gain from being packed.
[[nodiscard]] bool is_packable(std::string_view media_type);

/// One range of bytes out of `size`, as [first, first + length).
struct ByteRange {
  std::uint64_t first = 0, length = 0;
};
enum class RangeVerdict : std::uint8_t {
  kIgnore,         ///< not one range of bytes: the whole file is the answer
  kSatisfiable,
  kUnsatisfiable,  ///< 416
};
/// Reads the value of Range. More ranges than one are ignored: nobody is obliged to join them, and they are a way to ask for
/// a file many times over.
[[nodiscard]] RangeVerdict parse_range(std::string_view text, std::uint64_t size, ByteRange& out);

}  // namespace proxy
