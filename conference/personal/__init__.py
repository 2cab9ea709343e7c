"""Fitting the personal tracker while its avatar is trained.

The rule: what is fitted here sees training frames only; what it yields is what a live sender runs.
"""
