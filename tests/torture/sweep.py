"""A sweep of 12 jobs, side by side, killed half-way and finished: ``make torture-sweep``.

Beta x learning rate x seed on the lab. SIGKILL to every process when 5 jobs are done and another translates, then the
same command again. It checks that what was done is not touched, that every stage that jobs share was computed once, and
that a job that was cut off ends in the same bytes as one that runs alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lidr.config import read_config
from lidr.stages import StageKind, stages
from lidr.store import RunDirectory, find_runs

GRID = ["objective.beta=0.05,0.1,0.5", "training.lr=5e-5,1e-4", "seed=0,1"]
BASE = ["experiment=lab", "scale=lab", "tracking=none"]
SIDE_BY_SIDE = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
JOBS, HALF = 12, 5
SEEDS = 2
COMPARED = ("pairs.jsonl", "model.safetensors", "results.json", "en.jsonl", "ru.jsonl")


def command(outputs: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "lidr", "run", *BASE, f"paths.outputs={outputs}", *words]


def kill_half_way(outputs: Path) -> None:
    """Starts the sweep and kills it with all that it has started."""
    process = subprocess.Popen(command(outputs, "-m", *GRID, *SIDE_BY_SIDE), start_new_session=True)
    while process.poll() is None:
        if len(finished(outputs)) >= HALF and at_work(outputs):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            time.sleep(2)
            return
        time.sleep(0.2)
    raise SystemExit(f"the sweep ended by itself, with exit code {process.returncode}")


def at_work(outputs: Path) -> bool:
    """Whether a job is in the midst of translating for M_2."""
    running = (run for run in find_runs(outputs) if run.state() == "running")
    return any(
        list(run.root.glob("iteration-2/translations/*.jsonl")) and not _is_paired(run) for run in running
    )


def _is_paired(run: RunDirectory) -> bool:
    return (run.iteration(2) / "translations" / "stage.json").exists()


def states(outputs: Path) -> dict[Path, str]:
    return {run.root: run.state() for run in find_runs(outputs)} if outputs.exists() else {}


def finished(outputs: Path) -> list[Path]:
    return [root for root, state in states(outputs).items() if state == "done"]


def times(folders: Sequence[Path]) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for root in folders for path in root.rglob("*") if path.is_file()}


def computed(outputs: Path) -> Counter[str]:
    """How many runs have computed a stage themselves, by its name."""
    counts: Counter[str] = Counter()
    for run in find_runs(outputs):
        for stage in stages(read_config(run.root / "config.yaml")):
            manifest = run.manifest(stage)
            assert manifest is not None, (run.root, stage)
            if manifest.taken_from is None:
                counts[stage.name] += 1
    return counts


def alone(outputs: Path, cut_off: Path) -> tuple[list[str], int]:
    """Runs one of the jobs by itself; names the files that differ, and counts those that were compared."""
    config = read_config(cut_off / "config.yaml")
    values = [
        f"objective.beta={config.objective.beta}",
        f"training.lr={config.training.lr}",
        f"seed={config.seed}",
    ]
    subprocess.run(command(outputs, *values), check=True)
    (run,) = find_runs(outputs)
    names = [p.relative_to(run.root) for p in sorted(run.root.rglob("*")) if p.name in COMPARED]
    different = [str(n) for n in names if (run.root / n).read_bytes() != (cut_off / n).read_bytes()]
    return different, len(names)


def check(name: str, holds: bool, found: object) -> bool:
    sys.stdout.write(f"{'holds' if holds else 'FAILS'}   {name}: {found}\n")
    sys.stdout.flush()
    return holds


def main(folder: Path) -> int:
    outputs = folder / "outputs"
    shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    kill_half_way(outputs)
    before = states(outputs)
    cut_off = [root for root, state in before.items() if state == "killed"]
    done = finished(outputs)
    touched = times(done)
    subprocess.run([sys.executable, "-m", "lidr", "status", str(outputs)], check=False)
    again = subprocess.run(
        command(outputs, "-m", *GRID, *SIDE_BY_SIDE), check=False, stdout=subprocess.PIPE, text=True
    )
    sys.stdout.write(again.stdout)
    took = time.monotonic() - started
    counts = computed(outputs)
    shared = [f"iteration-0/{StageKind.EVALUATION}"]
    shared += [
        f"iteration-1/{kind}" for kind in (StageKind.RESPONSES, StageKind.TRANSLATIONS, StageKind.PAIRS)
    ]
    different, compared = alone(folder / "alone", cut_off[0]) if cut_off else (["no job was cut off"], 0)
    results = [
        check(
            "killed half-way",
            HALF <= len(done) < JOBS and len(before) == JOBS,
            dict(Counter(before.values())),
        ),
        check(
            "the same command finished the rest", again.returncode == 0, again.stdout.strip().splitlines()[-2]
        ),
        check(
            "what was done is not touched",
            times(done) == touched,
            f"{len(touched)} files of {len(done)} runs",
        ),
        check(
            "shared stages are computed once a seed", all(counts[n] == SEEDS for n in shared), dict(counts)
        ),
        check(
            "a cut-off job ends in the bytes of one alone", not different, different or f"{compared} files"
        ),
        check("no temporary file is left", not list(outputs.rglob("*.tmp")), outputs),
    ]
    sys.stdout.write(f"{took:.0f} s for both commands\n")
    return 0 if all(results) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path("outputs/torture-sweep"), help="what to write to; emptied"
    )
    sys.exit(main(parser.parse_args().folder))
