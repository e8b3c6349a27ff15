"""From what was kept of a prompt to the records a reader sees, with what became of each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from lidr.config import RunConfig, TranslatorKind
from lidr.identification import identify
from lidr.records import Pair, Response, Translation
from lidr.report.page.bundle import Bundle
from lidr.report.page.records import NOTHING, Record, Side
from lidr.report.page.units import Kind
from lidr.synthesis.filters import Filters, Reason
from lidr.synthesis.read import Group, Route, origin
from lidr.synthesis.strategies import Candidate, candidates
from lidr.synthesis.translation_requests import asks_for_translation

KEPT = "kept"
NOT_THERE = "not among the pairs"
TRANSLATED, TRANSLATED_BACK = "translated", "translated back"
_FINISH = {"stop": "finished", "length": "cut at the limit"}
_RECENT_TEXTS = 4096
Key = tuple[str, str, str]


class Judge:
    """Tells what became of a run's texts.

    Kept pairs are those on file. Why the others were dropped is judged again by the run's filters, and so is the
    language of every text: neither is stored.

    Args:
        config: of the run.
        run: its place among the page's runs.
    """

    def __init__(self, config: RunConfig, run: int) -> None:
        self._config, self._run = config, run
        self._filters = Filters(config.pairs.filters, config.languages)
        self._identify = lru_cache(_RECENT_TEXTS)(lambda text: identify(text, config.languages.all))

    def loop_records(
        self, identity: str, bundle: Bundle, iteration: int, has_pairs: bool
    ) -> Iterator[Record]:
        """The pairs of a prompt, then its answers, then their translations."""
        if has_pairs:
            yield from self._pairs(identity, bundle, iteration)
        for (t, _), response in bundle.responses.items():
            reference = self._reference(bundle, response.language)
            yield self._answer(response, iteration, t, Kind.ANSWER, _finish(response), reference=reference)
        for route, translation in bundle.translations.items():
            yield self._translation(route, translation, bundle, iteration)

    def benchmark_records(self, bundle: Bundle, benchmark: str) -> Iterator[Record]:
        """Every model's answers to a problem."""
        for (t, code), response in bundle.responses.items():
            outcome = bundle.outcomes.get((t, code))
            values = outcome.values if outcome else {}
            correct = values.get("accuracy")
            word = _finish(response) if correct is None else "right" if correct else "wrong"
            target = None
            if "off_target" in values:
                known = "off" if values["off_target"] else "on"
                target = "unknown" if values.get("undetermined") else known
            yield self._answer(response, t, t, Kind.BENCHMARK, word, target, benchmark=benchmark)

    def _pairs(self, identity: str, bundle: Bundle, iteration: int) -> Iterator[Record]:
        kept: dict[Key, list[Pair]] = {}
        for pair in bundle.pairs:
            kept.setdefault(_key(pair), []).append(pair)
        group = bundle.group(iteration - 1, self._config.languages, self._config.pairs)
        for candidate in self._candidates(group) if group else ():
            found = kept.pop(_key(candidate.kept(self._config.pairs.control)), [])
            for pair in found:
                yield self._kept(pair, bundle, iteration, measured=not candidate.asks_for_translation)
            if not found:
                reason = self._filters.judge(candidate).dropped
                beyond = NOT_THERE if self._config.pairs.limit is None else Reason.SURPLUS
                yield self._dropped(candidate, bundle, iteration, reason or beyond)
        for pair in (pair for found in kept.values() for pair in found):
            yield self._kept(pair, bundle, iteration)

    def _candidates(self, group: Group) -> Iterator[Candidate]:
        config = self._config
        dominant = config.languages.dominant
        asks = asks_for_translation(group.prompts[dominant].prompt, dominant, config.prompts.instruction)
        untranslated = asks and config.pairs.translation_requests
        return candidates(group, config.pairs, config.languages, config.seed, untranslated)

    def _kept(self, pair: Pair, bundle: Bundle, iteration: int, measured: bool = True) -> Record:
        code = pair.language
        return Record(
            kind=Kind.PAIR,
            run=self._run,
            iteration=iteration,
            model=iteration - 1,
            language=code,
            outcome=KEPT,
            identity=pair.id,
            prompt=pair.prompt,
            left=self._side(pair.chosen, code, pair.chosen_origin, measured),
            right=self._side(pair.rejected, code, pair.rejected_origin, measured),
            reference=self._reference(bundle, code),
        )

    def _dropped(self, candidate: Candidate, bundle: Bundle, iteration: int, reason: str) -> Record:
        code, measured = candidate.language, not candidate.asks_for_translation
        return Record(
            kind=Kind.PAIR,
            run=self._run,
            iteration=iteration,
            model=iteration - 1,
            language=code,
            outcome=str(reason),
            identity=candidate.group.id,
            prompt=candidate.group.prompts[code].prompt,
            left=self._side(candidate.chosen, code, candidate.chosen_origin, measured),
            right=self._side(candidate.rejected, code, candidate.rejected_origin, measured),
            reference=self._reference(bundle, code),
        )

    def _answer(
        self,
        response: Response,
        iteration: int,
        model: int,
        kind: Kind,
        outcome: str,
        target: str | None = None,
        *,
        reference: str | None = None,
        benchmark: str = "",
    ) -> Record:
        code = response.language
        known = self._side(response.response, code, code) if target is None else None
        return Record(
            kind=kind,
            run=self._run,
            iteration=iteration,
            model=model,
            language=code,
            outcome=outcome,
            identity=response.id,
            prompt=response.prompt,
            left=known or Side(response.response, code, code, target or ""),
            reference=reference,
            benchmark=benchmark,
        )

    def _translation(self, route: Route, translation: Translation, bundle: Bundle, iteration: int) -> Record:
        source, target = translation.source_language, translation.target_language
        prompt = bundle.prompts.get(route[0])
        done = TRANSLATED if len(route) == 2 else TRANSLATED_BACK
        dominant = self._config.languages.dominant
        by_model = self._config.translator.kind is TranslatorKind.SELF
        return Record(
            kind=Kind.TRANSLATION,
            run=self._run,
            iteration=iteration,
            model=iteration - 1 if by_model else NOTHING,
            language=target if source == dominant else source,
            outcome=translation.error or done,
            identity=translation.id,
            prompt=prompt.prompt if prompt else "",
            left=self._side(translation.source, source, origin(route[:-1])),
            right=self._side(translation.translation, target, origin(route)),
        )

    def _side(self, text: str | None, language: str, came: str, measured: bool = True) -> Side:
        return Side(text, language, came, self._target(text, language) if text and measured else "")

    def _target(self, text: str, language: str) -> str:
        found = self._identify(text)
        return "unknown" if found is None else "on" if found == language else f"off:{found}"

    def _reference(self, bundle: Bundle, language: str) -> str | None:
        prompt = bundle.prompts.get(language) or bundle.prompts.get(self._config.languages.dominant)
        return prompt.answer if prompt else None


def _key(pair: Pair | Candidate) -> Key:
    return pair.language, pair.chosen_origin, pair.rejected_origin


def _finish(response: Response) -> str:
    return _FINISH.get(response.finish_reason, response.finish_reason or "unfinished")
