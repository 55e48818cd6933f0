# ruff: noqa: E501  # expected messages stand as a user reads them
"""A config, right and wrong: what is loaded, and what a person is told."""

import pickle
import string
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentbatch.config import Config, config_shape, load
from agentbatch.config.problems import masked
from agentbatch.errors import ConfigError

BASE = """\
version: 1
models: {m: {provider: mock}}
agents:
  writer: {model: m, prompt: "Describe {{ input.product }}"}
  critic: {model: m, prompt: "Review {{ writer.output }}"}
"""

Write = Any


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that is the current one, so that messages name `config.yaml` alone."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text: str) -> str:
    Path("config.yaml").write_text(textwrap.dedent(text), encoding="utf-8")
    return "config.yaml"


def problems(text: str, *overrides: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(written(text), overrides, environ or {})
    return str(caught.value)


def headlines(text: str, *overrides: str, environ: dict[str, str] | None = None) -> list[str]:
    lines = problems(text, *overrides, environ=environ).splitlines()
    return [line for line in lines if line.startswith(("config.yaml", "--set"))]


def loaded(text: str, *overrides: str, environ: dict[str, str] | None = None) -> Config:
    return load(written(text), overrides, environ or {})


# what a problem looks like


def test_a_problem_shows_the_line_a_caret_and_a_mend(at: Path) -> None:
    assert problems(
        """\
        version: 1
        models: {fast: {provider: mock}}
        agents:
          writer:
            model: fast
            promt: "Describe {{ input.product }}"
        """
    ) == textwrap.dedent(
        """\
        config.yaml:6:5: agents.writer: unknown key 'promt'
            6 |     promt: "Describe {{ input.product }}"
              |     ^^^^^
          did you mean 'prompt'?"""
    )


def test_every_problem_is_told_at_once_in_the_order_of_the_file(at: Path) -> None:
    assert headlines(
        """\
        version: 2
        models:
          fast: {provider: mock, rpm: 0, latency: soon}
          slow: {provider: opneai, model: x}
          none: {model: x}
        agents:
          writer: {model: fats, prompt: "{{ critc.output }}", max_concurrency: ten}
          critic: {model: fast}
        groups:
          g: {parallel: [writer, critc], success: {quorum: 0}}
        workflow: [g, h]
        limits: {max_cost: -1, item_timeout: 5 parsecs}
        outptu: {}
        """
    ) == [
        "config.yaml:1:10: version: expected 1, got 2",
        "config.yaml:3:31: models.fast.rpm: must be at least 1, got 0",
        "config.yaml:3:43: models.fast.latency: expected a duration such as 500ms, 30s, 10m, or seconds as a number, got 'soon'",
        "config.yaml:4:20: models.slow: unknown provider 'opneai'",
        "config.yaml:5:3: models.none: missing key 'provider'",
        "config.yaml:7:19: agents.writer.model: unknown model 'fats'",
        "config.yaml:7:37: agents.writer.prompt: unknown name 'critc'",
        "config.yaml:7:72: agents.writer.max_concurrency: expected a whole number, got 'ten'",
        "config.yaml:8:11: agents.critic: missing key 'prompt' (or `content`, with images and files)",
        "config.yaml:10:26: groups.g.parallel[1]: unknown agent or group 'critc'",
        "config.yaml:10:52: groups.g.success.quorum: must be at least 1, got 0",
        "config.yaml:11:15: workflow[1]: unknown agent or group 'h'",
        "config.yaml:12:20: limits.max_cost: must be at least 0, got -1",
        "config.yaml:12:38: limits.item_timeout: expected a duration such as 500ms, 30s, 10m, or seconds as a number, got '5 parsecs'",
        "config.yaml:13:1: unknown key 'outptu'",
    ]


BAD: list[tuple[str, str, str]] = [
    # what, config (after BASE where it begins with +), expected in the message
    ("unknown top key", "+limit: {}", "config.yaml:6:1: unknown key 'limit'\n    6 | limit: {}\n      | ^^^^^\n  did you mean 'limits'?"),
    ("duplicate key", "+version: 1", "config.yaml:6:1: the key 'version' stands here twice, first in line 1"),
    ("no is a text", "+trace: {content: no}", "trace.content: expected true or false, got 'no'"),
    ("a time is a text", "+limits: {max_cost: 12:30:45}", "limits.max_cost: expected a number, got '12:30:45'"),
    ("a float is no whole number", "+limits: {max_concurrency: 1e3}", "limits.max_concurrency: expected a whole number, got 1000.0"),
    ("a quoted number", "+limits: {max_concurrency: '8'}", "limits.max_concurrency: expected a whole number, got '8'\n    6 | limits: {max_concurrency: '8'}\n      |                           ^\n  remove the quotes"),
    ("nothing", "+limits: {max_concurrency: 5, timeout: }\noutput: {include: }", "output.include: expected a list, got nothing"),
    ("a section that is a list", "version: 1\nagents: [a]", "config.yaml:2:1: agents: expected a mapping of names to agents"),
    ("an agent that is a text", "version: 1\nagents: {a: hello}", "config.yaml:2:10: agents.a: expected a mapping that describes the agent"),
    ("no agents", "version: 1", "agents: no agents: an agent has at least a model and a prompt"),
    ("no version", "agents: {}", "config.yaml:1:1: missing key 'version'"),
    ("a list", "[1]", "config.yaml:1:1: a config is a mapping, with keys such as models, agents and workflow"),
    ("empty", "# nothing", "config.yaml: the config is empty: `agentbatch init` writes one to begin with"),
    ("python", "version: !!python/object/apply:os.system [x]", "config.yaml:1:10: version: the tag '!!python/object/apply:os.system' is not allowed here"),
    ("unquoted braces", "+vars: {a: {{ x }}}", "config.yaml:6:12: vars.a: a mapping or list can't be a key: put quotes around a value that begins with {{"),
    ("unknown kind", "version: 1\nagents: {a: {kind: caht, prompt: x}}", "config.yaml:2:20: agents.a: unknown kind 'caht'\n    2 | agents: {a: {kind: caht, prompt: x}}\n      |                    ^\n  did you mean 'chat'?"),
    ("unknown group kind", "+groups: {g: {paralel: [writer]}}", "groups.g: a group has one of the keys then, graph, loop, parallel, route, sequence\n    6 | groups: {g: {paralel: [writer]}}\n      |          ^\n  did you mean 'parallel'?"),
    ("two group kinds", "+groups: {g: {parallel: [writer], sequence: [writer]}}", "groups.g: a group has one of 'parallel' and 'sequence', not both"),
    ("empty parallel", "+groups: {g: {parallel: []}}", "config.yaml:6:24: groups.g.parallel: must not be empty"),
    ("a member of no kind", "+groups: {g: {parallel: [{agnt: writer}]}}", "groups.g.parallel[0]: unknown key 'agnt'"),
    ("a key of a member", "+groups: {g: {parallel: [{agent: writer, copeis: 2}]}}", "groups.g.parallel[0]: unknown key 'copeis'\n    6 | groups: {g: {parallel: [{agent: writer, copeis: 2}]}}\n      |                                         ^^^^^^\n  did you mean 'copies'?"),
    ("a union", "+groups: {g: {parallel: [writer], success: most}}", "groups.g.success: expected 'all' or 'any' or a mapping (quorum), got 'most'"),
    ("a group written in place", "+workflow: [{sequence: [writer, {parallel: [critc]}], on_eror: stop}]", "config.yaml:6:54: workflow[0]: unknown key 'on_eror'"),
    ("a name in a group written in place", "+workflow: [{sequence: [writer, {parallel: [critc]}]}]", "config.yaml:6:44: workflow[0].sequence[1].parallel[0]: unknown agent or group 'critc'"),
    ("a condition group without its condition", "+groups: {g: {then: writer}}", "groups.g: missing key 'when'"),
    ("a model in the workflow", "+workflow: m", "'m' is a model: a workflow is made of agents"),
    ("one name twice", "+groups: {writer: {parallel: [critic]}}", "config.yaml:6:10: groups.writer: an agent has this name, too"),
    ("a reserved name", "version: 1\nmodels: {m: {provider: mock}}\nagents: {input: {model: m, prompt: x}}", "config.yaml:3:10: agents: the name 'input' is taken"),
    ("a name no template can read", "version: 1\nmodels: {m: {provider: mock}}\nagents: {my-agent: {model: m, prompt: x}}", "config.yaml:3:10: agents: the name 'my-agent' is none that a template could read\n    3 | agents: {my-agent: {model: m, prompt: x}}\n      |          ^\n  letters, digits and _ only: 'my_agent'"),
    ("a name that is no text", "version: 1\nagents: {1: {}}", "config.yaml:2:10: agents: keys are text: put quotes around '1'"),
    ("a circle", "+groups: {a: {sequence: [b]}, b: {parallel: [c]}, c: {sequence: [writer, a]}}", "a group can't contain itself: a -> b -> c -> a"),
    ("a group in itself", "+groups: {a: {sequence: [a]}}", "config.yaml:6:25: groups.a.sequence[0]: a group can't contain itself: a -> a"),
    ("a graph that waits for itself", "+groups: {g: {graph: [writer, critic]}}\nvars: {x: '{{ input.x }}'}\nworkflow: {}", "workflow: expected"),
    ("a fallback to nobody", "version: 1\nmodels: {m: {provider: mock, fallbacks: [n]}}\nagents: {a: {model: m, prompt: x}}", "config.yaml:2:42: models.m.fallbacks[0]: unknown model 'n'"),
    ("an empty workflow", "+workflow: []", "config.yaml:6:11: workflow: must not be empty"),
    ("max_failures", "+limits: {max_failures: 500%}", "limits.max_failures: expected a number of items such as 5, or a share such as 5%, not '500%'"),
    ("a name in vars", "+vars: {x-y: z}", "config.yaml:6:8: vars.x-y: a name has letters, digits and _ only, got 'x-y'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_config(at: Path, text: str, message: str) -> None:
    found = problems(BASE + text[1:] if text.startswith("+") else text)
    assert message in found, found


TEMPLATES: list[tuple[str, str, str]] = [
    # what, prompt of an agent `a` beside `b`, expected
    ("typo in a step", "{{ bb.output }}", "config.yaml:4:29: agents.a.prompt: unknown name 'bb'"),
    ("guarded, but unknown", "{{ bb.output | default('') }}", "unknown name 'bb'"),
    ("typo in a step's field", "{{ b.outptu }}", "config.yaml:4:29: agents.a.prompt: no field 'outptu' in b"),
    (
        "an answer's field as a step's",
        "{{ b.score }}",
        "a step has output, error, status; its answer's fields: b.output.score",
    ),
    ("a step as a value", "{{ b }}", "config.yaml:4:29: agents.a.prompt: 'b' is a step, not a value"),
    ("its own answer", "{{ a.output }}", "'a' reads its own output"),
    ("a field of the item", "{{ item.name }}", "no field 'name' in item"),
    ("a variable nobody sets", "{{ vars.tone }}", "no field 'tone' in vars"),
    ("loop outside of one", "{{ loop.index }}", "only what runs in a loop, and the loop's own conditions, know `loop`"),
    ("each without for_each", "{{ each.value }}", "only what runs for_each element knows `each`"),
    ("members outside of a judge", "{{ members }}", "only a parallel group's judge knows its `members`"),
    ("output outside of set", "{{ output }}", "elsewhere write NAME.output"),
    ("syntax", "{{ input.x", "agents.a.prompt: unexpected end of template"),
    ("filter", "{{ input.x | uper }}", "unknown filter 'uper', did you mean 'upper'?"),
    ("include", "{% include 'x' %}", "a template stands alone"),
]


@pytest.mark.parametrize(("prompt", "message"), [row[1:] for row in TEMPLATES], ids=[row[0] for row in TEMPLATES])
def test_bad_template(at: Path, prompt: str, message: str) -> None:
    text = f'version: 1\nmodels: {{m: {{provider: mock}}}}\nagents:\n  a: {{model: m, prompt: "{prompt}"}}\n  b: {{model: m, prompt: x}}\n'
    found = problems(text)
    assert message in found, found


def test_a_problem_in_a_text_of_many_lines_is_at_its_own_line(at: Path) -> None:
    assert headlines(
        """\
        version: 1
        models: {m: {provider: mock}}
        agents:
          a:
            model: m
            instructions: |
              Be kind.

              Be {{ mood }}.
            prompt: >
              One
              {% if input.x %}

              two {{ wrtier.output }}
              {% endif %}
          b:
            model: m
            prompt: |
              One
              {{ input.x | uper }}
        """
    ) == [
        "config.yaml:9:13: agents.a.instructions: unknown name 'mood'",
        "config.yaml:14:14: agents.a.prompt: unknown name 'wrtier'",
        "config.yaml:20:7: agents.b.prompt: unknown filter 'uper', did you mean 'upper'?",
    ]


def test_a_graph_of_agents_that_wait_for_each_other(at: Path) -> None:
    text = textwrap.dedent(
        """\
        version: 1
        models: {m: {provider: mock}}
        agents:
          a: {model: m, prompt: "{{ b.output }}"}
          b: {model: m, prompt: "{{ a.output }}"}
        """
    )
    assert "config.yaml:3:1: agents: these wait for each other: a -> b -> a" in problems(text)
    assert loaded(text + "groups: {l: {loop: [a, b], max_iterations: 2}}\nworkflow: l\n").workflow == "l"


def test_what_is_there_only_sometimes_is_known_where_it_is(at: Path) -> None:
    config = loaded(
        """\
        version: 1
        models: {m: {provider: mock}}
        vars: {tone: "{{ input.tone }}"}
        agents:
          split: {model: m, prompt: "{{ vars.tone }}", set: {parts: "{{ output }}"}}
          part: {model: m, prompt: "{{ each.value }} {{ each.index }} {{ vars.parts }}", for_each: "{{ split.output }}"}
          writer: {model: m, prompt: "{{ loop.index }} {{ writer.output }} {{ critic.output }}"}
          critic: {model: m, prompt: "{{ loop.history }}", fallback: {to: [part], when: "output == 'x'"}}
          judge: {model: m, prompt: "{% for m in members %}{{ m.output }}{% endfor %}"}
        groups:
          refine: {loop: [writer, critic], until: "loop.index > 2 or critic.output == 'ok'", max_iterations: 3}
          best: {parallel: [split, part], aggregate: {agent: judge}}
        workflow: [split, part, refine, best]
        """
    )
    assert set(config.agents) == {"split", "part", "writer", "critic", "judge"}


def test_a_group_written_in_place_can_be_read_by_its_name(at: Path) -> None:
    text = BASE.replace("{{ writer.output }}", "{{ both.output }} {{ parallel.output }}")
    loaded(text + "workflow: [{parallel: [writer], name: both}, {parallel: [writer]}, critic]\n")
    assert "unknown name 'parallel'" in problems(text + "workflow: [{parallel: [writer], name: both}, critic]\n")
    assert "unknown agent or group 'both'" in problems(text + "workflow: [{parallel: [writer], name: both}, both]\n")


# prompts in files


def test_a_prompt_may_be_a_file(at: Path) -> None:
    Path("prompts").mkdir()
    Path("prompts/p.j2").write_text("\ufeffDescribe {{ input.product }}\n${NOT_EXPANDED}\n", encoding="utf-8")
    config = loaded(BASE.replace('"Describe {{ input.product }}"', "file://prompts/p.j2"))
    assert config.agents["writer"].prompt == "Describe {{ input.product }}\n${NOT_EXPANDED}\n"  # type: ignore[attr-defined]


def test_a_variable_may_be_a_file(at: Path) -> None:
    Path("tone.j2").write_text("{{ input.tone }}!")
    assert loaded(BASE + "vars: {tone: file://tone.j2}\n").vars == {"tone": "{{ input.tone }}!"}


def test_a_problem_in_a_prompt_file_is_at_its_line(at: Path) -> None:
    Path("p.j2").write_text("One\nTwo {{ wrtier.output }}\n{{ input.x | uper }}\n")
    found = problems(BASE.replace('"Describe {{ input.product }}"', "file://p.j2").replace("{{ writer.output }}", "x"))
    assert "p.j2:3:1: agents.writer.prompt: unknown filter 'uper'" in found
    Path("p.j2").write_text("One\nTwo {{ wrtier.output }}\n")
    assert (
        "p.j2:2:8: agents.writer.prompt: unknown name 'wrtier'\n    2 | Two {{ wrtier.output }}\n      |        ^^^^^^\n"
        in problems(BASE.replace('"Describe {{ input.product }}"', "file://p.j2"))
    )


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("file://promt.j2", "there is no file 'promt.j2' beside the config, did you mean 'prompt.j2'?"),
        ("file://dir", "the file 'dir' can't be read: Is a directory"),
        ("file://binary", "the file 'binary' is not UTF-8 text"),
        ("file://", "can't be read"),
        ('"file://a\\0b"', "is no path"),
    ],
)
def test_a_prompt_file_that_is_not_there(at: Path, reference: str, message: str) -> None:
    Path("prompt.j2").write_text("x")
    Path("dir").mkdir()
    Path("binary").write_bytes(b"\xff\xfe")
    found = problems(BASE.replace('"Describe {{ input.product }}"', reference))
    assert "config.yaml:4:" in found
    assert message in found


# other spellings


def test_other_spellings_are_read_with_a_note(at: Path) -> None:
    config = loaded(
        """\
        version: 1
        defaults: {num_retries: 2}
        models:
          a: {provider: openai, model: x, api_base: http://127.0.0.1:1, max_rpm: 5, max_retries: 1, semaphore: 3}
        agents:
          w: {model: a, system_prompt: s, prompt: p, response_format: {type: object}, if: "input.x"}
          v: {model: a, instruction: s, prompt: p, depends_on: [w]}
        """
    )
    model = config.models["a"]
    assert (model.rpm, model.retries, model.max_concurrency) == (5, 1, 3)
    assert config.defaults.retries == 2
    assert config.agents["w"].when == "input.x"
    assert config.agents["v"].needs == ["w"]
    assert list(config.notes) == [
        "config.yaml:2:12: defaults: 'num_retries' is read as 'retries'",
        "config.yaml:4:35: models.a: 'api_base' is read as 'base_url'",
        "config.yaml:4:65: models.a: 'max_rpm' is read as 'rpm'",
        "config.yaml:4:77: models.a: 'max_retries' is read as 'retries'",
        "config.yaml:4:93: models.a: 'semaphore' is read as 'max_concurrency'",
        "config.yaml:6:17: agents.w: 'system_prompt' is read as 'instructions'",
        "config.yaml:6:46: agents.w: 'response_format' is read as 'output_schema'",
        "config.yaml:6:79: agents.w: 'if' is read as 'when'",
        "config.yaml:7:17: agents.v: 'instruction' is read as 'instructions'",
        "config.yaml:7:44: agents.v: 'depends_on' is read as 'needs'",
    ]


def test_two_spellings_at_once_are_a_problem(at: Path) -> None:
    found = problems(BASE.replace("{model: m, prompt:", "{model: m, system: a, instructions: b, prompt:"))
    assert "config.yaml:4:22: agents.writer: 'system' and 'instructions' are two spellings of 'instructions'" in found
    found = problems(BASE.replace("{model: m, prompt:", "{model: m, system: a, system_prompt: b, prompt:"))
    assert "'system_prompt' and 'system' are two spellings of 'instructions'" in found


def test_a_problem_with_another_spelling_is_at_its_own_place(at: Path) -> None:
    found = headlines(BASE.replace("{provider: mock}", "{provider: mock, max_rpm: 0}"))
    assert found == ["config.yaml:2:39: models.m.rpm: must be at least 1, got 0"]


def test_params_are_nobodys_spelling(at: Path) -> None:
    config = loaded(BASE.replace("{provider: mock}", "{provider: mock, params: {system: x, max_retries: 2}}"))
    assert config.models["m"].params == {"system": "x", "max_retries": 2}


# overrides


def test_overrides_reach_every_part(at: Path) -> None:
    text = BASE.replace("{m: {", "{gpt-4.1: {provider: mock, price: {input: 1, output: 2}}, m: {")
    config = loaded(
        text,
        "limits.max_cost=5",
        "limits.max_failures=5%",
        "models.gpt-4.1.price.input=3",
        "models.m.params.temperature=0.5",
        "agents.writer.prompt=Hello {{ input.product }}",
        "workflow=[writer, critic]",
        "workflow.1=writer",
        "trace={content: true}",
    )
    assert config.limits.max_cost == 5
    assert config.limits.max_failures == "5%"
    assert config.models["gpt-4.1"].price is not None
    assert config.models["gpt-4.1"].price.input == 3
    assert config.models["m"].params == {"temperature": 0.5}
    assert config.workflow == ["writer", "writer"]
    assert config.trace.content


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nonsense", "--set nonsense: expected KEY=VALUE, such as limits.max_cost=5"),
        ("=1", "--set =1: expected KEY=VALUE, such as limits.max_cost=5"),
        ("a.b.c=1", "--set a.b.c=1: unknown key 'a'"),
        ("limits.max_cots=1", "--set limits.max_cots=1: limits: unknown key 'max_cots'\n  did you mean 'max_cost'?"),
        ("limits.max_cost=x", "--set limits.max_cost=x: limits.max_cost: expected a number, got 'x'"),
        ("agents.writr.prompt=x", "--set agents.writr.prompt=x: there is no agent 'writr', did you mean 'writer'?"),
        ("models.zzz.rpm=1", "--set models.zzz.rpm=1: there is no model 'zzz'"),
        ("version.x=1", "--set version.x=1: version is no mapping: nothing can be set in it"),
        ("workflow=nope", "--set workflow=nope: workflow: unknown agent or group 'nope'"),
        ("workflow=[", "--set workflow=[: not valid YAML"),
        ("agents.writer.prompt={{ x }}", "--set agents.writer.prompt={{ x }}: agents.writer.prompt: unknown name 'x'"),
        (
            "agents.writer.prompt='{{ x }}'",
            "--set agents.writer.prompt='{{ x }}': agents.writer.prompt: unknown name 'x'",
        ),
        ("agents.writer.system=a", None),
    ],
)
def test_bad_overrides(at: Path, override: str, message: str | None) -> None:
    if message is None:
        assert loaded(BASE, override).notes
    else:
        assert message in problems(BASE, override)


