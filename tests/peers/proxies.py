"""Forward authentication behind real proxies, set up as `countersign serve config` prints it.

Usage: proxies.py COUNTERSIGN FOLDER_WITH_PROXIES
"""

import http.server
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time

COUNTERSIGN, PROXIES = (os.path.abspath(argument) for argument in sys.argv[1:3])
ORIGIN = "https://api.example.com"


class Server(http.server.BaseHTTPRequestHandler):
    """The server behind the proxy: keeps what it gets."""

    protocol_version = "HTTP/1.1"
    got = queue.Queue()

    def answer(self):
        content = b""
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.got.put((self.requestline, self.headers, content))
        self.send_response(200)
        self.send_header("content-length", "4")
        self.end_headers()
        self.wfile.write(b"well")

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_):
        pass


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def until_it_listens(port, process):
    for _ in range(600):
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert process.poll() is None, "the proxy ended"
            time.sleep(0.1)
    raise AssertionError("the proxy does not listen")


def set_up(kind, printed, folder, port):
    """The arguments with which a proxy of this kind runs the printed configuration on a port."""
    path = os.path.join(folder, kind)
    if kind == "caddy":
        printed = "{\n\tadmin off\n\tservers {\n\t\tprotocols h1 h2c\n\t}\n}\n" + printed + f"\nhttp://:{port} {{\n\timport countersign\n}}\n"
        arguments = ["caddy", "run", "--adapter", "caddyfile", "--config", path]
    elif kind == "traefik":
        # In its folder, a traefik.yml would be its static configuration.
        path = os.path.join(folder, "dynamic.yml")
        arguments = ["traefik", f"--entryPoints.web.address=127.0.0.1:{port}", f"--providers.file.filename={path}"]
    else:
        path += ".yaml"
        printed = printed.replace("port_value: 8081", f"port_value: {port}")
        arguments = ["envoy", "--log-level", "error", "--use-dynamic-base-id", "-c", path]
    with open(path, "w") as file:
        file.write(printed)
    return [os.path.join(PROXIES, arguments[0]), *arguments[1:]]


def parse(status, content):
    try:
        code = json.loads(content[content.find("{") : content.rfind("}") + 1])["code"]
    except ValueError:
        code = content.strip()
    return int(status), code


def unannounced(port, head, content):
    """Sends a request over HTTP/2, whose content no field announces."""
    first, *fields = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    arguments = ["curl", "-q", "-s", "--http2-prior-knowledge", "-X", method, "-T", "-", "-w", "\n%{http_code}"]
    for field in fields:
        if not field.startswith("Connection"):
            arguments += ["-H", field]
    done = subprocess.run([*arguments, f"http://127.0.0.1:{port}{target}"], input=content, capture_output=True)
    content, _, status = done.stdout.decode().rpartition("\n")
    return parse(status, content)


def covered(*components):
    return [argument for component in components for argument in ("--component", component)]


def exchange(port, request):
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.settimeout(60)
        stream.sendall(request)
        response = b""
        while piece := stream.recv(65536):
            response += piece
    head, _, content = response.decode().partition("\r\n\r\n")
    status, code = parse(head.split(" ")[1], content)
    if content.lstrip().startswith("{"):
        assert f"countersign-refusal: {code}" in head.lower(), head
    return status, code


