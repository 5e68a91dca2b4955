"""A browser, where whoever runs the command sees one."""

from __future__ import annotations

import os
import threading
import webbrowser


def is_seen_here() -> bool:
    """Whether there is a display, and it is in front of whoever runs the command."""
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(has_display) and not is_elsewhere()


def is_elsewhere() -> bool:
    """Whether whoever runs the command does so by ssh."""
    return bool(os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"))


def begin_to_open(url: str) -> None:
    """Open a page; some browsers take as long as they are open for that."""
    threading.Thread(target=_open, args=(url,), daemon=True).start()


def _open(url: str) -> None:
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return  # the address is printed as well
    # One of this kind that nobody has chosen is lynx or w3m, and would take the terminal.
    if type(browser) is not webbrowser.GenericBrowser or "BROWSER" in os.environ:
        browser.open(url)
