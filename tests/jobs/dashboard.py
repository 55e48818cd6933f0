"""A Ray dashboard's Jobs API without Ray: it keeps packages, and runs what is submitted as a process here."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class FakeJob:
    request: dict[str, Any]
    process: subprocess.Popen[bytes]
    log: Path
    began: float
    stopped: bool = False

    def document(self) -> dict[str, Any]:
        code = self.process.poll()
        state = "RUNNING" if code is None else "STOPPED" if self.stopped else "FAILED" if code else "SUCCEEDED"
        over = None if code is None else int(time.time() * 1000)
        return {
            "type": "SUBMISSION",
            "submission_id": self.request["submission_id"],
            "status": state,
            "message": "" if not code else f"Job entrypoint command failed with exit code {code}",
            "driver_exit_code": None if self.stopped else code,
            "start_time": int(self.began * 1000),
            "end_time": over,
            "metadata": self.request["metadata"],
            "entrypoint": self.request["entrypoint"],
            "runtime_env": self.request["runtime_env"],
        }


@dataclass
class Dashboard:
    """Runs of the engine ray run here instead, with the local one. `token`: what requests are to carry. `broken`: what
    it fails to say of jobs, as `logs`."""

    folder: Path
    token: str = ""
    bodies: list[bytes] = field(default_factory=list[bytes])
    packages: dict[str, bytes] = field(default_factory=dict[str, bytes])
    jobs: dict[str, FakeJob] = field(default_factory=dict[str, FakeJob])
    url: str = ""
    broken: str = ""

    @property
    def home(self) -> Path:
        """Where the head keeps runs."""
        return self.folder / "kept"

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        self.bodies.append(body)
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            return (403 if headers.get("authorization") else 401), "Unauthorized"
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "packages"]:
            return self._package(method, parts[3], body)
        if parts == ["api", "jobs"]:
            return self._submit(json.loads(body)) if method == "POST" else (200, self._list())
        if parts[:2] == ["api", "jobs"] and parts[2] not in self.jobs:
            return 404, f"Job {parts[2]} does not exist"
        return self._of_job(method, self.jobs[parts[2]], parts[3:]) if parts[:2] == ["api", "jobs"] else (404, "no")

    def _package(self, method: str, name: str, body: bytes) -> tuple[int, Any]:
        if method == "PUT":
            self.packages[name] = body
        return (200 if name in self.packages else 404), ""

    def _list(self) -> list[Any]:
        return [*(job.document() for job in self.jobs.values()), {"type": "DRIVER", "status": "RUNNING"}]

    def _submit(self, request: dict[str, Any]) -> tuple[int, Any]:
        job_id = request["submission_id"]
        folder = self.folder / job_id
        folder.mkdir()
        package = request["runtime_env"].get("working_dir", "").removeprefix("gcs://")
        if package:
            zipfile.ZipFile(io.BytesIO(self.packages[package])).extractall(folder)
        log = self.folder / f"job-driver-{job_id}.log"
        entrypoint = request["entrypoint"].replace("--engine ray --address auto", "--engine local")
        with log.open("wb") as file:
            file.write(f"Running entrypoint for job {job_id}: {entrypoint}\n".encode())
            file.flush()
            process = subprocess.Popen(
                ["sh", "-c", entrypoint],
                cwd=folder,
                stdout=file,
                stderr=file,
                start_new_session=True,
                env={**self._environ(), **request["runtime_env"].get("env_vars", {})},
            )
        self.jobs[job_id] = FakeJob(request, process, log, time.time())
        return 200, {"submission_id": job_id, "job_id": job_id}

    def _environ(self) -> dict[str, str]:
        programs = self.folder / "bin"
        if not programs.exists():
            programs.mkdir()
            (programs / "agentbatch").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m agentbatch "$@"\n')
            (programs / "agentbatch").chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "AGENTBATCH_JOBS": str(self.home), "HEAD_KEY": "key-of-the-head"}

    def _of_job(self, method: str, job: FakeJob, what: list[str]) -> tuple[int, Any]:
        if method == "DELETE":
            del self.jobs[job.request["submission_id"]]
            return 200, {"deleted": True}
        if what and what[0] == self.broken:
            return 500, "broken"
        if what == ["logs"]:
            return 200, {"logs": job.log.read_text()}
        if what == ["stop"]:
            job.stopped = True
            os.killpg(job.process.pid, signal.SIGTERM)
            return 200, {"stopped": True}
        return 200, job.document()


@contextmanager
def serving(folder: Path, token: str = "") -> Iterator[Dashboard]:
    """A dashboard on a port of its own."""
    dashboard = Dashboard(folder, token)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, told = dashboard.answer(self.command, self.path, self.headers, body)
            data = told.encode() if isinstance(told, str) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _do

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    dashboard.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield dashboard
    finally:
        for job in dashboard.jobs.values():
            if job.process.poll() is None:
                os.killpg(job.process.pid, signal.SIGKILL)
                job.process.wait()
        server.shutdown()
        server.server_close()
        thread.join()
        shutil.rmtree(folder, ignore_errors=True)
