"""TLS towards clients and towards the instance, with Python's own TLS as the other side."""

import http.client
import http.server
import json
import shutil
import signal
import socket
import ssl
import threading
import unittest
from pathlib import Path

from harness import STEADY_CHECK, Instance, RealProcesses, free_ports, patience, request, wait_until

FILES = Path(__file__).parent / "tls"


def client_context(trust=True, certificate=None, **limits):
    context = ssl.create_default_context(cafile=FILES / "ca.pem") if trust else ssl._create_unverified_context()
    context.check_hostname = trust
    for name, value in limits.items():
        setattr(context, name, value)
    if certificate:
        context.load_cert_chain(FILES / f"{certificate}.pem", FILES / f"{certificate}.key")
    return context


def connect(address, context, name="site.example", session=None):
    host, port = address.rsplit(":", 1)
    plain = socket.create_connection((host, int(port)), timeout=10 * patience())
    try:
        return context.wrap_socket(plain, server_hostname=name, session=session)
    except BaseException:
        plain.close()
        raise


def ask(connection, path="/x", host="site.example", close=False):
    """@return (status, headers, body) of a GET on an open TLS connection."""
    last = "Connection: close\r\n" if close else ""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{last}\r\n".encode())
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()


def names_of(certificate):
    return [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]


class Tls(RealProcesses):
    def setUp(self):
        super().setUp()
        self.instance = self.make_instance()
        self.secure, self.plain = (f"127.0.0.1:{port}" for port in free_ports(2))
        self.put("site")

    def put(self, certificate, key=None):
        """Lets the files that the settings name hold this pair."""
        shutil.copy(FILES / f"{key or certificate}.key", self.folder / "site.key")
        shutil.copy(FILES / f"{certificate}.pem", self.folder / "site.pem")

    def start(self, tls="", listen="", service="", extra=""):
        process, api = self.start_single("n1", f"""
[service]
address = "{self.instance.address}"
{service}
[service.health]
every = "100ms"
timeout = "100ms"
rise = 1
{STEADY_CHECK}
[proxy]
threads = 2
[[route]]
path = "/"
pool = "all"
[[listen]]
address = "{self.secure}"
{listen}
tls = {{ certificates = [{{ cert = "{self.folder}/site.pem", key = "{self.folder}/site.key" }}{extra}] {tls} }}
[[listen]]
address = "{self.plain}"
redirect_https = true
redirect_port = {self.secure.rsplit(":")[1]}
""")
        self.api, self.process = api, process
        def served():
            try:
                with connect(self.secure, client_context(certificate="client")) as connection:
                    return ask(connection, "/ready")[0] == 200
            except OSError:
                return False
        wait_until(served, 15, "the listener serves")
        self.instance.seen.clear()
        return process

    def metric(self, name):
        text = request(self.api, "GET", "/metrics")[2].decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))

    def test_versions_names_and_fields(self):
        pairs = "".join(f', {{ cert = "{FILES}/{name}.pem", key = "{FILES}/{name}.key" }}' for name in ("wild", "rsa"))
        self.start(listen='hsts = "8760h"\nhsts_subdomains = true', extra=pairs)
        with self.subTest("TLS 1.1 is refused"):
            old = client_context(trust=False)
            old.set_ciphers("DEFAULT:@SECLEVEL=0")
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
            with self.assertRaises(OSError):
                connect(self.secure, old)
            self.assertGreaterEqual(self.metric('outrigger_tls_handshake_failures_total{reason="protocol"}'), 1)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for name, carried in (("site.example", "site.example"), ("a.wild.example", "*.wild.example"), ("rsa.example", "rsa.example")):
                with self.subTest(version=version.name, name=name), \
                        connect(self.secure, client_context(minimum_version=version, maximum_version=version), name) as connection:
                    self.assertEqual(connection.version().replace(".", "_"), version.name)
                    self.assertIn(carried, names_of(connection.getpeercert()))
                    self.assertEqual(ask(connection, host=name)[0], 200)
        with self.subTest("an unknown name gets the first certificate"), \
                self.assertRaisesRegex(ssl.SSLCertVerificationError, "(?i)mismatch"):
            connect(self.secure, client_context(), "nobody.example")
        with self.subTest("fields"), connect(self.secure, client_context()) as connection:
            self.instance.seen.clear()
            connection.sendall(b"GET /f HTTP/1.1\r\nHost: site.example\r\nX-Forwarded-Proto: http\r\n"
                               b"X-Forwarded-Client-Cert: Subject=\"CN=boss\"\r\n\r\n")
            reply = http.client.HTTPResponse(connection)
            reply.begin()
            reply.read()
            self.assertEqual(reply.getheader("Strict-Transport-Security"), "max-age=31536000; includeSubDomains")
            seen = self.instance.requests()[-1]["headers"]
            self.assertEqual(seen["x-forwarded-proto"], "https")
            self.assertNotIn("x-forwarded-client-cert", seen, "a client cannot make itself somebody")
            self.assertEqual(ask(connection, "/%zz")[1].get("strict-transport-security"), "max-age=31536000; includeSubDomains")
        with self.subTest("expiry"):
            text = request(self.api, "GET", "/metrics")[2].decode()
            ends = [line for line in text.splitlines() if line.startswith("outrigger_tls_certificate_expiry_timestamp_seconds{")]
            self.assertEqual(len(ends), 3)
            self.assertTrue(any('name="rsa.example"' in line for line in ends), ends)

    def test_alpn(self):
        self.start()
        both = client_context()
        both.set_alpn_protocols(["h2", "http/1.1"])
        with connect(self.secure, both) as connection:
            self.assertEqual(connection.selected_alpn_protocol(), "h2")
        old = client_context()
        old.set_alpn_protocols(["http/1.1"])
        with connect(self.secure, old) as connection:
            self.assertEqual(connection.selected_alpn_protocol(), "http/1.1")
            self.assertEqual(ask(connection)[0], 200)
        none = client_context()
        with connect(self.secure, none) as connection:
            self.assertIsNone(connection.selected_alpn_protocol())
            self.assertEqual(ask(connection)[0], 200)
        strange = client_context()
        strange.set_alpn_protocols(["spdy/3"])
        with self.assertRaises(OSError):
            connect(self.secure, strange)

    def test_client_certificates(self):
        self.start(tls=f', client_certificates = "required", client_ca = "{FILES}/ca.pem", tell_client_certificate = true')
        with connect(self.secure, client_context(certificate="client")) as connection:
            self.assertEqual(ask(connection)[0], 200)
        told = self.instance.requests()[-1]["headers"]["x-forwarded-client-cert"]
        self.assertRegex(told, r'^Hash=[0-9a-f]{64};Subject="CN=alice";DNS=alice.example$')
        self.instance.seen.clear()
        with self.assertRaises(OSError):
            with connect(self.secure, client_context()) as connection:  # TLS 1.3 tells only at the first read
                ask(connection)
        wait_until(lambda: self.metric('outrigger_tls_handshake_failures_total{reason="certificate"}') >= 1, 5, "the refusal is counted")
        self.assertEqual(self.instance.requests(), [])

    def test_optional_client_certificates(self):
        self.start(tls=f', client_certificates = "optional", client_ca = "{FILES}/ca.pem", tell_client_certificate = true')
        with connect(self.secure, client_context()) as connection:
            self.assertEqual(ask(connection)[0], 200)
        self.assertNotIn("x-forwarded-client-cert", self.instance.requests()[-1]["headers"])
        with self.assertRaises(OSError):
            with connect(self.secure, client_context(certificate="expired")) as connection:
                ask(connection)

    def test_tickets(self):
        self.start(tls=', ticket_lifetime = "6s"')
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version.name):
                context = client_context(minimum_version=version, maximum_version=version)
                with connect(self.secure, context) as connection:
                    ask(connection)  # a TLS 1.3 ticket comes behind the handshake
                    session = connection.session
                    self.assertFalse(connection.session_reused)
                with connect(self.secure, context, session=session) as connection:
                    self.assertEqual(ask(connection)[0], 200)
                    self.assertTrue(connection.session_reused)

                def is_worthless():
                    with connect(self.secure, context, session=session) as again:
                        return ask(again)[0] == 200 and not again.session_reused
                wait_until(is_worthless, 15, "the key of the ticket is gone")
        self.assertGreaterEqual(self.metric('outrigger_tls_tickets_total{result="accepted"}'), 2)

    def test_a_cut_is_not_an_end_and_a_silent_client_is_let_go(self):
        self.start(tls=', handshake_timeout = "4s"')
        host, port = self.secure.rsplit(":", 1)
        timed_out = 'outrigger_tls_handshake_failures_total{reason="timed_out"}'
        before = self.metric(timed_out)  # while the agent was waited for, a handshake may have been late
        with socket.create_connection((host, int(port)), timeout=20 * patience()) as silent:
            self.assertEqual(silent.recv(1), b"", "closed at the deadline")
        wait_until(lambda: self.metric(timed_out) > before, 10, "it to be counted")
        self.assertEqual(self.metric(timed_out), before + 1)
        with connect(self.secure, client_context()) as connection:
            connection.sendall(b"POST /orders HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf")
            socket.socket(fileno=connection.detach()).close()
        with connect(self.secure, client_context()) as connection:
            self.assertEqual(ask(connection, close=True)[0], 200)
            self.assertEqual(connection.recv(1), b"", "close_notify, not a cut: this read would raise")
        self.assertEqual([r["path"] for r in self.instance.requests() if r["body"] == 100], [])

    def test_plain_http_is_sent_to_https(self):
        self.start()
        status, headers, _ = request(self.plain, "GET", "/a/b?c=d", headers={"Host": "site.example:80"})
        self.assertEqual((status, headers["location"]), (301, f"https://site.example:{self.secure.rsplit(':')[1]}/a/b?c=d"))
        status, headers, _ = request(self.plain, "POST", "/orders", body="{}", headers={"Host": "[::1]:80"})
        self.assertEqual((status, headers["location"]), (308, f"https://[::1]:{self.secure.rsplit(':')[1]}/orders"))
        self.assertEqual(self.instance.requests(), [])

    def reload(self):
        self.process.child.send_signal(signal.SIGHUP)

    def serial_shown(self):
        with connect(self.secure, client_context()) as connection:
            return connection.getpeercert()["serialNumber"]

    def test_reload_under_load(self):
        self.start()
        first, stop, failures, counts = self.serial_shown(), threading.Event(), [], [0, 0]

        def keep_asking():
            try:
                with connect(self.secure, client_context()) as connection:
                    while not stop.is_set():
                        counts[0] += ask(connection)[0] == 200
            except OSError as error:
                failures.append(("kept", error))

        def come_again():
            while not stop.is_set():
                try:
                    with connect(self.secure, client_context()) as connection:
                        counts[1] += ask(connection)[0] == 200
                except OSError as error:
                    failures.append(("new", error))
        threads = [threading.Thread(target=what) for what in (keep_asking, keep_asking, come_again)]
        for thread in threads:
            thread.start()
        for certificate in ("renewed", "site", "renewed"):
            self.put(certificate)
            before = self.serial_shown()
            self.reload()
            wait_until(lambda b=before: self.serial_shown() != b, 10, "the new certificate is shown")
        wait_until(lambda: min(counts) > 20 or failures, 20, "there is load")
        shown = self.serial_shown()
        self.assertNotEqual(shown, first)
        for name, bad, words in (("expired", ("expired", None), "expired on 2020-02-01"),
                                 ("wrong key", ("site", "renewed"), "is not the key of"),
                                 ("no key", ("site", "wild"), "is not the key of")):
            with self.subTest(name):
                refused = self.metric('outrigger_reloads_total{result="refused"}')
                self.put(*bad)
                status, _, body = request(self.api, "PUT", "/outrigger/v1/reload")
                self.assertGreaterEqual(status, 400)
                self.assert_says(body.decode(), "site.", words)
                self.assertEqual(self.serial_shown(), shown, "the old one stays")
                self.assertEqual(self.metric('outrigger_reloads_total{result="refused"}'), refused + 1)
                self.assert_says(self.process.log.read_text(), "reload_refused")
        stop.set()
        for thread in threads:
            thread.join(20 * patience())
        self.assertEqual(failures, [])

    def test_settings_are_refused_by_name(self):
        def problems(tls, rest=""):
            path = self.folder / "check.toml"
            path.write_text(f'[[listen]]\naddress = "127.0.0.1:1"\n{rest}\ntls = {tls}\n')
            code, out, err = self.run_cli("validate", path)
            self.assertNotEqual(code, 0, out)
            return out + err
        pair = f'certificates = [{{ cert = "{FILES}/site.pem", key = "{FILES}/site.key" }}]'
        self.assert_says(problems("{ }"), "check.toml:", "certificates")
        self.assert_says(problems(f'{{ certificates = [{{ cert = "{FILES}/site.pem", key = "{FILES}/rsa.key" }}] }}'),
                         "check.toml:4", "rsa.key", "is not the key of", "site.pem")
        self.assert_says(problems(f'{{ certificates = [{{ cert = "{FILES}/expired.pem", key = "{FILES}/expired.key" }}] }}'), "expired on 2020-02-01")
        self.assert_says(problems(f'{{ certificates = [{{ cert = "nowhere.pem", key = "{FILES}/site.key" }}] }}'), "nowhere.pem")
        self.assert_says(problems(f'{{ {pair}, client_certificates = "required" }}'), "client_ca")
        self.assert_says(problems(f'{{ {pair}, alpn = ["h3"] }}'), "not spoken here")
        self.assert_says(problems(f'{{ {pair}, cypher = "x" }}'), "unknown key")
        self.assert_says(problems(f'{{ {pair} }}', "redirect_https = true"), "redirect_https")

    def test_staple(self):
        settings = self.folder / "check.toml"
        settings.write_text(f'[[listen]]\naddress = "127.0.0.1:1"\ntls = {{ certificates = [{{ cert = "{FILES}/site.pem", '
                            f'key = "{FILES}/site.key", ocsp = "{FILES}/site.ocsp" }}] }}\n')
        code, out, err = self.run_cli("validate", settings)
        if code == 0:  # OpenSSL: and another certificate's answer is refused
            settings.write_text(settings.read_text().replace("/site.pem", "/renewed.pem").replace("/site.key", "/renewed.key"))
            code, out, err = self.run_cli("validate", settings)
            self.assertNotEqual(code, 0)
            self.assert_says(out + err, "site.ocsp", "says nothing about this certificate")
        else:
            self.assert_says(out + err, "site.ocsp", "cannot staple", "-DOUTRIGGER_TLS=openssl")


