"""Prompts and responses as token ids, through the tokenizer's own chat template.

Templates such as Llama-3's write the begin-of-sequence token themselves, and the tokenizer would add another:
every text is tokenized without special tokens here, and one is added only where the template left it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from lidr.errors import LidrError
from lidr.printable import short
from lidr.records import Conversation, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARK = "\u2060lidr\u2060"
_CHOOSE = "choose an instruction-tuned model: model.path=..."
_MEND = f"mend chat_template in the model's folder, or {_CHOOSE}"


def conversation(before: Conversation) -> list[dict[str, str]]:
    """Earlier turns as messages."""
    roles = ("user", "assistant")
    return [
        {"role": role, "content": text} for turn in before for role, text in zip(roles, turn, strict=True)
    ]


class ChatFormat:
    """Formats chat turns for one tokenizer.

    Args:
        tokenizer: with a chat template.
        system_prompt: put first where the template has a system turn; None for no system turn.

    Raises:
        LidrError: the tokenizer has no chat template, or one that fails or leaves the user's words out, or no token
            that ends a turn.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, system_prompt: str | None) -> None:
        self.tokenizer = tokenizer
        if not tokenizer.chat_template:
            raise self._fault("the tokenizer has no chat template", _CHOOSE)
        self.system_prompt = system_prompt if system_prompt and self._has_system_turn(system_prompt) else None
        if _MARK not in self.prompt_text(_MARK):
            raise self._fault("the chat template leaves the user's words out", _MEND)
        self.end_of_turn_id = self._end_of_turn()
        self.pad_id = self._pad()
        self._bos_id = self._missing_bos()

    def prompt_text(self, user: str, prefill: str = "", before: Conversation = ()) -> str:
        """The prompt as the template renders it, up to where the assistant's answer starts.

        Args:
            before: earlier turns, (user, assistant) each.
        """
        messages = [*self._system(), *conversation(before), {"role": "user", "content": user}]
        return self._render(messages, generate=True) + prefill

    def prompt_ids(self, user: str, prefill: str = "", before: Conversation = ()) -> list[int]:
        """Token ids of a prompt, with exactly one begin-of-sequence token where the model has one."""
        return self.batch_prompt_ids([Turn(user, prefill, before)])[0]

    def batch_prompt_ids(self, turns: Sequence[Turn]) -> list[list[int]]:
        """Token ids of several turns to answer, tokenized in one call."""
        ids = self._encode([self.prompt_text(*turn) for turn in turns])
        return [[self._bos_id, *i] if self._bos_id is not None else i for i in ids]

    def response_ids(self, text: str) -> list[int]:
        """Token ids of a response, the end-of-turn token included."""
        return self.batch_response_ids([text])[0]

    def batch_response_ids(self, texts: list[str]) -> list[list[int]]:
        """Token ids of several responses, tokenized in one call."""
        return [[*ids, self.end_of_turn_id] for ids in self._encode(texts)]

    def batch_text_ids(self, texts: list[str]) -> list[list[int]]:
        """Token ids of texts as they stand, tokenized in one call."""
        return self._encode(texts)

    def decode(self, ids: list[int]) -> str:
        """Text of generated ids, special tokens left out."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return ids

    def _system(self) -> list[dict[str, str]]:
        return [{"role": "system", "content": self.system_prompt}] if self.system_prompt else []

    def _render(self, messages: list[dict[str, str]], generate: bool) -> str:
        """What the template, a program of the model's folder that runs in a sandbox, makes of the messages."""
        try:
            rendered: Any = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=generate
            )
        except Exception as error:  # whatever a program may raise
            what = f"the chat template fails ({type(error).__name__}: {short(error, 200)})"
            raise self._fault(what, _MEND) from error
        return str(rendered)

    def _has_system_turn(self, system_prompt: str) -> bool:
        messages = [{"role": "system", "content": system_prompt}, {"role": "user", "content": "x"}]
        try:
            return system_prompt in self._render(messages, generate=True)
        except LidrError as error:
            if isinstance(error.__cause__, TemplateError):
                return False
            raise

    def _fault(self, what: str, instead: str) -> LidrError:
        return LidrError(what, where=short(self.tokenizer.name_or_path), instead=instead)

    def _end_of_turn(self) -> int:
        """The first token the template writes after an assistant's answer, else the end-of-sequence token."""
        messages = [
            *self._system(),
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": _MARK},
        ]
        suffix = self._render(messages, generate=False).rpartition(_MARK)[2]
        special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
        for token in self._encode([suffix])[0] if suffix else []:
            if token in special:
                return int(token)
        if self.tokenizer.eos_token_id is None:
            raise self._fault(
                "neither the chat template nor the tokenizer has a token that ends a turn",
                "set eos_token in the model's tokenizer_config.json",
            )
        return int(self.tokenizer.eos_token_id)

    def _pad(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(pad) if pad is not None else self.end_of_turn_id

    def _missing_bos(self) -> int | None:
        """The begin-of-sequence id to add in front, where the tokenizer wants one and the template has none."""
        bos = self.tokenizer.bos_token_id
        wants = bos is not None and self.tokenizer("x")["input_ids"][:1] == [bos]
        has = self._encode([self.prompt_text("x")])[0][:1] == [bos]
        return int(bos) if wants and not has else None
