"""The seam: the ways to reach another process's memory, and the choice between them.

Everything in here runs in an access thread and may block in the kernel. It gets values and gives
values back; no state of the service is touched.
"""

from farpeek.access.choice import Ways, choose
from farpeek.access.seam import Access
from farpeek.access.witness import ProcessGone
from farpeek.access.writing.write import WriteAccess

__all__ = ["Access", "ProcessGone", "Ways", "WriteAccess", "choose"]
