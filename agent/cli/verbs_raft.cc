#include <cstdint>
#include <filesystem>
#include <memory>
#include <ostream>

#include "agent/cli/session.h"

/// The replicated store by hand: status, list, transfer, remove; and recover, the one verb that works on the data
/// directory of an agent that does not run.
namespace agent::cli {
namespace {

using Row = std::vector<std::string>;

Json list_of(const Json& object, const std::string& key) {
  Json list = field(object, key);
  return list.is_array() ? list : Json::array();
}

std::string milliseconds(const Json& peer, const std::string& key) {
  const std::string text = cell(peer, key);
  return text == "-" ? text : text + " ms";
}

std::string role_of(const Json& peer) {
  if (cell(peer, "is_leader") == "true") return "leader";
  return cell(peer, "is_voter") == "true" ? "voter" : "learner";
}

std::string lag_of(const Json& reply, const Json& peer) {
  const Json last = field(reply, "last_index"), match = field(peer, "match_index");
  if (!last.is_number_unsigned() || !match.is_number_unsigned()) return "-";
  const auto end = last.get<std::uint64_t>(), at = match.get<std::uint64_t>();
  return std::to_string(end > at ? end - at : 0);
}

int run_status(Session& session) {
  int code = kExitOk;
  const auto reply = session.call_json("GET", "/outrigger/v1/raft", code);
  if (!reply) return code;
  if (session.json()) return session.print(*reply), kExitOk;
  session.host.out << "role " << cell(*reply, "role") << ", term " << cell(*reply, "term") << ", leader "
                   << cell(*reply, "leader_name") << ", commit " << cell(*reply, "commit_index") << ", applied "
                   << cell(*reply, "applied_index") << ", last " << cell(*reply, "last_index") << "\n";
  if (const std::string room = cell(*reply, "disk_space"); room != "plenty" && room != "-")
    session.host.out << "room on this agent's disk: " << room << "\n";
  std::vector<Row> rows{{"NAME", "ID", "ADDRESS", "ROLE", "LAG", "LAST CONTACT", "FSYNC P50", "FSYNC P99"}};
  for (const auto& peer : list_of(*reply, "peers")) {
    rows.push_back({cell(peer, "name"), cell(peer, "id"), cell(peer, "address"), role_of(peer), lag_of(*reply, peer),
                    milliseconds(peer, "last_contact_ms"), milliseconds(peer, "fsync_p50_ms"),
                    milliseconds(peer, "fsync_p99_ms")});
  }
  session.print_table(rows);
  std::string missing;
  for (const auto& name : list_of(*reply, "missing"))
    if (name.is_string()) missing += (missing.empty() ? "" : ", ") + name.get_ref<const std::string&>();
  if (!missing.empty()) {
    session.host.out << "no answer from: " << missing << "\n";
    session.host.out << "if a majority of them is lost for good, disks and all: outrigger raft recover --help\n";
  }
  return kExitOk;
}

int run_list(Session& session) {
  int code = kExitOk;
  const auto reply = session.call_json("GET", "/outrigger/v1/raft", code);
  if (!reply) return code;
  if (session.json()) return session.print(list_of(*reply, "peers")), kExitOk;
  std::vector<Row> rows{{"NAME", "ID", "ADDRESS", "ROLE"}};
  for (const auto& peer : list_of(*reply, "peers"))
    rows.push_back({cell(peer, "name"), cell(peer, "id"), cell(peer, "address"), role_of(peer)});
  session.print_table(rows);
  return kExitOk;
}

struct RecoverOptions {
  std::string data_dir;
  bool reseed = false, yes = false, torn = false, no_halt = false;
};

void print_alone(Session& session, const Json& report) {
  std::ostream& out = session.host.out;
  out << "This node's disk holds the log up to index " << cell(report, "last_index") << " in term " << cell(report, "term")
      << ", known to be committed up to " << cell(report, "commit_index") << "; " << cell(report, "keys") << " keys.\n"
      << "It becomes the only voter of a new cluster; everything in its log is kept"
      << (cell(report, "uncommitted") == "0" ? "" : ", the last " + cell(report, "uncommitted") + " entries too, though nobody "
                                                     "knows whether they were committed")
      << ".\n"
      << "Acknowledged writes that never reached this disk are lost. All leases end; epochs and indexes jump ahead.\n";
  std::vector<Row> rows{{"DROPPED", "ID", "ROLE"}};
  for (const auto& one : list_of(report, "dropped"))
    rows.push_back({cell(one, "name"), cell(one, "id"), cell(one, "voter") == "true" ? "voter" : "learner"});
  if (rows.size() > 1) session.print_table(rows);
  out << "Dropped nodes that come back are of the old cluster and are refused: run \"outrigger raft recover --reseed\" on "
         "each of them.\n";
  if (cell(report, "halt") == "true") {
    out << "Orders that the lost nodes acknowledged may be missing in its ledger, and would be sent again. So everything is halted: look at the "
           "brokers, then \"outrigger resume --all\".\n";
  }
}

int run_recover(Session& session, const RecoverOptions& options) {
  if (!session.host.recover) return session.fail("this build cannot recover a data directory");
  const auto text = session.host.recover({options.data_dir, options.reseed, options.torn, options.yes, !options.no_halt});
  if (!text) return session.fail(text.error(), "nothing was changed");
  const Json report = Json::parse(*text, nullptr, false);
  if (session.json()) return session.print(report), kExitOk;
  std::ostream& out = session.host.out;
  if (options.reseed) {
    out << (options.yes ? "The store of this node was put aside" : "The store of this node would be put aside") << " in "
        << cell(report, "aside") << ".\nAt its next start the agent is a new node: it founds nothing, joins by its seeds and "
        << "is seeded by its peers as a learner.\n";
  } else {
    print_alone(session, report);
  }
  if (!options.yes) {
    out << "Nothing was changed. To do it: the same command with --yes.\n";
    return kExitOk;
  }
  out << (options.reseed ? "Start the agent.\n" : "Done: it is cluster " + cell(report, "new_cluster_id") + " now. Start the agent.\n");
  return kExitOk;
}

void add_recover(CLI::App& raft, Session& session) {
  CLI::App& recover = *raft.add_subcommand(
      "recover", "with the agent stopped: go on alone after a majority of the disks is lost for good, or (--reseed) put a "
                 "damaged store aside and be seeded by the peers; shows what it would do, --yes does it");
  session.add_output_option(recover);
  const auto options = std::make_shared<RecoverOptions>();
  options->data_dir = "";
  recover.add_option("--data,--data-dir", options->data_dir, "data directory of the agent [node.data_dir]")->required();
  recover.add_flag("--reseed", options->reseed, "this node's disk is damaged, or of a cluster that was left behind");
  recover.add_flag("--accept-torn-tail", options->torn, "the log ends in the middle of a write (site-wide power cut)");
  recover.add_flag("--no-halt", options->no_halt, "leave no halt behind: nobody sends orders through this cluster");
  recover.add_flag("--yes", options->yes, "do it");
  recover.callback([&session, options] { session.chosen = [&session, options] { return run_recover(session, *options); }; });
}

}  // namespace

void add_raft_verbs(CLI::App& app, Session& session) {
  CLI::App& raft = *app.add_subcommand("raft", "the replicated store: its servers, leadership, recovery");
  session.add_client_options(raft);
  raft.callback([&session, &raft] {
    if (raft.get_subcommands().empty()) session.chosen = [&session] { return run_status(session); };
  });
  const auto verb = [&raft, &session](const std::string& name, const std::string& help) -> CLI::App& {
    CLI::App& made = *raft.add_subcommand(name, help);
    session.add_client_options(made);
    return made;
  };
  verb("status", "term, leader, and of every server lag, last contact and what its disk takes").callback([&session] {
    session.chosen = [&session] { return run_status(session); };
  });
  verb("list", "the servers of the configuration").callback([&session] {
    session.chosen = [&session] { return run_list(session); };
  });
  CLI::App& transfer = verb("transfer", "hand leadership to another voter");
  const auto to = std::make_shared<std::string>();
  transfer.add_option("name,--to", *to, "name or id of a voter; default: the one with most of the log");
  transfer.callback([&session, to] {
    session.chosen = [&session, to] {
      return session.act("PUT", "/outrigger/v1/raft/transfer?to=" + url_encode(*to), "leadership is being handed over");
    };
  });
  CLI::App& remove = verb("remove", "take a server out of the configuration, for good");
  const auto server = std::make_shared<std::string>();
  remove.add_option("server", *server, "name or id")->required();
  remove.callback([&session, server] {
    session.chosen = [&session, server] {
      return session.act("DELETE", "/outrigger/v1/raft/servers/" + url_segment(*server), "the server is being removed");
    };
  });
  add_recover(raft, session);
}

}  // namespace agent::cli
