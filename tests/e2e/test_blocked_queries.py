"""Ten thousand clients that wait: what each of them costs the agent, that one write wakes them all, and that nothing is
left of them when they hang up."""

import collections
import resource
import socket
import unittest

from harness import RealProcesses, get_json, patience, request, sanitized, wait_until

WAITERS = 10_000
BYTES_EACH = 2048
LATE_EVERY = 11  # spread over the agent's pages, and too few to count as many that went
STILL_BYTES = 256 * 1024  # 26 bytes for each of them: too little to change a verdict
HEAD = "Host: x\r\nUser-Agent: python-consul/1.1\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\r\n"


class BlockedQueries(RealProcesses):
    def setUp(self):
        super().setUp()
        wanted = WAITERS + 500  # the agent's process has a limit of its own, inherited from here
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < wanted:
            self.skipTest(f"a process may open {hard} files here, {wanted} are needed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def resident(self, process):
        with open(f"/proc/{process.child.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

    def open_waits(self, api, path):
        host, port = api.rsplit(":", 1)
        clients = []
        for number in range(WAITERS):
            client = socket.create_connection((host, int(port)), timeout=30)
            client.sendall(f"GET {path.format(number)} HTTP/1.1\r\n{HEAD}".encode())
            clients.append(client)
        return clients

    def test_each_costs_little_and_nothing_is_left(self):
        process, api = self.start_single()
        request(api, "PUT", "/v1/kv/watched/key", b"1")
        index = get_json(api, "/v1/kv/watched/key")[0]["ModifyIndex"]
        before = self.resident(process)
        clients = self.open_waits(api, "/v1/kv/watched/key?index=" + str(index) + "&wait=300s&n={}")
        self.settle(process)
        each = (self.resident(process) - before) / WAITERS
        print(f"\nblocked queries: {WAITERS}, {each:.0f} bytes of resident memory each")
        own_memory = sanitized()
        if not own_memory:
            self.assertLessEqual(each, BYTES_EACH)
        # One write answers them all.
        self.assertEqual(request(api, "PUT", "/v1/kv/watched/key", b"2")[2], b"true")
        for client in clients:
            client.settimeout(30 * patience())
            answer = client.recv(4096)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer[:300])
        for client in clients:
            client.close()
        # They hang up while they wait, a few of them later than the rest: nothing is left.
        clients = self.open_waits(api, "/v1/kv/other/{}?index=100000&wait=300s")
        self.settle(process)
        high = self.resident(process)
        late = clients[::LATE_EVERY]
        for number, client in enumerate(clients):
            if number % LATE_EVERY:
                client.close()
        self.settle(process)  # the late ones hang up only after the agent has given back what the others had
        for client in late:
            client.close()
        if not own_memory:
            wait_until(lambda: self.resident(process) - before < WAITERS * BYTES_EACH / 4, 20 * patience(),
                       lambda: f"memory given back ({self.resident(process) - before:,} bytes more than before, {high - before:,} at most)")
        again = self.open_waits(api, "/v1/kv/other/{}?index=100000&wait=300s")  # there is room for as many once more
        again[-1].settimeout(0.5)
        with self.assertRaises(TimeoutError, msg="the last of them was refused instead of waiting"):
            again[-1].recv(1)
        self.assert_no_crash(process)
        self.assertEqual(request(api, "GET", "/v1/kv/watched/key?raw")[2], b"2")
        for client in again:
            client.close()

    def test_as_many_wait_for_a_service_and_its_first_lease_wakes_all(self):
        process, api = self.start_single()
        request(api, "PUT", "/v1/agent/service/register", b'{"Name":"web","Port":1}')
        index = request(api, "GET", "/v1/health/service/web")[1]["x-consul-index"]
        clients = self.open_waits(api, "/v1/health/service/web?index=" + index + "&wait=300s&n={}")
        status, _, said = request(api, "PUT", "/outrigger/v1/election/web/campaign", b'{"holder":"n1","lease_ms":60000}', timeout=30 * patience())
        self.assertEqual(status, 200, said)
        for client in clients:
            client.settimeout(30 * patience())
            answer = b""
            while b'"primary"' not in answer:
                more = client.recv(8192)  # head and body may come apart
                self.assertTrue(more, answer[:300])
                answer += more
            self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer[:300])
            client.close()
        self.assert_no_crash(process)

    def settle(self, process):
        """Until the memory has all but stopped moving for half a second. All but: a sanitizer keeps what is freed for a while,
        so an agent that does its usual rounds grows by some pages all the time."""
        seen = collections.deque(maxlen=40)

        def steady():
            seen.append(self.resident(process))
            return len(seen) == seen.maxlen and max(seen) - min(seen) <= STILL_BYTES
        wait_until(steady, 30 * patience(), "memory that does not move")


if __name__ == "__main__":
    unittest.main()