@pytest.mark.parametrize(
    "prompt",
    ["Section # 3 of {{ input.x }}", "# Title", "{{ input.x }}", "Answer: {{ input.x }}", "{% if true %}a{% endif %}"],
)
def test_a_text_or_template_of_an_override_is_meant_as_it_stands(at: Path, prompt: str) -> None:
    agent: Any = loaded(BASE, f"agents.writer.prompt={prompt}").agents["writer"]
    assert agent.prompt == prompt


def test_an_override_is_read_as_the_file_is(at: Path) -> None:
    config = loaded(
        KEYED, "models.fast.api_key=${OTHER}", "models.fast.rpm=${N:-5}", environ={"OTHER": CANARY, "KEY": "x"}
    )
    model: Any = config.models["fast"]
    assert (model.api_key.get_secret_value(), model.rpm) == (CANARY, 5)
    assert CANARY in config.secrets
    found = problems(
        KEYED,
        "models.fast.rpm=${N}",
        "models.fast.api_key=${OTHER}",
        environ={"N": "c4n4ry", "KEY": "x", "OTHER": "c4n4ry\n"},
    )
    assert "--set models.fast.rpm=${N}: models.fast.rpm: expected a whole number, got the value of N" in found
    assert "models.fast.api_key: OTHER has a control character" in found
    assert "c4n4ry" not in found
    assert "--set models.fast.rpm=${NO}: the environment variable NO is not set" in problems(
        KEYED, "models.fast.rpm=${NO}", environ={"KEY": "x"}
    )


