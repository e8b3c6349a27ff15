"""What a run lacks so far, in words."""

from __future__ import annotations

from collections.abc import Iterator

from lidr.report.runs import Run
from lidr.stages import Stage, StageKind, stages
from lidr.store import RunDirectory

_SHOWN_AS_FAR = frozenset(
    {StageKind.RESPONSES, StageKind.TRANSLATIONS, StageKind.TRAINING, StageKind.EVALUATION}
)


def gaps(run: Run) -> list[str]:
    """A sentence for each thing that is missing; none for a run that is finished."""
    return list(_gaps(run))


def _gaps(run: Run) -> Iterator[str]:
    directory = RunDirectory(run.root)
    status = directory.status()
    if status.status == "failed" and status.stage:
        yield f"The last command failed in {status.stage}; log.txt in the run's folder says why."
    for stage in stages(run.config):
        if directory.manifest(stage) is None:
            yield f"{stage.name}: {_state(stage, directory)}."
    for t in range(1, run.config.iterations + 1):
        pairs = directory.folder(Stage(StageKind.PAIRS, t)) / "pairs.jsonl"
        if pairs.exists() and not _has_whole_answers(run, t):
            yield (
                f"iteration-{t}: answers or translations behind the pairs are not there, so the dropped candidates "
                "cannot be shown."
            )


def _state(stage: Stage, directory: RunDirectory) -> str:
    folder = directory.folder(stage)
    if not folder.exists() or not any(folder.iterdir()):
        return "not begun"
    return "not finished; what it wrote is shown" if stage.kind in _SHOWN_AS_FAR else "not finished"


def _has_whole_answers(run: Run, iteration: int) -> bool:
    """Whether every file that pair building reads is there."""
    languages, folder = run.config.languages, run.root / f"iteration-{iteration}"
    names = [f"{stage}/{code}" for stage in ("prompts", "responses") for code in languages.trained]
    names += [f"translations/{name}" for name in _directions(languages.dominant, languages.non_dominant)]
    return all((folder / f"{name}.jsonl").exists() for name in names)


def _directions(dominant: str, others: tuple[str, ...]) -> Iterator[str]:
    for code in others:
        yield f"{dominant}-{code}"
        yield f"{code}-{dominant}"
