"""The grammar behind the neutral corpus: clean texts of many kinds, all of them made from these word lists."""
