"""The rule-based grammar behind the embedded model: word problems, customer messages, multiple-choice questions."""
