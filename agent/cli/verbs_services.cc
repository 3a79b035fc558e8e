#include <fstream>
#include <memory>
#include <ostream>

#include "agent/cli/session.h"

/// Verbs for services and discovery, as Consul's command line names them.
namespace agent::cli {
namespace {

using Row = std::vector<std::string>;

std::string joined(const Json& list) {
  std::string out;
  if (!list.is_array()) return out;
  for (const auto& one : list)
    if (one.is_string()) out += (out.empty() ? "" : ",") + one.get<std::string>();
  return out;
}

int run_catalog_nodes(Session& session, const std::string& service) {
  int code = kExitOk;
  const auto list = session.call_json("GET", service.empty() ? "/v1/catalog/nodes" : "/v1/catalog/service/" + url_segment(service), code);
  if (!list) return code;
  if (session.json()) return session.print(*list), kExitOk;
  std::vector<Row> rows{{"NODE", "ID", "ADDRESS", "DC"}};
  for (const auto& node : *list) rows.push_back({cell(node, "Node"), cell(node, "ID").substr(0, 8), cell(node, "Address"), cell(node, "Datacenter")});
  session.print_table(rows);
  return kExitOk;
}

int run_catalog_services(Session& session) {
  int code = kExitOk;
  const auto services = session.call_json("GET", "/v1/catalog/services", code);
  if (!services) return code;
  if (session.json()) return session.print(*services), kExitOk;
  std::vector<Row> rows{{"SERVICE", "TAGS"}};
  if (services->is_object())
    for (auto it = services->begin(); it != services->end(); ++it) rows.push_back({it.key(), joined(it.value())});
  session.print_table(rows);
  return kExitOk;
}

int run_catalog_service(Session& session, const std::string& name) {
  int code = kExitOk;
  const auto list = session.call_json("GET", "/v1/health/service/" + url_segment(name), code);
  if (!list) return code;
  if (session.json()) return session.print(*list), kExitOk;
  std::vector<Row> rows{{"NODE", "ID", "ADDRESS", "PORT", "STATUS", "TAGS"}};
  for (const auto& one : *list) {
    const Json node = field(one, "Node"), service = field(one, "Service"), checks = field(one, "Checks");
    std::string status = "passing";
    for (const auto& check : checks) {
      const std::string word = cell(check, "Status");
      if (word == "critical" || (word == "warning" && status == "passing")) status = word;
    }
    const std::string address = cell(service, "Address");
    rows.push_back({cell(node, "Node"), cell(service, "ID"), address.empty() || address == "-" ? cell(node, "Address") : address,
                    cell(service, "Port"), status, joined(field(service, "Tags"))});
  }
  session.print_table(rows);
  return kExitOk;
}

/// A registration from a file ("-" = standard input): the API's own JSON, alone or below "service", as Consul's files
/// have it.
int run_register(Session& session, const std::string& path) {
  std::string text;
  if (path == "-") {
    text.assign(std::istreambuf_iterator<char>(session.host.in), {});
  } else {
    std::ifstream in(path, std::ios::binary);
    if (!in) return session.fail("cannot read " + path, "give a JSON file, or - for standard input");
    text.assign(std::istreambuf_iterator<char>(in), {});
  }
  Json body = Json::parse(text, nullptr, false);
  if (!body.is_object()) return session.fail(path + " holds no JSON object", R"(write {"Name":"web","Port":80})");
  if (const Json inner = field(body, "service"); inner.is_object()) body = inner;
  return session.act("PUT", "/v1/agent/service/register", "registered", body.dump());
}

void add_catalog(CLI::App& app, Session& session) {
  CLI::App& catalog = *app.add_subcommand("catalog", "what can be discovered: nodes, services, datacenters");
  catalog.require_subcommand(1);
  const auto name = std::make_shared<std::string>();
  CLI::App& nodes = *catalog.add_subcommand("nodes", "the nodes, or those of one service");
  session.add_client_options(nodes);
  nodes.add_option("--service,-s", *name, "only nodes with this service");
  nodes.callback([&session, name] { session.chosen = [&session, name] { return run_catalog_nodes(session, *name); }; });
  CLI::App& services = *catalog.add_subcommand("services", "the names and tags of all services");
  session.add_client_options(services);
  services.callback([&session] { session.chosen = [&session] { return run_catalog_services(session); }; });
  CLI::App& service = *catalog.add_subcommand("service", "the instances of one service and how they are");
  session.add_client_options(service);
  service.add_option("name", *name, "name of the service")->required();
  service.callback([&session, name] { session.chosen = [&session, name] { return run_catalog_service(session, *name); }; });
  CLI::App& datacenters = *catalog.add_subcommand("datacenters", "the label of this cluster");
  session.add_client_options(datacenters);
  datacenters.callback([&session] {
    session.chosen = [&session] {
      int code = kExitOk;
      const auto list = session.call_json("GET", "/v1/catalog/datacenters", code);
      if (!list) return code;
      if (session.json()) session.print(*list);
      else session.host.out << joined(*list) << "\n";
      return static_cast<int>(kExitOk);
    };
  });
}

void add_services(CLI::App& app, Session& session) {
  CLI::App& services = *app.add_subcommand("services", "register and deregister services at an agent");
  services.require_subcommand(1);
  const auto text = std::make_shared<std::string>();
  CLI::App& add = *services.add_subcommand("register", "register the service of a JSON file");
  session.add_client_options(add);
  add.add_option("file", *text, "JSON as /v1/agent/service/register takes it; - reads standard input")->required();
  add.callback([&session, text] { session.chosen = [&session, text] { return run_register(session, *text); }; });
  CLI::App& remove = *services.add_subcommand("deregister", "remove a service with its checks");
  session.add_client_options(remove);
  remove.add_option("--id,id", *text, "id of the service")->required();
  remove.callback([&session, text] {
    session.chosen = [&session, text] { return session.act("PUT", "/v1/agent/service/deregister/" + url_segment(*text), "deregistered " + *text); };
  });
}

struct MaintOptions {
  bool enable = false, disable = false;
  std::string reason, service;
};

int run_maint(Session& session, const MaintOptions& options) {
  if (options.enable == options.disable) return session.fail("say --enable or --disable", "outrigger maint --enable --reason \"new disk\""), kExitUsage;
  const std::string path = options.service.empty() ? "/v1/agent/maintenance" : "/v1/agent/service/maintenance/" + url_segment(options.service);
  return session.act("PUT", path + "?enable=" + (options.enable ? "true" : "false") + "&reason=" + url_segment(options.reason),
                     std::string("maintenance is ") + (options.enable ? "on" : "off"));
}

struct EventOptions {
  std::string name, payload, node, service, tag;
};

void add_others(CLI::App& app, Session& session) {
  CLI::App& maint = *app.add_subcommand("maint", "take the node or one service out of discovery, and back");
  const auto maintenance = std::make_shared<MaintOptions>();
  session.add_client_options(maint);
  maint.add_flag("--enable", maintenance->enable, "out of service");
  maint.add_flag("--disable", maintenance->disable, "in service again");
  maint.add_option("--reason", maintenance->reason, "why, for people");
  maint.add_option("--service", maintenance->service, "id of a service; without it the whole node");
  maint.callback([&session, maintenance] { session.chosen = [&session, maintenance] { return run_maint(session, *maintenance); }; });

  CLI::App& event = *app.add_subcommand("event", "fire an event at all agents");
  const auto fired = std::make_shared<EventOptions>();
  session.add_client_options(event);
  event.add_option("--name,name", fired->name, "name of the event")->required();
  event.add_option("payload", fired->payload, "at most 8 KiB");
  event.add_option("--node", fired->node, "for nodes that match this pattern");
  event.add_option("--service", fired->service, "for nodes with a service that matches");
  event.add_option("--tag", fired->tag, "for nodes whose service has a tag that matches");
  event.callback([&session, fired] {
    session.chosen = [&session, fired] {
      return session.act("PUT", "/v1/event/fire/" + url_segment(fired->name) + "?node=" + url_segment(fired->node) + "&service=" + url_segment(fired->service) + "&tag=" + url_segment(fired->tag),
                         "fired " + fired->name, fired->payload);
    };
  });

  CLI::App& force = *app.add_subcommand("force-leave", "push a dead member out of the cluster for good");
  const auto node = std::make_shared<std::string>();
  session.add_client_options(force);
  force.add_option("node", *node, "name of the member")->required();
  force.callback([&session, node] {
    session.chosen = [&session, node] { return session.act("PUT", "/v1/agent/force-leave/" + url_segment(*node), *node + " is pushed out, or will be as soon as it is dead"); };
  });

  CLI::App& reload = *app.add_subcommand("reload", "have the agent read its settings again");
  session.add_client_options(reload);
  reload.callback([&session] {
    session.chosen = [&session] {
      int code = kExitOk;
      const auto report = session.call_json("PUT", "/v1/agent/reload", code);
      if (!report) return code;
      if (session.json()) return session.print(*report), static_cast<int>(kExitOk);
      const std::string applied = joined(field(*report, "applied")), waits = joined(field(*report, "needs_restart"));
      session.host.out << "in force now: " << (applied.empty() ? "nothing new" : applied) << "\n";
      if (!waits.empty()) session.host.out << "needs a restart: " << waits << "\n";
      return static_cast<int>(kExitOk);
    };
  });
}

}  // namespace

void add_service_verbs(CLI::App& app, Session& session) {
  add_catalog(app, session);
  add_services(app, session);
  add_others(app, session);
}

}  // namespace agent::cli
