"""Rules between the values of a judging configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lidr.config.engine_rules import one_engine
from lidr.config.engine_schema import EngineKind
from lidr.config.judge_schema import AGREEMENT, JudgeConfig, JudgeKind, JudgingConfig, Verdict, WordingConfig
from lidr.config.names import key_variable
from lidr.config.ranges import AT_LEAST_ZERO, POSITIVE, SHARE
from lidr.errors import LidrError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_FIELDS = {"comparison": ("{prompt}", "{answer_1}", "{answer_2}"), "rating": ("{prompt}", "{answer}")}


def violations(config: JudgingConfig) -> Iterator[LidrError]:
    """Every broken rule, each with its config path and what to type instead."""
    if not config.judges:
        yield LidrError("names no judge", where="judge", instead="type judge=[oracle] or judge=[openai]")
    if not config.tasks:
        yield LidrError("is empty", where="tasks", instead="type tasks=[comparisons]")
    yield from POSITIVE("", {"limit": config.limit})
    if config.threads is not None:
        yield from POSITIVE("", {"threads": config.threads})
    yield from AT_LEAST_ZERO("", {"seed": config.seed})
    gates = {"swap_consistency": config.gates.swap_consistency, "alpha": config.gates.alpha}
    yield from SHARE("gates", {k: v for k, v in gates.items() if v is not None})
    if config.gates.swap_consistency is not None and not config.both_orders:
        yield LidrError(
            "needs both orders of a comparison",
            where="gates.swap_consistency",
            instead="type both_orders=true, or gates.swap_consistency=null",
        )
    if config.gates.alpha is not None and len(config.judges) < 2:
        yield LidrError(
            "is the agreement of several judges, and there is one",
            where="gates.alpha",
            instead="name two judges or more: judge=[...,...], or type gates.alpha=null",
        )
    for name, judge in config.judges.items():
        yield from _judge(name, judge)


def _judge(name: str, judge: JudgeConfig) -> Iterator[LidrError]:
    where = f"judges.{name}"
    if not _NAME.fullmatch(name) or name == AGREEMENT:
        yield LidrError(
            "is no name for a judge", where=where, instead="take letters, digits, '_', '-' and '.'"
        )
    yield from _sections(judge, where)
    yield from _wording(judge, f"{where}.wording")
    if judge.engine is not None:
        yield from one_engine(judge.engine, f"{where}.engine")
        if judge.engine.endpoint is not None:
            yield from key_variable(judge.engine.endpoint, f"{where}.engine.endpoint")
    if judge.lab is not None:
        lab = judge.lab
        yield from SHARE(
            f"{where}.lab",
            {"noise": lab.noise, "position_bias": lab.position_bias, "length_bias": lab.length_bias},
        )
    server = judge.engine is not None and judge.engine.kind is EngineKind.OPENAI
    if judge.verdict is Verdict.LOGPROBS and judge.kind is JudgeKind.ENGINE and not server:
        yield LidrError(
            "logprobs come from a server only",
            where=f"{where}.verdict",
            instead=f"type {where}.verdict=text, or choose the engine openai",
        )


def _sections(judge: JudgeConfig, where: str) -> Iterator[LidrError]:
    is_model = judge.kind is JudgeKind.ENGINE
    for key, section, wanted in (
        ("engine", judge.engine, is_model),
        ("model", judge.model, is_model),
        ("lab", judge.lab, not is_model),
    ):
        if (section is not None) != wanted:
            yield LidrError(
                f"is {'null' if section is None else 'set'}, and the judge's kind is {judge.kind}",
                where=f"{where}.{key}",
                instead="take a file of conf/judge as it is, and change values of it",
            )


def _wording(judge: JudgeConfig, where: str) -> Iterator[LidrError]:
    wording = judge.wording
    for key, fields in _FIELDS.items():
        for field in fields:
            if field not in getattr(wording, key):
                yield LidrError(
                    f"lacks {field}", where=f"{where}.{key}", instead=f"put {field} where it belongs"
                )
    labels = [wording.labels.first, wording.labels.second, wording.labels.tie]
    named = [label.strip().casefold() for label in labels if label is not None]
    if len(set(named)) != len(named) or "" in named:
        yield LidrError(
            f"{labels} are not different texts",
            where=f"{where}.labels",
            instead="type labels such as {first: '1', second: '2', tie: tie}",
        )
    groups = 2 if judge.verdict is Verdict.SCORES else 1
    yield from _pattern(wording, "comparison_pattern", groups, where)
    yield from _pattern(wording, "rating_pattern", 1, where)


def _pattern(wording: WordingConfig, key: str, groups: int, where: str) -> Iterator[LidrError]:
    try:
        found = re.compile(getattr(wording, key)).groups
    except re.error as error:
        yield LidrError(
            f"is no regular expression ({error})", where=f"{where}.{key}", instead="see Python's re"
        )
        return
    if found != groups:
        yield LidrError(
            f"has {found} groups, not {groups}",
            where=f"{where}.{key}",
            instead="put what is read in round brackets, and other brackets as (?:...)",
        )
