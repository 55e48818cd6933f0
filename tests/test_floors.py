"""The house has floors: imports run downwards only, in no circle, and some calls have no place in it."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "agentbatch"

FLOORS: dict[str, str] = {
    "0 vocabulary": "record errors messages trace settings",
    "1 mechanisms": """
        items templates limits sharing retry stop_rules time_book text files process calls transports placement
        marks endpoints.rate_headers endpoints.announced endpoints.learnt_rate
        endpoints.health endpoints.window endpoints.prices endpoints.token_estimate endpoints.retry_after
        batches.config
        inputs.json_lines inputs.id_table kept.begun_calls kept.cache kept.chat_codec
    """,
    "2 contracts and files": """
        step step_config hooks models.base models.credentials tools.base tools.parameters tools.plain_arguments
        assembly answer_schema endpoints kept batches progress inputs results traces otel events text.screen logs
    """,
    "3 kinds": """
        batches.openai batches.anthropic batches.exchange batches.room batches.deadline
        models tools agents flows checks
    """,
    "4 config": "config",
    "5 build": "build build_tools plan",
    "6 engines": "engines",
    "7 runs": "api batch run summary report mock_server forecast canary ci watch doctor ctl jobs",
    "8 command line": "cli __main__",
}
"""Which floor each module stands on. A package's name stands for all in it that is not named itself."""

MAY_PRINT = {"__main__"}
"""Where every error ends as a message on stderr, when nothing else may work any more."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"}
PLACES = {name: floor for floor, names in enumerate(FLOORS.values()) for name in names.split()}


def floor_of(module: str) -> int | None:
    """The floor of the module, or of the nearest package around it that is named."""
    while module not in PLACES and "." in module:
        module = module.rpartition(".")[0]
    return PLACES.get(module)


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Everything that runs: what stands under `if TYPE_CHECKING` does not."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for otherwise in node.orelse:
                yield otherwise
                yield from nodes(otherwise)
        else:
            yield node
            yield from nodes(node)


def imports_of(module: str) -> dict[str, int]:
    """The modules of the package that a module imports, at once or late, and in which line."""
    found: dict[str, int] = {}
    for node in nodes(ast.parse(MODULES[module].read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: import by the full name"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            root, _, rest = name.partition(".")
            if root == PACKAGE.name and rest:
                target = rest if rest in MODULES else rest.rpartition(".")[0]
                if target:  # else a name of the package itself, such as __version__
                    found.setdefault(target, node.lineno)
    return found


IMPORTS = {module: imports_of(module) for module in MODULES}


def test_every_module_stands_on_a_floor_and_every_name_is_a_module():
    homeless = [module for module in MODULES if floor_of(module) is None]
    assert homeless == [], "give each a floor in FLOORS: the lowest from which it can see all that it imports"
    assert sorted(PLACES.keys() - MODULES.keys() - {"report"}) == []


def test_a_lower_floor_imports_nothing_above_it():
    upward = [
        f"agentbatch/{MODULES[module].relative_to(PACKAGE)}:{line} imports {target}: floor {floor_of(module)} -> "
        f"{floor_of(target)}"
        for module, targets in IMPORTS.items()
        for target, line in targets.items()
        if (floor_of(target) or 0) > (floor_of(module) or 0)
    ]
    assert upward == []


def test_imports_run_in_no_circle():
    try:
        TopologicalSorter({module: set(targets) for module, targets in IMPORTS.items()}).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def called(node: ast.AST) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("asyncio.wait_for", "on Python 3.11 it can swallow a cancellation: use asyncio.timeout"),
        ("asyncio.shield", "what is shielded outlives the loop: commit from a thread"),
        ("print", "stdout carries data only: use typer.echo, a logger, or the progress outlet"),
    ],
)
def test_calls_that_have_no_place_in_the_package(call: str, why: str):
    found = [
        f"agentbatch/{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)} calls {call}: {why}"
        for module, path in MODULES.items()
        if not (call == "print" and module in MAY_PRINT)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if called(node) == call
    ]
    assert found == []


def test_the_walk_sees_late_imports_and_not_those_for_types():
    source = """
from typing import TYPE_CHECKING
import agentbatch.errors
if TYPE_CHECKING:
    from agentbatch.api import run_batch
def late():
    from agentbatch.cli import run
"""
    seen = [ast.unparse(node) for node in nodes(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert seen == [
        "from typing import TYPE_CHECKING",
        "import agentbatch.errors",
        "from agentbatch.cli import run",
    ]
