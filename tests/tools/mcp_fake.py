"""An MCP server for tests, of the standard library alone: `mcp_fake.py` over stdio, `mcp_fake.py http` over HTTP.

Over HTTP it prints its port. What it does beside serving is told by further words: `banner` prints what is no message,
`dies` ends before it answers, `silent` never answers, `once` refuses to start again (a file beside it remembers),
`tools=a,b` has these tools instead, which say their own names. `port=1234` is where it serves, and
`restarts` begins it again whenever it ended.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
NUMBER = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}
ELSEWHERE = {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/x"}}}
PIXEL = base64.b64encode(b"\x89PNG not shown").decode()
running = 0
peak = 0


def text(value: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": value}]}


def slow(n: float) -> dict[str, Any]:
    global running, peak
    running += 1
    peak = max(peak, running)
    time.sleep(n)
    running -= 1
    return text("done")


def die() -> dict[str, Any]:
    print("I must leave", file=sys.stderr, flush=True)
    os._exit(7)


def linger(seconds: str) -> dict[str, Any]:
    """Leave a child behind that has left the group and holds our output."""
    child = subprocess.Popen(["sleep", seconds], start_new_session=True)
    return text(str(child.pid))


def named(own: str, **_: Any) -> dict[str, Any]:
    return text(f"<{own}>")


def flood(n: float) -> dict[str, Any]:
    for _ in range(int(n)):
        sys.stdout.buffer.write(b"x" * (1 << 20))
    return text("enough")


Tool = tuple[dict[str, Any], Callable[..., dict[str, Any]]]
NOTHING: dict[str, Any] = {"type": "object"}
TOOLS: dict[str, Tool] = {
    "echo": (TEXT, lambda text: globals()["text"](text)),
    "env": (NOTHING, lambda: text(json.dumps(dict(os.environ)))),
    "pid": (NOTHING, lambda: text(str(os.getpid()))),
    "cwd": (NOTHING, lambda: text(str(Path.cwd()))),
    "slow": (NUMBER, slow),
    "peak": (NOTHING, lambda: text(str(peak))),
    "die": (NOTHING, die),
    "linger": (TEXT, lambda text: linger(text)),
    "flood": (NUMBER, flood),
    "long": (NUMBER, lambda n: text("y" * int(n))),
    "fail": (NOTHING, lambda: {**text("no luck today"), "isError": True}),
    "mixed": (
        NOTHING,
        lambda: {
            "content": [
                {"type": "text", "text": "see:"},
                {"type": "image", "data": PIXEL, "mimeType": "image/png"},
                {"type": "resource", "resource": {"uri": "memo://1", "text": "a memo"}},
                {"type": "resource", "resource": {"uri": "blob://1", "blob": PIXEL, "mimeType": "image/png"}},
                {"type": "resource_link", "uri": "memo://2", "name": "another memo"},
            ]
        },
    ),
    "structured": (NOTHING, lambda: {"content": [], "structuredContent": {"degrees": 21}}),
    "broken": (NOTHING, lambda: {"content": "no list"}),
    "odd.schema/name": (ELSEWHERE, lambda **_: text("ok")),
}


def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    """The response to a message; None to a notification."""
    if "id" not in message:
        return None
    whole = {"jsonrpc": "2.0", "id": message["id"]}
    params = message.get("params", {})
    match message["method"]:
        case "initialize":
            capabilities = {"tools": {}}
            info = {"name": "fake", "version": "1"}
            version = params["protocolVersion"]
            return {**whole, "result": {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info}}
        case "tools/list":
            at = int(params.get("cursor") or 0)
            page = list(TOOLS.items())[at : at + 5]
            tools = [{"name": name, "description": f"The tool {name}.", "inputSchema": each[0]} for name, each in page]
            more = {"nextCursor": str(at + 5)} if at + 5 < len(TOOLS) else {}
            return {**whole, "result": {"tools": tools, **more}}
        case "tools/call" if params["name"] in TOOLS:
            return {**whole, "result": TOOLS[params["name"]][1](**params.get("arguments", {}))}
        case "tools/call":
            return {**whole, "error": {"code": -32602, "message": f"unknown tool {params['name']}"}}
        case method:
            return {**whole, "error": {"code": -32601, "message": f"no method {method}"}}


def serve_stdio() -> None:
    lock = threading.Lock()

    def handle(line: str) -> None:
        found = answer(json.loads(line))
        if found is not None:
            with lock:
                print(json.dumps(found), flush=True)

    for line in sys.stdin:
        threading.Thread(target=handle, args=[line], daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("authorization") != "Bearer let-me-in-0123":
            return self._send(401, b"who are you?", "text/plain")
        found = answer(json.loads(body))
        return self._send(200 if found else 202, json.dumps(found).encode() if found else b"", "application/json")

    def do_GET(self) -> None:
        self._send(405, b"", "text/plain")

    do_DELETE = do_GET

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def main(words: list[str]) -> None:
    if "restarts" in words:
        while True:
            subprocess.run([sys.executable, __file__, *(word for word in words if word != "restarts")], check=False)
    if "http" in words:
        port = next((word.removeprefix("port=") for word in words if word.startswith("port=")), "0")
        server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
        print(server.server_port, flush=True)
        server.serve_forever()
    if "once" in words:
        (Path(__file__).parent / "began").open("x").close()
    for word in words:
        if word.startswith("tools="):
            TOOLS.clear()
            TOOLS.update({name: (NOTHING, partial(named, name)) for name in word.removeprefix("tools=").split(",")})
    if "banner" in words:
        print("Welcome to the fake server!\n{}\n[1]", flush=True)
    if "dies" in words:
        print("no licence found", file=sys.stderr)
        sys.exit(3)
    if "silent" in words:
        time.sleep(600)
    serve_stdio()


if __name__ == "__main__":
    main(sys.argv[1:])
