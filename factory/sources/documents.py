"""Documents cut into chunks of words. Pure: text in, chunks out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Han and kana are written without spaces: there each character counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_UNDERLINE = re.compile(r" {0,3}(={2,}|-{2,})[ \t]*")
_NOT_PARAGRAPH = re.compile(r" {0,3}(?:[-+*>|]|\d+[.)])|\t| {4}")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, exactly as it stands there; `heading` is the nearest one above it ('' without any)."""

    text: str
    heading: str = ""


@dataclass(frozen=True, slots=True)
class _Section:
    level: int
    heading: str
    text: str
    has_body: bool


def cut_words(text: str, words: int, overlap: int) -> list[str]:
    """Pieces of at most `words` words, each beginning with the last `overlap` words of the one before.

    A piece is a slice of the text, so line breaks and indents survive; every word is in some piece. Text without a
    word gives no piece. Raises ValueError unless 0 ≤ overlap < words.
    """
    if not 0 <= overlap < words:
        raise ValueError(f"overlap {overlap} must be at least 0 and less than words {words}")
    spans = [match.span() for match in _WORD.finditer(text)]
    pieces = []
    start = 0
    while start < len(spans):
        end = min(start + words, len(spans))
        pieces.append(text[spans[start][0] : spans[end - 1][1]])
        if end == len(spans):
            break
        start += words - overlap
    return pieces


def cut_text(text: str, words: int, overlap: int) -> list[Chunk]:
    """Plain text in chunks; see `cut_words`."""
    return [Chunk(piece) for piece in cut_words(text, words, overlap)]


def cut_markdown(text: str, words: int, overlap: int) -> list[Chunk]:
    """Markdown in chunks that never cross a heading; a section's first chunk begins with its heading line.

    A heading with nothing under it but a deeper heading goes before that one, so that no chunk is a bare title.
    Headings are ATX (`## x`) and underlined ones, outside of code fences and front matter.
    """
    chunks: list[Chunk] = []
    waiting: list[_Section] = []
    sections = list(_sections(text))
    for position, section in enumerate(sections):
        following = sections[position + 1] if position + 1 < len(sections) else None
        if not section.has_body and following is not None and following.level > section.level:
            waiting.append(section)
            continue
        whole = "\n\n".join([*(before.text for before in waiting), section.text])
        waiting.clear()
        chunks.extend(Chunk(piece, section.heading) for piece in cut_words(whole, words, overlap))
    return chunks


def _sections(text: str) -> Iterator[_Section]:
    """The document cut before each heading. What stands before the first heading has level 0 and heading ''."""
    lines = text.splitlines()
    level, heading, start, body = 0, "", 0, 0
    for line, length, next_level, next_heading in _headings(lines):
        yield from _section(lines, start, body, line, level, heading)
        level, heading, start, body = next_level, next_heading, line, line + length
    yield from _section(lines, start, body, len(lines), level, heading)


def _section(lines: list[str], start: int, body: int, end: int, level: int, heading: str) -> Iterator[_Section]:
    has_body = any(line.strip() for line in lines[body:end])
    if level or has_body:
        yield _Section(level, heading, "\n".join(lines[start:end]).strip("\n"), has_body)


def _headings(lines: list[str]) -> Iterator[tuple[int, int, int, str]]:
    """(line, lines taken, level, text) of each heading."""
    fence = ""
    skip = _front_matter(lines)
    for number in range(skip, len(lines)):
        line = lines[number]
        mark = _FENCE.match(line)
        if fence:
            closes = mark is not None and mark[1][0] == fence[0] and len(mark[1]) >= len(fence)
            if closes and mark is not None and not line[mark.end() :].strip():
                fence = ""
            continue
        if mark is not None:
            fence = mark[1]
        elif (match := _HEADING.fullmatch(line)) is not None:
            yield number, 1, len(match[1]), (match[2] or "").strip()
        elif _underlined(lines, number):
            yield number, 2, 1 if lines[number + 1].strip()[0] == "=" else 2, line.strip()


def _underlined(lines: list[str], number: int) -> bool:
    """A one-line paragraph with a line of = or - under it."""
    if number + 1 >= len(lines) or not lines[number].strip() or _NOT_PARAGRAPH.match(lines[number]):
        return False
    above = lines[number - 1].strip() if number else ""
    return not above and _UNDERLINE.fullmatch(lines[number + 1]) is not None


def _front_matter(lines: list[str]) -> int:
    """How many lines at the top are front matter (between two lines of three dashes)."""
    if lines and lines[0].rstrip() == "---":
        for number in range(1, len(lines)):
            if lines[number].rstrip() in ("---", "..."):
                return number + 1
    return 0
