"""Where the records of an output file lie, so that none of them has to be held in memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from lidr import jsonl
from lidr.engines.base import FinishReason
from lidr.errors import LidrError, StageError
from lidr.files import whole_file

_ABSENT = -1


@dataclass(frozen=True)
class Share:
    """Every `of`-th input of a file, from the `number`-th on; by itself all of them."""

    number: int = 0
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Share:
        """The share that a text such as ``0/2`` names."""
        number, _, of = text.partition("/")
        return cls(int(number), int(of))

    def has(self, position: int) -> bool:
        return position % self.of == self.number


class Index:
    """The places of records by the position of their input; of an input, its key and 18 bytes are held.

    The container of the keys that have a record, and of those whose prompt is too long for one.

    Args:
        inputs: key and text of each, in the output file's order.
        where: names the inputs in an error.
        text_field: the field of a record that holds the text it stems from.

    Raises:
        LidrError: two inputs share a key: their answers could not be told apart.
    """

    def __init__(self, inputs: Iterable[tuple[str, str]], where: str, text_field: str) -> None:
        self.paths: list[Path] = []
        self.text_field = text_field
        self.too_long: set[int] = set()
        self.found = 0
        self._positions: dict[str, int] = {}
        self._digests = array("Q")
        for key, text in inputs:
            if key in self._positions:
                raise LidrError(
                    f"the id {key!r} stands twice", where=where, instead="give every prompt an id of its own"
                )
            self._positions[key] = len(self._digests)
            self._digests.append(_digest(text))
        self._offsets = array("q", [_ABSENT]) * len(self._digests)
        self._files = array("H", [0]) * len(self._digests)
        self._in_order = True

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, key: object) -> bool:
        position = self._positions.get(key) if isinstance(key, str) else None
        return position is not None and self._is_settled(position)

    def unanswered(self, share: Share = Share()) -> Iterator[str]:
        """Keys of a share's inputs that have no record, in order."""
        return (
            key
            for key, position in self._positions.items()
            if share.has(position) and not self._is_settled(position)
        )

    def key(self, position: int) -> str:
        return next(key for key, found in self._positions.items() if found == position)

    def scan(self, path: Path) -> None:
        """Notes the records of a file, if it is there; the first of several with one key stands.

        Raises:
            StageError: a record stems from none of the inputs.
        """
        self.paths.append(path)
        if not path.exists():
            return
        for line in jsonl.lines(path):
            key, text = str(line.record.get("id")), line.record.get(self.text_field)
            position = self._positions.get(key)
            if position is None or not isinstance(text, str) or _digest(text) != self._digests[position]:
                raise StageError(
                    f"the record {key!r} is not of this stage's inputs",
                    where=f"{path}:{line.number}",
                    instead=f"delete {path} and run the same command again",
                )
            too_long = line.record.get("finish_reason") == FinishReason.TOO_LONG
            if too_long:
                self.too_long.add(position)
            if too_long or self._offsets[position] != _ABSENT:
                self._in_order = False
            else:
                self._note(position, len(self.paths) - 1, line.offset)

    def note(self, key: str, path: Path, offset: int) -> None:
        """A record that was appended to one of the scanned files."""
        self._note(self._positions[key], self.paths.index(path), offset)

    def note_too_long(self, key: str) -> None:
        self.too_long.add(self._positions[key])

    def put_in_order(self, path: Path) -> None:
        """Rewrites the first scanned file: every record once, in the order of the inputs, those of all files."""
        if self._in_order:
            return
        with ExitStack() as stack:
            files = [stack.enter_context(p.open("rb")) if p.exists() else None for p in self.paths]
            output = stack.enter_context(whole_file(path)).open("wb")
            with output:
                for number, offset in zip(self._files, self._offsets, strict=True):
                    source = files[number]
                    if offset != _ABSENT and source is not None:
                        source.seek(offset)
                        output.write(source.readline())

    def _note(self, position: int, file: int, offset: int) -> None:
        self._in_order = self._in_order and file == 0 and position == self.found
        self._files[position], self._offsets[position] = file, offset
        self.found += 1

    def _is_settled(self, position: int) -> bool:
        return self._offsets[position] != _ABSENT or position in self.too_long


def _digest(text: str) -> int:
    """64 bits that tell two texts apart."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
