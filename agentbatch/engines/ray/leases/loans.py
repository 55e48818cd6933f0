"""What a worker and the bank of limits tell each other: holdings as they stand, never changes, so that a lost answer
is mended by the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agentbatch.record import record


@record
class Terms:
    """The limits of one owner (`model fast`, `agent writer`) over the whole run; None where there is none."""

    places: int | None
    rpm: int | None
    tpm: int | None


@record
class Holding:
    """A share of something that is shared: what the worker may use, uses, and could use. Places, or dollars.

    Attributes:
        least: the least that something which waits needs beyond what is in use: with less nothing of it can begin.
    """

    ceiling: float
    in_use: float
    wanted: float
    least: float | None = None


@record
class Need:
    """Of a rate: units given back since the worker began (less than zero: used beyond what was lent), and wanted.

    Attributes:
        first: of those wanted, what each of the first requests in the queue needs; it has nothing of less than all.
    """

    returned: float
    wanted: float
    first: tuple[float, ...] = ()


@dataclass(slots=True)
class Report:
    """A worker's state.

    Attributes:
        number: of the report, from 1; an older one that comes late is not looked at.
        places: by owner. rates: by owner and `rpm` or `tpm`.
        pauses: seconds for which an endpoint lets nobody in, by owner. dead: why one is out of service for good.
        dollars: of the run's budget; spent: those that are gone.
    """

    worker: str
    number: int
    terms: dict[str, Terms] = field(default_factory=dict[str, Terms])
    places: dict[str, Holding] = field(default_factory=dict[str, Holding])
    rates: dict[tuple[str, str], Need] = field(default_factory=dict[tuple[str, str], Need])
    pauses: dict[str, float] = field(default_factory=dict[str, float])
    dead: dict[str, str] = field(default_factory=dict[str, str])
    dollars: Holding | None = None
    spent: float = 0.0


@dataclass(slots=True)
class Answer:
    """The bank's.

    Attributes:
        places: how many each owner may have in use here. lent: units of each rate ever lent to this worker.
        dollars: how much it may have spent and set aside; exhausted: why nobody gets more.
        again_s: when to report next, at the latest.
    """

    number: int
    places: dict[str, int] = field(default_factory=dict[str, int])
    lent: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    pauses: dict[str, float] = field(default_factory=dict[str, float])
    dead: dict[str, str] = field(default_factory=dict[str, str])
    dollars: float | None = None
    exhausted: str | None = None
    again_s: float = 0.03
