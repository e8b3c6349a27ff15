"""What a run has stored that can be judged: answers to benchmarks, pairs, and answers with their translations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lidr.config import RunConfig, read_config
from lidr.config.judge_schema import Baseline
from lidr.errors import LidrError, did_you_mean
from lidr.evaluation.conversation import turn_answers, turns
from lidr.evaluation.run import benchmark_prompts
from lidr.judging import model_outputs
from lidr.judging.questions import Comparison, Rated
from lidr.records import Prompt, Response
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from lidr.synthesis import read

SELF_GENERATED, SELF_TRANSLATED = "self_generated", "self_translated"
_OUTPUTS = ".json"
_Record = TypeVar("_Record", Prompt, Comparison, Rated)


@dataclass(frozen=True)
class Judged:
    """A run that is judged.

    limit, seed: which prompts, at most so many a language; the same for every model. languages: codes, in order.
    """

    run: RunDirectory
    config: RunConfig
    limit: int
    seed: int
    languages: tuple[str, ...]

    def prompts(self, benchmark: str) -> dict[str, list[Prompt]]:
        """A benchmark's prompts that are judged, by language."""
        found = benchmark_prompts(
            self.config.asked_benchmarks[benchmark], self.config.languages, self.config.seed
        )
        return {code: self.drawn(prompts) for code, prompts in found.items() if code in self.languages}

    def answers(self, benchmark: str, iteration: int, language: str) -> dict[str, str]:
        """M_t's stored answers by id."""
        return answers_of(self.run, benchmark, iteration, language)

    def rated(self, benchmark: str, iteration: int) -> dict[str, list[Rated]]:
        """M_t's answers by language, each turn of a conversation after what was said before it."""
        folder = self.run.folder(Stage(StageKind.EVALUATION, iteration)) / benchmark
        found = {}
        for code, prompts in self.prompts(benchmark).items():
            found[code] = [
                Rated(p.id, code, response.prompt, response.response, f"turn {turn}" if turn > 1 else "")
                for turn in range(1, turns({code: prompts}) + 1)
                for p, response in turn_answers(prompts, folder, turn)
            ]
        return {code: own for code, own in found.items() if own}

    def evaluated(self, benchmark: str) -> list[int]:
        """t of every model whose answers to a benchmark are all there."""
        return [
            t
            for t in range(self.config.iterations + 1)
            if self.run.manifest(Stage(StageKind.EVALUATION, t)) is not None
            and (self.run.folder(Stage(StageKind.EVALUATION, t)) / benchmark).is_dir()
        ]

    def has(self, kind: StageKind, iteration: int) -> bool:
        """Whether a stage of an iteration is done."""
        return self.run.manifest(Stage(kind, iteration)) is not None

    def pairs(self, iteration: int) -> dict[str, list[Comparison]]:
        """An iteration's pairs by language: chosen as the answer, rejected as the other one."""
        path = self.run.folder(Stage(StageKind.PAIRS, iteration)) / "pairs.jsonl"
        by_language: dict[str, list[Comparison]] = {code: [] for code in self.config.languages.trained}
        for pair in read.pairs(path):
            variant = f"{pair.chosen_origin}>{pair.rejected_origin}"
            found = Comparison(pair.id, pair.language, pair.prompt, pair.chosen, pair.rejected, variant)
            by_language.setdefault(pair.language, []).append(found)
        return {
            code: self._drawn(pairs)
            for code, pairs in by_language.items()
            if pairs and code in self.languages
        }

    def responses(self, iteration: int) -> dict[str, dict[str, list[Rated]]]:
        """By origin and language: answers written in a language, and translated into it from the dominant one.

        For the dominant language the translations are from all others, an answer each.
        """
        config, folder = self.config.languages, self.run.iteration(iteration)
        prompts = {c: _by_id(read.prompts(folder / "prompts" / f"{c}.jsonl", c)) for c in config.trained}
        generated = {c: self._generated(folder, c) for c in config.trained}
        translated: dict[str, list[Rated]] = {c: [] for c in config.trained}
        for source, target in read.directions(config):
            path = folder / "translations" / f"{source}-{target}.jsonl"
            found = [t for t in read.translations(path, source, target) if t.translation is not None]
            wanted = {p.id for p in self.drawn(list(prompts[target].values()))}
            translated[target] += [
                Rated(t.id, target, prompts[target][t.id].prompt, str(t.translation), source)
                for t in found
                if t.id in wanted
            ]
        return {
            origin: {code: own for code, own in found.items() if code in self.languages}
            for origin, found in ((SELF_GENERATED, generated), (SELF_TRANSLATED, translated))
        }

    def drawn(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        """At most `limit` of them, drawn by id, in their own order."""
        return self._drawn(prompts)

    def _drawn(self, records: Sequence[_Record]) -> list[_Record]:
        distinct = list(dict.fromkeys(record.id for record in records))
        if len(distinct) <= self.limit:
            return list(records)
        order = sorted(
            distinct,
            key=lambda i: hashlib.sha256(f"{self.seed} {i}".encode("utf-8", "surrogatepass")).digest(),
        )
        chosen = set(order[: self.limit])
        return [record for record in records if record.id in chosen]

    def _generated(self, folder: Path, language: str) -> list[Rated]:
        found = list(read.responses(folder / "responses" / f"{language}.jsonl", language))
        return self._drawn([Rated(r.id, language, r.prompt, r.response) for r in found])


@dataclass(frozen=True)
class Opponent:
    """Whose answers M_t's are compared with.

    name: as it stands in tables; empty for answers from outside, the benchmark's own reference.
    """

    name: str
    text: str

    @classmethod
    def parse(cls, text: str) -> Opponent:
        """An opponent as it is typed: ``initial``, ``previous``, a pattern of files, or a run folder.

        Raises:
            LidrError: it is none of these.
        """
        if text == Baseline.LAB:
            return cls("", text)
        if text in set(Baseline):
            return cls(text, text)
        if text.endswith(_OUTPUTS):
            return cls("", text)
        if (Path(text) / "config.yaml").is_file():
            return cls(Path(text).name, text)
        raise LidrError(
            f"{text!r} is no opponent",
            where="opponents",
            instead=f"{did_you_mean(text, [b.value for b in Baseline])}, or type a run folder, or a pattern such as"
            " outputs/{language}.json of alpaca_eval's model_outputs",
        )

    def answers(
        self, judged: Judged, benchmark: str, iteration: int, prompts: Sequence[Prompt]
    ) -> dict[str, str] | None:
        """Its answers by id; None where M_t has no such opponent.

        Raises:
            LidrError: it has no answers to these prompts.
        """
        language = prompts[0].language
        if self.text == Baseline.LAB:
            return _solutions(prompts)
        if self.text in set(Baseline):
            if iteration == 0:
                return None
            before = 0 if self.text == Baseline.INITIAL else iteration - 1
            return judged.answers(benchmark, before, language)
        if self.text.endswith(_OUTPUTS):
            return model_outputs.read(Path(self.text.replace("{language}", language)), prompts)
        return self._of_run(judged, benchmark, iteration, prompts)

    def _of_run(
        self, judged: Judged, benchmark: str, iteration: int, prompts: Sequence[Prompt]
    ) -> dict[str, str]:
        other = RunDirectory(Path(self.text))
        last = min(iteration, read_config(other.root / "config.yaml").iterations)
        answers = responses_of(other, benchmark, last, prompts[0].language)
        differing = [p.id for p in prompts if p.id not in answers or answers[p.id].prompt != p.prompt]
        if differing:
            raise LidrError(
                f"{differing[0]!r} has no answer to the same prompt in the other run",
                where=str(other.root),
                instead="compare runs that were evaluated on the same prompts",
            )
        return {p.id: answers[p.id].response for p in prompts}


def _solutions(prompts: Sequence[Prompt]) -> dict[str, str]:
    """The lab's right answers to prompts of its own, by id."""
    from lidr.lab.world import problems, render_answer

    known = {problem.id: problem for problem in problems("test")}
    strange = [p.id for p in prompts if p.id not in known]
    if strange:
        raise LidrError(
            f"{strange[0]!r} is no problem of the lab",
            where=f"opponents={Baseline.LAB}",
            instead="type benchmarks=[lab], or name another opponent",
        )
    return {p.id: render_answer(known[p.id], p.language) for p in prompts}


def answers_of(run: RunDirectory, benchmark: str, iteration: int, language: str) -> dict[str, str]:
    """M_t's stored answers to a benchmark by id.

    Raises:
        LidrError: they are not there.
    """
    return {key: r.response for key, r in responses_of(run, benchmark, iteration, language).items()}


def comparisons(
    prompts: Iterable[Prompt], answers: Mapping[str, str], others: Mapping[str, str]
) -> list[Comparison]:
    """Every prompt with both answers."""
    return [Comparison(p.id, p.language, p.prompt, answers[p.id], others[p.id]) for p in prompts]


def responses_of(run: RunDirectory, benchmark: str, iteration: int, language: str) -> dict[str, Response]:
    """M_t's stored answers to a benchmark by id, as they are stored; raises as `answers_of`."""
    path = run.folder(Stage(StageKind.EVALUATION, iteration)) / benchmark / f"{language}.jsonl"
    if not path.is_file():
        raise LidrError(
            f"M_{iteration} has no answers to {benchmark} in {language}",
            where=str(path),
            instead=f"evaluate it first: lidr run ... evaluation=[{benchmark}]",
        )
    return {r.id: r for r in read.responses(path, language)}


def _by_id(prompts: Iterator[Prompt]) -> dict[str, Prompt]:
    return {p.id: p for p in prompts}
