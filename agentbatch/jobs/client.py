"""Ray's Jobs REST API, version 4 (https://docs.ray.io/en/latest/cluster/running-applications/job-submission/rest.html).

The border to it: what it answers comes back as `Job`s and texts, what it refuses in our words.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Literal, Self, cast
from urllib.parse import quote

from agentbatch.errors import ConfigError, StepError
from agentbatch.jobs.address import ClusterAddress
from agentbatch.record import record
from agentbatch.transports.http import HttpResponse, open_transport

JobState = Literal["pending", "running", "succeeded", "failed", "stopped"]

_ANSWER_S = 30.0
_UPLOAD_BYTES_PER_S = 250_000
_MOST_BYTES = 512 * 1024**2


@record
class Job:
    """A job as Ray knows it.

    Attributes:
        exit_code: of its command, where that ended by itself.
        started_at, ended_at: Unix seconds.
    """

    id: str
    state: JobState
    message: str
    exit_code: int | None
    started_at: float | None
    ended_at: float | None
    metadata: Mapping[str, str]

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state not in ("pending", "running")


class UnknownJob(ConfigError):
    """The cluster has no such job (any more)."""


class JobsClient:
    """Use as `async with`. Every method raises `ConfigError`: the cluster can't be reached, or refuses."""

    def __init__(self, cluster: ClusterAddress) -> None:
        self._cluster = cluster
        self._headers = {"authorization": f"Bearer {cluster.token}"} if cluster.token else {}

    async def __aenter__(self) -> Self:
        self._transport = open_transport(max_body_bytes=_MOST_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.close()

    async def has_package(self, name: str) -> bool:
        """Whether the cluster has it; if so it is kept for some minutes more."""
        return (await self._ask("GET", f"/api/packages/gcs/{quote(name)}", also=(404,))).status == 200

    async def upload(self, name: str, data: bytes) -> None:
        """Give it a package."""
        seconds = _ANSWER_S + len(data) / _UPLOAD_BYTES_PER_S
        await self._ask("PUT", f"/api/packages/gcs/{quote(name)}", data, seconds=seconds)

    async def submit(
        self, job_id: str, entrypoint: str, runtime_env: Mapping[str, Any], metadata: Mapping[str, str]
    ) -> None:
        """Begin a job: a shell's command line, run on the head."""
        request = {
            "submission_id": job_id,
            "entrypoint": entrypoint,
            "runtime_env": dict(runtime_env),
            "metadata": dict(metadata),
        }
        await self._ask("POST", "/api/jobs/", json.dumps(request).encode())

    async def job(self, job_id: str) -> Job:
        """One job.

        Raises:
            UnknownJob: there is none of that id.
        """
        return _job(_object(await self._of(job_id, "GET")))

    async def jobs(self) -> list[Job]:
        """All that were submitted."""
        told: Any = _parsed(await self._ask("GET", "/api/jobs/"))
        found = [cast("dict[str, Any]", each) for each in cast("list[Any]", told) if isinstance(each, dict)]
        return [_job(each) for each in found if each.get("submission_id")]

    async def logs(self, job_id: str) -> str:
        """All that its command has said."""
        return str(_object(await self._of(job_id, "GET", "/logs")).get("logs", ""))

    async def stop(self, job_id: str) -> None:
        """Ask it to end: SIGTERM, and SIGKILL if it takes too long. Returns at once."""
        await self._of(job_id, "POST", "/stop")

    async def forget(self, job_id: str) -> None:
        """Take an ended job off the list."""
        await self._of(job_id, "DELETE")

    async def _of(self, job_id: str, method: str, what: str = "") -> HttpResponse:
        answer = await self._ask(method, f"/api/jobs/{quote(job_id, safe='')}{what}", also=(404,))
        if answer.status == 404:
            raise UnknownJob(
                f"{self._cluster.url} has no job {job_id}: `agentbatch status --address {self._cluster.url}` lists"
                " them; they are forgotten when Ray ends on the head"
            )
        return answer

    async def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        also: tuple[int, ...] = (),
        seconds: float = _ANSWER_S,
    ) -> HttpResponse:
        headers = {**self._headers, **({"content-type": "application/json"} if method == "POST" else {})}
        if method == "POST" and body is None:
            body = b""
        try:
            async with asyncio.timeout(seconds):
                answer = await self._transport.request(method, self._cluster.url + path, headers, body)
        except TimeoutError:
            raise ConfigError(f"{self._cluster.url} did not answer within {seconds:.0f} s") from None
        except StepError as error:
            why = error.message.removeprefix(f"{self._cluster.url}: ")
            raise ConfigError(
                f"{self._cluster.url} can't be reached: {why}. See that `ray start --head"
                " --dashboard-host=0.0.0.0` runs there (with ray[default]), and that the port can be reached from here"
            ) from None
        if answer.status not in (200, *also):
            raise ConfigError(self._refusal(answer))
        return answer

    def _refusal(self, answer: HttpResponse) -> str:
        url = self._cluster.url
        if answer.status in (401, 403):
            return (
                f"{url} wants a token, and {'refuses this one' if self._cluster.token else 'was given none'}: set"
                " RAY_AUTH_TOKEN to what `ray get-auth-token` prints on the head"
            )
        if answer.status == 413:
            return f"{url} takes no package so large: leave files out with engine.excludes, or send fewer inputs"
        if answer.status == 404:
            return f"{url} is no Ray dashboard with the Jobs API: give --address the head's, as http://HEAD:8265"
        text = answer.body.decode("utf-8", "replace").strip()
        return f"{url} refused (HTTP {answer.status}): {text.splitlines()[-1][:300] if text else 'no reason given'}"


def _parsed(answer: HttpResponse) -> Any:
    try:
        return json.loads(answer.body)
    except ValueError:
        raise ConfigError(
            "the answer is no JSON: --address is to be that of Ray's dashboard, as http://HEAD:8265"
        ) from None


def _object(answer: HttpResponse) -> dict[str, Any]:
    value = _parsed(answer)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _job(told: Mapping[str, Any]) -> Job:
    metadata: dict[str, Any] = told.get("metadata") or {}
    return Job(
        id=str(told.get("submission_id") or told.get("job_id") or ""),
        state=cast("JobState", str(told.get("status", "")).lower()),
        message=str(told.get("message") or ""),
        exit_code=told.get("driver_exit_code"),
        started_at=_seconds(told.get("start_time")),
        ended_at=_seconds(told.get("end_time")),
        metadata={str(name): str(value) for name, value in metadata.items()},
    )


def _seconds(milliseconds: int | None) -> float | None:
    return milliseconds / 1000 if milliseconds else None
