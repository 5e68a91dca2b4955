"""Bounds that are no settings: those of the stream, and as `/v1/info` calls all of them."""

from __future__ import annotations

from typing import Final

from farpeek.reading import standing
from farpeek.targets import claims

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
    "client_matches": standing.MOST_OF_A_CLIENT,
    "matches": standing.MOST,
    "target_clients": claims.MOST_CLIENTS,
    "label_bytes": claims.MOST_OF_LABELS,
}
"""As `/v1/info` calls them."""
