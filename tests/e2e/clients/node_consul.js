// Drives an agent through the npm package `consul`, the way its users' programs do.
//   NODE_PATH=.../node_modules node node_consul.js HOST:PORT [HOST:PORT ...]
// The first agent is written to, the last one read from and watched. One line per check: "ok NAME" or "not ok NAME: why";
// the exit code is the number of failed checks (at most 99).
"use strict";
const assert = require("assert");
const Consul = require("consul");

const addresses = process.argv.slice(2);
if (addresses.length === 0) {
  console.error("usage: node_consul.js HOST:PORT [HOST:PORT ...]");
  process.exit(2);
}
const client = (address) => {
  const at = address.lastIndexOf(":");
  return new Consul({ host: address.slice(0, at), port: Number(address.slice(at + 1)) });
};
const near = client(addresses[0]);
const far = client(addresses[addresses.length - 1]);
const patience = Number(process.env.CLIENT_PATIENCE || 1);  // times that a busy machine may take longer
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(what, check, ms = 10000 * patience) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > end) throw new Error(`no ${what} within ${ms} ms`);
    await pause(20);
  }
}
async function refused(promise, status, text) {
  let answer;
  try {
    answer = await promise;
  } catch (error) {
    assert.strictEqual(error.response && error.response.statusCode, status, `status, said: ${error.message}`);
    if (text) assert.match(String(error.response.body || error.message), text);
    return;
  }
  throw new Error(`accepted: ${JSON.stringify(answer)}`);
}
/// The next value that a watch delivers and `wanted` accepts.
function watched(watch, wanted, ms = 10000 * patience) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`the watch was silent for ${ms} ms`)), ms);
    watch.on("error", () => {});
    watch.on("change", (data, response) => {
      if (!wanted(data, response)) return;
      clearTimeout(timer);
      watch.end();
      done(data);
    });
  });
}

const checks = [];
const check = (name, body) => checks.push([name, body]);

// --- KV ---------------------------------------------------------------------------------------------------------------
check("kv: set, get with all fields, delete", async () => {
  assert.strictEqual(await near.kv.set({ key: "node/one", value: "first", flags: "18446744073709551615" }), true);
  const item = await far.kv.get("node/one");
  assert.deepStrictEqual(Object.keys(item).sort(), ["CreateIndex", "Flags", "Key", "LockIndex", "ModifyIndex", "Value"]);
  assert.strictEqual(item.Value, "first");
  assert.strictEqual(item.LockIndex, 0);
  assert.strictEqual(item.CreateIndex, item.ModifyIndex);
  assert.strictEqual(await near.kv.del("node/one"), true);
  assert.strictEqual(await far.kv.get("node/one"), undefined);
  assert.strictEqual(await near.kv.del("node/one"), true);
});
check("kv: raw, bytes, empty value, odd keys", async () => {
  const bytes = Buffer.from([0, 1, 2, 0xfe, 0xff]);
  for (const key of ["node/odd/plain", "node/odd/with space", "node/odd/100%+1", "node/odd/ünï", "node/odd/a?b&c=d#e"]) {
    assert.strictEqual(await near.kv.set(key, bytes), true);
    const item = await far.kv.get({ key, buffer: true });
    assert.strictEqual(item.Key, key);
    assert.ok(bytes.equals(item.Value), key);
    assert.ok(bytes.equals(await far.kv.get({ key, raw: true })), `raw ${key}`);
  }
  assert.strictEqual(await near.kv.set("node/odd/empty", ""), true);
  assert.ok(!(await far.kv.get("node/odd/empty")).Value);
});
check("kv: recurse, keys, separator, delete tree", async () => {
  for (const name of ["a", "b/1", "b/2", "c"]) await near.kv.set(`node/tree/${name}`, name);
  const all = await far.kv.get({ key: "node/tree/", recurse: true });
  assert.deepStrictEqual(all.map((e) => e.Value), ["a", "b/1", "b/2", "c"]);
  assert.deepStrictEqual(await far.kv.keys({ key: "node/tree/", separator: "/" }), ["node/tree/a", "node/tree/b/", "node/tree/c"]);
  assert.strictEqual(await near.kv.del({ key: "node/tree/", recurse: true }), true);
  await refused(far.kv.keys("node/tree/"), 404);
});
check("kv: compare and set, compare and delete", async () => {
  assert.strictEqual(await near.kv.set({ key: "node/cas", value: "1", cas: "0" }), true);
  assert.ok(!(await near.kv.set({ key: "node/cas", value: "2", cas: "0" })));
  const { ModifyIndex } = await near.kv.get("node/cas");
  assert.strictEqual(await near.kv.set({ key: "node/cas", value: "2", cas: String(ModifyIndex) }), true);
  assert.ok(!(await near.kv.set({ key: "node/cas", value: "3", cas: String(ModifyIndex) })));
  assert.ok(!(await near.kv.del({ key: "node/cas", cas: String(ModifyIndex) })));
  const last = await near.kv.get("node/cas");
  assert.strictEqual(last.Value, "2");
  assert.strictEqual(await near.kv.del({ key: "node/cas", cas: String(last.ModifyIndex) }), true);
});
check("kv: one write that changes nothing keeps the index", async () => {
  await near.kv.set("node/same", "x");
  const before = await near.kv.get("node/same");
  await near.kv.set("node/same", "x");
  assert.strictEqual((await near.kv.get("node/same")).ModifyIndex, before.ModifyIndex);
});
check("kv: a value above the bound is refused", async () => {
  assert.strictEqual(await near.kv.set("node/big", Buffer.alloc(512 * 1024, 1)), true);
  await refused(near.kv.set("node/big", Buffer.alloc(512 * 1024 + 1, 1)), 413);
  await near.kv.del("node/big");
});
check("kv: a watch sees change, delete and birth", async () => {
  await near.kv.set("node/watch", "0");
  const make = () => far.watch({ method: far.kv.get, options: { key: "node/watch", wait: "5s" } });
  let seen = watched(make(), (data) => data && data.Value === "1");
  await pause(30);
  await near.kv.set("node/watch", "1");
  await seen;
  seen = watched(make(), (data) => data === undefined);
  await near.kv.del("node/watch");
  await seen;
  seen = watched(make(), (data) => data && data.Value === "2");
  await near.kv.set("node/watch", "2");
  await seen;
});