def test_a_config_travels_to_another_process(at: Path) -> None:
    config = loaded(KEYED, environ={"KEY": CANARY})
    twin = pickle.loads(pickle.dumps(config))
    assert twin == config
    assert (twin.secrets, twin.templates, config_shape(twin)) == (
        config.secrets,
        config.templates,
        config_shape(config),
    )


def test_an_override_of_a_list_by_number(at: Path) -> None:
    text = BASE + "workflow: [writer, critic]\n"
    assert "--set workflow.2=writer: workflow is a list of 2: name one by its number, from 0" in problems(
        text, "workflow.2=writer"
    )


# the environment, and keys


KEYED = """\
version: 1
models:
  fast: {provider: openai, model: "${MODEL:-gpt-4o-mini}", rpm: "${RPM:-8}", api_key: "${KEY:?set it}"}
agents:
  a: {model: fast, prompt: "costs $$5 ${{ input.price }} {{ '${HOME}' }}"}
"""
CANARY = "sk-c4n4ry-0123456789abcdef"


def test_variables_are_filled_in_and_understood_anew(at: Path) -> None:
    config = loaded(KEYED, environ={"KEY": CANARY, "MODEL": "4"})
    model: Any = config.models["fast"]
    assert (model.model, model.rpm, model.api_key.get_secret_value()) == ("4", 8, CANARY)
    assert config.agents["a"].prompt == "costs $5 ${{ input.price }} {{ '${HOME}' }}"  # type: ignore[attr-defined]
    assert CANARY in config.secrets
    assert CANARY not in repr(config)


