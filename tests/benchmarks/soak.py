"""A run of many minutes against a server with every fault in turn; at its end every item is accounted for.

    python tests/benchmarks/soak.py --minutes 20 --in-flight 500

Inputs come by stdin for as long as the time lasts. Eight of ten requests are answered well; of the others each first
attempt is a fault of some kind, and one connection of twenty is reset as soon as it is made. The exit code is 0 where
every item that was given has one line, every success holds its own item's token, and nothing failed that should not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import hashlib
import json
import os
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from pathlib import Path
from zlib import crc32

from measure import agentbatch

_ITEM = re.compile(rb"item=([^;]+);")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_JSON = b"content-type: application/json\r\n"

Writer = asyncio.StreamWriter
Fault = Callable[[Writer, bytes], Awaitable[None]]


def token(item: str) -> str:
    """What a good answer about an item says."""
    return hashlib.sha1(item.encode()).hexdigest()


def answer(item: str) -> bytes:
    """A whole and valid answer."""
    message = {"role": "assistant", "content": token(item)}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    body = {"id": "x", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return json.dumps(body | {"usage": usage}).encode()


def response(body: bytes, status: str = "200 OK", headers: bytes = _JSON) -> bytes:
    """An HTTP answer around a body."""
    return b"HTTP/1.1 %s\r\n%scontent-length: %d\r\n\r\n" % (status.encode(), headers, len(body)) + body


def _says(data: bytes, then: str = "keep") -> Fault:
    async def fault(writer: Writer, good: bytes) -> None:
        writer.write(data.replace(b"GOOD", good))
        await writer.drain()
        await _end(writer, then)

    return fault


def _cut(then: str) -> Fault:
    async def fault(writer: Writer, good: bytes) -> None:
        writer.write(response(good)[:-25])
        await writer.drain()
        await _end(writer, then)

    return fault


async def _end(writer: Writer, then: str) -> None:
    if then == "hang":
        await asyncio.sleep(11)  # the client leaves after 10
    if then == "reset":
        writer.transport.abort()
    if then != "keep":
        raise ConnectionResetError


def _refusal(status: str, headers: bytes = b"") -> Fault:
    return _says(response(b'{"error":{"message":"no"}}', status, _JSON + headers))


async def _refused_until(writer: Writer, good: bytes) -> None:
    date = formatdate(time.time() + 2, usegmt=True).encode()
    await _refusal("429 X", b"retry-after: %s\r\n" % date)(writer, good)


def _trickle(pause: float) -> Fault:
    async def fault(writer: Writer, good: bytes) -> None:
        for byte in response(good):
            writer.write(bytes([byte]))
            await writer.drain()  # says so where the client has left
            await asyncio.sleep(pause)

    return fault


def _says_good(headers: bytes, before: bytes = b"") -> Fault:
    async def fault(writer: Writer, good: bytes) -> None:
        writer.write(response(before + good, headers=headers))

    return fault


async def _flood(writer: Writer, good: bytes) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        await writer.drain()


FAULTS: dict[str, Fault] = {
    "429 soon": _refusal("429 X", b"retry-after-ms: 200\r\n"),
    "429 in a second": _refusal("429 X", b"retry-after: 1\r\n"),
    "429 until a date": _refused_until,
    "429 without a time": _refusal("429 X"),
    "429 nonsense": _refusal("429 X", b"retry-after: nan\r\n"),
    "500": _refusal("500 X"),
    "502": _says(response(b"<html>bad gateway</html>", "502 X", b"content-type: text/html\r\n")),
    "503": _refusal("503 X"),
    "504": _says(response(b"", "504 X")),
    "529": _refusal("529 X"),
    "408": _refusal("408 X"),
    "reset before": _says(b"", "reset"),
    "closed before": _says(b"", "close"),
    "reset in the body": _cut("reset"),
    "closed in the body": _cut("close"),
    "hangs in the body": _cut("hang"),
    "hangs": _says(b"", "hang"),
    "html": _says(response(b"<html>log in</html>")),
    "empty": _says(response(b"")),
    "error in a 200": _says(response(b'{"error":{"message":"overloaded","type":"server_error"}}')),
    "list": _says(response(b"[]")),
    "no choices": _says(response(b'{"choices":[]}')),
    "null": _says(response(b"null")),
    "cut JSON": _says(response(b'{"choices": [{"mess')),
    "no HTTP": _says(b"SSH-2.0-x\r\n", "close"),
    "large head": _says(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 600_000 + b"\r\n\r\n", "close"),
    "cut gzip": _says(response(gzip.compress(b"{}" * 1000)[:-9], headers=b"content-encoding: gzip\r\n")),
    "bomb": _says(response(gzip.compress(bytes(50_000_000)), headers=b"content-encoding: gzip\r\n")),
    "flood": _flood,
    "trickle": _trickle(0.002),
    "trickle past the deadline": _trickle(0.2),
}
"""What the first attempt of an item may meet."""
ODD: dict[str, Fault] = {
    "text/plain": _says_good(b"content-type: text/plain\r\n"),
    "no content type": _says_good(b""),
    "a BOM": _says_good(_JSON, b"\xef\xbb\xbf"),
}
"""Not as they should be, and good answers all the same."""
FINAL: dict[str, Fault] = {
    "400": _refusal("400 X"),
    "422": _refusal("422 X"),
    "filter": _says(response(b'{"choices":[{"message":{"content":null},"finish_reason":"content_filter"}]}')),
}
"""These are not tried again: their items fail."""


def fate_of(item: str) -> str:
    """What becomes of an item's first request: `good`, or the name of a fault; the same in every run."""
    draw = crc32(f"fate {item}".encode())
    if draw % 10 < 8:
        return "good"
    names = [*FAULTS, *ODD, *FINAL]
    return names[draw // 10 % len(names)]


class Provider:
    """The server, and what it was asked."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        self.fates: Counter[str] = Counter()
        self.connections = 0
        self.busy_s = 0.0

    async def talk(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.connections += 1
        try:
            if self.connections % 20 == 0:
                self.fates["closed at connect"] += 1
                writer.transport.abort()
                return
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                found = _ITEM.search(await reader.readexactly(int(length[1]) if length else 0))
                assert found, head
                await self._answer(found[1].decode(), writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has left, or all is over
        finally:
            writer.close()

    async def _answer(self, item: str, writer: Writer) -> None:
        self.attempts[item] += 1
        began = time.perf_counter()
        try:
            await self._meet(item, writer)
        finally:
            self.busy_s += time.perf_counter() - began

    async def _meet(self, item: str, writer: Writer) -> None:
        fate = fate_of(item)
        if fate in FINAL or fate in ODD or (fate in FAULTS and self.attempts[item] == 1):
            self.fates[fate] += 1
            await {**FAULTS, **ODD, **FINAL}[fate](writer, answer(item))
            return
        await asyncio.sleep(0.2 + crc32(item.encode()) % 1500 / 1000)
        writer.write(response(answer(item)))


async def feed(stdin: asyncio.StreamWriter, seconds: float) -> int:
    """Give inputs for so long; returns how many."""
    ends, given = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        lines = "".join(json.dumps({"id": f"i{given + number}"}) + "\n" for number in range(100))
        stdin.write(lines.encode())
        await stdin.drain()  # the run reads as it has room: so it ends soon after the time is over
        given += 100
    stdin.close()
    return given


def look(results: Path, given: int) -> list[str]:
    """What is wrong with the results; empty where every item is accounted for."""
    wrong: list[str] = []
    seen: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    with results.open("rb") as file:
        for line in map(json.loads, file):
            item = str(line["id"])
            seen[item] += 1
            fate = fate_of(item)
            if line["status"] == "ok" and (line["output"] != token(item) or fate in FINAL):
                wrong.append(f"{item} ({fate}) has an answer that is not its own")
            if line["status"] != "ok" and fate not in FINAL:
                errors[f"{fate}: {line['error']['type']}: {line['error']['message'][:80]}"] += 1
    wrong += [f"{item} has {count} lines" for item, count in seen.items() if count > 1]
    wrong += [f"i{number} has no line" for number in range(given) if f"i{number}" not in seen]
    return [*wrong[:20], *(f"{count} x {error}" for error, count in errors.most_common(20))]


async def watch_memory(pid: int, seen: list[float]) -> None:
    """Note the run's resident memory in MB every ten seconds until it is gone."""
    with contextlib.suppress(OSError, IndexError):
        while True:
            seen.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20)
            await asyncio.sleep(10)


