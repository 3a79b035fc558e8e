#!/usr/bin/python3
"""Drives an agent through Debian's python3-consul (0.7.1), the way old programs such as Patroni's helpers do.

   python_consul.py HOST:PORT [HOST:PORT ...]

The first agent is written to, the last one read from. One line per check: "ok NAME" or "not ok NAME: why"; the exit code
is the number of failed checks (at most 99).
"""
import http.server
import os
import sys
import threading
import time

import consul

addresses = sys.argv[1:]
if not addresses:
    sys.exit(__doc__)


def client(address):
    host, _, port = address.rpartition(":")
    return consul.Consul(host=host, port=int(port))


# A real Consul refuses the GETs of this client since 1.0; ours takes them. PYTHON_CONSUL_STRICT=1 leaves them out.
GET_TAKEN = not os.environ.get("PYTHON_CONSUL_STRICT")
PATIENCE = float(os.environ.get("CLIENT_PATIENCE", 1))  # times that a busy machine may take longer
near, far = client(addresses[0]), client(addresses[-1])
checks = []


def check(function):
    checks.append(function)
    return function


def until(what, function, seconds=10.0):
    end = time.monotonic() + seconds * PATIENCE
    while True:
        found = function()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"no {what} within {seconds} s")
        time.sleep(0.02)


def same(found, wanted):
    assert found == wanted, f"{found!r} is not {wanted!r}"


def refused(kind, function):
    try:
        answer = function()
    except kind as error:
        return str(error)
    raise AssertionError(f"accepted: {answer!r}")


# --- KV ----------------------------------------------------------------------------------------------------------------
@check
def kv_set_get_delete():
    same(near.kv.put("py/one", "value", flags=2 ** 64 - 1), True)
    index, item = far.kv.get("py/one")
    same((item["Key"], item["Value"], item["Flags"], item["LockIndex"]), ("py/one", b"value", 2 ** 64 - 1, 0))
    assert int(index) >= item["ModifyIndex"] > 0
    same(near.kv.delete("py/one"), True)
    index, item = far.kv.get("py/one")
    same(item, None)
    assert int(index) > 0  # this client reads the header on every 404


@check
def kv_trees_and_keys():
    for name in ("a", "b/1", "b/2", "c"):
        near.kv.put("py/tree/" + name, name)
    same([e["Value"] for e in far.kv.get("py/tree/", recurse=True)[1]], [b"a", b"b/1", b"b/2", b"c"])
    same(far.kv.get("py/tree/", keys=True, separator="/")[1], ["py/tree/a", "py/tree/b/", "py/tree/c"])
    same(near.kv.delete("py/tree/", recurse=True), True)
    same(far.kv.get("py/tree/", recurse=True)[1], None)


@check
def kv_compare_and_set():
    near.kv.delete("py/cas")
    same(near.kv.put("py/cas", "1", cas=0), True)
    same(near.kv.put("py/cas", "2", cas=0), False)
    item = near.kv.get("py/cas")[1]
    same(near.kv.put("py/cas", "2", cas=item["ModifyIndex"]), True)
    same(near.kv.delete("py/cas", cas=item["ModifyIndex"]), False)
    same(near.kv.delete("py/cas", cas=near.kv.get("py/cas")[1]["ModifyIndex"]), True)


@check
def kv_blocking_query():
    near.kv.put("py/wait", "0")
    index = far.kv.get("py/wait")[0]
    seen = []
    reader = threading.Thread(target=lambda: seen.append(client(addresses[-1]).kv.get("py/wait", index=index, wait="300s")), daemon=True)
    reader.start()
    near.kv.put("py/other", "noise")
    near.kv.put("py/wait", "1")
    reader.join(20 * PATIENCE)  # long before its own 300 s are over
    same(seen[0][1]["Value"], b"1")
    assert int(seen[0][0]) > int(index)


@check
def kv_consistency_modes():
    near.kv.put("py/modes", "x")
    for mode in ("default", "consistent"):
        same(client(addresses[-1]).kv.get("py/modes", consistency=mode)[1]["Value"], b"x")
    until("stale copy", lambda: far.kv.get("py/modes", consistency="stale")[1])


# --- sessions and locks --------------------------------------------------------------------------------------------------
@check
def session_life():
    made = near.session.create(name="py", ttl=60, behavior="delete", lock_delay=1)
    info = far.session.info(made)[1]
    same((info["Name"], info["Behavior"], info["TTL"], info["LockDelay"]), ("py", "delete", "60s", 10 ** 9))
    assert any(s["ID"] == made for s in far.session.list()[1])
    assert any(s["ID"] == made for s in far.session.node(info["Node"])[1])
    same(near.session.renew(made)["ID"], made)
    same(near.session.destroy(made), True)
    same(far.session.info(made)[1], None)
    refused(consul.NotFound, lambda: near.session.renew(made))


