"""Java .properties text, as java.util.Properties.load reads it.

Rules: docs.oracle.com/javase/8/docs/api/java/util/Properties.html, method load(Reader).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_KEY = re.compile(r"((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*", re.DOTALL)


def parse(data: bytes, place: str) -> dict[str, str]:
    """Keys and values of ISO-8859-1 text with \\uXXXX escapes; the last of equal keys counts.

    Args:
        data:  the file.
        place: its name, for messages.

    Raises:
        ValueError: a malformed \\u escape, or half of a surrogate pair.
    """
    table = {}
    for line in _logical_lines(data.decode("iso-8859-1")):
        match = _KEY.match(line)
        key = match[1] if match else ""
        value = line[match.end() :] if match else line
        try:
            table[_unescape(key)] = _unescape(value)
        except ValueError as error:
            raise ValueError(f"{place}: {error} in {line!r:.80}") from error
    return table


def _logical_lines(text: str) -> Iterator[str]:
    """Lines without comments and blanks, continued ones joined, leading blanks removed."""
    held = ""
    continued = False
    for raw in re.split(r"\r\n|\r|\n", text):
        line = raw.lstrip(" \t\f")
        if not continued and (not line or line[0] in "#!"):
            continue
        slashes = len(line) - len(line.rstrip("\\"))
        continued = slashes % 2 == 1
        held += line[:-1] if continued else line
        if not continued:
            yield held
            held = ""
    if held:
        yield held


def _unescape(text: str) -> str:
    plain = _ESCAPE.sub(_character, text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16")  # joins surrogate pairs


def _character(match: re.Match[str]) -> str:
    code, other = match[1], match[2]
    if code is not None:
        return chr(int(code, 16))
    if other == "u":
        raise ValueError("malformed \\u escape")
    return _ESCAPES.get(other, other)
