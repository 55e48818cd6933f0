"""Finished spans spelled as OTLP-JSON, and read back: one `{"resourceSpans": ...}` line holds all spans of one item.

The encoding is https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding (ids in hex, 64-bit numbers as strings,
enums as numbers); the names are the OpenTelemetry semantic conventions for generative AI,
https://opentelemetry.io/docs/specs/semconv/gen-ai/. Those are still in development, so no other file spells them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, cast

import orjson

from agentbatch import __version__
from agentbatch.files.plain_json import to_plain
from agentbatch.messages import Attachment, ChatResponse, Message
from agentbatch.trace import Span, SpanKind, SpanStatus

_PREFIX = "agentbatch."
_NAMES: Final[dict[str, str]] = {
    "item.id": _PREFIX + "item.id",
    "item.index": _PREFIX + "item.index",
    "workflow": "gen_ai.workflow.name",
    "model": "gen_ai.request.model",
    "response_model": "gen_ai.response.model",
    "provider": "gen_ai.provider.name",
    "request_id": "gen_ai.response.id",
    "finish_reason": "gen_ai.response.finish_reasons",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "first_token_s": "gen_ai.response.time_to_first_chunk",
    "call_id": "gen_ai.tool.call.id",
    "http_status": "http.response.status_code",
    "server": "server.address",
    "error_type": "error.type",
}
"""Plain attribute names to the conventions' names; a name that is not here is exported as `agentbatch.NAME`."""

_CONTENT_NAMES: Final[dict[str, str]] = {
    "messages": "gen_ai.input.messages",
    "answer": "gen_ai.output.messages",
    "arguments": "gen_ai.tool.call.arguments",
    "result": "gen_ai.tool.call.result",
}
"""What people and models wrote: exported only where the config says `trace: {content: true}`."""

_PLAIN: Final = {name: plain for plain, name in (_NAMES | _CONTENT_NAMES).items()}

_INTERNAL, _CLIENT = 1, 3
_UNSET, _OK, _ERROR = 0, 1, 2
_STATUS_CODES: Final[dict[str, int]] = {"ok": _OK, "error": _ERROR, "timeout": _ERROR}

_OPERATIONS: Final[dict[SpanKind, tuple[str, str | None]]] = {
    "item": ("invoke_workflow", None),
    "group": ("invoke_workflow", "gen_ai.workflow.name"),
    "agent": ("invoke_agent", "gen_ai.agent.name"),
    "chat": ("chat", None),
    "tool": ("execute_tool", "gen_ai.tool.name"),
}
"""A span kind's `gen_ai.operation.name`, and the attribute that holds the span's own name."""


