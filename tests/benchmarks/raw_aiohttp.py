"""The raw loop to compare with: aiohttp as a sensible person would write it by hand, which only collects answers.

It reads the same inputs, renders a prompt with an f-string, asks, and keeps each answer's text in a list. No retries,
limits on rates, timeouts of its own, costs, traces or files.

    python raw_aiohttp.py INPUTS --url http://127.0.0.1:8000/v1 --in-flight 200
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable
from typing import Any

import aiohttp


async def collect(inputs: Iterable[str], url: str, in_flight: int) -> list[str]:
    """Ask about every input; the answers, in order of completion."""
    answers: list[str] = []
    lines = iter(inputs)
    headers = {"Authorization": "Bearer bench-key"}
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def work() -> None:
            for line in lines:
                body = request_body(json.loads(line))
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    response.raise_for_status()
                    answer = await response.json()
                answers.append(answer["choices"][0]["message"]["content"])

        await asyncio.gather(*(work() for _ in range(in_flight)))
    return answers


def request_body(record: dict[str, Any]) -> dict[str, Any]:
    """The same request as the benchmark's config makes."""
    return {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "You write product copy."},
            {"role": "user", "content": f"Describe {record['product']} for {record['market']}."},
        ],
        "temperature": 0.2,
    }


def main(arguments: list[str]) -> None:
    """Read the command line, run, say how many answers came."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs")
    parser.add_argument("--url", required=True)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--uvloop", action=argparse.BooleanOptionalAction, default=False)
    options = parser.parse_args(arguments)
    with open(options.inputs, encoding="utf-8") as lines:
        work = collect(lines, options.url, options.in_flight)
        if options.uvloop:
            import uvloop

            answers = uvloop.run(work)
        else:
            answers = asyncio.run(work)
    print(len(answers))


if __name__ == "__main__":
    main(sys.argv[1:])
