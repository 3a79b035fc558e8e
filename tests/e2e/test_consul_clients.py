"""Programs written for Consul, run against three of our agents: npm's `consul`, Debian's python3-consul, Prometheus with
its http_sd. The scripts in clients/ pass against a Consul 1.8.7 as well (python3-consul's GETs apart)."""

import json
import os
import shutil
import subprocess
import unittest
from pathlib import Path

from harness import REPO, Process, RealProcesses, free_ports, get_json, patience, request, wait_until

HERE = Path(__file__).resolve().parent / "clients"
CLIENTS = REPO / "build" / "clients"


def setUpModule():
    subprocess.run([HERE.parent / "install_clients"], stdin=subprocess.DEVNULL, timeout=600, check=False)
    subprocess.run([HERE / "get", CLIENTS], stdin=subprocess.DEVNULL, timeout=600, check=False)


class Clients(RealProcesses):
    def addresses(self, cluster):
        return [node.api for node in cluster.nodes]

    def run_checks(self, command, environment, least):
        """Runs a script that prints a line per check; every failed check is a failure of its own."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=300 * patience(),
                              env={**os.environ, "CLIENT_PATIENCE": str(3 * patience()), **environment})
        lines = done.stdout.splitlines()
        passed = [line for line in lines if line.startswith("ok ")]
        for line in lines:
            if line.startswith("not ok "):
                with self.subTest(line.split(":")[0][len("not ok "):]):
                    self.fail(line)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertGreaterEqual(len(passed), least, done.stdout)

    def test_npm_consul(self):
        if not shutil.which("node") or not (CLIENTS / "node_modules" / "consul").is_dir():
            self.skipTest("npm's consul cannot be had here (tests/e2e/clients/get says why)")
        cluster = self.start_cluster()
        self.run_checks(["node", HERE / "node_consul.js", *self.addresses(cluster)],
                        {"NODE_PATH": str(CLIENTS / "node_modules")}, 20)

    def test_python3_consul(self):
        if subprocess.run(["/usr/bin/python3", "-c", "import consul"], capture_output=True).returncode:
            self.skipTest("python3-consul cannot be had here (tests/e2e/install_clients says why)")
        cluster = self.start_cluster()
        self.run_checks(["/usr/bin/python3", HERE / "python_consul.py", *self.addresses(cluster)], {}, 14)

    def test_prometheus_http_sd(self):
        if not (CLIENTS / "prometheus").exists():
            self.skipTest("prometheus cannot be had here (tests/e2e/clients/get says why)")
        cluster = self.start_cluster()
        first, last = self.addresses(cluster)[0], self.addresses(cluster)[-1]
        for n in (1, 2):
            body = json.dumps({"Name": "sd-web", "ID": f"sd-web-{n}", "Address": "127.0.0.1", "Port": 9000 + n, "Tags": ["blue"]})
            self.assertEqual(request(first, "PUT", "/v1/agent/service/register", body)[0], 200)
        (port,) = free_ports(1)
        config = self.folder / "prometheus.yml"
        config.write_text(f"""
global: {{scrape_interval: 1h}}
scrape_configs:
- job_name: outrigger
  http_sd_configs: [{{url: "http://{last}/outrigger/v1/sd/prometheus", refresh_interval: 500ms}}]
""")
        self.loose.append(Process("prometheus", [CLIENTS / "prometheus", f"--config.file={config}", "--log.level=warn",
                                                 f"--storage.tsdb.path={self.folder}/tsdb",
                                                 f"--web.listen-address=127.0.0.1:{port}"], self.folder / "prometheus.log"))

        def targets():
            answer = get_json(f"127.0.0.1:{port}", "/api/v1/targets?state=any") or {"data": {"activeTargets": []}}
            return {t["discoveredLabels"]["__address__"] for t in answer["data"]["activeTargets"]}
        wait_until(lambda: {"127.0.0.1:9001", "127.0.0.1:9002"} <= targets(), 30 * patience(), "both targets")
        self.assertEqual(request(first, "PUT", "/v1/agent/service/deregister/sd-web-2")[0], 200)
        wait_until(lambda: "127.0.0.1:9002" not in targets() and "127.0.0.1:9001" in targets(), 30 * patience(), "one target less")


if __name__ == "__main__":
    unittest.main()
