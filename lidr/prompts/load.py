"""Loading a prompt set in several languages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lidr.config import OnIncomplete, PromptFormat, PromptsConfig
from lidr.errors import LidrError
from lidr.prompts.align import AlignedPrompts, align
from lidr.prompts.rows import Item, items, wrap


def load(config: PromptsConfig, languages: Sequence[str]) -> AlignedPrompts:
    """Reads and aligns a prompt set; keeps all of it in memory.

    Args:
        config: where the set lies and how it is laid out.
        languages: codes; the first one's files give the order.

    Raises:
        LidrError: files, rows or keys are missing or broken; or, with ``on_incomplete: error``, a prompt is
            missing, empty or duplicated in some language (all findings in one error).
    """
    read = _lab_items if config.format is PromptFormat.LAB else items
    aligned = align({language: read(config, language) for language in dict.fromkeys(languages)})
    if config.on_incomplete is OnIncomplete.ERROR and aligned.report.dropped:
        raise _incomplete(config, aligned)
    if not len(aligned):
        raise LidrError(
            f"holds no prompt that all of {', '.join(languages)} have",
            where=f"prompts {config.name!r} ({config.root or config.format})",
            instead="mend prompts.root, prompts.files and prompts.id_key",
        )
    return aligned


def _incomplete(config: PromptsConfig, aligned: AlignedPrompts) -> LidrError:
    report = aligned.report
    faults = "".join(f"\n  {r.describe()}" for r in report.languages if not r.complete)
    total = report.dropped + report.aligned
    return LidrError(
        f"{report.dropped} of {total} prompts do not stand once in every language:{faults}\n ",
        where=f"prompts {config.name!r} ({config.root})",
        instead="mend the files, or type prompts.on_incomplete=drop to leave these out of all languages",
    )


def _lab_items(config: PromptsConfig, language: str) -> Iterator[Item]:
    """The problems of the built-in lab; ``files`` names its splits."""
    from lidr.lab import world

    if language not in world.LANGUAGES:
        raise LidrError(
            f"the lab does not speak {language!r}",
            where="languages",
            instead=f"choose from {', '.join(world.LANGUAGES)}, or take other prompts: prompts=<set>",
        )
    for split in config.files:
        if split not in ("train", "test"):
            raise LidrError(
                f"the lab has no split {split!r}", where="prompts.files", instead="type prompts.files=[train]"
            )
        for problem in world.problems(split):
            text = wrap(world.render_prompt(problem, language), config.instruction, language)
            yield Item(problem.id, text, str(problem.answer), f"lab {split}")