def _text(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


_LABELS: Final = frozenset(
    {"attempt", "model", "response_model", "provider", "endpoint", "finish_reason", "kind", "workflow", "server"}
)
"""Attributes whose values are few and come again with every item."""

_FORMS: Final[dict[type, bytes]] = {
    str: b'{"stringValue":%b}',
    int: b'{"intValue":"%b"}',
    float: b'{"doubleValue":%b}',
}
"""Values of these types are written all at once; others go one by one."""
_EASY: Final = frozenset(_FORMS)


@lru_cache(maxsize=1024)
def _key(plain: str) -> str:
    return _NAMES.get(plain) or _PREFIX + plain


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # such as half of a surrogate pair, which a model can write
        return orjson.dumps(to_plain(value))


_HEAD: Final = (
    b'{"resourceSpans":[{"resource":{"attributes":'
    + orjson.dumps([_text("service.name", "agentbatch"), _text("service.version", __version__)])
    + b'},"scopeSpans":[{"scope":'
    + orjson.dumps({"name": "agentbatch", "version": __version__})
    + b',"spans":'
)
_TAIL: Final = b"}]}]}\n"


def encode_trace(tree: Sequence[Span], *, content: bool) -> bytes:
    """One line of the trace file: all spans of one item. Prompts, answers and tool data only if `content`.

    What spans of one shape have in common is made once, with places for the values; those of all spans are written
    together, for a span as an object with objects in it takes a fifth longer.
    """
    values: list[Any] = []
    spans = b",".join([_fill(values, span, content) for span in tree])
    return b"".join((_HEAD, b"[", spans % tuple(_encoded(values)), b"]", _TAIL))


def _encoded(values: list[Any]) -> list[bytes]:
    """Each value as JSON: written at once, a line each, for within them there are no line breaks."""
    try:
        lines = orjson.dumps(values, option=orjson.OPT_INDENT_2)
    except TypeError:  # such as half of a surrogate pair, which a model can write, or a number of more than 64 bits
        return [str(value).encode() if type(value) is int else _json(value) for value in values]
    return lines[len(b"[\n  ") : -len(b"\n]")].split(b",\n  ")


def _fill(values: list[Any], span: Span, content: bool) -> bytes:
    """The template of a span; its values go to `values`, in the order of their places."""
    attributes = span.attributes
    templates = _templates(tuple(attributes), content)
    labels, others = templates.labels_of(attributes), templates.others_of(attributes)
    types = tuple(map(type, others))
    values += (span.trace_id, span.span_id, span.parent_id or "", span.start_ns, span.end_ns)
    values += others if _EASY.issuperset(types) else _in_forms(others)
    written = tuple(name for name in templates.content if attributes[name] is not None) if templates.content else ()
    for name in written:
        values.append(_content(name, attributes[name], attributes))
    if span.status != "ok":
        values.append(orjson.Fragment(_json(_status(span))))
    if span.events:
        values.append(orjson.Fragment(_json([_event(*event, content) for event in span.events])))
    return templates[span.kind, span.status, span.name, span.error_type, labels, types, written, bool(span.events)]


def _in_forms(values: Iterable[Any]) -> list[Any]:
    return [
        value if type(value) in _FORMS else orjson.Fragment(_json(_value(value)))
        for value in values
        if value is not None
    ]


_Names = tuple[str, ...]
_Shape = tuple[SpanKind, SpanStatus, str, str | None, tuple[Any, ...], tuple[type, ...], _Names, bool]
"""What makes spans alike: kind, status, name, type of error, values of labels, types of other values, names of content,
and whether there are events."""


class _Templates(dict[_Shape, bytes]):
    """The templates of spans whose attributes have these names, each made when it is first asked for.

    Attributes:
        labels_of, others_of: read the values of labels, and other values, from a span's attributes.
        content: the names of content that is exported.
    """

    def __init__(self, names: _Names, content: bool) -> None:
        super().__init__()
        self._labels = tuple(name for name in names if name in _LABELS)
        self._others = tuple(name for name in names if name not in _LABELS and name not in _CONTENT_NAMES)
        self.content = tuple(name for name in names if name in _CONTENT_NAMES and content)
        self.labels_of, self.others_of = _reader(self._labels), _reader(self._others)

    def __missing__(self, shape: _Shape) -> bytes:
        template = self._made(*shape)
        if len(self) < 1024:  # where there are shapes without end, no more
            self[shape] = template
        return template

    def _made(
        self,
        kind: SpanKind,
        status: SpanStatus,
        name: str,
        error_type: str | None,
        labels: tuple[Any, ...],
        types: tuple[type, ...],
        content: _Names,
        has_events: bool,
    ) -> bytes:
        """A span as JSON, with `%b` for each value."""
        operation, own_name = _OPERATIONS[kind]
        common = [_text("gen_ai.operation.name", operation), _text(_PREFIX + "status", status)]
        if own_name is not None:
            common.append(_text(own_name, name))
        if error_type is not None:
            common.append(_text("error.type", error_type))
        common += [_label(*each) for each in zip(self._labels, labels, strict=True) if each[1] is not None]
        attributes = [_fixed(common)[1:-1]]
        for plain, of in zip(self._others, types, strict=True):
            if of is not type(None):
                attributes.append(_place(_key(plain), _FORMS.get(of, b"%b")))
        attributes += [_place(_CONTENT_NAMES[each], _FORMS[str]) for each in content]
        parts = (
            b'{"traceId":%b,"spanId":%b,"parentSpanId":%b,"name":',
            _fixed(operation if kind == "item" else f"{operation} {name}"),
            b',"kind":%d' % (_CLIENT if kind == "chat" else _INTERNAL),
            b',"startTimeUnixNano":"%b","endTimeUnixNano":"%b","attributes":[',
            b",".join(attributes),
            b'],"status":',
            _fixed({"code": _OK}) if status == "ok" else b"%b",
            b',"events":%b}' if has_events else b"}",
        )
        return b"".join(parts)


@lru_cache(maxsize=256)
def _templates(names: _Names, content: bool) -> _Templates:
    return _Templates(names, content)


def _reader(names: _Names) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    return itemgetter(*names) if len(names) > 1 else lambda attributes: tuple([attributes[name] for name in names])


def _place(key: str, form: bytes) -> bytes:
    return b'{"key":%b,"value":%b}' % (_fixed(key), form)


def _fixed(value: Any) -> bytes:
    """JSON that stays as it is when a template is filled."""
    return _json(value).replace(b"%", b"%%")


def _label(plain: str, value: Any) -> dict[str, Any]:
    return {"key": _key(plain), "value": _value([value] if plain == "finish_reason" else value)}


def _status(span: Span) -> dict[str, Any]:
    code = _STATUS_CODES.get(span.status, _UNSET)
    return {"code": code, "message": span.error_message} if span.error_message else {"code": code}


def _event(time_ns: int, name: str, attributes: Mapping[str, Any], content: bool) -> dict[str, Any]:
    encoded = [
        _text(_CONTENT_NAMES[plain], _content(plain, value, attributes))
        if plain in _CONTENT_NAMES
        else _label(plain, value)
        for plain, value in attributes.items()
        if value is not None and (content or plain not in _CONTENT_NAMES)
    ]
    return {"timeUnixNano": str(time_ns), "name": name, "attributes": encoded}


def _value(value: Any) -> dict[str, Any]:
    """An OTLP AnyValue. What has no form there (a dict, an object) goes as JSON text."""
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list | tuple):
        return {"arrayValue": {"values": [_value(one) for one in cast("Sequence[Any]", value)]}}
    return {"stringValue": _json_text(value)}


