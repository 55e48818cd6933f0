import gzip
from pathlib import Path

import pytest

from agentbatch.errors import InputError
from agentbatch.results.opening import no_results, open_results


def test_what_can_be_read_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"{}\n")
    with open_results(path) as file:
        assert file.read() == b"{}\n"


def test_what_can_not_be_opened_is_said_with_what_to_name_instead(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"r\.jsonl: there is no such file; name the results that `agentbatch run` wrote"
    ):
        open_results(tmp_path / "r.jsonl")
    with pytest.raises(InputError, match="is a folder; name the results file in it"):
        open_results(tmp_path)


def test_a_compressed_file_says_how_to_unpack_it(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(InputError, match=r"is compressed; unpack it first: gunzip --keep .*r\.jsonl\.gz"):
        open_results(path)


def test_who_names_the_inputs_is_told_of_their_results(tmp_path: Path) -> None:
    (tmp_path / "in.results.jsonl").write_bytes(b"")
    assert str(no_results(tmp_path / "in.jsonl")).endswith("did you mean " + str(tmp_path / "in.results.jsonl") + "?")
    with pytest.raises(InputError, match=r"no such file; did you mean .*in\.results\.jsonl\?"):
        open_results(tmp_path / "in.csv")
