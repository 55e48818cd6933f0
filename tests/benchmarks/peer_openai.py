"""The calls of a benchmark with the openai package over aiohttp: workers, and its own retries and connection pool.

python peer_openai.py INPUTS --url http://127.0.0.1:8000/v1 --in-flight 200
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterable

from openai import AsyncOpenAI, DefaultAioHttpClient


async def collect(inputs: Iterable[str], url: str, in_flight: int) -> list[str]:
    """Ask about every input; the answers, in order of completion."""
    answers: list[str] = []
    lines = iter(inputs)
    async with AsyncOpenAI(api_key="bench-key", base_url=url, http_client=DefaultAioHttpClient()) as client:

        async def work() -> None:
            for line in lines:
                record = json.loads(line)
                answer = await client.chat.completions.create(
                    model="gpt-4o-mini",
                    messages=[
                        {"role": "system", "content": "You write product copy."},
                        {"role": "user", "content": f"Describe {record['product']} for {record['market']}."},
                    ],
                    temperature=0.2,
                )
                answers.append(answer.choices[0].message.content or "")

        await asyncio.gather(*(work() for _ in range(in_flight)))
    return answers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs")
    parser.add_argument("--url", required=True)
    parser.add_argument("--in-flight", type=int, default=200)
    options = parser.parse_args()
    with open(options.inputs, encoding="utf-8") as inputs:
        print(len(asyncio.run(collect(inputs, options.url, options.in_flight))))
