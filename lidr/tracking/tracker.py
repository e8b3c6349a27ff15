"""What a run mirrors to W&B, from its own files, each row once however often the run is resumed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lidr.config import RunConfig, to_mapping
from lidr.evaluation import Score, collect_scores
from lidr.evaluation.results import SCORES, judge_files, stored_scores
from lidr.hashing import sha256
from lidr.stages import Stage, StageKind
from lidr.tracking.choosing import Mode, choose_mode
from lidr.tracking.history import AUDIT, METRICS, History, training_steps
from lidr.tracking.keys import (
    ITERATION,
    SCORE_TABLE,
    audit_of,
    axes,
    changes,
    group_values,
    judge_key,
    score_rows,
    score_values,
    training_values,
)
from lidr.tracking.mirror import Mirror, Start
from lidr.tracking.uploaded import remember

log = logging.getLogger(__name__)

_TAG_LENGTH = 64


class Tracker:
    """Opens the mirror on entering and finishes it on leaving: failed after an exception, else finished.

    One tracker is one W&B run, also with several in one process, one after the other. Its methods may be
    called from any thread, and again and again. A failure of W&B is a warning, never an error.

    Args:
        config: the run's.
        run_dir: its directory; W&B's files go to ``wandb/`` in it.
        run_id: names the W&B run; the same when the run is resumed.
        upload: online or nothing, for runs that were kept offline.
    """

    def __init__(self, config: RunConfig, run_dir: Path, run_id: str, *, upload: bool = False) -> None:
        self._config, self._run_dir, self._id, self._upload = config, run_dir, run_id, upload
        self._history = History(config, run_dir)
        self._mirror: Mirror | None = None
        self._next = 0
        self._exit_code = 0
        self._left_out: str | None = None
        self._seen: dict[Path, tuple[int, int]] = {}
        self._lock = threading.RLock()

    @property
    def failure(self) -> str | None:
        """Why nothing is mirrored any more, or what could not be."""
        of_wandb = self._mirror.failure if self._mirror is not None else None
        return of_wandb or self._left_out

    @property
    def started(self) -> bool:
        """Whether W&B opened the run."""
        return self._mirror is not None and self._mirror.started

    @property
    def url(self) -> str | None:
        """Where W&B shows the run; None offline."""
        return self._mirror.url if self._mirror is not None else None

    def __enter__(self) -> Self:
        mode, reason = ("online", "asked for") if self._upload else choose_mode(self._config.tracking.mode)
        if mode is None:
            return self
        log.info("W&B %s: %s", mode, reason)
        self._open(mode)
        return self

    def _open(self, mode: Mode) -> None:
        try:
            (self._run_dir / "wandb").mkdir(parents=True, exist_ok=True)  # else W&B takes a temporary folder
        except OSError as error:
            self._left_out = f"the run cannot be mirrored ({error})"
            log.warning("W&B: %s", self._left_out)
            return
        self._mirror = Mirror(_start(self._config, self._run_dir, self._id), mode, fallback=not self._upload)
        self._next = self._mirror.held.rows
        self._mirror.define_axes(list(axes(self._config.iterations)))

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._mirror is None:
            return
        with self._lock:
            self._guarded("the scores", self._close)
            self._mirror.finish(1 if kind is not None else self._exit_code)
            if self.failure is None and self.url:
                self._guarded("what is uploaded", lambda: remember(self._config, self._run_dir))

    def mirror(self, stage: Stage) -> None:
        """Logs what is new of a stage: whole when it is done, the steps so far of a training that is not."""
        how: Callable[[Stage], None] | None = {
            StageKind.PAIRS: self._pairs,
            StageKind.TRAINING: self._training,
            StageKind.EVALUATION: self._evaluation,
        }.get(stage.kind)
        with self._lock:
            if how is not None and self._mirror is not None and self._mirror.alive:
                self._guarded(stage.name, partial(how, stage))

    def mirror_all(self) -> None:
        """Logs all that the run has, in order; a run that is not finished ends as failed."""
        for stage in self._history.plan:
            self.mirror(stage)
        self._exit_code = 0 if self._history.is_whole else 1

    def _training(self, stage: Stage) -> None:
        """A trainer that went back to a checkpoint writes some steps again: they are not logged twice."""
        path = self._run_dir / stage.name / METRICS
        if not self._has_changed(path):
            return
        first, before = self._history.first_row(stage), self._history.steps_before(stage.iteration)
        for step, record in training_steps(path):
            row = first + step - 1
            if row >= self._next:
                self._log(training_values(record, stage.iteration, step, before), row)

    def _pairs(self, stage: Stage) -> None:
        row = self._history.first_row(stage)
        if row < self._next:
            return
        path = self._run_dir / stage.name / AUDIT
        if not path.exists():
            return
        values: dict[str, Any] = {ITERATION: stage.iteration, **dict(audit_of(path))}
        if self._config.tracking.sample_pairs:
            from lidr.tracking.tables import loop_tables

            self._guarded("samples", lambda: values.update(loop_tables(self._run_dir, stage.iteration)))
        self._log(values, row)

    def _evaluation(self, stage: Stage) -> None:
        path, row = self._run_dir / stage.name / SCORES, self._history.first_row(stage)
        if row < self._next or not path.exists():
            return
        values: dict[str, Any] = {ITERATION: stage.iteration, **score_values(stored_scores(path))}
        scores = [s for s in collect_scores(self._run_dir) if s.iteration <= stage.iteration]
        values[SCORE_TABLE] = score_rows(scores, self._config)
        if self._config.tracking.sample_pairs:
            from lidr.tracking.tables import benchmark_tables

            self._guarded("samples", lambda: values.update(benchmark_tables(self._run_dir, stage.iteration)))
        self._log(values, row)

    def _close(self) -> None:
        """Adds what judges said, once the loop is done, and the summary, whatever earlier attempts held."""
        if self._mirror is None:
            return
        scores = collect_scores(self._run_dir)
        if self._history.is_whole:
            self._judged(self._mirror, scores)
        last = {key: value for s in scores for key, value in score_values([s]).items()}
        self._mirror.summarize(last | changes(scores))

    def _judged(self, mirror: Mirror, scores: Sequence[Score]) -> None:
        """A judge whose scores are new gets a row for each model; the rows come after the loop's."""
        self._next = max(self._next, self._history.length)
        for path in judge_files(self._run_dir):
            key, digest = judge_key(path.parent.name), sha256(path)[:16]
            if mirror.held.digests.get(key) == digest:
                continue
            found = stored_scores(path)
            for iteration in sorted({s.iteration for s in found}):
                own = score_values([s for s in found if s.iteration == iteration])
                self._log({ITERATION: iteration, **own}, self._next)
            self._log({key: digest, SCORE_TABLE: score_rows(scores, self._config)}, self._next)

    def _log(self, values: dict[str, Any], row: int) -> None:
        if self._mirror is not None:
            self._mirror.log(values, row)
            self._next = row + 1

    def _guarded(self, what: str, act: Callable[[], object]) -> None:
        """A file that cannot be mirrored is a warning: the mirror never ends the run."""
        try:
            act()
        except Exception as error:
            self._left_out = f"{what} cannot be mirrored ({error})"
            log.log(logging.DEBUG if self._upload else logging.WARNING, "W&B: %s", self._left_out)
            log.debug("not mirrored", exc_info=True)

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
        job_type="train" if config.iterations else "evaluate",
        tags=tuple(dict.fromkeys(tag[:_TAG_LENGTH] for tag in tags if tag)),
        config=to_mapping(config) | group_values(config),
        folder=run_dir,
    )
