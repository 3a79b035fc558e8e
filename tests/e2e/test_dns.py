"""DNS over the catalog, asked by `dig`, and HAProxy filling its servers from it."""

import json
import re
import shutil
import socket
import struct
import subprocess
import unittest

from harness import Instance, Process, RealProcesses, free_ports, patience, request, wait_until


class Answer:
    """What dig printed, taken apart."""

    def __init__(self, text):
        self.text = text
        self.status = re.search(r"status: (\w+)", text).group(1) if "status:" in text else "SILENCE"
        self.flags = set(re.search(r"flags: ([\w ]*);", text).group(1).split()) if "flags:" in text else set()
        self.sections = {"ANSWER": [], "AUTHORITY": [], "ADDITIONAL": []}
        section = None
        for line in text.splitlines():
            heading = re.match(r";; (\w+) SECTION:", line)
            if heading:
                section = self.sections.get(heading.group(1))
            elif line and not line.startswith(";") and section is not None:
                name, ttl, _, kind, data = line.split(None, 4)
                section.append((name, int(ttl), kind, data))

    def data(self, kind, section="ANSWER"):
        return sorted(data for _, _, k, data in self.sections[section] if k == kind)


class DnsTest(RealProcesses):
    def setUp(self):
        if shutil.which("dig") is None:
            self.skipTest("dig is missing (package bind9-dnsutils; tests/e2e/install_clients installs it)")
        super().setUp()

    def dig(self, address, name, kind="A", *options):
        """One question, without recursion, over UDP unless an option says otherwise."""
        host, port = address.rsplit(":", 1)
        done = subprocess.run(["dig", f"@{host}", "-p", port, "+norecurse", "+tries=1", f"+time={int(10 * patience())}", "+nostats", "+nocmd",
                               *options, "-q", name, "-t", kind], stdout=subprocess.PIPE, text=True, check=False, timeout=60 * patience())
        return Answer(done.stdout)

    def register(self, api, **service):
        status, _, body = request(api, "PUT", "/v1/agent/service/register", json.dumps(service).encode(), timeout=10)
        self.assertEqual((status, body), (200, b""))

    def put(self, api, path):
        status, _, body = request(api, "PUT", path, timeout=10)
        self.assertEqual(status, 200, body)

    def wait_dns(self, address, name, kind, wanted, *options):
        """Waits until the answer's data are `wanted`: a copy may be a moment behind."""
        def same():
            return self.dig(address, name, kind, *options).data(kind) == sorted(wanted)
        wait_until(same, 10 * patience(), f"{name} {kind} at {address} being {wanted}")


