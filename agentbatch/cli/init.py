"""`agentbatch init`: a config that runs at once, and inputs for it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from agentbatch.errors import OutputError, UsageError

CONFIG = """\
# yaml-language-server: $schema=./agentbatch.schema.json
version: 1

models:
  # `mock` needs no network and no key: it shows how a run goes. For a real model, take one of those below.
  writing: {provider: mock, latency: 200ms}
  reviewing: {provider: mock, latency: 300ms, output: {score: 0.9, issues: []}}
  # writing:
  #   provider: openai                  # or any server that speaks its API: vLLM, Ollama, Azure, LiteLLM, ...
  #   model: gpt-4o-mini
  #   base_url: ${OPENAI_BASE_URL:-https://api.openai.com/v1}
  #   api_key: ${OPENAI_API_KEY:?set it, or put it in .env}
  #   rpm: 500                          # requests a minute, retries included
  #   params: {temperature: 0.2}        # sent as they are
  # reviewing: {provider: anthropic, model: claude-sonnet-4-5, params: {max_tokens: 800}}

agents:
  writer:
    model: writing
    instructions: You write product copy in {{ input.lang | default('English') }}.
    prompt: "Describe {{ input.product }} in one sentence."
  critic:
    model: reviewing
    prompt: "Review this product copy: {{ writer.output }}"
    output_schema:                      # the answer is checked against it, and templates can read its fields
      type: object
      required: [score, issues]
      properties:
        score: {type: number}
        issues: {type: array, items: {type: string}}
  seo:
    model: writing
    prompt: "Five keywords for: {{ writer.output }}"

groups:
  review: {parallel: [critic, seo]}     # both at once

workflow: [writer, review]              # one after the other

limits: {max_failures: 10%, max_concurrency: 100}
"""

INPUTS = (
    {"id": "shoe", "product": "a running shoe", "lang": "English"},
    {"id": "lamp", "product": "a desk lamp", "lang": "German"},
    {"id": "tent", "product": "a two-person tent"},
)


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; made if need be.")] = Path(),
) -> None:
    """Write a commented starter config and sample inputs."""
    from agentbatch.config.schema import json_schema  # late: `agentbatch --help` needs none of this

    files = {
        folder / "config.yaml": CONFIG,
        folder / "inputs.jsonl": "".join(json.dumps(record) + "\n" for record in INPUTS),
        folder / "agentbatch.schema.json": json.dumps(json_schema(), indent=2) + "\n",
    }
    there = [str(path) for path in files if path.exists() or path.is_symlink()]
    if there:
        raise UsageError(f"{', '.join(there)}: already there, and nothing is overwritten: choose another directory")
    if folder.is_file():
        raise UsageError(f"{folder}: is a file; name a folder, which is made if need be")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except OSError as error:
        raise OutputError(f"{error.filename}: can't be written: {error.strerror}") from None
    for path in files:
        typer.echo(f"wrote {path}")
    config, inputs = (shlex.quote(str(path)) for path in list(files)[:2])
    typer.echo(f"try it: agentbatch run {config} {inputs}")
