"""Prompt sets, read from wherever they lie and aligned across languages by a common key."""

from lidr.prompts.align import AlignedPrompts, AlignmentReport, Finding, LanguageReport
from lidr.prompts.load import load
from lidr.prompts.select import check_enough, refuse_conversations, select

__all__ = [
    "AlignedPrompts",
    "AlignmentReport",
    "Finding",
    "LanguageReport",
    "check_enough",
    "load",
    "refuse_conversations",
    "select",
]
