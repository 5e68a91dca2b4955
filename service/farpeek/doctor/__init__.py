"""What decides here about access to other processes' memory, found out by trying.

Every gate is asked what it says on this host, what that blocks, and what the cure would be: on a
bare host, under Docker, under Kubernetes. Everything in here blocks, and runs in a thread.
"""

from farpeek.doctor.examination import examine
from farpeek.doctor.findings import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine"]
