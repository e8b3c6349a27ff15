"""The configured judges: what defines each, and the engine that answers for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lidr.config import EngineConfig, EngineKind, ModelConfig, differences
from lidr.config.identity import digest, flatten
from lidr.config.judge_schema import JudgeConfig, JudgeKind, JudgingConfig
from lidr.config.load import to_mapping
from lidr.engines.base import Engine
from lidr.engines.load import Place, engine_of
from lidr.errors import LidrError
from lidr.files import write_text
from lidr.judging.cache import Cache, CachedEngine
from lidr.judging.lab_judge import LabJudge
from lidr.paths import model_content, resolve_model
from lidr.synthesis.lazy import LazyEngine

FILE, LEDGER = "judge.json", "usage.jsonl"
_ANSWERS_DEPEND_ON = ("endpoint.model", "endpoint.api", "kind", "sampling")


@dataclass(frozen=True)
class Judge:
    """A judge by name, with the folder of what it said about a run."""

    name: str
    config: JudgeConfig
    folder: Path

    def values(self, both_orders: bool) -> dict[str, Any]:
        """What its verdicts depend on, by dotted key."""
        return {
            "both_orders": both_orders,
            **self.answering(),
            **dict(flatten({"wording": to_mapping(self.config.wording)})),
        }

    def answering(self) -> dict[str, Any]:
        """What a reply depends on besides the question."""
        config = self.config
        values: dict[str, Any] = {"kind": str(config.kind), "verdict": str(config.verdict)}
        if config.lab is not None:
            values |= dict(
                flatten({"lab": to_mapping(config.lab), "labels": to_mapping(config.wording.labels)})
            )
        if config.engine is not None and config.model is not None:
            engine = dict(flatten(to_mapping(config.engine)))
            values |= {f"engine.{k}": v for k, v in engine.items() if k.startswith(_ANSWERS_DEPEND_ON)}
            values |= _model_values(config.engine, config.model)
        return values

    def claim(self, both_orders: bool) -> None:
        """Writes down who judges under this name, or checks that nobody else has.

        Raises:
            LidrError: the folder holds what another judge said.
        """
        path, ours = self.folder / FILE, self.values(both_orders)
        if path.exists():
            changed = differences(ours, _stored(path))
            if changed:
                shown = "; ".join(f"{k} is {now!r}, was {was!r}" for k, (now, was) in changed.items())
                raise LidrError(
                    f"the judge {self.name!r} judged here with other values ({shown})",
                    where=str(path),
                    instead=f"delete {self.folder}, or give the judge another name",
                )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(ours, ensure_ascii=False, indent=2) + "\n")


@contextmanager
def engine(judge: Judge, config: JudgingConfig) -> Iterator[Engine]:
    """The engine that answers for a judge, behind the cache where there is one; loaded when first needed."""
    load = _loader(judge, config)
    if config.cache is None or judge.config.kind is JudgeKind.LAB:
        yield LazyEngine(load)
        return
    cache = Cache(Path(config.cache))
    try:
        yield CachedEngine(load, cache, digest({**judge.answering(), "seed": config.seed}))
    finally:
        cache.close()


def _loader(judge: Judge, config: JudgingConfig) -> Callable[[], Engine]:
    own = judge.config
    if own.kind is JudgeKind.LAB or own.engine is None or own.model is None:
        return lambda: LabJudge(own, config.seed)
    place = Place(config.accelerator, config.threads, config.seed)
    served, model, section = own.engine, own.model, f"judges.{judge.name}.engine"
    path = resolve_model(model.path)
    return lambda: engine_of(place, served, model, path, 0, judge.folder / LEDGER, section)


def _model_values(engine: EngineConfig, model: ModelConfig) -> dict[str, Any]:
    """A server's model goes by its name there; another's by its content."""
    values: dict[str, Any] = {"model.system_prompt": model.system_prompt}
    if engine.kind is not EngineKind.OPENAI:
        values |= {"model.content": model_content(model), "model.precision": str(model.precision)}
    return values


def _stored(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LidrError("is not readable JSON", where=str(path), instead=f"delete {path.parent}") from error
    if not isinstance(found, dict):
        raise LidrError("is no JSON object", where=str(path), instead=f"delete {path.parent}")
    return found
