"""Scorers that ask a model for its judgement: of one answer, or of two beside each other."""
