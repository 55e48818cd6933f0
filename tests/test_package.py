"""The built wheel, installed where nothing else is."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def output_of(*command: str | Path, cwd: Path) -> str:
    """What a command prints, on stdout and stderr together. It must succeed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command, cwd=cwd, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    output_of(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command, of a virtual environment that holds the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    output_of(scripts / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    return scripts / "agentbatch"


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        fields = BytesParser().parsebytes(archive.read(metadata))
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"agentbatch", metadata.partition("/")[0]}
    assert {"agentbatch/py.typed", "agentbatch/__main__.py"} <= set(names)
    files = [path for path in (ROOT / "agentbatch").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {path.relative_to(ROOT).as_posix() for path in files} <= set(names)
    assert fields["Name"] == "agentbatch"
    assert "agentbatch run" in fields.get_payload()


def test_the_installed_program_runs_what_init_wrote(program: Path, tmp_path: Path):
    version = output_of(program, "--version", cwd=tmp_path).split()
    assert version[0] == "agentbatch"
    assert version[1][0].isdigit()
    output_of(program, "init", "here", cwd=tmp_path)
    folder = tmp_path / "here"
    assert "ok: " in output_of(program, "validate", "config.yaml", "inputs.jsonl", cwd=folder)
    assert "All 3 items succeeded" in output_of(program, "run", "config.yaml", "inputs.jsonl", cwd=folder)
    lines = (folder / "inputs.results.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["ok", "ok", "ok"]


def test_the_installed_program_reaches_a_server_over_http(program: Path, tmp_path: Path):
    """With the wheel's own dependencies alone, every HTTP client must be there."""
    config = tmp_path / "config.yaml"
    for transport in ("direct", "aiohttp", "httpx"):
        config.write_text(
            "version: 1\n"
            f"models: {{m: {{provider: openai, model: m, base_url: 'http://127.0.0.1:9/v1', transport: {transport}, "
            "retries: 0, price: {input: 0, output: 0}}}\n"
            "agents: {a: {model: m, prompt: hello}}\n",
            "utf-8",
        )
        (tmp_path / "one.jsonl").write_text("{}\n", "utf-8")
        command = [program, "run", config, "one.jsonl", "--overwrite", "-q"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        line = json.loads((tmp_path / "one.results.jsonl").read_text("utf-8"))
        assert (done.returncode, line["error"]["type"]) == (1, "connection"), done.stderr
