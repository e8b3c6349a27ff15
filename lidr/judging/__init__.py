"""Judges: models, or the lab's exact checks, that compare and rate stored answers.

A judge compares two answers to one prompt in one language, in both orders, or rates one answer; never answers in
different languages against each other. Every reply is stored, and every number is made from what is stored.
"""
