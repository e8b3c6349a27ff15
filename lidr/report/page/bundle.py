"""All that a run wrote about one prompt, as far as it is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lidr.config import LanguagesConfig, PairsConfig
from lidr.evaluation.outcomes import Outcome
from lidr.records import Pair, Prompt, Response, Score, Translation
from lidr.report.page.embed import embedded_size
from lidr.synthesis.read import Group, Route, by_language, routes_for, samples


@dataclass
class Bundle:
    """What a page keeps of a prompt.

    most_text: characters of a text that count; the rest is not embedded.
    candidates: pair candidates that an answer in a language stands for, where pairs were made.
    prompts: by language. responses, outcomes: by (t of the answering M_t, language); translations: by route; scores of
    a rival's samples: by (language, sample).
    """

    most_text: int
    candidates: Mapping[str, int]
    prompts: dict[str, Prompt] = field(default_factory=dict)
    responses: dict[tuple[int, str], Response] = field(default_factory=dict)
    translations: dict[Route, Translation] = field(default_factory=dict)
    scores: dict[tuple[str, int], Score] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    outcomes: dict[tuple[int, str], Outcome] = field(default_factory=dict)
    size: int = 0
    _seen: set[str] = field(default_factory=set)

    @property
    def records(self) -> int:
        """Pairs kept and dropped, answers and translations."""
        candidates = sum(self.candidates.get(language, 0) for _, language in self.responses)
        return len(self.responses) + len(self.translations) + max(len(self.pairs), candidates)

    def put_prompt(self, prompt: Prompt) -> None:
        self.prompts[prompt.language] = prompt
        self._weigh([prompt.prompt])

    def put_response(self, iteration: int, response: Response) -> None:
        self.responses[iteration, response.language] = response
        self._weigh([response.prompt, response.response])

    def put_translation(self, route: Route, translation: Translation) -> None:
        self.translations[route] = translation
        self._weigh([translation.source, translation.translation or ""])

    def put_score(self, score: Score) -> None:
        self.scores[score.language, score.sample] = score
        self._weigh([score.source])

    def put_pair(self, pair: Pair) -> None:
        self.pairs.append(pair)
        self._weigh([pair.prompt, pair.chosen, pair.rejected])

    def put_outcome(self, iteration: int, outcome: Outcome) -> None:
        self.outcomes[iteration, outcome.language] = outcome

    def _weigh(self, texts: Iterable[str]) -> None:
        for text in texts:
            if text not in self._seen:
                self._seen.add(text)
                self.size += embedded_size(text[: self.most_text])

    def group(self, iteration: int, languages: LanguagesConfig, strategy: PairsConfig) -> Group | None:
        """The same as pair building reads it; None where a part is missing.

        Args:
            iteration: t of the M_t that answered.
            languages: of the run.
            strategy: of its pairs.
        """
        codes, ways, drawn = languages.trained, routes_for(languages, strategy), samples(languages, strategy)
        answers = {code: self.responses.get((iteration, code)) for code in codes}
        compared = all(w in self.translations for w in ways) and all(key in self.scores for key in drawn)
        if not compared or not all(code in self.prompts for code in codes) or not all(answers.values()):
            return None
        identity = self.prompts[languages.dominant].id
        whole = {c: r for c, r in answers.items() if r is not None}
        scores = by_language(self.scores[key] for key in drawn)
        return Group(identity, self.prompts, whole, self.translations, scores)
