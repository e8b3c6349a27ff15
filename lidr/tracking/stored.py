"""What W&B has written to its own files in a run folder: a LevelDB log of protocol buffers for each attempt.

wandb has no reader of it in Python any more. A kill tears the last record; everything before it is whole.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

_MAGIC = b":W&B"
_FILE_HEADER, _RECORD_HEADER, _BLOCK = 7, 7, 32768
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass
class Held:
    """What W&B holds of a run.

    rows: the number of the next row of its history. digests: the last value of each text in the history.
    """

    rows: int = 0
    digests: dict[str, str] = field(default_factory=dict)


def held(folder: Path, run_id: str) -> Held:
    """What lies in a folder's files of all attempts of a run, online ones included."""
    found = Held()
    for path in sorted(folder.glob(f"*run-*-{run_id}/run-{run_id}.wandb")):
        for record in records(path):
            if record.WhichOneof("record_type") == "history":
                found.rows = max(found.rows, record.history.step.num + 1)
                texts = ((key_of(item), _text(item.value_json)) for item in record.history.item)
                found.digests |= {key: text for key, text in texts if text is not None}
    return found


def _text(value: str) -> str | None:
    try:
        return str(json.loads(value)) if value.startswith('"') else None
    except (ValueError, RecursionError):
        return None


def key_of(item: Any) -> str:
    """The key of an item of a history, summary or config record."""
    return item.key or ".".join(item.nested_key)


def records(path: Path) -> Iterator[Any]:
    """The whole records of a file, as ``wandb_internal_pb2.Record``, up to the first that is torn."""
    from google.protobuf.message import DecodeError

    messages: Any = import_module("wandb.proto.wandb_internal_pb2")
    for data in _payloads(path.read_bytes()):
        record = messages.Record()
        try:
            record.ParseFromString(data)
        except DecodeError:
            return
        yield record


def _payloads(data: bytes) -> Iterator[bytes]:
    if data[: len(_MAGIC)] != _MAGIC:
        return
    position, payload = _FILE_HEADER, b""
    while True:
        left = _BLOCK - position % _BLOCK
        if left < _RECORD_HEADER:
            position += left
        start = position + _RECORD_HEADER
        if start > len(data):
            return
        _, length, kind = struct.unpack("<IHB", data[position:start])
        position = start + length
        if position > len(data) or kind not in (_WHOLE, _FIRST, _MIDDLE, _LAST):
            return
        payload += data[start:position]
        if kind in (_WHOLE, _LAST):
            yield payload
            payload = b""