class ThreeAgents(DnsTest):
    def setUp(self):
        super().setUp()
        self.made = self.start_cluster()
        for node in self.made.nodes:
            for name in ("n1", "n2", "n3"):
                self.wait_dns(node.dns, f"{name}.node.consul", "A", ["127.0.0.1"])

    def test_every_agent_knows_nodes_and_zone(self):
        for node in self.made.nodes:
            got = self.dig(node.dns, "N2.Node.dc1.CONSUL")
            self.assertEqual(got.sections["ANSWER"], [("N2.Node.dc1.CONSUL.", 0, "A", "127.0.0.1")])
            self.assertLessEqual({"qr", "aa"}, got.flags)
            self.assertEqual(self.dig(node.dns, "n2.node.outrigger").data("A"), ["127.0.0.1"])
            self.assertEqual(self.dig(node.dns, "n2.node.consul", "AAAA").status, "NOERROR")
            self.assertEqual(self.dig(node.dns, "consul", "SOA").data("SOA")[0].split()[:2], ["ns.consul.", "hostmaster.consul."])
            servers = self.dig(node.dns, "consul", "NS")
            self.assertEqual(servers.data("NS"), [f"n{i}.node.dc1.consul." for i in (1, 2, 3)])
            self.assertEqual(servers.data("A", "ADDITIONAL"), ["127.0.0.1"] * 3)
            self.assertLessEqual({"n1.node.dc1.consul.", "n3.node.dc1.consul."},
                                 set(self.dig(node.dns, "1.0.0.127.in-addr.arpa", "PTR").data("PTR")))
            gone = self.dig(node.dns, "n9.node.consul")
            self.assertEqual((gone.status, len(gone.data("SOA", "AUTHORITY"))), ("NXDOMAIN", 1))
            self.assertEqual(self.dig(node.dns, "www.example.com").status, "REFUSED")

    def test_services_come_turn_critical_and_go(self):
        one, two, three = self.made.nodes
        self.register(one.api, Name="web", Port=8001, Tags=["blue"], Weights={"Passing": 5, "Warning": 2})
        self.register(two.api, Name="web", Port=8002, Address="10.9.9.9", Check={"TTL": "10m", "Status": "passing", "CheckID": "t"})
        first, second = "1 5 8001 n1.node.dc1.consul.", "1 1 8002 0a090909.addr.dc1.consul."
        for node in self.made.nodes:
            self.wait_dns(node.dns, "web.service.consul", "SRV", [first, second])
        got = self.dig(three.dns, "_web._tcp.service.consul", "SRV")
        self.assertEqual(got.data("A", "ADDITIONAL"), ["10.9.9.9", "127.0.0.1"])
        self.assertEqual(self.dig(three.dns, "blue.web.service.consul").data("A"), ["127.0.0.1"])
        self.assertEqual(self.dig(three.dns, "0a090909.addr.dc1.consul").data("A"), ["10.9.9.9"])
        self.assertEqual(self.dig(three.dns, "9.9.9.10.in-addr.arpa", "PTR").data("PTR"), ["web.service.consul."])
        self.put(two.api, "/v1/agent/check/warn/t")
        self.assertIn(second, self.dig(two.dns, "web.service.consul", "SRV").data("SRV"))
        self.put(two.api, "/v1/agent/check/fail/t")
        self.wait_dns(three.dns, "web.service.consul", "SRV", [first])
        self.put(two.api, "/v1/agent/check/pass/t")
        self.wait_dns(three.dns, "web.service.consul", "SRV", [first, second])
        self.put(one.api, "/v1/agent/service/deregister/web")
        self.put(two.api, "/v1/agent/service/deregister/web")
        for node in self.made.nodes:
            wait_until(lambda at=node.dns: self.dig(at, "web.service.consul").status == "NXDOMAIN", 10 * patience(), "web gone")

    def test_the_primary_has_a_name(self):
        holder, epoch = self.made.wait_agreed(15 * patience())
        ports = {node.name: int(node.service.rsplit(":", 1)[1]) for node in self.made.nodes}
        name = "primary.trader.service.consul"
        for node in self.made.nodes:
            self.wait_ports(node.dns, name, {ports[holder]})
            self.wait_ports(node.dns, "trader.service.consul", set(ports.values()))
        code, _, errors = self.run_cli("switchover", api=self.made.nodes[0].api)
        self.assertEqual(code, 0, errors)
        heir, _ = self.made.wait_agreed(15 * patience(), after_epoch=epoch)
        self.assertNotEqual(heir, holder)
        for node in self.made.nodes:
            self.wait_ports(node.dns, name, {ports[heir]})

    def wait_ports(self, address, name, wanted):
        def same():
            return {int(data.split()[2]) for data in self.dig(address, name, "SRV").data("SRV")} == wanted
        wait_until(same, 10 * patience(), f"{name} at {address} being {wanted}")

    def test_answers_go_on_without_a_leader(self):
        one, two, three = self.made.nodes
        self.register(three.api, Name="web", Port=8003)
        self.wait_dns(three.dns, "web.service.consul", "SRV", ["1 1 8003 n3.node.dc1.consul."])
        for node in (one, two):
            node.agent.send(9)
        wait_until(lambda: three.metric("outrigger_raft_has_leader") == 0, 15 * patience(), "no leader")
        self.assertEqual(self.dig(three.dns, "web.service.consul", "SRV").data("SRV"), ["1 1 8003 n3.node.dc1.consul."])
        self.assertEqual(self.dig(three.dns, "n1.node.consul").data("A"), ["127.0.0.1"])


