# ruff: noqa: E501  # tables
"""YAML text to data, places and faults."""

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.config.yaml_tree import Path, Place, parse_yaml


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: no\nb: yes\nc: on\nd: Off", {"a": "no", "b": "yes", "c": "on", "d": "Off"}),
        ("[true, True, FALSE, tRue]", [True, True, False, "tRue"]),
        ("[null, Null, ~, '']", [None, None, None, ""]),
        ("a:", {"a": None}),
        ("[1, -2, +3, 0o17, 0x1F, 017, 1_000]", [1, -2, 3, 15, 31, 17, "1_000"]),
        ("[1.5, 1e3, .5, 1., -1.5E-3, .inf, -.INF]", [1.5, 1000.0, 0.5, 1.0, -0.0015, float("inf"), float("-inf")]),
        ("[12:30:45, 2026-11-21, 5%, 60s]", ["12:30:45", "2026-11-21", "5%", "60s"]),
        ("['1', \"true\", !!str 1, ! 1]", ["1", "true", "1", "1"]),
        ("[!!int '3', !!float 3, !!bool 'true', !!null '']", [3, 3.0, True, None]),
        ("!!map {a: !!seq [1]}", {"a": [1]}),
        ("a: |\n  x\n  y\nb: >\n  x\n  y\n", {"a": "x\ny\n", "b": "x y\n"}),
        ("a: &x {p: 1}\nb: *x\nc: [*x, *x]", {"a": {"p": 1}, "b": {"p": 1}, "c": [{"p": 1}, {"p": 1}]}),
        ("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}", {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}),
        (
            "a: &x {p: 1}\nb: &y {p: 2, q: 2}\nc: {<<: [*x, *y]}",
            {"a": {"p": 1}, "b": {"p": 2, "q": 2}, "c": {"p": 1, "q": 2}},
        ),
        (
            "a: &x {p: 1}\nb: &y {<<: *x, q: 2}\nc: {<<: *y}",
            {"a": {"p": 1}, "b": {"p": 1, "q": 2}, "c": {"p": 1, "q": 2}},
        ),
        ("'<<': 1", {"<<": 1}),
        ("'1': x", {"1": "x"}),
        ("9" * 5000, "9" * 5000),
        ("", None),
        ("# only a comment", None),
    ],
)
def test_data(text: str, data: Any) -> None:
    tree = parse_yaml(text)
    assert tree.faults == []
    assert json.dumps(tree.data, sort_keys=True) == json.dumps(data, sort_keys=True)  # 1 is not 1.0, nor True


def test_every_value_and_key_has_its_place() -> None:
    tree = parse_yaml("a:\n  - x\n  - {b: 2}\nc: |\n  one\n  two\n")
    assert tree.keys == {("a",): Place(1, 1, 1), ("a", 1, "b"): Place(3, 6, 3), ("c",): Place(4, 1, 4)}
    assert tree.values[("a", 0)] == Place(2, 5, 2)
    assert tree.values[("a", 1, "b")] == Place(3, 9, 3)
    assert tree.values[("c",)] == Place(4, 4, 6, block=True)


