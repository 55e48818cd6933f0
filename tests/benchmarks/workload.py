"""The inputs and configs of the benchmarks: one chat agent with a system message and a template of two fields."""

from __future__ import annotations

from pathlib import Path

_PRODUCTS = ("lamp", "chair", "kettle", "rug", "bicycle", "notebook", "headset")
_MARKETS = ("EU", "US", "JP")

_HTTP_MODEL = """\
  bench:
    provider: openai
    model: gpt-4o-mini
    base_url: {url}
    api_key: {key}
    max_concurrency: {in_flight}
    params: {{temperature: 0.2}}
"""

_MOCK_MODEL = "  bench: {provider: mock, latency: 0s}\n"

_AGENT = """\
agents:
  writer:
    model: bench
    instructions: You write product copy.
    prompt: "Describe {{ input.product }} for {{ input.market }}."
"""


def write_inputs(folder: Path, count: int) -> Path:
    """A JSONL file of so many inputs."""
    path = folder / f"inputs-{count}.jsonl"
    if not path.exists():
        with open(path, "w", encoding="utf-8") as file:
            for n in range(count):
                product, market = _PRODUCTS[n % len(_PRODUCTS)], _MARKETS[n % len(_MARKETS)]
                file.write(f'{{"id":"item-{n}","product":"{product} number {n}","market":"{market}"}}\n')
    return path


def write_config(folder: Path, url: str, in_flight: int, key: str = "bench-key") -> Path:
    """A config that asks a server; the price is looked up by the model's name, and traces are on, as by default."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text("version: 1\nmodels:\n" + _HTTP_MODEL.format(url=url, key=key, in_flight=in_flight) + _AGENT)
    return path


def write_mock_config(folder: Path) -> Path:
    """A config that asks the mock provider."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text("version: 1\nmodels:\n" + _MOCK_MODEL + _AGENT)
    return path