def test_a_dotenv_stands_behind_the_environment(at: Path) -> None:
    Path(".env").write_text("KEY=sk-from-the-file-000\nMODEL=file\n")
    model: Any = loaded(KEYED, environ={"MODEL": "environment"}).models["fast"]
    assert (model.model, model.api_key.get_secret_value()) == ("environment", "sk-from-the-file-000")


def test_missing_variables_are_told_all_at_once(at: Path) -> None:
    text = KEYED.replace("${MODEL:-gpt-4o-mini}", "${MODEL}")
    assert headlines(text, environ={"KEY": ""}) == [
        "config.yaml:3:35: models.fast.model: the environment variable MODEL is not set: set it, put it in .env, or write ${MODEL:-default}",
        "config.yaml:3:74: models.fast.api_key: the environment variable KEY is empty: set it",
    ]


@pytest.mark.parametrize("key", [CANARY + "\n", CANARY + "\0", "\x1b" + CANARY, " " + CANARY, "sk-schlüssel-" + CANARY])
def test_a_key_that_can_not_be_sent_is_refused_and_never_shown(at: Path, key: str) -> None:
    found = problems(KEYED, environ={"KEY": key})
    assert "models.fast.api_key: KEY has a control character" in found
    assert CANARY not in found


def test_a_provider_has_a_variable_of_its_own(at: Path) -> None:
    text = """\
        version: 1
        models:
          a: {provider: anthropic, model: claude}
          unused: {provider: openai, model: gpt}
          local: {provider: openai, model: llama, base_url: http://127.0.0.1:1/v1}
        agents:
          x: {model: a, prompt: p}
          y: {model: local, prompt: p}
        """
    found = problems(text)
    assert "config.yaml:3:3: models.a: the environment variable ANTHROPIC_API_KEY is not set" in found
    assert "OPENAI_API_KEY" not in found
    config = loaded(text, environ={"ANTHROPIC_API_KEY": CANARY, "OPENAI_API_KEY": "sk-not-for-others-00"})
    models: Any = config.models
    assert models["a"].api_key.get_secret_value() == CANARY
    assert models["local"].api_key is None
    assert "ANTHROPIC_API_KEY has a control character" in problems(text, environ={"ANTHROPIC_API_KEY": CANARY + "\n"})


