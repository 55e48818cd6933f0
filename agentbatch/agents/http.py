"""The agent `http`: a remote agent behind an endpoint, which answers at once or when its job is done."""

from __future__ import annotations

import time
from typing import Any, Literal
from urllib.parse import urljoin

import orjson

from agentbatch.agents.remote import RemoteConfig, build_remote
from agentbatch.agents.usage import UsagePaths, cost_of, count_usage
from agentbatch.assembly import Assembly
from agentbatch.calls.http_call import HttpCall, HttpCallFields, HttpRequest, same_server, status_fault, text_of
from agentbatch.calls.output_form import read_output
from agentbatch.endpoints.remote import Remote
from agentbatch.endpoints.retry_after import retry_after_seconds
from agentbatch.errors import BadResponse, ServerFault
from agentbatch.items import Output, Scope
from agentbatch.kept.journal import Journal
from agentbatch.kept.paid_work import Bill, PaidWork
from agentbatch.kept.tape import Tape
from agentbatch.limits import Budget
from agentbatch.record import record
from agentbatch.settings import ConditionText, Duration, Settings, TemplateText
from agentbatch.step import Visit
from agentbatch.templates import Condition, Template
from agentbatch.text.redact import visible
from agentbatch.transports.base import HttpResponse, HttpTransport

_STATUS_HEADERS = ("operation-location", "location")
"""Where an answer of 202 says that its job can be looked at: RFC 9110 section 15.3.3, and Azure's convention."""
_ELSEWHERE = (302, 303)
"""A status URL may redirect to the job's result: RFC 9110 section 15.4.4."""
_MOST_DETOURS = 5


class PollConfig(Settings):
    """How to wait for a job. Its templates and conditions see what the server answered as `output`."""

    url: TemplateText | None = None
    """Where to look: `"{{ output.status_url }}"`, or a path such as `/jobs/{{ output.id }}`. The server must be the
    agent's own. Default: the answer's header `Operation-Location`, or else `Location`."""
    every: Duration = 2.0
    """How long to wait between two looks. Where the server sends `Retry-After`, that long."""
    until: ConditionText | None = None
    """What tells that the job is done: `output.status == 'done'`. Default: any answer but 202. An answer to the first
    request for which it does not hold begins a job, too."""
    failed: ConditionText | None = None
    """What tells that it failed: `output.status in ['failed', 'canceled']`."""


class HttpConfig(HttpCallFields, RemoteConfig):
    """A remote agent behind an endpoint. An answer of 202 begins a job, whose end is waited for."""

    kind: Literal["http"]
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] = "POST"
    """Of the request; the status of a job is looked at by GET."""
    poll: PollConfig = PollConfig()
    """How to wait for the job that an answer of 202 begins."""
    usage: UsagePaths | None = None
    """Where the last answer's JSON says what was used, whatever `output` takes of it."""


@record
class Polling:
    """How a job is followed."""

    every: float
    url: Template | None = None
    until: Condition | None = None
    failed: Condition | None = None

    @classmethod
    def of(cls, config: PollConfig, where: str) -> Polling:
        """The way that `config` describes."""
        return cls(
            config.every,
            None if config.url is None else Template(config.url, where=f"{where}.url"),
            None if config.until is None else Condition(config.until, where=f"{where}.until"),
            None if config.failed is None else Condition(config.failed, where=f"{where}.failed"),
        )

    def status_url(self, request: HttpRequest, response: HttpResponse, scope: Scope) -> str:
        """Where the job that `response` began can be looked at.

        Raises:
            BadResponse: it does not say, or names another server.
        """
        if self.url is not None:
            target = self.url.render(seen(scope, response).names)
        else:
            target = next((response.headers[name] for name in _STATUS_HEADERS if response.headers.get(name)), "")
        if not target:
            raise BadResponse(
                "the answer begins a job, and has no Location header: say under `poll.url` where to look at it",
                http_status=response.status,
                retry=False,
            )
        return on_same_server(request.url, target)

    def is_done(self, response: HttpResponse, scope: Scope) -> bool:
        """Whether the job has ended well.

        Raises:
            ServerFault: it failed.
            ConditionFault: a condition can't be judged by this answer.
        """
        if response.status == 202:
            return False
        names = seen(scope, response).names
        if self.failed is not None and self.failed.holds(names):
            says = visible(" ".join(text_of(response).split()), 500)
            raise ServerFault(f"the job failed: {says}", retry=False)
        return self.until is None or self.until.holds(names)

    def pause(self, response: HttpResponse) -> float:
        """Seconds until the next look."""
        asked = retry_after_seconds(response.headers, time.time())
        return self.every if asked is None else max(asked, 0.05)


def seen(scope: Scope, response: HttpResponse) -> Scope:
    """What conditions about an answer see: its JSON as `output`, or its text where it is none."""
    text = text_of(response)
    try:
        value: Any = orjson.loads(text)
    except ValueError:
        value = text
    return scope.plus("output", value)


