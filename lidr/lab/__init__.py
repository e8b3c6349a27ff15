"""The lab: a parallel world of arithmetic stories in six languages and a tiny model with an imbalance on purpose."""