class SecureInstance(Instance):
    """The same over TLS."""

    def __init__(self, certificate):
        super().__init__()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(FILES / f"{certificate}.pem", FILES / f"{certificate}.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)


class Upstream(RealProcesses):
    def start(self, certificate, tls):
        instance = SecureInstance(certificate)
        self.addCleanup(instance.close)
        self.entry = f"127.0.0.1:{free_ports(1)[0]}"
        ports, config = self.single_config("n1", f"""
[service]
address = "{instance.address}"
tls = {tls}
[service.health]
every = "100ms"
timeout = "100ms"
rise = 1
{STEADY_CHECK}
[[listen]]
address = "{self.entry}"
""")
        self.api = f"127.0.0.1:{ports['api']}"
        return self.start_agent("n1", config=config), instance

    def test_orders_and_reads_go_over_tls(self):
        _, instance = self.start("site", f'{{ ca = "{FILES}/ca.pem", server_name = "site.example" }}')
        self.wait_status(self.entry, "/x", 200)
        wait_until(lambda: request(self.entry, "POST", "/orders", body="{}")[0] == 200, 15, "an order is served")
        body = "x" * 3_000_000  # many records, more than any socket buffer takes at once
        status, _, reply = request(self.entry, "POST", "/orders", body=body)
        self.assertEqual((status, json.loads(reply)["body"]), (200, len(body)))

    def test_a_certificate_of_another_name_is_refused(self):
        process, instance = self.start("wild", f'{{ ca = "{FILES}/ca.pem", server_name = "site.example" }}')
        wait_until(lambda: "the other side's certificate is refused" in process.log.read_text(), 10, "the reason is in the log")
        self.wait_status(self.entry, "/x", 503)
        self.assertEqual(instance.requests(), [])

    def test_verification_may_be_left_out(self):
        self.start("wild", "{ verify = false }")
        self.wait_status(self.entry, "/x", 200)


if __name__ == "__main__":
    unittest.main()
