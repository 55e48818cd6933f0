from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from agentbatch.process.descriptors import shared_out


def test_who_wants_few_gets_them_and_the_others_share_the_rest() -> None:
    assert shared_out({"a": 10, "b": 1000, "c": 1000}, 110) == {"a": 10, "b": 50, "c": 50}
    assert shared_out({"a": 3, "b": 5}, 100) == {"a": 3, "b": 5}
    assert shared_out({}, 5) == {}


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 10_000), max_size=8), st.integers(1, 20_000))
def test_never_more_than_wanted_nor_than_there_is(wanted: dict[str, int], places: int) -> None:
    given_ = shared_out(wanted, places)
    assert given_.keys() == wanted.keys()
    assert all(1 <= given_[name] <= wanted[name] for name in wanted)
    assert sum(given_.values()) <= max(places, len(wanted))
    if sum(wanted.values()) <= places:
        assert given_ == wanted


SCRIPT = """
import resource
from agentbatch.process.descriptors import connections_left, raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 200))
before = connections_left()
raise_limit()
print(before, connections_left(), resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_limit_is_raised_as_far_as_it_goes() -> None:
    told = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    before, after, limits = told.split(maxsplit=2)
    assert 0 < int(before) < 64 - 16
    assert int(after) - int(before) == 200 - 64
    assert limits.strip() == "(200, 200)"