def on_same_server(base: str, target: str) -> str:
    """`target` as a whole URL.

    Raises:
        BadResponse: it leads to another server, which must not be given the headers.
    """
    url = urljoin(base, target)
    if not same_server(url, base):
        raise BadResponse(f"the job's status is at {visible(url, 200)!r}, on another server", retry=False)
    return url


@record
class HttpAgent:
    """Sends one request for each item; waits for the job that it may begin."""

    call: HttpCall
    remote: Remote
    polling: Polling
    transport: HttpTransport
    budget: Budget
    usage: UsagePaths | None = None
    journal: Journal | None = None
    tape: Tape | None = None
    kind: str = "http"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """What of the server's answer the config wants.

        Raises:
            TemplateFault, ConditionFault: a template can't be filled in.
            StepError: the server could not be reached, declined, failed, or answered something else.
        """
        request = self.call.request(scope.names, visit.span.traceparent)
        asked = [request.method, request.url, (request.body or b"").decode("utf-8")]
        bill = Bill(self.budget, lambda begun: cost_of(self.usage, begun.get("text", "")))
        work = PaidWork(self.journal, visit, asked, self.tape, bill)
        known = work.recalled()
        if known is not None and "text" in known[0]:
            return self._conclude(known[0]["text"], visit)
        kept: dict[str, str] = {} if known is None else known[0]

        async def text() -> str:
            begun = kept or await work.done(lambda: self._begun(request, scope))
            return begun["text"] if "text" in begun else await self._job(begun["status_url"], request, scope, visit)

        return self._conclude(await self.remote.ask(text, visit), visit)

    async def _begun(self, request: HttpRequest, scope: Scope) -> dict[str, str]:
        """What came at once: the answer's text, or where the job can be looked at."""
        response = await self.remote.once(lambda: request.send(self.transport))
        if self.polling.is_done(response, scope):
            return {"text": self._readable(text_of(response))}
        return {"status_url": self.polling.status_url(request, response, scope)}

    async def _job(self, url: str, request: HttpRequest, scope: Scope, visit: Visit) -> str:
        """The text that a job ends with. A crash while it is waited for does not begin it anew."""
        bill = Bill(self.budget, lambda text: cost_of(self.usage, text))
        work = PaidWork(self.journal, visit, ["job", url], self.tape, bill)
        known = work.recalled()
        return known[0] if known is not None else await work.done(lambda: self._followed(url, request, scope, visit))

    async def _followed(self, url: str, request: HttpRequest, scope: Scope, visit: Visit) -> str:
        """Look until it is done."""
        headers = {name: value for name, value in request.headers.items() if name != "content-type"}
        look = HttpRequest("GET", url, headers)
        visit.span.attributes["job"] = url
        for _ in range(_MOST_DETOURS + 1):
            response = await self._ended(look, scope, visit)
            if response.status not in _ELSEWHERE:
                return text_of(response)
            look = HttpRequest("GET", on_same_server(look.url, response.headers.get("location", "")), headers)
        raise BadResponse("the job's status leads round in circles", retry=False)

    async def _ended(self, look: HttpRequest, scope: Scope, visit: Visit) -> HttpResponse:
        """The answer of a status URL that says that the job is done, or where its result is."""
        while True:
            response = await self.remote.follow(lambda: _looked(look, self.transport), visit)
            if response.status in _ELSEWHERE or self.polling.is_done(response, scope):
                return response
            await self.remote.control.sleep(self.polling.pause(response))

    def _readable(self, text: str) -> str:
        """The text, if it has what the config wants of it. What is cut or no JSON at all may be better next time.

        Raises:
            BadResponse: it has not.
        """
        try:
            read_output(self.call.output, text)
        except ValueError as error:
            retry = False if is_json(text) else None
            raise BadResponse(f"the answer of {self.call.server}: {error}", retry=retry) from None
        return text

    def _conclude(self, text: str, visit: Visit) -> Output:
        if self.usage is not None:
            count_usage(self.usage, text, visit)
        return Output(read_output(self.call.output, self._readable(text)))


async def _looked(request: HttpRequest, transport: HttpTransport) -> HttpResponse:
    """One look at a job. A redirect to its result is an answer here."""
    response = await transport.request(request.method, request.url, request.headers, None)
    if 200 <= response.status < 300 or response.status in _ELSEWHERE:
        return response
    raise status_fault(response)


def is_json(text: str) -> bool:
    """Whether it is one JSON value."""
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


def build(config: HttpConfig, name: str, assembly: Assembly) -> HttpAgent:
    """The agent that `config` describes."""
    where = f"agents.{name}"
    transport = assembly.transport("direct")
    return HttpAgent(
        call=HttpCall.of(config, where, transport),
        remote=build_remote(config, name, assembly),
        polling=Polling.of(config.poll, f"{where}.poll"),
        transport=transport,
        budget=assembly.budget,
        usage=config.usage,
        journal=assembly.journal,
        tape=assembly.tape,
    )
