"""Usage in ClickHouse, on its real engine.

Usage: usage.py SAVE_USAGE
"""

import http.server
import os
import subprocess
import sys
import tempfile
import threading
import urllib.parse

from chdb import session

SAVE_USAGE = os.path.abspath(sys.argv[1])


class Engine:
    """The engine, and the tables that refuse the next write."""

    def __init__(self, folder):
        self.folder = folder
        self.session = session.Session(os.path.join(folder, "data"))
        self.lock = threading.Lock()
        self.refuses = set()
        self.users = []

    def ask(self, text, form="CSV"):
        with self.lock:
            return self.session.query(text, form).bytes()

    def insert(self, statement, settings, rows):
        """A write of the HTTP interface: the statement is in the URL, and the rows are the content."""
        head, form = statement.rsplit(" FORMAT ", 1)
        file = os.path.join(self.folder, "rows")
        with open(file, "wb") as out:
            out.write(rows)
        named = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
        self.ask(f"{head} FROM INFILE '{file}' SETTINGS {named} FORMAT {form}")


class Front(http.server.BaseHTTPRequestHandler):
    """As much of ClickHouse's HTTP interface as the client speaks."""

    protocol_version = "HTTP/1.1"
    engine = None

    def content(self):
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def do_POST(self):
        engine = self.engine
        engine.users.append((self.headers.get("x-clickhouse-user"), self.headers.get("x-clickhouse-key")))
        parameters = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        content = self.content()
        try:
            database = parameters.pop("database")
            form = parameters.pop("default_format", "TabSeparated")
            statement = parameters.pop("query", None)
            parameters = {name: value for name, value in parameters.items() if "insert" in name}
            engine.ask(f"USE {database}")
            if statement is None:
                statement, content = content.decode(), b""
            if statement.startswith("INSERT"):
                if refused := [table for table in engine.refuses if table in statement]:
                    engine.refuses.discard(refused[0])
                    raise RuntimeError("the disk is full")
                engine.insert(statement, parameters, content)
                self.respond(200, b"")
            else:
                self.respond(200, engine.ask(statement, form))
        except Exception as error:  # noqa: BLE001: whatever the engine raises
            self.respond(500, f"Code: 1. DB::Exception: {error}".encode())

    def respond(self, status, content):
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def main():
    with tempfile.TemporaryDirectory() as folder:
        engine = Front.engine = Engine(folder)
        engine.ask("CREATE DATABASE usage")
        front = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
        threading.Thread(target=front.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{front.server_port}"
        url = f"http://shop:se%2Fcret@{address}/usage"

        def save(server, number, minute, expected=0):
            saving = subprocess.run(
                [SAVE_USAGE, url, str(server), str(number), str(minute)], capture_output=True, text=True
            )
            assert saving.returncode == expected, saving
            assert "cret" not in saving.stderr, saving
            return saving.stderr

        def sums():
            columns = {"usage_call": "calls", "usage_place": "calls", "usage_client": "calls", "usage_event": "count"}
            asked = (f"(SELECT sum({column}) FROM usage.{table})" for table, column in columns.items())
            return [int(cell) for cell in engine.ask(f"SELECT {', '.join(asked)}").decode().split(",")]

        # A batch that is saved counts once, however often it is handed over.
        for _ in range(3):
            save(1, 1, 29_000_000)
        assert sums() == [5, 5, 3, 2], sums()
        assert set(engine.users) == {("shop", "se/cret")}, set(engine.users)
        # What another server counted counts as well, and so does what this one counted later.
        save(2, 1, 29_000_000)
        save(1, 2, 29_000_000)
        assert sums() == [15, 15, 9, 6], sums()
        # A batch that was saved in part is saved in the rest.
        engine.refuses.add("usage_client")
        assert "disk is full" in save(1, 3, 29_000_001, expected=1)
        assert sums() == [20, 20, 9, 6], sums()
        save(1, 3, 29_000_001)
        assert sums() == [20, 20, 12, 8], sums()
        # Rows of one key are added up.
        engine.ask("OPTIMIZE TABLE usage.usage_call FINAL")
        rows = engine.ask(
            "SELECT toUnixTimestamp(at), credential, route, method, access, outcome, status, calls, bytes_in, bytes_out,"
            " duration, latency_4 FROM usage.usage_call WHERE at < toDateTime(29000001 * 60, 'UTC') ORDER BY credential"
        )
        expected = [
            '1740000000,0,"","GET","open","key-required",401,6,600,6000,90000,6',
            '1740000000,7,"POST /v1/orders/{id}","POST","signed","passed",201,9,900,9000,135000,9',
        ]
        assert rows.decode().splitlines() == expected, rows
        places = engine.ask("SELECT credential, access, prefix, sum(calls) FROM usage.usage_place GROUP BY ALL ORDER BY 1")
        assert places.decode().splitlines() == ['0,"open","",8', '7,"signed","192.0.2.0/24",12'], places
        clients = engine.ask("SELECT platform, product, sum(calls) FROM usage.usage_client GROUP BY ALL")
        assert clients.decode().splitlines() == ['"ios","Alamofire",12'], clients
        # A database that is away, or has no such database, is an error.
        url = f"http://{address}/elsewhere"
        save(1, 4, 29_000_001, expected=1)
        front.shutdown()
        front.server_close()
        url = f"http://{address}/usage"
        save(1, 4, 29_000_001, expected=1)
    print("usage in ClickHouse: as expected", file=sys.stderr)


main()
