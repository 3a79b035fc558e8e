#include <algorithm>
#include <fstream>
#include <memory>
#include <ostream>

#include "agent/cli/audit_file.h"
#include "agent/cli/verbs_halt.h"

/// audit verify, audit export, audit witness: what was decided about the trade, and whether anybody has touched it.
namespace agent::cli {
namespace {

constexpr std::uint64_t kPage = 1000;
constexpr std::uint32_t kPeersTimeoutMs = 90'000;  // every peer reads its whole copy

struct VerifyOptions {
  bool peers = false;
  std::string file;
};

std::string range(const Json& fault) {
  const std::string first = cell(fault, "number"), last = cell(fault, "last");
  return first + (last == first ? "" : " to " + last);
}
Json list(const Json& object, const char* name) {
  const Json value = field(object, name);
  return value.is_array() ? value : Json::array();
}

std::string plain(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

void print_own(Session& session, const Json& reply) {
  const std::string node = cell(reply, "node");
  session.host.out << node << ": " << cell(reply, "entries") << " entries, head " << cell(field(reply, "head"), "number") << " "
                   << cell(field(reply, "head"), "hash") << "\n";
  for (const auto& fault : list(reply, "faults")) {
    const std::string text = cell(fault, "text");
    session.host.out << node << ": " << cell(fault, "kind") << " " << range(fault) << (text.empty() || text == "-" ? "" : ": " + text) << "\n";
  }
}

void print_peers(Session& session, const Json& peers) {
  for (const auto& one : list(peers, "findings"))
    session.host.out << cell(one, "node") << ": " << cell(one, "kind") << " " << range(one) << " (" << cell(one, "by") << "): " << cell(one, "text") << "\n";
  for (const auto& one : list(peers, "undecided")) {
    session.host.out << "undecided: the copies differ from entry " << cell(one, "number") << " on, and nothing says who is right:";
    const char* between = " ";
    for (const auto& group : list(one, "groups")) {
      session.host.out << between;
      for (std::size_t i = 0; group.is_array() && i < group.size(); ++i) session.host.out << (i == 0 ? "" : ", ") << plain(group[i]);
      between = " against ";
    }
    session.host.out << "\n";
  }
  for (const auto& one : list(peers, "notes")) session.host.out << "note: " << plain(one) << "\n";
  for (const auto& one : list(peers, "unreached")) session.host.out << cell(one, "node") << ": not compared: " << cell(one, "why") << "\n";
}

int run_verify(Session& session, bool with_peers) {
  int code = kExitOk;
  if (with_peers) session.timeout_ms = std::max(session.timeout_ms, kPeersTimeoutMs);
  const auto reply = session.call_json("GET", with_peers ? "/outrigger/v1/audit/verify?peers=1" : "/outrigger/v1/audit/verify", code);
  if (!reply) return code;
  const bool intact = cell(*reply, "intact") == "true", complete = cell(*reply, "complete") == "true";
  const int result = !intact ? kExitFailed : complete ? kExitOk : kExitPartial;
  if (session.json()) return session.print(*reply), result;
  print_own(session, *reply);
  if (!with_peers) {
    session.host.out << (intact ? "nobody has touched this copy\n" : "this copy is not as it was written\n");
    return result;
  }
  const Json peers = field(*reply, "peers");
  print_peers(session, peers);
  const std::size_t asked = list(peers, "asked").size() + 1;
  const std::string copies = std::to_string(asked) + " of " + cell(peers, "members") + " copies";
  if (!intact) session.host.out << copies << " looked at: not all are as they were written\n";
  else if (!complete) session.host.out << copies << " looked at: nothing was found in these, but not all was compared\n";
  else session.host.out << copies << " looked at: nobody has touched any\n";
  return result;
}

int run_verify_file(Session& session, const std::string& path) {
  std::ifstream in(path);
  if (!in) return session.fail("cannot open " + path, "an export is made by \"outrigger audit export --signed > FILE\"");
  AuditFile file;
  for (std::string line; std::getline(in, line);) file.take(line);
  if (in.bad()) return session.fail("cannot read " + path);
  file.finish();
  const bool intact = file.faults().empty();
  if (session.json()) {
    session.print({{"file", path}, {"intact", intact}, {"entries", file.entries()}, {"first", file.first()}, {"last", file.last()},
                   {"signatures", file.signatures()}, {"signed_to", file.signed_to()}, {"faults", file.faults()}});
    return intact ? kExitOk : kExitFailed;
  }
  session.host.out << path << ": " << file.entries() << " entries, " << file.first() << " to " << file.last() << ", " << file.signatures() << " signatures fit\n";
  for (const std::string& fault : file.faults()) session.host.out << fault << "\n";
  if (!intact) session.host.out << "this file is not as it was written\n";
  else if (file.signatures() == 0) session.host.out << "it fits together; no signatures say that nothing was cut off at its end\n";
  else session.host.out << "it fits together and is as it was signed, as far as entry " << file.signed_to() << " by:" << file.keys() << "\n"
                        << "whether these keys are those agents' own, \"outrigger audit witness\" says, or an older export; "
                        << file.last() - std::min(file.last(), file.signed_to()) << " entries behind are not signed\n";
  return intact ? kExitOk : kExitFailed;
}

int run_witness(Session& session) {
  int code = kExitOk;
  const auto reply = session.call_json("GET", "/outrigger/v1/audit/witness", code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  std::vector<std::vector<std::string>> rows{{"NODE", "KEY", "STATEMENTS", "NEWEST", "HASH", "STATE"}};
  for (const auto& signer : list(*reply, "signers")) {
    const Json kept = list(signer, "kept");
    const Json newest = kept.empty() ? Json::object() : Json(kept.back());
    const std::string changes = cell(signer, "key_changes");
    rows.push_back({cell(signer, "node"), cell(signer, "key").substr(2, 16), std::to_string(kept.size()), cell(newest, "number"), cell(newest, "hash").substr(0, 16),
                    std::string(cell(signer, "disputed") == "true" ? "contradicts this copy" : "agrees") + (changes == "0" ? "" : ", key changed " + changes + "x")});
  }
  session.print_table(rows);
  return kExitOk;
}

int run_export(Session& session, std::uint64_t after, bool with_signers) {
  int code = kExitOk;
  // First what was signed: no statement then is of an entry behind the last line. It is the last line itself.
  const auto signers = with_signers ? session.call_json("GET", "/outrigger/v1/audit/witness", code) : std::optional<Json>();
  if (with_signers && !signers) return code;
  for (;;) {
    const auto reply = session.call_json("GET", "/outrigger/v1/audit?after=" + std::to_string(after) + "&limit=" + std::to_string(kPage), code);
    if (!reply) return code;
    const Json entries = field(*reply, "entries");
    if (!entries.is_array() || entries.empty()) {
      if (signers) session.host.out << Json{{"signers", field(*signers, "signers")}}.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
      return kExitOk;
    }
    for (const auto& entry : entries) {
      session.host.out << entry.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
      const Json number = field(entry, "number");
      if (!number.is_number_unsigned() || number.get<std::uint64_t>() <= after) return session.fail("an answer that goes back");
      after = number.get<std::uint64_t>();
    }
  }
}

}  // namespace

void add_audit_verbs(CLI::App& app, Session& session) {
  CLI::App& audit = *app.add_subcommand("audit", "promotions, halts, resumes, approvals, orders, restores: a chain that shows whether it was touched");
  audit.require_subcommand(1);
  CLI::App& verify = *audit.add_subcommand("verify", "look at this agent's copy, all copies or a file: names what was edited, deleted or cut off, and where");
  session.add_client_options(verify);
  const auto options = std::make_shared<VerifyOptions>();
  CLI::Option& peers = *verify.add_flag("--peers", options->peers, "ask every agent for its copy too, and find out whose was changed");
  verify.add_option("--file", options->file, "check an export instead, without any agent")->excludes(&peers);
  verify.footer("Exit code: 0 nobody has touched anything; 1 something was changed, or it cannot be decided who is right; 3 nothing was\n"
                "found, but not every copy could be compared to the end (each is named).");
  verify.callback([&session, options] {
    session.chosen = [&session, options] { return options->file.empty() ? run_verify(session, options->peers) : run_verify_file(session, options->file); };
  });

  CLI::App& witness = *audit.add_subcommand("witness", "what this agent keeps of everybody's signatures about the audit");
  session.add_client_options(witness);
  witness.callback([&session] { session.chosen = [&session] { return run_witness(session); }; });

  CLI::App& out = *audit.add_subcommand("export", "print the entries, a JSON object per line, oldest first");
  session.add_client_options(out);
  const auto after = std::make_shared<std::uint64_t>(0);
  const auto with_signers = std::make_shared<bool>(false);
  out.add_option("--after", *after, "only entries above this number");
  out.add_flag("--signed", *with_signers, "and, as the last line, what all agents have signed: \"verify --file\" then sees a cut end, too");
  out.footer("Example: outrigger audit export --signed > audit.jsonl; outrigger audit verify --file audit.jsonl");
  out.callback([&session, after, with_signers] { session.chosen = [&session, after, with_signers] { return run_export(session, *after, *with_signers); }; });
}

}  // namespace agent::cli