class OneAgent(DnsTest):
    def setUp(self):
        super().setUp()
        ports, config = self.single_config()
        self.agent = self.start_agent("n1", config=config)
        self.api, self.dns = f"127.0.0.1:{ports['api']}", f"127.0.0.1:{ports['dns']}"
        self.wait_status(self.api, "/outrigger/v1/health/ready", 200)
        self.wait_dns(self.dns, "n1.node.consul", "A", ["127.0.0.1"])

    def test_large_answers_are_cut_and_said_so(self):
        for i in range(60):
            self.register(self.api, ID=f"big-{i}", Name="big", Port=9000 + i, Address=f"10.1.0.{i}")
        wait_until(lambda: len(self.dig(self.dns, "big.service.consul", "SRV").data("SRV")) == 60, 10 * patience(), "60 instances")
        plain = self.dig(self.dns, "big.service.consul", "SRV", "+noedns", "+ignore")
        self.assertIn("tc", plain.flags)
        self.assertTrue(5 < len(plain.data("SRV")) < 15, plain.text)
        medium = self.dig(self.dns, "big.service.consul", "SRV", "+bufsize=1232", "+ignore")
        self.assertIn("tc", medium.flags)
        self.assertGreater(len(medium.data("SRV")), 18)
        large = self.dig(self.dns, "big.service.consul", "SRV", "+bufsize=8192", "+ignore")
        self.assertNotIn("tc", large.flags)
        self.assertEqual((len(large.data("SRV")), len(large.data("A", "ADDITIONAL"))), (60, 60))
        retried = self.dig(self.dns, "big.service.consul", "SRV", "+noedns")  # dig asks again over TCP
        self.assertEqual(len(retried.data("SRV")), 60)
        orders = {tuple(a[3] for a in self.dig(self.dns, "big.service.consul", "A", "+tcp").sections["ANSWER"]) for _ in range(5)}
        self.assertGreater(len(orders), 1, "answers are shuffled")
        self.assertEqual(self.dig(self.dns, "big.service.consul", "A", "+edns=1", "+noednsneg").status, "BADVERS")

    def test_nonsense_is_survived_and_counted(self):
        host, port = self.dns.rsplit(":", 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.connect((host, int(port)))
            question = b"\x02n1\x04node\x06consul\0\0\1\0\1"
            header = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0)
            for junk in (b"", b"x", header[:11], header, header + question[:-1], header + question + b"more", header + b"\xc0\x0c\0\1\0\1",
                         struct.pack(">6H", 7, 0x8100, 1, 0, 0, 0) + question, struct.pack(">6H", 7, 0x100, 9, 9, 9, 9) + question,
                         bytes(9000)):
                datagrams.send(junk)
        with socket.create_connection((host, int(port)), timeout=10 * patience()) as stream:
            query = header + question
            stream.sendall((struct.pack(">H", len(query)) + query) * 50)
            received = b""
            while received.count(b"\x7f\0\0\1") < 50:
                chunk = stream.recv(65536)
                self.assertTrue(chunk)
                received += chunk
            stream.sendall(b"\xff\xff")
            self.assertEqual(stream.recv(1), b"")
        self.assertEqual(self.dig(self.dns, "n1.node.consul").data("A"), ["127.0.0.1"])
        self.assert_no_crash(self.agent)
        for line in (r'outrigger_dns_malformed_total\{reason="too_short"\} [34]\n', r'outrigger_dns_malformed_total\{reason="is_response"\} 1\n',
                     r'outrigger_dns_connections_closed_total\{reason="refused"\} 1\n', r'outrigger_dns_answers_total\{rcode="formerr"\}'):
            wait_until(lambda p=line: re.search(p, request(self.api, "GET", "/metrics")[2].decode()), 10, line)

    def test_a_second_agent_goes_on_without_the_default_port(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            try:
                taken.bind(("127.0.0.1", 8600))
            except OSError:
                pass  # somebody has it already: as good
            _, config = self.single_config("n2")
            config = re.sub(r"\[dns\]\nlisten = .*\n", "", config)
            second = self.start_agent("n2", config=config)
            wait_until(lambda: "dns_off" in second.log.read_text(), 10 * patience(), "the warning")
            self.assert_no_crash(second)
        _, config = self.single_config("n3", dns=self.dns.rsplit(":", 1)[1])
        code, said = self.wait_exit(self.start_agent("n3", config=config))
        self.assertEqual(code, 1)
        self.assert_says(said, "DNS cannot listen on", self.dns, "--dns")


class HaProxy(DnsTest):
    def setUp(self):
        if shutil.which("haproxy") is None:
            self.skipTest("haproxy is missing (package haproxy; tests/e2e/install_clients installs it)")
        super().setUp()

    def start_haproxy(self, nameservers):
        port = free_ports(1)[0]
        lines = "\n".join(f"  nameserver n{i} {address}" for i, address in enumerate(nameservers))
        config = self.folder / "haproxy.cfg"
        config.write_text(f"""defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
resolvers outrigger
{lines}
  accepted_payload_size 8192
  timeout resolve 100ms
  timeout retry 200ms
  hold valid 100ms
frontend clients
  bind 127.0.0.1:{port}
  default_backend web
backend web
  balance roundrobin
  server-template web 10 _web._tcp.service.consul resolvers outrigger init-addr none check inter 200ms
""")
        process = Process("haproxy", ["haproxy", "-db", "-f", str(config)], self.folder / "haproxy.log")
        self.loose.append(process)
        return f"127.0.0.1:{port}"

    def test_server_template_follows_the_catalog(self):
        made = self.start_cluster()
        entry = self.start_haproxy([node.dns for node in made.nodes])
        instances = [Instance() for _ in range(3)]
        for instance in instances:
            self.addCleanup(instance.close)
        for node, instance in zip(made.nodes, instances):
            self.register(node.api, Name="web", Port=int(instance.address.rsplit(":", 1)[1]),
                          Check={"TTL": "10m", "Status": "passing", "CheckID": "t"})
        self.wait_served(entry, instances, {0, 1, 2})
        self.put(made.nodes[1].api, "/v1/agent/service/deregister/web")
        self.wait_served(entry, instances, {0, 2})
        self.put(made.nodes[2].api, "/v1/agent/check/fail/t")
        self.wait_served(entry, instances, {0})
        self.register(made.nodes[1].api, Name="web", Port=int(instances[1].address.rsplit(":", 1)[1]))
        self.wait_served(entry, instances, {0, 1})

    def wait_served(self, entry, instances, wanted):
        """Waits until a round of requests through HAProxy reaches exactly these instances, each answered with 200."""
        def round_trip():
            before = [len(instance.requests()) for instance in instances]
            try:
                if any(request(entry, "GET", "/x", timeout=5)[0] != 200 for _ in range(6)):
                    return False
            except OSError:
                return False  # HAProxy is still on its way up
            after = [len(instance.requests()) for instance in instances]
            return {i for i in range(len(instances)) if after[i] > before[i]} == wanted
        wait_until(round_trip, 20 * patience(), f"requests reaching {wanted}")


if __name__ == "__main__":
    unittest.main()