def check(kind):
    folder = tempfile.mkdtemp()
    environment = {**os.environ, "COUNTERSIGN_DB": f"sqlite:{folder}/registry.db", "HOME": folder}

    def countersign(*arguments):
        done = subprocess.run([COUNTERSIGN, *arguments], cwd=folder, env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    upstream = f"http://127.0.0.1:{server.server_address[1]}"
    with open(os.path.join(folder, "serve.toml"), "w") as file:
        file.write('[[routes]]\nmethod = "POST"\npath = "/v1/behind"\ncontent = "checked-behind"\n')
    ports = ["--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"]
    service = subprocess.Popen(
        [COUNTERSIGN, "serve", "auth", "--from", kind, "--proxy", "127.0.0.1/32", "--origin", ORIGIN]
        + ["--config", "serve.toml", *ports],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )
    address = service.stdout.readline().decode().strip().rsplit("://", 1)[1]
    countersign("keygen", "--out", "shop.key")
    countersign("app", "add", "shop")
    countersign("key", "add", "--app", "shop", "--public-key", "shop.key.pub")
    key = countersign("pubkey", "shop.key").decode().split()[0]
    printed = countersign("serve", "config", kind, "--listen", address, "--upstream", upstream, "--origin", ORIGIN)
    port = free_port()
    arguments = set_up(kind, printed.decode(), folder, port)
    proxy = subprocess.Popen(arguments, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_it_listens(port, proxy)

        def read(target, fields=""):
            return exchange(port, (
                f"GET {target} HTTP/1.1\r\nHost: api.example.com\r\n{fields}Connection: close\r\n\r\n"
            ).encode())

        # Traefik and Envoy load their configuration after they listen.
        for _ in range(600):
            if read("/")[0] == 401:
                break
            time.sleep(0.1)

        def sign(*arguments, path="/v1/orders"):
            signed = countersign("sign", "--key", "shop.key", "--format", "http", *arguments, ORIGIN + path)
            head, _, content = signed.partition(b"\r\n\r\n")
            lines = [line for line in head.strip().split(b"\r\n") if not line.lower().startswith(b"content-length")]
            return b"\r\n".join([*lines, b"Connection: close"]), content

        def framed(head, content):
            return head + b"\r\nContent-Length: %d\r\n\r\n" % len(content) + content

        def chunked(head, content):
            return head + b"\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)

        def expect(what, found, *expected):
            assert found in expected, f"{kind}, {what}: {found}, not {expected}"

        def nothing_got(what):
            assert Server.got.empty(), f"{kind}, {what}: {Server.got.get()}"

        passes_content = kind != "caddy"
        expect("no key", read("/v1/orders"), (401, "key-required"))
        nothing_got("no key")
        forged = f"X-Api-Key: {key}\r\nCountersign-Application: other\r\nCountersign-Scopes: all\r\nCountersign-Access: signed\r\nCountersign-Evil: 1\r\n"
        expect("a read", read("/v1/a%20b?x=%7e&z", forged), (200, "well"))
        line, fields, _ = Server.got.get(timeout=60)
        assert line == "GET /v1/a%20b?x=%7e&z HTTP/1.1", line
        identity = {name: fields.get_all(f"countersign-{name}") for name in ("application", "access", "credential")}
        assert identity == {"application": ["shop"], "access": ["publishable"], "credential": [key]}, identity
        assert fields.get("countersign-scopes", "") == "", fields["countersign-scopes"]
        # Traefik takes out the fields alone that its configuration names.
        assert kind == "traefik" or fields.get("countersign-evil") is None, fields

        order = framed(*sign("-d", "a book"))
        if passes_content:
            expect("a signed write", exchange(port, order), (200, "well"))
            assert Server.got.get(timeout=60)[2] == b"a book"
            expect("the same again", exchange(port, order), (401, "signature-replayed"))
            expect("chunked", exchange(port, chunked(*sign("-d", "a book"))), (200, "well"))
            assert Server.got.get(timeout=60)[2] == b"a book"
            head, _ = sign("-d", "a book")
            expect("forged content", exchange(port, framed(head, b"a bomb")), (400, "digest-mismatch"))
            # More than the proxy passes: it answers itself, or breaks off.
            with open(os.path.join(folder, "large"), "wb") as file:
                file.write(bytes(1 << 20) + b"more")
            try:
                assert exchange(port, framed(*sign("--data-binary", "@large")))[0] in (401, 413)
            except (ConnectionError, IndexError):
                pass
            nothing_got("content that is too large")
        else:
            expect("content that is kept", exchange(port, order), (403, "content-unverified"))
            expect("chunked", exchange(port, chunked(*sign("-d", "a book"))), (403, "content-unverified"))
            behind = sign("-d", "a book", path="/v1/behind")
            expect("checked behind", exchange(port, chunked(*behind)), (200, "well"))
            _, fields, content = Server.got.get(timeout=60)
            assert content == b"a book" and fields["countersign-content-digest"] == fields["content-digest"], fields
            expect("the same again", exchange(port, chunked(*behind)), (401, "signature-replayed"))
        head, _ = sign("-X", "DELETE")
        expect("added content", exchange(port, framed(head, b"evil")), (401, "signature-policy"))
        expect("added chunks", exchange(port, chunked(head, b"evil")), (401, "signature-policy"))
        nothing_got("refused content")
        expect("a write without content", exchange(port, head + b"\r\n\r\n"), (200, "well"))
        assert Server.got.get(timeout=60)[0] == "DELETE /v1/orders HTTP/1.1"
        expect("the same again", exchange(port, head + b"\r\n\r\n"), (401, "signature-replayed"))
        # Over HTTP/2 content may come that no field announces.
        head, _ = sign("-X", "DELETE")
        if passes_content:
            expect("unannounced content", unannounced(port, head, b"evil"), (401, "signature-policy"))
        else:
            expect("unannounced content", unannounced(port, head, b"evil"), (200, "well"))
            line, fields, content = Server.got.get(timeout=60)
            assert line == "DELETE /v1/orders HTTP/1.1" and content == b"", content
            assert not fields.get("content-length") and not fields.get("transfer-encoding"), fields
            unannounced_order = sign("-X", "DELETE", "-d", "evil")
            expect("content that is taken out", unannounced(port, *unannounced_order), (400, "digest-mismatch"))
        nothing_got("unannounced content")
        # The name of a request is the proxy's own, whatever the client sends.
        head, _ = sign("-X", "DELETE")
        named = head + b"\r\nCountersign-Request-Id: 0123456789abcdef\r\n\r\n"
        expect("a request with an id", exchange(port, named), (200, "well"))
        Server.got.get(timeout=60)
        expect("the same again", exchange(port, named), (401, "signature-replayed"))
        # A field on two lines: signed it is refused, otherwise it stays as it is.
        base, dup = ("@method", "@authority", "@path", "@query"), ("-H", "X-Dup: a", "-H", "X-Dup: b")
        head, _ = sign("-X", "DELETE", *dup, *covered(*base, "x-dup"))
        expect("a signed field on two lines", exchange(port, head + b"\r\n\r\n"), (400, "signature-malformed"))
        head, _ = sign("-X", "DELETE", *dup, *covered(*base))
        expect("a field on two lines", exchange(port, head + b"\r\n\r\n"), (200, "well"))
        assert Server.got.get(timeout=60)[1].get_all("x-dup") == ["a", "b"]
        for target in ["/a/../b", "/v1//x", "/v1/%2e%2e/x", "/v1/./x"]:
            status, code = read(target, f"X-Api-Key: {key}\r\n")
            expect(target, (status, code), (200, "well"), (400, "bad-target"))
            if status == 200:
                # It was made a usual one before it was asked about.
                path = Server.got.get(timeout=60)[0].split(" ")[1]
                assert path in ["/b", "/v1/x", "/x"], path
        for name, other in [("X-Original-Uri", "/other"), ("X-Forwarded-Uri", "/other")]:
            status, code = read("/v1/orders", f"X-Api-Key: {key}\r\n{name}: {other}\r\n")
            expect(name, (status, code), (200, "well"), (403, "bad-question"))
            if status == 200:
                assert Server.got.get(timeout=60)[1].get(name) is None, name
        nothing_got("the end")
    finally:
        for process in (proxy, service):
            process.terminate()
            process.wait()
        server.shutdown()
    print(f"{kind}: what passes passes once, and nothing else")


for asked in ("caddy", "traefik", "envoy", "envoy-http"):
    check(asked)
