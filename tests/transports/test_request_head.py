"""What a request begins with, and what is refused before it is sent."""

from __future__ import annotations

import pytest

from agentbatch.transports.request_head import Origin, Target


def lines(target: Target, headers: dict[str, str] | None = None, body: bytes | None = None) -> list[str]:
    return target.head(headers or {}, body).decode().split("\r\n")


@pytest.mark.parametrize(
    ("url", "origin", "line", "host"),
    [
        ("http://h", Origin("h", 80, False), "GET / HTTP/1.1", "h"),
        ("https://H.example:443/v1?a=b", Origin("h.example", 443, True), "GET /v1?a=b HTTP/1.1", "h.example"),
        ("https://h:8443/a b/ü?q=ä%20/?&c=1#part", Origin("h", 8443, True),
         "GET /a%20b/%C3%BC?q=%C3%A4%20/?&c=1 HTTP/1.1", "h:8443"),
        ("http://[::1]:8000/x", Origin("::1", 8000, False), "GET /x HTTP/1.1", "[::1]:8000"),
        ("http://bü.de/", Origin("xn--b-eha.de", 80, False), "GET / HTTP/1.1", "xn--b-eha.de"),
        ("http://h/a\r\nb", Origin("h", 80, False), "GET /ab HTTP/1.1", "h"),
    ],
)  # fmt: skip
def test_a_url_becomes_an_origin_a_line_and_a_host(url: str, origin: Origin, line: str, host: str) -> None:
    target = Target("get", url)
    assert target.origin == origin
    assert lines(target)[:2] == [line, f"Host: {host}"]


def test_a_user_in_the_url_is_sent_as_basic_auth_unless_a_header_says_otherwise() -> None:
    target = Target("GET", "http://me:p%40ss@h/")
    assert "Authorization: Basic bWU6cEBzcw==" in lines(target)
    sent = lines(target, {"authorization": "Bearer x"})
    assert [line for line in sent if line.lower().startswith("authorization")] == ["authorization: Bearer x"]


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("POST", b"abc", ["3"]), ("POST", None, ["0"]), ("PUT", b"", ["0"]), ("GET", None, []), ("HEAD", None, [])],
)
def test_the_length_of_a_body_is_said_where_there_could_be_one(
    method: str, body: bytes | None, length: list[str]
) -> None:
    sent = lines(Target(method, "http://h/"), body=body)
    assert [line.partition(": ")[2] for line in sent if line.startswith("Content-Length")] == length


@pytest.mark.parametrize("url", ["ftp://h/", "h", "http://", "http://h:notaport/", "http://h:70000/", "http://h h/"])
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Target("GET", url)


@pytest.mark.parametrize("headers", [{"a": "b\nc: d"}, {"a\r\nb": "c"}, {"a": "\0"}, {"Content-Length": "3"}])
def test_headers_that_would_break_the_request_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="header"):
        Target("POST", "http://h/").head(headers, b"abc")


def test_a_method_with_a_space_is_refused() -> None:
    with pytest.raises(ValueError, match="control character"):
        Target("GET /x HTTP/1.1\r\nA", "http://h/")