async def soak(minutes: float, in_flight: int, folder: Path) -> int:
    """Run, look, tell."""
    provider = Provider()
    server = await asyncio.start_server(provider.talk, "127.0.0.1", 0, backlog=2048)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    model = {"provider": "openai", "model": "m", "base_url": url, "api_key": "${SOAK_KEY}", "timeout": 10}
    model |= {"max_concurrency": in_flight, "price": {"input": 1, "output": 1}}
    agents = {"writer": {"model": "m", "prompt": "item={{ item.id }};"}}
    (folder / "config.yaml").write_text(json.dumps({"version": 1, "models": {"m": model}, "agents": agents}))
    command = agentbatch("run", "config.yaml", "-", "-o", "soak.results.jsonl", "--progress", "plain")
    began = time.monotonic()
    run = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdin=asyncio.subprocess.PIPE, env={**os.environ, "SOAK_KEY": "sk-soak-0123456789"}
    )
    assert run.stdin is not None
    memory: list[float] = []
    watching = asyncio.create_task(watch_memory(run.pid, memory))
    given = await feed(run.stdin, minutes * 60)
    code = await run.wait()
    watching.cancel()
    wall, peak_mb = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    wrong = look(folder / "soak.results.jsonl", given)
    requests, faults = provider.attempts.total(), provider.fates.total()
    print(f"{wall:.0f} s, at most {in_flight} in flight, {provider.busy_s / wall:.0f} on average")
    print(f"{given:,} items, {requests:,} requests, {faults:,} faults of {len(provider.fates)} kinds")
    print(f"exit code {code}, peak RSS {peak_mb:.0f} MB")
    print("RSS over time, MB:", *(f"{part:.0f}" for part in memory[:: len(memory) // 10 + 1]))
    print(dict(provider.fates))
    print("every item accounted for" if not wrong else "\n".join(["WRONG:", *wrong]))
    return int(bool(wrong) or code != 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--in-flight", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="agentbatch-soak-") as folder:
        sys.exit(asyncio.run(soak(options.minutes, options.in_flight, Path(folder))))


if __name__ == "__main__":
    main()
