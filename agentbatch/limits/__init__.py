"""How much at once, how much in any minute, how much money: the limits, and the queue before each.

Every queue serves the smallest priority first, and within one priority in order of arrival. The priority is the item's
index, so that items that began early finish instead of all being half done. Only the head of a queue is served, so that
a large request is never starved by small ones behind it.
"""

from agentbatch.limits.admission import Admission, Limiter
from agentbatch.limits.budget import Budget, Spending
from agentbatch.limits.permits import Permits
from agentbatch.limits.rate import WINDOW_S, Loan, Rate, RateLike
from agentbatch.limits.rate_queue import Grant

__all__ = ["WINDOW_S", "Admission", "Budget", "Grant", "Limiter", "Loan", "Permits", "Rate", "RateLike", "Spending"]
