import pytest

from agentbatch.text.spreadsheet import cell, safe_text


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\tx",
        "\rx",
        " =1",
        "\n=1",
        " \n\t=1",
        "\xa0=1",
        "\u2212 1",
        "\uff1d1",
        "-",
        "\ufeff=1",
    ],
)
def test_what_looks_like_a_formula_stays_text(text: str) -> None:
    assert safe_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "plain", "1-1", "a=b", "'=1", "\nplain", "  indented", "ünï"])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert safe_text(text) == text


def test_cells() -> None:
    assert cell(None) == ""
    assert (cell(True), cell(False)) == ("true", "false")
    assert (cell(-5), cell(0.00006), cell(float("inf"))) == ("-5", "6e-05", "")
    assert cell({"a": [1, None]}) == '{"a":[1,null]}'
    assert cell(["=1"]) == '["=1"]'
    assert cell("a\0b") == "a\ufffdb"
