"""What a run mirrors to W&B, from its own files, each line once however often the run is resumed."""

from __future__ import annotations

import hashlib
import heapq
import json
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lidr import jsonl
from lidr.config import RunConfig, to_mapping
from lidr.config.identity import flatten
from lidr.errors import LidrError
from lidr.tracking.cursor import Cursor
from lidr.tracking.keys import ITERATION, ScoreLike, audit_values, axes, score_key, training_values
from lidr.tracking.mirror import Mirror, Start, choose_mode

log = logging.getLogger(__name__)

_SCORE_COLUMNS = ("language", "iteration", "benchmark", "metric", "value", "low", "high", "n")
_PAIR_COLUMNS = (
    "iteration",
    "id",
    "language",
    "prompt",
    "chosen",
    "rejected",
    "chosen_origin",
    "rejected_origin",
)
_TAG_LENGTH = 64
_RATE = "tokens_per_second"


class Tracker:
    """Opens the mirror on entering and finishes it on leaving: failed after an exception, else finished.

    One tracker is one W&B run, also with several in one process, one after the other. Its methods may be
    called from any thread, and again and again with the same files. A failure of W&B is a warning, never an
    error.

    Args:
        config: the run's.
        run_dir: its directory; W&B's files and the cursor go to ``wandb/`` in it.
        run_id: names the W&B run; the same when the run is resumed.
    """

    def __init__(self, config: RunConfig, run_dir: Path, run_id: str) -> None:
        self._config, self._run_dir, self._id = config, run_dir, run_id
        self._folder = run_dir / "wandb"
        self._mirror: Mirror | None = None
        self._cursor = Cursor()
        self._scores: dict[int, Sequence[ScoreLike]] = {}
        self._seen: dict[Path, tuple[int, int]] = {}
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        mode, reason = choose_mode(self._config.tracking.mode)
        if mode is None:
            return self
        log.info("W&B %s: %s", mode, reason)
        self._folder.mkdir(parents=True, exist_ok=True)  # W&B falls back to a temporary folder without it
        self._cursor = Cursor.load(self._folder)
        self._mirror = Mirror(_start(self._config, self._run_dir, self._id), mode)
        self._cursor.history_step = max(self._cursor.history_step, self._mirror.step)
        self._mirror.define_axes(list(axes(self._config.iterations)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._mirror is None:
            return
        with self._lock:
            self._log_score_table(self._mirror)
            self._mirror.finish(0 if kind is None else 1)
            self._mirror = None

    def mirror_training(self, iteration: int, path: Path) -> None:
        """Logs the whole lines of a training metrics file that are new; the file need not be there yet.

        A trainer that went back to a checkpoint writes some steps again: they are not logged twice.
        """
        with self._lock:
            if self._mirror is None or not self._mirror.alive or not self._has_changed(path):
                return
            before = self._cursor.steps_before(iteration)
            rates = {r.get("step"): r.get(_RATE) for r in _whole_records(path.with_name("timing.jsonl"))}
            for record in _whole_records(path):
                step = record.get("step")
                if isinstance(step, int) and step > self._cursor.last_step(iteration):
                    self._cursor.trained[str(iteration)] = step
                    timed = record | {f"train/{_RATE}": rates.get(step)}
                    self._log(self._mirror, training_values(timed, iteration, step, before))
            self._save()

    def log_scores(self, scores: Sequence[ScoreLike]) -> None:
        """Logs the scores of one model or of several, those of each iteration once."""
        with self._lock:
            for iteration in sorted({s.iteration for s in scores}):
                self._scores[iteration] = [s for s in scores if s.iteration == iteration]
                if self._mirror is not None and self._mirror.alive and iteration not in self._cursor.scored:
                    values = {score_key(s): s.value for s in self._scores[iteration] if s.value is not None}
                    self._cursor.scored.append(iteration)
                    self._log(self._mirror, {ITERATION: iteration, **values})
                    self._mirror.summarize(self._changes(iteration))
                    self._save()

    def log_later_scores(self, scores: Sequence[ScoreLike]) -> None:
        """Logs scores that came after an iteration's others, such as those of judges, each value once."""
        with self._lock:
            if self._mirror is None or not self._mirror.alive:
                return
            for iteration in sorted({s.iteration for s in scores}):
                named = {score_key(s): s.value for s in scores if s.iteration == iteration}
                new = {
                    key: value
                    for key, value in named.items()
                    if value is not None and self._cursor.later.get(f"{iteration}/{key}") != value
                }
                if new:
                    self._cursor.later |= {f"{iteration}/{key}": value for key, value in new.items()}
                    self._log(self._mirror, {ITERATION: iteration, **new})
            self._save()

    def log_pairs(self, iteration: int, pairs: Path, audit: Path) -> None:
        """Logs the numbers of the audit and a table with a sample of the pairs, once an iteration."""
        with self._lock:
            if self._mirror is None or not self._mirror.alive or iteration in self._cursor.paired:
                return
            self._cursor.paired.append(iteration)
            self._log(self._mirror, {ITERATION: iteration, **_audit_values(audit)})
            rows = self._sample(iteration, pairs)
            if rows:
                self._table(self._mirror, f"samples/iteration-{iteration}", _PAIR_COLUMNS, rows)
            self._save()

    def _sample(self, iteration: int, pairs: Path) -> list[list[Any]]:
        try:
            return sample_pairs(pairs, self._config.tracking.sample_pairs, self._config.seed, iteration)
        except LidrError as error:
            log.warning("no sample of the pairs for W&B: %s", error)
            return []

    def _changes(self, iteration: int) -> dict[str, float]:
        """``change/...``: each score minus M_0's, to sort runs by."""
        first = {score_key(s): s.value for s in self._scores.get(0, ())}
        return {
            f"change/{score_key(s)}": s.value - start
            for s in self._scores[iteration]
            if iteration and s.value is not None and (start := first.get(score_key(s))) is not None
        }

    def _log_score_table(self, mirror: Mirror) -> None:
        scores = [s for t in sorted(self._scores) for s in self._scores[t]]
        rows = [[getattr(s, column) for column in _SCORE_COLUMNS] for s in scores]
        if rows:
            self._table(mirror, "scores", _SCORE_COLUMNS, rows)
            self._save()

    def _table(self, mirror: Mirror, key: str, columns: Sequence[str], rows: list[list[Any]]) -> None:
        """Logs a table, unless the last one under its key was the same."""
        digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
        if self._cursor.tables.get(key) != digest:
            mirror.log_table(key, columns, rows, self._next_step())
            self._cursor.tables[key] = digest

    def _log(self, mirror: Mirror, values: dict[str, Any]) -> None:
        mirror.log(values, self._next_step())

    def _next_step(self) -> int:
        self._cursor.history_step += 1
        return self._cursor.history_step - 1

    def _save(self) -> None:
        """Keeps what W&B has taken; after a failure the next attempt starts from the last kept state."""
        if self._mirror is None or not self._mirror.alive:
            return
        try:
            self._cursor.save(self._folder)
        except OSError as error:
            log.warning("the W&B cursor cannot be written (%s); a resumed run may log lines twice", error)

    def _has_changed(self, path: Path) -> bool:
        try:
            found = path.stat()
        except OSError:
            return False
        state = (found.st_mtime_ns, found.st_size)
        if self._seen.get(path) == state:
            return False
        self._seen[path] = state
        return True


def _start(config: RunConfig, run_dir: Path, run_id: str) -> Start:
    tracking = config.tracking
    tags = (*tracking.tags, config.model.name, str(config.objective.name), "-".join(config.languages.trained))
    return Start(
        id=run_id,
        name=run_dir.name,
        project=tracking.project,
        entity=tracking.entity,
        group=tracking.group,
        tags=tuple(dict.fromkeys(tag[:_TAG_LENGTH] for tag in tags if tag)),
        config=dict(flatten(to_mapping(config))),
        folder=run_dir,
    )


def sample_pairs(path: Path, count: int, seed: int, iteration: int) -> list[list[Any]]:
    """A sample that depends on seed and iteration alone, in the order of the file; streams it."""
    draw = heapq.nsmallest(count, _drawn(path, f"{seed} {iteration}"), key=lambda entry: entry[0])
    chosen = sorted((number, pair) for _, number, pair in draw)
    return [[iteration, *(pair.get(column) for column in _PAIR_COLUMNS[1:])] for _, pair in chosen]


def _drawn(path: Path, salt: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    for number, pair in enumerate(jsonl.read(path)):
        yield hashlib.sha256(f"{salt} {number}".encode()).hexdigest(), number, pair


def _whole_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records on lines that end; the trainer may be writing the last one."""
    try:
        data = path.read_bytes()
    except OSError:
        return
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def _audit_values(path: Path) -> dict[str, float]:
    try:
        return dict(audit_values(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        log.warning("no audit of the pairs for W&B: %s: %s", path, error)
        return {}
