#!/usr/bin/env python3
"""Stands in for a coding agent's command-line program: reads a task, writes a file, prints JSON as Claude Code does.

It knows four functions and needs no network.
"""

import json
import re
import sys
import time
from pathlib import Path

KNOWN = {
    "fibonacci": "def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n",
    "is_palindrome": "def is_palindrome(text):\n    letters = [c for c in text.lower() if c.isalnum()]\n"
    "    return letters == letters[::-1]\n",
    "word_count": "def word_count(text):\n    return len(text.split())\n",
    "median": "def median(values):\n    return sorted(values)[len(values) // 2]\n",  # wrong for an even number of them
}


def main() -> None:
    began = time.perf_counter()
    task = sys.stdin.read()
    name = next((name for name in KNOWN if name in task), "median")
    code = KNOWN[name]
    wanted = re.search(r"Write (\S+\.py)", task)
    Path(wanted[1] if wanted else "answer.py").write_text(code, "utf-8")
    answer = {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "duration_ms": round((time.perf_counter() - began) * 1000),
        "num_turns": 3,
        "result": code,
        "session_id": "00000000-0000-4000-8000-000000000000",
        "total_cost_usd": 0.0125,
        "usage": {
            "input_tokens": 12,
            "cache_creation_input_tokens": 2400,
            "cache_read_input_tokens": 9600,
            "output_tokens": len(code) // 4,
        },
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
