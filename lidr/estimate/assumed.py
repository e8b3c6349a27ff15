"""Everything the estimate assumes: numbers that are neither counted in files nor measured on this machine.

What is counted or measured takes their place, in this order: answers that are stored in this run or in runs
beside it; the lab's own solutions for the lab's model; the probe's answers, where most ended.
"""

from __future__ import annotations

import math

from lidr.estimate.ranges import Range

# Characters of an answer in English (in the dominant language where English is not among the languages); other
# languages in the proportion of their prompts. Expected: the paper's released en->fr translations have 1,392
# characters on average, and its French prompts 1.15 times the characters of its English ones. Low: a quarter.
# High: max_new_tokens, or what the context leaves.
ANSWER_CHARACTERS = Range(300, 1200, math.inf)

# A mean that was measured on other prompts, or of another M_t.
DRIFT = Range(0.8, 1.0, 1.25)

# Share of the pair candidates that passes the filters, and of translations that hold a text. Expected: 7.8 % of the
# paper's translations fail. Low: a small model that rarely ends its answers keeps a tenth.
KEPT_PAIRS = Range(0.1, 0.92, 1.0)

# Without a tokenizer, UTF-8 bytes a token. Few tokenizers take more bytes than 6 into one; 1 is a token a byte.
BYTES_PER_TOKEN = Range(6.0, 3.5, 1.0)
# Without a tokenizer, what a chat template adds to a prompt, in tokens; the system prompt comes on top.
TEMPLATE_TOKENS = Range(4, 16, 40)

# Tokens of a judge's reply in words: a few sentences and a verdict; high: max_new_tokens.
REPLY_TOKENS = Range(10, 150, math.inf)

# How much is read to learn from: the newest runs of the outputs folder, and records of each of their files.
STORED_RUNS = 8
STORED_RECORDS = 256

# Items of a language's tasks in lm-eval, where no limit says fewer: TruthfulQA has 800, MMLU 14,042.
TASK_ITEMS = Range(400, 2000, 14_042)
