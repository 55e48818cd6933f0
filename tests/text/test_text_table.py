from agentbatch.text.table import aligned


def test_words_to_the_left_and_figures_to_the_right() -> None:
    assert aligned([("name", "n"), ("a", "1,000"), ("longer", "2")]) == [
        "name        n",
        "a       1,000",
        "longer      2",
    ]
    assert aligned([("n", "why"), ("10", "x")], left=(1,)) == [" n  why", "10  x"]
    assert aligned([]) == []
