r"""Names that a process or a user chose, as text: no two of them look alike.

A name in Linux is any bytes but NUL. What is UTF-8 is shown as it is, control characters too. Any
other byte is shown as ``\x`` and two digits, and so is a backslash before which nobody could tell:
``\x5c`` stands for one that is followed by ``x`` and two such digits.
"""

from __future__ import annotations

import re
from typing import Final

_LOOKS_ESCAPED: Final = re.compile(rb"\\(?=x[0-9a-f]{2})")


def shown(name: bytes) -> str:
    """Show a name; another name is another text."""
    if b"\\x" in name:
        name = _LOOKS_ESCAPED.sub(rb"\\x5c", name)
    return name.decode("utf-8", "backslashreplace")
