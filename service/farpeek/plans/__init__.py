"""Plans: reads that follow from one another, done in one request.

A plan is data: what to read, and where its bytes say to read next. Nothing in it computes, loops or
jumps but along what it reads, and all of it has limits: a hostile target costs no more than those.
"""

from farpeek.plans.checking import check
from farpeek.plans.standing import again_and_again, once
from farpeek.plans.work import GRACE_S, carry_out, cost

__all__ = ["GRACE_S", "again_and_again", "carry_out", "check", "cost", "once"]
