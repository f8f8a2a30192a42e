"""A server of OpenAI's `chat/completions` that judges as a test tells it to, or fails to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

Reply = str | int | bytes
"""What the model says; or an HTTP status; or the whole body. `HANG` and `DRIP` never end."""

HANG, DRIP = -1, -2


@dataclass
class StandIn:
    """`says` gets input, output and target of a question, and how often it was asked."""

    says: Callable[[dict[str, str], int], Reply]
    url: str = ""
    retry_after: str = "soon"
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    ended: Event = field(default_factory=Event)


@contextmanager
def serving(says: Callable[[dict[str, str], int], Reply]) -> Iterator[StandIn]:
    stand_in = StandIn(says)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stand_in.headers.append(dict(self.headers))
            stand_in.bodies.append(body)
            question = json.loads(body["messages"][1]["content"])
            times = sum(b["messages"] == body["messages"] for b in stand_in.bodies)
            said = stand_in.says(question, times)
            if said == HANG:
                stand_in.ended.wait(20)
            elif said == DRIP:
                self.drip()
            elif isinstance(said, int):
                self.send_response(said)
                self.send_header("Location", stand_in.url)
                self.send_header("Retry-After", stand_in.retry_after)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self.answer(said if isinstance(said, bytes) else chat(said))

        def answer(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def drip(self) -> None:
            self.send_response(200)
            self.end_headers()
            while not stand_in.ended.wait(0.02):
                try:
                    self.wfile.write(b" ")
                except OSError:
                    return

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    stand_in.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        stand_in.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def chat(content: str) -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
