"""Rules of another method's pairs: what it draws, and what scores it."""

from __future__ import annotations

from collections.abc import Iterator

from lidr.config.engine_schema import EngineKind, TranslatorKind
from lidr.config.ranges import POSITIVE, SHARE, at_most
from lidr.config.schema import PairType, RivalConfig, RunConfig
from lidr.errors import LidrError

_MOST_SAMPLES = 64
_OWN_PAIRS = "or pairs=lidr for the paper's pairs"


def violations(config: RunConfig) -> Iterator[LidrError]:
    """Every broken rule; none where the pairs are the paper's."""
    rival = config.pairs.rival
    if rival is None:
        return
    where = "pairs.rival"
    yield from POSITIVE(
        where, {"samples": rival.samples, "temperature": rival.temperature, "top_p": rival.top_p}
    )
    yield from at_most(_MOST_SAMPLES)(where, {"samples": rival.samples})
    yield from SHARE(where, {"top_p": rival.top_p} if rival.top_p > 1 else {})
    if PairType.EN in config.pairs.types:
        yield LidrError(
            f"{rival.name} has no pairs in the dominant language",
            where="pairs.types",
            instead=f"type pairs.types=[nl], {_OWN_PAIRS}",
        )
    if config.pairs.control is not None:
        yield LidrError(
            f"{config.pairs.control} is a control of the paper's pairs, not of {rival.name}",
            where="pairs.control",
            instead=f"type pairs.control=null, {_OWN_PAIRS}",
        )
    yield from _scorer(config, rival)


def _scorer(config: RunConfig, rival: RivalConfig) -> Iterator[LidrError]:
    translator = config.translator
    if translator.kind is TranslatorKind.NONE:
        yield LidrError(
            f"{rival.name} scores answers by a translator, and there is none",
            where="translator",
            instead=f"type translator=self, {_OWN_PAIRS}",
        )
    engine = translator.engine or config.engine
    if engine.kind is EngineKind.OPENAI:
        yield LidrError(
            f"{rival.name} scores texts that are given, which a server of OpenAI's protocol does not do",
            where="translator.engine" if translator.engine else "engine",
            instead="type translator=engine translator/engine=transformers translator.model.path=<folder or hub id>"
            if translator.engine
            else "type engine=transformers",
        )
