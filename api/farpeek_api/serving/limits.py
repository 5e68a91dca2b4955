"""Bounds that are no settings, in one place: those of the stream."""

from __future__ import annotations

from typing import Final

MOST_UNDER_WAY: Final = 64
"""Reads of one client that are begun and not answered; then its messages are not read."""

MOST_OF_A_CLIENT: Final = 1024
"""Subscriptions."""

MOST_SUBSCRIPTIONS: Final = 4096
MOST_TICKS_PER_S: Final = 20_000
MOST_REGIONS: Final = 1 << 20
"""Of all subscriptions: what they read is kept, at 16 bytes a region."""

HIGHEST_HZ: Final = 1000.0

SHOWN: Final = {
    "stream_reads_under_way": MOST_UNDER_WAY,
    "client_subscriptions": MOST_OF_A_CLIENT,
    "subscriptions": MOST_SUBSCRIPTIONS,
    "subscription_ticks_per_s": MOST_TICKS_PER_S,
    "subscription_regions": MOST_REGIONS,
    "subscription_hz": HIGHEST_HZ,
}
"""As `/v1/info` calls them."""
