"""Guesses at the tokens that come next, from what stood there the last time the row said the same.

Prompt lookup decoding, speculative decoding without a second model (arXiv 2304.04487, section 3): a pass computes the
newest token and the guesses behind it, and the guesses up to the first wrong one are what the model would have
written, a token a pass. Translations repeat names and numbers, and where a small model runs in circles nearly every
guess is right.
"""

from __future__ import annotations

from collections.abc import Sequence

_REPEATED = 3  # tokens that have to stand there again
_CAREFUL = 2  # a guess for as many tokens that repeat: the more repeat, the more likely they go on
_FEWEST = 2  # fewer guesses are not worth a row's own attention calls


class Lookup:
    """Where the last few tokens of a row stood before.

    Args:
        tokens: the prompt.
        most: guesses at a time.
    """

    def __init__(self, tokens: Sequence[int], most: int) -> None:
        self._tokens, self._most = list(tokens), most
        self._after: dict[tuple[int, ...], int] = {}
        self._known = _REPEATED  # places before this one are in `_after`

    def add(self, token: int) -> None:
        """What the row goes on with."""
        self._tokens.append(token)

    def guess(self, room: int) -> list[int]:
        """The tokens that may come next, or none; of this row's own tokens alone, so that batches change no bit.

        Args:
            room: guesses at most.
        """
        tokens, end = self._tokens, len(self._tokens)
        for place in range(self._known, end):
            self._after[tuple(tokens[place - _REPEATED : place])] = place
        self._known = max(self._known, end)
        before = self._after.get(tuple(tokens[-_REPEATED:]))
        if before is None:
            return []
        worth = self._repeated(before) // _CAREFUL
        if worth < _FEWEST:
            return []
        period = end - before
        return [tokens[before + i % period] for i in range(min(self._most, room, worth))]

    def _repeated(self, before: int) -> int:
        """How many of the last tokens stand before an earlier place too; no more than are worth counting."""
        tokens, end = self._tokens, len(self._tokens)
        enough = min(before, self._most * _CAREFUL)
        for count in range(enough):
            if tokens[before - 1 - count] != tokens[end - 1 - count]:
                return count
        return enough


def agreed(guesses: Sequence[int], chosen: Sequence[int]) -> list[int]:
    """What the row goes on with: the guesses that the model chose too, and its choice behind them.

    Args:
        chosen: by the model, after the newest token and after each guess.
    """
    right = 0
    while right < len(guesses) and guesses[right] == chosen[right]:
        right += 1
    return list(chosen[: right + 1])