@pytest.mark.parametrize("key", [CANARY, "a-long-key-of-no-known-kind", "sk-short"])
def test_a_key_in_the_file_is_refused_and_never_shown(at: Path, key: str) -> None:
    found = problems(KEYED.replace("${KEY:?set it}", key) + "typo: 1\n")
    assert "config.yaml:3:87: models.fast.api_key: a key does not belong in the config" in found
    assert "write api_key: ${API_KEY}" in found
    assert key not in found
    assert key not in problems(KEYED, f"models.fast.api_key={key}", environ={"KEY": CANARY})


@pytest.mark.parametrize("key", ["EMPTY", "none", "test"])
def test_a_placeholder_is_no_key(at: Path, key: str) -> None:
    model: Any = loaded(KEYED.replace("${KEY:?set it}", key)).models["fast"]
    assert model.api_key.get_secret_value() == key


def test_a_bad_value_from_the_environment_is_named_not_shown(at: Path) -> None:
    found = problems(KEYED, environ={"KEY": "sk-fine-000", "RPM": "c4n4ry"})
    assert "models.fast.rpm: expected a whole number, got the value of RPM" in found
    assert "c4n4ry" not in found


def test_a_variable_can_not_bring_a_template(at: Path) -> None:
    text = BASE.replace("Describe", "${TONE} describe")
    assert "the value of TONE holds template braces" in problems(text, environ={"TONE": "{{ input }}"})


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("api_key: sk-abcdef", "api_key: *********"),
        ('  "x-api-key": "abc def", rpm: 5', '  "x-api-key": *********, rpm: 5'),
        ("api_key: ${KEY:-x}", "api_key: ${KEY:-x}"),
        ("max_tokens: 800, token: 12", "max_tokens: 800, token: 12"),
        ("base_url: http://user:pa/ss@host/v1", "base_url: http://**********@host/v1"),
        ("prompt: use sk-abcdefghijklmnop now", "prompt: use ******************* now"),
    ],
)
def test_a_line_is_shown_without_its_keys(line: str, shown: str) -> None:
    assert masked(line) == shown


