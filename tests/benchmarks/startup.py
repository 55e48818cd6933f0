"""What a command costs before it does anything: CPU and wall time of --help and of validate."""

from __future__ import annotations

from pathlib import Path

from measure import Run, agentbatch, run_process
from outcome import Outcome, at_most, figure, middle, run_figures
from workload import write_config, write_inputs


def measure_startup(runs: int, folder: Path) -> Outcome:
    """Each command `runs` times."""
    outcome = Outcome("startup", f"commands that call nothing, {runs} times each")
    config, inputs = write_config(folder, "http://127.0.0.1:1/v1", 100), write_inputs(folder, 1000)
    commands = {
        "agentbatch --help": agentbatch("--help"),
        "agentbatch validate CONFIG": agentbatch("validate", str(config)),
        "agentbatch validate CONFIG INPUTS (1,000)": agentbatch("validate", str(config), str(inputs)),
    }
    measured: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            measured[name].append(run_process(command, folder / "run"))
    outcome.rows = [("median of runs", "wall s", "CPU s", "RSS MB", "exit code")]
    for name, each in measured.items():
        figures = [middle(getattr(run, key) for run in each) for key in ("wall", "cpu", "rss_mb")]
        outcome.rows.append((name, *(figure(value, 3) for value in figures), str(each[-1].exit_code)))
    outcome.goals = [
        at_most("--help <= 0.1 s CPU", middle(run.cpu for run in measured["agentbatch --help"]), 0.1, " s")
    ]
    outcome.figures = {"runs": {name: [run_figures(run) for run in each] for name, each in measured.items()}}
    return outcome
