#include <algorithm>
#include <fstream>
#include <istream>
#include <iterator>
#include <memory>
#include <ostream>
#include <sstream>

#include "agent/cli/kv_copy.h"
#include "agent/cli/session.h"

/// kv export and kv import, in the format of Consul's own verbs of these names.
namespace agent::cli {
namespace {

constexpr std::size_t kTellEvery = 1000;  ///< keys between two lines of progress

struct CopyOptions {
  std::string prefix, file;
};

void tell(Session& session, std::size_t done, std::size_t whole, const char* what) {
  if (whole > kTellEvery) session.host.err << "outrigger: " << what << " " << done << " of " << whole << " keys\n";
}

/// In one answer if it fits, in parts otherwise: then it is no picture of one moment, and that is said.
std::optional<std::vector<CopiedKey>> read_everything(Session& session, KeyStore& store, const std::string& prefix) {
  bool too_large = false;
  auto whole = store.read_all(prefix, too_large);
  if (whole || !too_large) return whole;
  session.host.err << "outrigger: too large for one answer; read in parts, so writes meanwhile may be in it or not\n";
  const auto names = store.names(prefix);
  if (!names) return std::nullopt;
  std::vector<CopiedKey> out;
  for (std::size_t at = 0; at < names->size(); at += 16) {
    const std::size_t end = std::min(at + 16, names->size());
    auto part = store.read(
        {names->begin() + static_cast<std::ptrdiff_t>(at), names->begin() + static_cast<std::ptrdiff_t>(end)});
    if (!part) return std::nullopt;
    std::move(part->begin(), part->end(), std::back_inserter(out));
    if (end / kTellEvery != at / kTellEvery) tell(session, end, names->size(), "read");
  }
  return out;
}

int run_export(Session& session, const CopyOptions& options) {
  KeyStore store(session.api, session.token, std::chrono::milliseconds(session.timeout_ms));
  const auto keys = read_everything(session, store, options.prefix);
  if (!keys) return session.fail(store.fault);
  if (options.file.empty() || options.file == "-") {
    session.host.out << export_text(*keys);
    return kExitOk;
  }
  std::ofstream file(options.file, std::ios::binary | std::ios::trunc);
  file << export_text(*keys);
  file.close();
  if (!file) return session.fail("cannot write " + options.file, "is the folder there, and is there room?");
  if (session.json())
    session.print({{"ok", true}, {"file", options.file}, {"keys", keys->size()}});
  else
    session.host.out << "exported " << keys->size() << " keys to " << options.file << "\n";
  return kExitOk;
}

/// "-" = standard input, "@FILE" or FILE = a file, anything that begins with '[' = the list itself.
std::optional<std::string> input_of(Session& session, const std::string& source) {
  if (source == "-") return std::string(std::istreambuf_iterator<char>(session.host.in), {});
  if (source.starts_with("[")) return source;
  const std::string name = source.starts_with("@") ? source.substr(1) : source;
  std::ifstream file(name, std::ios::binary);
  if (!file)
    return session.fail("cannot read " + name, "name a file that kv export wrote, or - for standard input"),
           std::nullopt;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

int run_import(Session& session, const CopyOptions& options) {
  const auto text = input_of(session, options.file);
  if (!text) return kExitFailed;
  std::string fault;
  auto keys = parse_export(*text, fault);
  if (!keys) return session.fail(fault, "it should be what \"kv export\" writes");
  for (auto& one : *keys) one.key = options.prefix + one.key;
  const std::size_t whole = keys->size();
  KeyStore store(session.api, session.token, std::chrono::milliseconds(session.timeout_ms));
  std::size_t done = 0;
  for (const auto& batch : batches_of(std::move(*keys))) {
    if (!store.write(batch, KeyStore::Write::kSet))
      return session.fail(store.fault, std::to_string(done) + " of " + std::to_string(whole) +
                                           " keys are in; run it again to write all");
    const std::size_t before = done;
    done += batch.size();
    if (done / kTellEvery != before / kTellEvery) tell(session, done, whole, "imported");
  }
  if (session.json())
    session.print({{"ok", true}, {"keys", done}});
  else
    session.host.out << "imported " << done << " keys\n";
  return kExitOk;
}

}  // namespace

void add_kv_copy_verbs(CLI::App& kv, Session& session) {
  const auto options = std::make_shared<CopyOptions>();
  CLI::App& out =
      *kv.add_subcommand("export", "print keys as Consul's export format: a JSON list of key, flags, value");
  session.add_client_options(out);
  out.add_option("prefix", options->prefix, "only keys that begin with this");
  out.add_option("--out", options->file, "write to this file instead");
  out.footer("Example: outrigger kv export config/ --out config.json");
  out.callback([&session, options] { session.chosen = [&session, options] { return run_export(session, *options); }; });

  CLI::App& in = *kv.add_subcommand("import", "write the keys of an export; those that are there are overwritten");
  session.add_client_options(in);
  in.add_option("file", options->file, "file (or @file) that kv export wrote; - reads standard input")->required();
  in.add_option("--prefix", options->prefix, "put in front of every key");
  in.footer("Example: outrigger kv import config.json --prefix staging/");
  in.callback([&session, options] { session.chosen = [&session, options] { return run_import(session, *options); }; });
}

}  // namespace agent::cli
