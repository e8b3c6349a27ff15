"""Running one stage: skipped where it is done, refused where it is another's, resumed where it was cut off."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from lidr.config import RunConfig, TranslatorKind, differences
from lidr.errors import StageError
from lidr.paths import model_content
from lidr.stages import Stage, StageKind
from lidr.store import MANIFEST, Manifest, RunDirectory
from lidr.work import Job, do

log = logging.getLogger(__name__)
PASSING = (".ckpt", ".tmp", ".lock")
_MEASURED = ("timing.jsonl", "choices.json")  # they say how fast and how, not what


def done(stage: Stage, config: RunConfig, run: RunDirectory) -> Manifest | None:
    """The manifest of a stage that is finished and still fits the run, None where work is left.

    Raises:
        StageError: the stage was finished with other values or other inputs, or a file of its is gone.
    """
    manifest = run.manifest(stage)
    if manifest is None:
        return None
    _refuse_mismatch(manifest, stage, config, run)
    run.check_outputs(manifest)
    return manifest


def ensure(stage: Stage, config: RunConfig, run: RunDirectory) -> Manifest:
    """Runs a stage in this process unless it is done."""
    manifest = done(stage, config, run)
    if manifest is not None:
        return manifest
    started = time.monotonic()
    log.info("%s: started", stage.name)
    run.folder(stage).mkdir(parents=True, exist_ok=True)
    pairs = Stage(StageKind.PAIRS, stage.iteration)
    outcome = do(Job(stage, config, run, lambda: ensure(pairs, config, run)))
    seconds = time.monotonic() - started
    outputs = [f for folder in outcome.folders or (run.folder(stage),) for f in _files(folder)]
    log.info("%s: done in %.1f s", stage.name, seconds)
    manifest = run.finish(
        stage, stage.config_values(config), inputs(stage, config, run), outputs, outcome.counts, seconds
    )
    tidy(stage, run)
    return manifest


def tidy(stage: Stage, run: RunDirectory) -> None:
    """Deletes the checkpoint of a finished stage: until the manifest stands, a killed attempt goes on from it."""
    for checkpoint in run.folder(stage).glob("*.ckpt*"):
        checkpoint.unlink()


def join(stage: Stage, config: RunConfig, run: RunDirectory) -> None:
    """Takes part in a stage whose first process runs `ensure`; the files, the manifest among them, are its work."""
    if done(stage, config, run) is None:
        do(Job(stage, config, run, lambda: None))


def _files(folder: Path) -> list[Path]:
    return [
        p
        for p in folder.rglob("*")
        if p.is_file() and p.name not in (MANIFEST, *_MEASURED) and p.suffix not in PASSING
    ]


def inputs(stage: Stage, config: RunConfig, run: RunDirectory) -> dict[str, str]:
    """Digest of everything a stage reads of the run's files and models, by name.

    Raises:
        StageError: a stage that it reads is not done.
    """
    found = {}
    for other in stage.reads(config):
        manifest = run.manifest(other)
        if manifest is None:
            raise StageError(f"{other.name} is not done, {stage.name} reads it", where=str(run.root))
        found[other.name] = manifest.digest()
    translates = stage.kind in (StageKind.TRANSLATIONS, StageKind.SCORES)
    if translates and config.translator.kind is not TranslatorKind.SELF:
        if config.translator.model is not None:
            found["translator"] = model_content(config.translator.model)
    elif stage.kind.loads_model:
        found[f"M_{stage.model_iteration}"] = _model_digest(stage.model_iteration, config, run)
    if stage.kind is StageKind.TRAINING and config.trains_against_initial:
        found["M_0"] = _model_digest(0, config, run)
    return found


def _model_digest(iteration: int, config: RunConfig, run: RunDirectory) -> str:
    """What names M_t's content."""
    if iteration == 0:
        return model_content(config.model)
    training = run.manifest(Stage(StageKind.TRAINING, iteration))
    if training is None:
        raise StageError(f"M_{iteration} is not trained", where=str(run.root))
    return training.digest(below=f"iteration-{iteration}/model/")


def _refuse_mismatch(manifest: Manifest, stage: Stage, config: RunConfig, run: RunDirectory) -> None:
    changed = {
        **differences(stage.config_values(config), manifest.config),
        **differences(inputs(stage, config, run), manifest.inputs),
    }
    if changed:
        shown = "; ".join(f"{key} is {_short(now)}, was {_short(was)}" for key, (now, was) in changed.items())
        raise StageError(
            f"{stage.name} was finished with other values ({shown})",
            where=str(run.root),
            instead=f"delete {run.folder(stage)} and what comes after it, or put the old values back",
        )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:24] + "..." + text[-12:]
