"""What readers of JUnit XML agree on, as a check: the elements, their attributes, and counts that add up."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
    "testcase": {"classname", "name", "time"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "skipped": set(),
    "system-out": set(),
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase"},
    "testcase": {"failure", "error", "skipped", "system-out"},
}


def read_junit(path: Path) -> list[ET.Element]:
    """The test cases of a file that is well formed and keeps to the format."""
    root = ET.fromstring(path.read_bytes())
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.attrib) == ATTRIBUTES[element.tag], element.tag
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
    (suite,) = root
    for owner in (root, suite):
        assert int(owner.attrib["tests"]) == len(suite)
        for tag, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert int(owner.attrib[count]) == len(list(suite.iter(tag)))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
    for case in suite:
        assert sum(child.tag != "system-out" for child in case) <= 1
        assert re.fullmatch(r"\d+\.\d{3}", case.attrib["time"])
    return list(suite)
