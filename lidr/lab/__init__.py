"""The lab: arithmetic stories told in six languages, and a tiny model with an imbalance on purpose."""