// --- sessions and locks -----------------------------------------------------------------------------------------------
check("session: create, info, list, node, renew, destroy", async () => {
  const { ID } = await near.session.create({ name: "node-session", ttl: "15s", behavior: "delete", lockdelay: "1s" });
  assert.match(ID, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  const info = await far.session.info(ID);
  assert.strictEqual(info.Name, "node-session");
  assert.strictEqual(info.Behavior, "delete");
  assert.strictEqual(info.TTL, "15s");
  assert.strictEqual(info.LockDelay, 1e9);
  assert.ok((await far.session.list()).some((s) => s.ID === ID));
  assert.ok((await far.session.node(info.Node)).some((s) => s.ID === ID));
  const [renewed] = await near.session.renew(ID);
  assert.strictEqual(renewed.ID, ID);
  await near.session.destroy(ID);
  assert.strictEqual(await far.session.info(ID), undefined);
  await refused(near.session.renew(ID), 404, /not found/);
});
check("session: bad time to live is refused", async () => {
  await refused(near.session.create({ ttl: "25h" }), 500, /Invalid Session TTL/i);
  await refused(near.session.create({ ttl: "tomorrow" }), 500, /Session TTL .*invalid/);
  await refused(near.session.create({ behavior: "explode" }), 500, /Invalid Behavior/);
});
check("lock: one holder, re-acquire, release, hand-over", async () => {
  const one = (await near.session.create({ ttl: "60s", lockdelay: "5s" })).ID;
  const two = (await far.session.create({ ttl: "60s", lockdelay: "5s" })).ID;
  const key = "node/lock";
  assert.strictEqual(await near.kv.set({ key, value: "one", acquire: one }), true);
  assert.ok(!(await far.kv.set({ key, value: "two", acquire: two })));
  assert.strictEqual(await near.kv.set({ key, value: "one again", acquire: one }), true);
  const held = await far.kv.get(key);
  assert.strictEqual(held.Session, one);
  assert.strictEqual(held.LockIndex, 1);
  assert.ok(!(await far.kv.set({ key, value: "two", release: two })));
  assert.strictEqual(await near.kv.set({ key, value: "free", release: one }), true);
  assert.strictEqual((await far.kv.get(key)).Session, undefined);
  assert.strictEqual(await far.kv.set({ key, value: "two", acquire: two }), true);
  assert.strictEqual((await near.kv.get(key)).LockIndex, 2);
  await near.session.destroy(two);
  assert.strictEqual((await near.kv.get(key)).Session, undefined);
  assert.ok(!(await near.kv.set({ key, value: "x", acquire: one })), "lock delay");
  await until("lock after its delay", () => near.kv.set({ key, value: "x", acquire: one }));
  await near.session.destroy(one);
});
check("lock: unknown session, delete behaviour", async () => {
  await refused(near.kv.set({ key: "node/l2", value: "", acquire: "00000000-0000-0000-0000-000000000000" }), 500, /invalid session/);
  const { ID } = await near.session.create({ behavior: "delete", ttl: "30s", lockdelay: "1ms" });
  assert.strictEqual(await near.kv.set({ key: "node/l2", value: "v", acquire: ID }), true);
  await near.session.destroy(ID);
  assert.strictEqual(await far.kv.get("node/l2"), undefined);
});

// --- transactions -----------------------------------------------------------------------------------------------------
check("txn: all or nothing, with results and errors", async () => {
  const value = Buffer.from("v").toString("base64");
  const done = await near.transaction.create([
    { KV: { Verb: "set", Key: "node/t/a", Value: value, Flags: 7 } },
    { KV: { Verb: "set", Key: "node/t/b", Value: value } },
    { KV: { Verb: "get", Key: "node/t/a" } },
    { KV: { Verb: "get-tree", Key: "node/t/" } },
  ]);
  assert.strictEqual(done.Errors, null);
  assert.deepStrictEqual(done.Results.map((r) => r.KV.Key), ["node/t/a", "node/t/b", "node/t/a", "node/t/a", "node/t/b"]);
  assert.strictEqual(done.Results[0].KV.Value, null);
  assert.strictEqual(done.Results[2].KV.Value, value);
  assert.strictEqual(done.Results[2].KV.Flags, 7);
  await refused(
    near.transaction.create([
      { KV: { Verb: "set", Key: "node/t/c", Value: value } },
      { KV: { Verb: "check-index", Key: "node/t/a", Index: 1 } },
    ]),
    409,
  );
  assert.strictEqual(await far.kv.get("node/t/c"), undefined);
  const gone = await near.transaction.create([{ KV: { Verb: "delete-tree", Key: "node/t/" } }]);
  assert.strictEqual(gone.Errors, null);
});
check("txn: too many operations", async () => {
  const many = Array.from({ length: 65 }, (_, i) => ({ KV: { Verb: "get", Key: `k${i}` } }));
  await refused(near.transaction.create(many), 413);
  await refused(near.transaction.create([{ KV: { Verb: "paint", Key: "k" } }]), 409);
});

// --- agent, catalog, health -------------------------------------------------------------------------------------------
check("agent: self, members, reload, status", async () => {
  const self = await near.agent.self();
  assert.strictEqual(self.Config.Datacenter, "dc1");
  assert.strictEqual(self.Config.Server, true);
  assert.ok(self.Config.NodeName && self.Config.Version && self.Member.Name === self.Config.NodeName);
  const members = await near.agent.members();
  assert.strictEqual(members.length, new Set(addresses).size);
  assert.ok(members.every((m) => m.Status === 1 && m.Tags.role === "consul" && m.Tags.dc === "dc1"));
  await near.agent.reload();
  assert.match(await near.status.leader(), /^.+:\d+$/);
  assert.strictEqual((await near.status.peers()).length, new Set(addresses).size);
});
check("service: register, catalog, health, deregister", async () => {
  const before = await far.catalog.services();
  assert.deepStrictEqual(before.consul, []);
  await near.agent.service.register({
    name: "node-web",
    id: "node-web/1",
    tags: ["v1", "blue"],
    address: "10.1.1.1",
    port: 8080,
    meta: { version: "4" },
    check: { ttl: "60s", status: "passing", notes: "by hand" },
  });
  const own = await near.agent.service.list();
  assert.strictEqual(own["node-web/1"].Service, "node-web");
  assert.deepStrictEqual(own["node-web/1"].Tags, ["v1", "blue"]);
  await until("service in the catalog", async () => (await far.catalog.services())["node-web"]);
  const [row] = await far.catalog.service.nodes("node-web");
  assert.strictEqual(row.ServiceID, "node-web/1");
  assert.strictEqual(row.ServiceAddress, "10.1.1.1");
  assert.strictEqual(row.ServicePort, 8080);
  assert.deepStrictEqual(row.ServiceMeta, { version: "4" });
  assert.ok(row.Node && row.Address && row.Datacenter === "dc1");
  const [health] = await far.health.service({ service: "node-web", passing: true });
  assert.strictEqual(health.Service.ID, "node-web/1");
  assert.strictEqual(health.Node.Node, row.Node);
  assert.deepStrictEqual(health.Checks.map((c) => c.CheckID).sort(), ["serfHealth", "service:node-web/1"]);
  const node = await far.catalog.node.services(row.Node);
  assert.ok(node.Services["node-web/1"] && node.Node.Node === row.Node);
  assert.ok((await far.catalog.node.list()).some((n) => n.Node === row.Node));
  assert.deepStrictEqual(await far.catalog.datacenters(), ["dc1"]);
  await near.agent.service.deregister("node-web/1");
  await until("its end", async () => !(await far.catalog.services())["node-web"]);
  assert.deepStrictEqual(await far.health.service("node-web"), []);
});
check("check: states of a TTL check", async () => {
  await near.agent.service.register({ name: "node-ttl", check: { ttl: "60s" } });
  const state = async () => (await far.health.checks("node-ttl"))[0];
  const first = await until("the check", state);
  assert.strictEqual(first.Status, "critical");
  assert.strictEqual(first.CheckID, "service:node-ttl");
  await near.agent.check.pass({ id: "service:node-ttl", note: "fine" });
  await until("passing", async () => (await state()).Status === "passing");
  assert.strictEqual((await near.agent.check.list())["service:node-ttl"].Output, "fine");
  await near.agent.check.warn({ id: "service:node-ttl", note: "hm" });
  await until("warning", async () => (await state()).Status === "warning");
  assert.deepStrictEqual(await far.health.service({ service: "node-ttl", passing: true }), []);
  await near.agent.check.fail("service:node-ttl");
  await until("critical", async () => (await far.health.state("critical")).some((c) => c.ServiceName === "node-ttl"));
  await near.agent.service.deregister("node-ttl");
});
check("check: node check, agent check registration", async () => {
  await near.agent.check.register({ name: "node-check", id: "node-check", ttl: "60s", notes: "n", status: "passing" });
  const name = (await near.agent.self()).Config.NodeName;
  await until("it", async () => (await far.health.node(name)).some((c) => c.CheckID === "node-check" && c.Status === "passing"));
  await near.agent.check.deregister("node-check");
  await until("its end", async () => !(await far.health.node(name)).some((c) => c.CheckID === "node-check"));
});
check("check: maintenance of a service and of the node", async () => {
  await near.agent.service.register({ name: "node-maint", id: "node-maint-1" });
  await near.agent.service.maintenance({ id: "node-maint-1", enable: true, reason: "upgrade" });
  await until("the check", async () =>
    (await far.health.checks("node-maint")).some((c) => c.CheckID === "_service_maintenance:node-maint-1" && c.Notes === "upgrade"),
  );
  await near.agent.service.maintenance({ id: "node-maint-1", enable: false });
  await until("its end", async () => (await far.health.service({ service: "node-maint", passing: true })).length === 1);
  await near.agent.maintenance({ enable: true });
  await until("node maintenance", async () => (await far.health.service({ service: "node-maint", passing: true })).length === 0);
  await near.agent.maintenance({ enable: false });
  await until("its end", async () => (await far.health.service({ service: "node-maint", passing: true })).length === 1);
  await near.agent.service.deregister("node-maint-1");
});
check("health: a watch wakes for its service and keeps still for others", async () => {
  await near.agent.service.register({ name: "node-hw", id: "node-hw-1", check: { ttl: "60s", status: "passing" } });
  await until("it", async () => (await far.health.service("node-hw")).length === 1);
  let changes = 0;
  const watch = far.watch({ method: far.health.service, options: { service: "node-hw", wait: "10s" } });
  const seen = new Promise((done, fail) => {
    setTimeout(() => fail(new Error("silent")), 10000 * patience).unref();
    watch.on("change", (data) => {
      ++changes;
      if (data.length === 1 && data[0].Checks.some((c) => c.Status === "critical")) done();
    });
  });
  await until("first answer", () => changes === 1);
  await near.agent.service.register({ name: "node-other", check: { ttl: "60s", status: "passing" } });
  await until("the other", async () => (await far.catalog.services())["node-other"]);
  await pause(100);
  assert.strictEqual(changes, 1);
  await near.agent.check.fail("service:node-hw-1");
  await seen;
  watch.end();
  await near.agent.service.deregister("node-hw-1");
  await near.agent.service.deregister("node-other");
});

// --- events -----------------------------------------------------------------------------------------------------------
check("event: fire and list", async () => {
  const fired = await near.event.fire("node-event", "payload");
  assert.match(fired.ID, /-/);
  assert.strictEqual(fired.Name, "node-event");
  assert.strictEqual(fired.Payload, "payload");
  assert.strictEqual(fired.Version, 1);
  assert.ok((await near.event.list("node-event")).some((e) => e.ID === fired.ID && e.Payload === "payload"));
  await until("it far away", async () => (await far.event.list()).some((e) => e.ID === fired.ID));
});

(async () => {
  let failed = 0;
  await near.kv.del({ key: "node/", recurse: true });
  for (const [name, body] of checks) {
    let timer;
    const limit = new Promise((_, fail) => (timer = setTimeout(() => fail(new Error(`took over ${30 * patience} s`)), 30000 * patience)));
    try {
      await Promise.race([body(), limit]);
      console.log(`ok ${name}`);
    } catch (error) {
      ++failed;
      console.log(`not ok ${name}: ${String(error.message).replace(/\s+/g, " ").slice(0, 300)}`);
    }
    clearTimeout(timer);
  }
  process.exit(Math.min(failed, 99));
})();
