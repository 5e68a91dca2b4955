"""Runs farpeek as on a processor that ignores the highest byte of addresses, whichever this is.

ignoring.py PYTHON -m farpeek_api ARGUMENT ... is what is put in front of such a command. The kernel
here takes no address with a tag, so a service that hands one on finds nothing.
"""

from __future__ import annotations

import sys

from farpeek import addressing
from farpeek_api.__main__ import main

if __name__ == "__main__":
    addressing.HERE = addressing.TopByteIgnored()
    _python, _m, _package, *arguments = sys.argv[1:]
    sys.exit(main(arguments))