def test_what_an_alias_stands_for_has_the_place_of_its_anchor() -> None:
    tree = parse_yaml("a: &x {p: 1}\nb: *x\nc: {<<: *x, q: 2}")
    assert tree.values[("b", "p")] == tree.values[("a", "p")] == tree.values[("c", "p")] == Place(1, 11, 1)
    assert ("c", "<<") not in tree.keys


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("a: 1\nb: 2\na: 3\nb: 4\n", ["3:1 the key 'a' stands here twice, first in line 1", "4:1 the key 'b' stands here twice, first in line 2"]),
        ("a: !!python/object:os.system x", ["1:4 the tag '!!python/object:os.system' is not allowed here: remove it"]),
        ("a: !!python/object/apply:os.system [x]", ["1:4 the tag '!!python/object/apply:os.system' is not allowed here: remove it"]),
        ("a: !mine x\nb: !!set {x}\nc: !!binary aGk=", ["1:4 the tag '!mine' is not allowed here: remove it", "2:4 the tag '!!set' is not allowed here: remove it", "3:4 the tag '!!binary' is not allowed here: remove it"]),
        ("a: !!int x", ["1:4 'x' is no int"]),
        ("a: !!int true", ["1:4 'true' is no int"]),
        ("1: x\ntrue: y\n~: z", ["1:1 keys are text: put quotes around '1'", "2:1 keys are text: put quotes around 'true'", "3:1 keys are text: put quotes around '~'"]),
        ("a: {{ input.x }}", ["1:5 a mapping or list can't be a key: put quotes around a value that begins with {{"]),
        ("? [a]\n: 1", ["1:3 a mapping or list can't be a key: keys are text"]),
        ("a: *y\nb: &x 1\nc: *z", ["1:4 the anchor '&y' is not defined", "3:4 the anchor '&z' is not defined"]),
        ("a: &x [*x]", ["1:8 the anchor '&x' stands inside itself"]),
        ("a: &x {b: {<<: *x}}", ["1:16 the anchor '&x' stands inside itself", "1:16 '<<' takes a mapping, or a list of mappings"]),
        ("a: {<<: 1}", ["1:9 '<<' takes a mapping, or a list of mappings"]),
        ("a: 1\n---\nb: 2", ["2:1 a second document begins here: a config is one document"]),
        ("a: b: c", ["1:5 not valid YAML: mapping values are not allowed in this context (put quotes around a value that has ': ' in it, or check the indentation)"]),
        ("a: 'x\nb: 2", ["1:4 not valid YAML: found unexpected end of stream (a quote is not closed)"]),
        ("a: [1, 2", ["1:4 not valid YAML: did not find expected ',' or ']' (check the indentation, and that brackets and quotes are closed)"]),
        ("a: \x07", ["1:4 not valid YAML: control characters are not allowed (remove the control character)"]),
    ],
)  # fmt: skip
def test_faults(text: str, faults: list[str]) -> None:
    found = parse_yaml(text).faults
    assert [
        f"{fault.place and f'{fault.place.line}:{fault.place.column}'} {fault.message}" for fault in found
    ] == faults


def test_a_hook_may_replace_what_a_value_says() -> None:
    def hook(path: Path, text: str, place: Place) -> str | None:
        if text == "bad":
            raise ValueError("no good")
        return {"N": "8", "T": "true"}.get(text)

    tree = parse_yaml("N: N\na: 'N'\nb: T\nc: x\nd: [bad]", hook)
    assert tree.data == {"N": 8, "a": "8", "b": True, "c": "x", "d": ["bad"]}
    assert [(fault.message, fault.path) for fault in tree.faults] == [("no good", ("d", 0))]


def nested_aliases(levels: int) -> str:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


BOMBS = {
    "nested more than 64 deep": ["[" * 100_000, "- " * 100_000, "? " * 50_000, "{a: " * 70 + "}" * 70],
    "aliases make this more than": [nested_aliases(9)],
    "more than 1,000 aliases": ["a: &a 1\nb: [" + "*a," * 2_000 + "]"],
    "more than 100,000 values": ["[" + "a," * 2_400_000 + "]"],
    "longer than 5 million characters": ["a" * 5_000_001],
}


@pytest.mark.parametrize(("message", "text"), [(message, text) for message, texts in BOMBS.items() for text in texts])
def test_a_bomb_is_one_fault(message: str, text: str) -> None:
    tree = parse_yaml(text)
    assert len(tree.faults) == 1
    assert message in tree.faults[0].message
    assert tree.data is None


def test_merges_of_merges_stay_quick() -> None:
    lines = ["m0: &m0 {" + ", ".join(f"k{n}: {n}" for n in range(300)) + "}"]
    lines += [f"m{n}: &m{n} {{<<: [*m{n - 1}], x{n}: 1}}" for n in range(1, 60)]
    tree = parse_yaml("\n".join(lines))
    assert tree.faults == []
    assert len(tree.data["m59"]) == 359


def test_bombs_leave_memory_alone() -> None:
    code = (
        "import re, sys; sys.path.insert(0, 'tests')\n"
        "from agentbatch.config.yaml_tree import parse_yaml\n"
        "lines = ['a0: &a0 [x,x,x,x,x,x,x,x,x]'] + [f'a{n}: &a{n} [' + ','.join([f'*a{n-1}']*9) + ']' for n in range(1, 9)]\n"
        "for text in ('[' * 100_000, '\\n'.join(lines), '[' + 'a,' * 2_400_000 + ']', '{a: ' * 100_000):\n"
        "    assert parse_yaml(text).faults, text[:20]\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100_000


@given(st.text(alphabet=st.characters(codec="utf-8")) | st.text(alphabet="ab:-[]{}&*!|>'\"#?,% \n\t<"))
def test_no_text_raises(text: str) -> None:
    tree = parse_yaml(text)
    for fault in tree.faults:
        assert fault.place is None or (fault.place.line >= 1 and fault.place.column >= 1)
