"""An HTTP server for tests that may hang up, reset the connection, or cut its answers short."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal


@dataclass
class Reply:
    """An answer, of which the last `cut` bytes never come."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: int = 0


Answer = Callable[[str, str, Mapping[str, str], bytes], Reply | Literal["close", "reset"]]
"""From a request's method, path, headers and body."""


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """Its origin, while it is there."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self._serve("POST")

        def do_GET(self) -> None:
            self._serve("GET")

        def do_DELETE(self) -> None:
            self._serve("DELETE")

        def _serve(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            reply = answer(method, self.path, dict(self.headers.items()), body)
            self.close_connection = isinstance(reply, str) or bool(reply.cut)
            if reply == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if isinstance(reply, str):
                return
            fields = {**reply.headers, "content-length": str(len(reply.body))}
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            sent = reply.body[: len(reply.body) - reply.cut]
            try:
                self.wfile.write(f"HTTP/1.1 {reply.status} X\r\n{head}\r\n".encode() + sent)
            except OSError:
                pass  # the client is gone

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