def _json_text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def _content(plain: str, value: Any, attributes: Mapping[str, Any]) -> str:
    if plain == "messages" and not isinstance(value, str):
        return _json_text([_message(message) for message in cast("Iterable[Any]", value)])
    if plain == "answer":
        message: dict[str, Any] = _message(value)
        message["finish_reason"] = (
            value.finish_reason if isinstance(value, ChatResponse) else attributes.get("finish_reason", "stop")
        )
        return _json_text([message])
    return _json_text(value)


def _message(value: Any) -> dict[str, Any]:
    """One message in the shape of the conventions' JSON schema (gen-ai-input-messages.json)."""
    if isinstance(value, ChatResponse):
        value = value.as_message()
    if not isinstance(value, Message):
        return {"role": "assistant", "parts": [{"type": "text", "content": _json_text(value)}]}
    if value.role == "tool":
        return {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": value.tool_call_id, "response": value.content}],
        }
    parts: list[dict[str, Any]] = [{"type": "text", "content": value.content}] if value.content else []
    parts += [_attached(part) for part in value.parts if not isinstance(part, str)]
    for call in value.tool_calls:
        parts.append({"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments})
    return {"role": value.role, "parts": parts}


def _attached(part: Attachment) -> dict[str, Any]:
    """An image or a file, without its bytes."""
    if part.url is not None:
        return {"type": "uri", "modality": part.kind, "mime_type": part.media_type, "uri": part.url}
    facts = {"name": part.name, "size": part.size, "digest": part.digest}
    return {"type": part.kind, "modality": part.kind, "mime_type": part.media_type, **facts}


def decode_trace(line: bytes) -> list[Span]:
    """The spans of one line, attributes under their plain names again; none if the line is torn or no trace."""
    try:
        document = orjson.loads(line)
        encoded = [
            span
            for resource in document["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]
        tree: list[Span] = []
        tree.extend(_decode_span(span, tree) for span in encoded)
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    return tree


_KINDS: Final[dict[str, SpanKind]] = {"invoke_agent": "agent", "chat": "chat", "execute_tool": "tool"}
_OWN_NAMES: Final[dict[SpanKind, str]] = {"group": "workflow", "agent": "gen_ai.agent.name", "tool": "gen_ai.tool.name"}


def _decode_span(encoded: Mapping[str, Any], tree: list[Span]) -> Span:
    attributes = _decode_attributes(encoded["attributes"])
    operation, _, name = encoded["name"].partition(" ")
    kind: SpanKind = _KINDS.get(operation, "group" if name else "item")
    attributes.pop("gen_ai.operation.name", None)
    if kind in _OWN_NAMES:
        attributes.pop(_OWN_NAMES[kind], None)
    status = cast("SpanStatus", attributes.pop("status", "ok"))
    events = encoded.get("events")
    return Span(
        name or "item",
        kind,
        encoded["traceId"],
        encoded["spanId"],
        encoded["parentSpanId"] or None,
        int(encoded["startTimeUnixNano"]),
        tree,
        attributes,
        _decode_events(events) if events else [],
        int(encoded["endTimeUnixNano"]),
        status,
        attributes.pop("error_type", None),
        encoded["status"].get("message"),
    )


def _decode_events(encoded: Iterable[Mapping[str, Any]]) -> list[tuple[int, str, dict[str, Any]]]:
    return [(int(event["timeUnixNano"]), event["name"], _decode_attributes(event["attributes"])) for event in encoded]


def _decode_attributes(encoded: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Plain names and values. Most are texts and numbers, which are read here: a file has ten million of them."""
    decoded: dict[str, Any] = {}
    names = _PLAIN_NAMES
    for attribute in encoded:
        value = attribute["value"]
        name = names[attribute["key"]]
        if "stringValue" in value:
            decoded[name] = value["stringValue"]
        elif "intValue" in value:
            decoded[name] = int(value["intValue"])
        elif "doubleValue" in value:
            decoded[name] = value["doubleValue"]
        else:
            decoded[name] = _decode_rest(name, value)
    return decoded


def _decode_rest(name: str, encoded: Mapping[str, Any]) -> Any:
    value = _decode_value(encoded)
    return value[0] if name == "finish_reason" and value and "arrayValue" in encoded else value


class _PlainNames(dict[str, str]):
    """Of a name on the wire the plain one: those of files by others are worked out once."""

    def __missing__(self, key: str) -> str:
        plain = key.removeprefix(_PREFIX)
        if len(self) < 1024:  # of a file with names without end, no more
            self[key] = plain
        return plain


_PLAIN_NAMES: Final = _PlainNames(_PLAIN)


def _decode_value(encoded: Mapping[str, Any]) -> Any:
    """What an AnyValue holds; None where it holds nothing."""
    for form, value in encoded.items():
        if form == "intValue":
            return int(value)
        if form == "arrayValue":
            return [_decode_value(one) for one in value["values"]]
        return value
    return None
