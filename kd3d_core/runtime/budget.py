"""How much to detect so that results are never older than they may be: a controller.

Pure logic: it is told what clouds took and says which step to take; it has no clock. A result's
age has three parts: `arrival`, from the cloud's stamp to its arrival, which no detector changes;
`waiting`, until the one before is done; and `work`. What arrival leaves of the budget is the
*allowance* of the other two, at least a quarter of the budget: what a slow driver costs cannot be
won back by detecting less.

* **Down**: when 3 of the last 5 clouds took more than 90 % of the allowance, or when twice within
  10 clouds others were dropped, because the detector was busy. One late cloud is an accident. The
  next step is the first one that is expected to take at most 80 % of the allowance, so that a
  heavy load is answered at once; where none is, the quickest one. What the first clouds there had
  to wait for was done in the step before, so only their work counts.
* **Up**: one step at a time, when the slowest twentieth of the last clouds leaves room for it by
  the same measure, and 2 s after the last change. A step that had to be left again within 10 s
  must wait twice as long the next time, up to 60 s, so that a load on the border between two steps
  costs a few late clouds a minute.
"""

import itertools
import statistics
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

from kd3d_core.runtime.steps import Step

#: A cloud that took more than this share of the allowance is late.
_LATE = 0.9
#: A step fits if it is expected to take at most this share of the allowance.
_ROOM = 0.8
#: A detector that works this share of the time between clouds keeps up with them.
_BUSY = 0.9
#: The allowance is at least this share of the budget.
_LEAST = 0.25
#: So many of the last so many clouds must be late, or come after dropped ones.
_MANY_LATE, _OF_LAST = 3, 5
_MANY_LOST, _OF_LONGER = 2, 10
#: The next step up is judged by up to so many clouds, and by no fewer than so many.
_MOST_SEEN, _LEAST_SEEN = 40, 10
#: Seconds before a step up is tried, at first and at most, and for how long it has to last.
_PATIENCE, _MOST_PATIENCE, _PROBATION = 2.0, 60.0, 10.0


@dataclass(frozen=True)
class CloudTimes:
    """What one cloud took.

    Attributes:
        done: When it was done, by any clock that only goes forward [s].
        arrival_ms: From its stamp to its arrival [ms]; 0 where that is not known.
        waiting_ms: From its arrival to the beginning of the work [ms].
        work_ms: Until its result was there [ms].
    """

    done: float
    arrival_ms: float
    waiting_ms: float
    work_ms: float

    @property
    def own_ms(self) -> float:
        """What the detector is answerable for [ms]."""
        return self.waiting_ms + self.work_ms


@dataclass(frozen=True)
class Standing:
    """How a budget stands.

    Attributes:
        limit_ms: The budget [ms]; 0 is none.
        steps: All of them.
        index: Of the present one.
        why: What led to it; empty at the start.
        since: For how long [s].
        seconds: Time spent in each step [s].
        changes: How often the step was changed.
        exhausted: Whether clouds are late though no further step would help.
    """

    limit_ms: float
    steps: tuple[Step, ...]
    index: int
    why: str
    since: float
    seconds: tuple[float, ...]
    changes: int
    exhausted: bool

    @property
    def step(self) -> Step:
        """The present one."""
        return self.steps[self.index]


