"""What a run lacks so far, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lidr.report.runs import Run
from lidr.stages import Stage, StageKind, stages
from lidr.store import RunDirectory
from lidr.synthesis.read import file_name, routes_for, sample_file, samples


@dataclass(frozen=True)
class Gaps:
    """Sentences, and whether a stage is among what is missing."""

    sentences: tuple[str, ...]
    is_finished: bool


def gaps(run: Run) -> Gaps:
    """What is missing; no sentence for a run that has everything."""
    directory = RunDirectory(run.root)
    missing = [stage for stage in stages(run.config) if directory.manifest(stage) is None]
    return Gaps(tuple(_sentences(run, directory, missing)), not missing)


def _sentences(run: Run, directory: RunDirectory, missing: list[Stage]) -> Iterator[str]:
    status = directory.status()
    if status.status == "failed" and status.stage:
        yield f"The last command failed in {status.stage}; log.txt in the run's folder says why."
    begun = [stage for stage in missing if _has_files(directory, stage)]
    untouched = [stage for stage in missing if stage not in begun]
    if begun:
        yield f"Begun and not finished: {_named(begun)}. What is written so far is shown."
    if untouched:
        yield f"Not begun: {_named(untouched)}."
    for t in range(1, run.config.iterations + 1):
        pairs = directory.folder(Stage(StageKind.PAIRS, t)) / "pairs.jsonl"
        if pairs.exists() and not _has_whole_answers(run, t):
            yield (
                f"iteration-{t}: answers, translations or scores behind the pairs are not there, so its dropped "
                "candidates cannot be shown."
            )


def _named(listed: list[Stage]) -> str:
    return ", ".join(stage.name for stage in listed)


def _has_files(directory: RunDirectory, stage: Stage) -> bool:
    folder = directory.folder(stage)
    return folder.exists() and any(folder.iterdir())


def _has_whole_answers(run: Run, iteration: int) -> bool:
    """Whether every file that pair building reads is there."""
    languages, pairs, folder = run.config.languages, run.config.pairs, run.root / f"iteration-{iteration}"
    names = [f"{stage}/{code}.jsonl" for stage in ("prompts", "responses") for code in languages.trained]
    names += [f"translations/{file_name(route)}" for route in routes_for(languages, pairs)]
    names += [f"scores/{sample_file(*each)}" for each in samples(languages, pairs)]
    return all((folder / name).exists() for name in names)