@check
def lock_one_holder():
    near.kv.delete("py/lock")
    one, two = near.session.create(ttl=60, lock_delay=0), far.session.create(ttl=60, lock_delay=0)
    same(near.kv.put("py/lock", "one", acquire=one), True)
    same(far.kv.put("py/lock", "two", acquire=two), False)
    same(far.kv.get("py/lock")[1]["Session"], one)
    same(near.kv.put("py/lock", "", release=one), True)
    same(far.kv.put("py/lock", "two", acquire=two), True)
    far.session.destroy(two)
    until("a free key", lambda: "Session" not in near.kv.get("py/lock")[1])
    near.session.destroy(one)
    message = refused(consul.ConsulException, lambda: near.kv.put("py/lock", "x", acquire=one))
    assert "invalid session" in message, message


# --- agent, catalog, health ------------------------------------------------------------------------------------------------
@check
def agent_views():
    own = near.agent.self()
    same(own["Config"]["Datacenter"], "dc1")
    same(len(near.agent.members()), len(set(addresses)))
    same({m["Status"] for m in near.agent.members()}, {1})
    assert near.status.leader().count(":") >= 1
    same(len(near.status.peers()), len(set(addresses)))
    assert "consul" in far.catalog.services()[1]
    same(far.catalog.datacenters(), ["dc1"])
    assert own["Config"]["NodeName"] in [n["Node"] for n in far.catalog.nodes()[1]]


@check
def service_with_ttl_check():
    # This client sends lower-case payload keys, and changes TTL checks and deregisters with GET.
    near.agent.service.register("py-web", service_id="py-web-1", address="10.2.2.2", port=81, tags=["t"],
                                check=consul.Check.ttl("60s"))
    until("it in the catalog", lambda: far.catalog.service("py-web")[1])
    row = far.catalog.service("py-web")[1][0]
    same((row["ServiceID"], row["ServicePort"], row["ServiceAddress"], row["ServiceTags"]), ("py-web-1", 81, "10.2.2.2", ["t"]))
    same(far.health.service("py-web", passing=True)[1], [])
    if GET_TAKEN:
        near.agent.check.ttl_pass("service:py-web-1", "well")
        until("passing", lambda: far.health.service("py-web", passing=True)[1])
        same(near.agent.checks()["service:py-web-1"]["Output"], "well")
        near.agent.check.ttl_fail("service:py-web-1", "broken")
        until("critical", lambda: [c for c in far.health.state("critical")[1] if c["CheckID"] == "service:py-web-1"])
        near.agent.service.deregister("py-web-1")
        until("its end", lambda: far.catalog.service("py-web")[1] == [])


@check
def http_and_tcp_checks():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Quiet", (http.server.BaseHTTPRequestHandler,), {
        "do_GET": lambda self: (self.send_response(200), self.send_header("Content-Length", "2"), self.end_headers(),
                                self.wfile.write(b"ok")),
        "log_message": lambda *a: None}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    near.agent.service.register("py-http", port=port, address="127.0.0.1",
                                check=consul.Check.http(f"http://127.0.0.1:{port}/", "1s", timeout="1s"))
    near.agent.check.register("py-tcp", check=consul.Check.tcp("127.0.0.1", port, "1s"), service_id="py-http")
    until("passing", lambda: far.health.service("py-http", passing=True)[1], 15)
    server.shutdown()
    server.server_close()
    until("critical", lambda: far.health.service("py-http", passing=True)[1] == [], 15)
    if GET_TAKEN:
        near.agent.check.deregister("py-tcp")
        near.agent.service.deregister("py-http")


@check
def maintenance():
    near.agent.service.register("py-maint")
    until("it", lambda: far.health.service("py-maint", passing=True)[1])
    near.agent.service.maintenance("py-maint", "true", "why")
    until("maintenance", lambda: far.health.service("py-maint", passing=True)[1] == [])
    near.agent.service.maintenance("py-maint", "false")
    until("its end", lambda: far.health.service("py-maint", passing=True)[1])
    if GET_TAKEN:
        near.agent.service.deregister("py-maint")


@check
def external_node():
    near.catalog.register("py-outside", "10.9.9.9", service={"Service": "py-ext", "Port": 5})
    until("it", lambda: far.catalog.service("py-ext")[1])
    same(far.catalog.node("py-outside")[1]["Node"]["Address"], "10.9.9.9")
    near.catalog.deregister("py-outside")
    until("its end", lambda: far.catalog.node("py-outside")[1] is None)


@check
def events():
    # 0.7.1 takes the answer's body as it is: text on Python 3.
    near.event.fire("py-event", "body")
    until("it", lambda: [e for e in near.event.list("py-event")[1] if e["Payload"] == b"body" or e["Payload"] == "body"])


@check
def raft_configuration():
    servers = near.operator.raft_config()["Servers"]
    same(len(servers), len(set(addresses)))
    same(sum(1 for s in servers if s["Leader"]), 1)


failed = 0
for function in checks:
    name = function.__name__.replace("_", " ")
    try:
        function()
        print("ok", name, flush=True)
    except Exception as error:  # every kind of failure is a line of its own
        failed += 1
        print(f"not ok {name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}", flush=True)
sys.exit(min(failed, 99))
