"""Source rows: tables, documents, saved datasets, the Hub."""

from factory.sources.source import Source, read_lines, read_source, read_table

__all__ = ["Source", "read_lines", "read_source", "read_table"]
