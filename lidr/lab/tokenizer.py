"""Byte-level BPE of the world, with a chat template that writes the begin-of-sequence token itself.

Like Llama-3's, the tokenizer also adds that token on its own unless called with `add_special_tokens=False`.
"""

from __future__ import annotations

from itertools import islice

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from lidr.lab.corpus import LANGUAGE_NAMES, REQUEST, samples

BOS, EOS, PAD = "<s>", "<|end|>", "<pad>"
USER, ASSISTANT = "<|user|>", "<|assistant|>"
VOCABULARY = 2042
_TRAINING_SAMPLES = 20_000
# A space before a number belongs to the word before it, so that a digit is the same token everywhere.
_PIECES = r"\p{N}| ?[^\s\p{L}\p{N}]+(?: (?=\p{N}))?|[ \n]?\p{L}+(?: (?=\p{N}))?|\s+"


CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
  {%- if message['role'] == 'user' -%}
    {{- '<|user|>' + message['content'] -}}
  {%- elif message['role'] == 'assistant' -%}
    {{- '<|assistant|>' + message['content'] + eos_token -}}
  {%- else -%}
    {{- raise_exception('The lab model knows user and assistant messages only.') -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|assistant|>' -}}
{%- endif -%}
"""


def request_pieces() -> list[str]:
    """The fixed stretches of a translation request: one token each, which halves the request's length."""
    before, rest = REQUEST.split("{target_language}")
    middle = rest.split("<sentence>")[0]
    return [before, middle, "<sentence>", "</sentence>", "<translated>", "</translated>"]


def _bare_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_PIECES), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """The tokenizer of the corpus of `seed`; each digit is one token."""
    tokenizer = _bare_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, BOS, EOS, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (f"{s.user}\n{s.assistant}" for s in islice(samples(seed), _TRAINING_SAMPLES))
    names = (name for name in LANGUAGE_NAMES.values() for _ in range(2000))
    tokenizer.train_from_iterator((text for part in (texts, names) for text in part), trainer)
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in request_pieces()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
        chat_template=CHAT_TEMPLATE,
        extra_special_tokens=[USER, ASSISTANT],
    )


def chat_ids(tokenizer: PreTrainedTokenizerFast, user: str, assistant: str) -> tuple[list[int], list[int]]:
    """Token ids of the prompt (up to the assistant's turn) and of the assistant's turn."""
    prompt = tokenizer.encode(f"{BOS}{USER}{user}{ASSISTANT}", add_special_tokens=False)
    return prompt, tokenizer.encode(f"{assistant}{EOS}", add_special_tokens=False)
