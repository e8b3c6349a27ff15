"""From prompts to preference pairs: generate, translate, pair."""

from lidr.synthesis.audit import AuditTable, audit_table
from lidr.synthesis.build import build_pairs
from lidr.synthesis.generate import generate
from lidr.synthesis.translate import translate

__all__ = ["AuditTable", "audit_table", "build_pairs", "generate", "translate"]