def test_a_variable_without_quotes_inside_braces_has_a_mend(at: Path) -> None:
    found = problems("version: 1\nmodels: {m: {provider: openai, api_key: ${KEY}}}\n")
    assert 'inside { } and [ ] put quotes around "${VARIABLE}"' in found


def test_a_default_in_quotes_is_understood_where_a_number_is_wanted(at: Path) -> None:
    assert loaded(BASE.replace("{provider: mock}", '{provider: mock, rpm: "${RPM:-8}"}')).models["m"].rpm == 8


# files that are no configs


def test_a_file_that_can_not_be_read(at: Path) -> None:
    for path, message in (
        ("nope.yaml", "nope.yaml: no such file"),
        (".", ".: can't be read: Is a directory"),
        ("a\0b", "can't be read"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(path, (), {})
        assert message in str(caught.value)


def test_a_file_that_is_no_text(at: Path) -> None:
    Path("config.yaml").write_bytes(b"version: 1\nmodels: \xff\n")
    with pytest.raises(ConfigError, match=r"config.yaml:2: not UTF-8"):
        load("config.yaml", (), {})
    Path("config.yaml").write_bytes(b"a" * 6_000_000)
    with pytest.raises(ConfigError, match="larger than 5 MB"):
        load("config.yaml", (), {})


def test_a_bom_and_windows_lines_are_fine(at: Path) -> None:
    Path("config.yaml").write_bytes(b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode())
    assert set(load("config.yaml", (), {}).agents) == {"writer", "critic"}


# whatever the text


words = st.sampled_from(
    """version models agents groups workflow limits vars parallel sequence loop when then route cases default graph kind
    provider mock chat prompt model writer critic m name timeout retries set for_each fallback on_error to needs
    {{input.x}} {{writer.output}} ${A} 1 -1 5% 10s true""".split()  # noqa: SIM905
)
trees = st.recursive(
    words | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=5),
    max_leaves=25,
)


def check(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    try:
        load(path, (), {"A": "c4n4ry"})
    except ConfigError as error:
        assert str(error)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(alphabet=st.characters(codec="utf-8")) | st.text(alphabet=string.ascii_lowercase + ":-{}[]&*!|>'\"$%# \n")
)
@example("version: &a 1\nmodels: {m: *a}\nagents: *a")
def test_no_text_raises_anything_else(tmp_path: Path, text: str) -> None:
    check(tmp_path / "config.yaml", text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    st.fixed_dictionaries(
        {"version": st.just(1)},
        optional=dict.fromkeys(["models", "agents", "groups", "workflow", "vars", "limits"], trees),
    )
)
@example({"version": 1, "groups": {"g": {"route": {"agent": {}}, "cases": {"loop": {"parallel": [[]]}}}}})
@example(
    {
        "version": 1,
        "models": {"m": {"provider": "mock"}},
        "agents": {"a": {"model": "m", "prompt": "x", "set": {"when": {}}}},
    }
)
def test_no_tree_raises_anything_else(tmp_path: Path, tree: dict[str, Any]) -> None:
    import yaml

    check(tmp_path / "config.yaml", yaml.safe_dump(tree, allow_unicode=True))
