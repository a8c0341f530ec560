"""Lexicons: words by which a text shows whom it is about, and how it speaks of them; versioned data files."""
