"""Language Imbalance Driven Rewarding (arXiv 2410.08964): from prompts to M_2 in one command."""

__version__ = "0.1.0"