class LatencyBudget:
    """Chooses the step; for any thread. Off, with the first step, while the limit is 0."""

    def __init__(self, steps: Sequence[Step], limit_ms: float = 0.0) -> None:
        """Begin with everything.

        Args:
            steps: From `make_steps`.
            limit_ms: How old a result may be [ms]; 0 takes the first step always.
        """
        self._lock = threading.Lock()
        self._steps = tuple(steps)
        self._limit = limit_ms
        self._arrivals: deque[float] = deque(maxlen=10)
        self._passed_over = 0
        self._since: float | None = None
        self._settling = 0
        self._reset(0)

    @property
    def step(self) -> Step:
        """The present one."""
        with self._lock:
            return self._steps[self._index]

    def configure(self, steps: Sequence[Step], limit_ms: float) -> None:
        """Take other steps or another limit; begins with everything, unless nothing is new."""
        with self._lock:
            if (tuple(steps), limit_ms) == (self._steps, self._limit):
                return
            place = self._steps[self._index]
            self._steps, self._limit = tuple(steps), limit_ms
            names = [step.name for step in steps]
            # More steps, as crops that have been compiled meanwhile, are no reason to be late.
            self._reset(names.index(place.name) if limit_ms and place.name in names else 0)

    def admit(self, now: float) -> bool:
        """Whether a cloud that has just come is to be worked on.

        Args:
            now: By the clock of `CloudTimes.done` [s].
        """
        with self._lock:
            self._arrivals.append(now)
            if self._since is None:
                self._since = now
            self._passed_over += 1
            if self._passed_over < self._steps[self._index].every:
                return False
            self._passed_over = 0
            return True

    def drop(self) -> None:
        """Note that an admitted cloud was replaced by a newer one: the detector was busy."""
        with self._lock:
            self._dropped = True

    def observe(self, cloud: CloudTimes) -> bool:
        """Learn what a cloud took.

        Returns:
            Whether the step is another one now.
        """
        with self._lock:
            if not self._limit:
                return False
            before = self._index
            if self._settling:
                settled = cloud.waiting_ms <= (1 - _BUSY) * self._limit
                self._settling = 0 if settled else self._settling - 1
                cloud = replace(cloud, waiting_ms=0.0)
            self._late.append(cloud.own_ms > _LATE * self._allowance(cloud.arrival_ms))
            self._lost.append(self._dropped)
            self._dropped = False
            self._seen.append(cloud)
            if sum(self._late) >= _MANY_LATE or sum(self._lost) >= _MANY_LOST:
                self._down(cloud.done)
            else:
                self._exhausted = False
                self._up(cloud.done)
            return self._index != before

    def standing(self, now: float) -> Standing:
        """How it stands; `now` as in `admit` [s]."""
        with self._lock:
            since = self._held(now)
            seconds = list(self._seconds)
            seconds[self._index] += since
            return Standing(
                limit_ms=self._limit,
                steps=self._steps,
                index=self._index,
                why=self._why,
                since=since,
                seconds=tuple(seconds),
                changes=self._changes,
                exhausted=self._exhausted,
            )

    def _reset(self, index: int) -> None:
        """Forget everything but the time between clouds."""
        self._index = index
        self._late: deque[bool] = deque(maxlen=_OF_LAST)
        self._lost: deque[bool] = deque(maxlen=_OF_LONGER)
        self._seen: deque[CloudTimes] = deque(maxlen=_MOST_SEEN)
        self._dropped = self._exhausted = False
        self._why = ""
        self._since = None
        self._seconds = [0.0] * len(self._steps)
        self._patience = [_PATIENCE] * len(self._steps)
        self._on_probation = False
        self._settling = 0
        self._changes = 0

    def _down(self, now: float) -> None:
        """Take the first lower step that fits, or the one that is quickest."""
        last = list(self._seen)[-_OF_LAST:]
        work = statistics.median(cloud.work_ms for cloud in last)
        allowance = self._allowance(statistics.median(cloud.arrival_ms for cloud in last))
        lower = range(self._index + 1, len(self._steps))
        fitting = (i for i in lower if self._fits(i, work, 0.0, allowance))
        quickest = min(lower, key=lambda i: self._expected(i, work, 0.0), default=self._index)
        index = next(fitting, quickest)
        here = self._expected(self._index, work, 0.0)
        if self._expected(index, work, 0.0) >= here and here > _ROOM * allowance:
            self._exhausted = sum(self._late) >= _MANY_LATE
            return
        if self._on_probation and self._held(now) < _PROBATION:
            self._patience[self._index] = min(2 * self._patience[self._index], _MOST_PATIENCE)
        own = statistics.median(cloud.own_ms for cloud in last)
        why = f"a cloud took {own:.0f} ms, of {allowance:.0f} ms that it may take"
        if own <= _LATE * allowance:
            why = f"clouds were dropped: they come too quickly for one that takes {work:.0f} ms"
        self._change(index, now, why)

    def _up(self, now: float) -> None:
        """Take the next higher step, if it has waited long enough and fits."""
        if self._on_probation and self._held(now) >= _PROBATION:
            self._on_probation = False
            self._patience[self._index] = _PATIENCE
        higher = self._index - 1
        if higher < 0 or len(self._seen) < _LEAST_SEEN:
            return
        if self._held(now) < self._patience[higher]:
            return
        work, waiting, arrival = (
            _slowest(values)
            for values in zip(
                *((c.work_ms, c.waiting_ms, c.arrival_ms) for c in self._seen), strict=True
            )
        )
        if self._fits(higher, work, waiting, self._allowance(arrival)):
            if self._on_probation:  # it has carried the detector to the next one
                self._patience[self._index] = _PATIENCE
            self._change(higher, now, f"there is room again: a cloud took {work:.0f} ms")
            self._on_probation = True

    def _change(self, index: int, now: float, why: str) -> None:
        """Go to a step; what was seen in the one before says nothing of it."""
        self._seconds[self._index] += self._held(now)
        self._index, self._since, self._why = index, now, why
        self._changes += 1
        self._on_probation = self._exhausted = self._dropped = False
        self._settling = _OF_LAST
        self._late.clear()
        self._lost.clear()
        self._seen.clear()

    def _held(self, now: float) -> float:
        """How long the present step has been taken [s]."""
        return 0.0 if self._since is None else max(now - self._since, 0.0)

    def _allowance(self, arrival_ms: float) -> float:
        """What arrival leaves of the budget [ms]."""
        return max(self._limit - max(arrival_ms, 0.0), _LEAST * self._limit)

    def _work(self, index: int, work: float) -> float:
        """What a cloud would take in a step, when it takes `work` in the present one [ms]."""
        return work * self._steps[index].cost / self._steps[self._index].cost

    def _expected(self, index: int, work: float, waiting: float) -> float:
        """What waiting and work would take in a step [ms]."""
        there = self._work(index, work)
        gap = self._steps[index].every * self._period_ms()
        # One that is busy all the time begins a cloud up to a whole gap after it came.
        return there + (max(waiting, gap) if there > _BUSY * gap > 0 else waiting)

    def _fits(self, index: int, work: float, waiting: float, allowance: float) -> bool:
        """Whether a step would keep up with the clouds and leave room."""
        gap = self._steps[index].every * self._period_ms()
        keeps_up = gap == 0 or self._work(index, work) <= _BUSY * gap
        return keeps_up and self._expected(index, work, waiting) <= _ROOM * allowance

    def _period_ms(self) -> float:
        """The usual time between clouds [ms]; 0 while it is not known."""
        if len(self._arrivals) < 3:
            return 0.0
        return 1e3 * statistics.median(b - a for a, b in itertools.pairwise(self._arrivals))


def _slowest(values: Sequence[float]) -> float:
    """What 19 of 20 values do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)]
