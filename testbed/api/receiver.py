"""A receiver of webhooks that checks signatures with the reference library of Standard Webhooks.

    receiver.py [--port PORT]      prints the port it listens at, and serves until it is ended

POST to a path of the first column is answered as the second says:

    /ok/…        204
    /slow/…      204 after two seconds
    /flaky/…     500 for the first two attempts of each event, then 204
    /error/…     500
    /gone/…      410
    /silent/…    nothing at all

PUT /secrets {"/ok/a": "whsec_…"} says what a path's signatures are checked with. GET /seen is every POST that came:
[{"path", "id", "verified", "status", "event"}], `verified` being true, or what is wrong with the signature.
"""

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

lock = threading.Lock()
secrets: dict[str, str] = {}
seen: list[dict] = []


def verified(path: str, headers, body: bytes):
    secret = secrets.get(path)
    if secret is None:
        return "unsigned" if headers.get("webhook-signature") is None else "signed, with what is not known"
    try:
        Webhook(secret).verify(body, {name.lower(): value for name, value in headers.items()})
    except WebhookVerificationError as error:
        return str(error)
    return True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        with lock:
            body = json.dumps(seen).encode()
        self.answer(200, body)

    def do_PUT(self) -> None:
        given = json.loads(self.body())
        with lock:
            secrets.update(given)
        self.answer(204)

    def do_POST(self) -> None:
        body = self.body()
        message = self.headers.get("webhook-id")
        kind = self.path.split("/")[1]
        with lock:
            before = sum(one["id"] == message and one["path"] == self.path for one in seen)
            status = {"error": 500, "gone": 410, "silent": 0}.get(kind, 204)
            if kind == "flaky" and before < 2:
                status = 500
            what = verified(self.path, self.headers, body)
            seen.append({"path": self.path, "id": message, "verified": what, "status": status, "event": json.loads(body)})
        if kind == "slow":
            time.sleep(2)
        if kind == "silent":
            time.sleep(3600)
        self.answer(status)

    def log_message(self, *_) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=0)
    server = Server(("127.0.0.1", arguments.parse_args().port), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
