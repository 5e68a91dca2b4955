"""Bounds that are no settings, and how `/v1/info` calls them; those that are: `bounds`."""

from __future__ import annotations

from typing import Final

from farpeek.reading import standing
from farpeek.search import model as search
from farpeek.search import patterns, searching
from farpeek.targets import claims

MOST_UNDER_WAY: Final = 64
"""Reads of one client that are begun and not answered; then its messages are not read."""

MOST_TICKS_PER_S: Final = 20_000
MOST_REGIONS: Final = 1 << 20
"""Of all subscriptions: what they read is kept, at 16 bytes a region."""

HIGHEST_HZ: Final = 1000.0

MOST_TICKETS_OF_ONE: Final = 64
MOST_TICKETS: Final = 4096
"""That are not used yet, for streams; a ticket is old after half a minute."""

SHOWN: Final[dict[str, float | None]] = {
    "stream_reads_under_way": MOST_UNDER_WAY,
    "subscription_ticks_per_s": MOST_TICKS_PER_S,
    "subscription_regions": MOST_REGIONS,
    "subscription_hz": HIGHEST_HZ,
    "client_stream_tickets": MOST_TICKETS_OF_ONE,
    "stream_tickets": MOST_TICKETS,
    "client_matches": standing.MOST_OF_A_CLIENT,
    "matches": standing.MOST,
    "search_matches": search.MOST_MATCHES,
    "search_match_bytes": search.LONGEST_MATCH,
    "search_context_bytes": search.MOST_CONTEXT,
    "search_regex_steps": patterns.MOST_STEPS,
    "search_ranges": search.MOST_RANGES,
    "search_within": search.MOST_WITHIN,
    "search_mappings": search.MOST_MAPPINGS,
    "search_s": search.LONGEST_S,
    "search_inflight_bytes": searching.COST,
    "target_clients": claims.MOST_CLIENTS,
    "label_bytes": claims.MOST_OF_LABELS,
}
"""As `/v1/info` calls them."""
