"""One worker that does the runs of all people in turn, tells how far it is, and can be stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from kinema.errors import InputError
from kinema.files import FULL_DISK
from kinema.web.limits import Limits

State = Literal["waiting", "running", "done", "failed", "canceled"]
BROKEN = "something went wrong inside; the terminal of the page says what"
FULL = "the page's disk is full; make room"
MINUTE = 60.0  # seconds

log = logging.getLogger(__name__)


class CanceledError(Exception):
    """Whoever started the run does not want it any more."""


class Ticket:
    """One run: where it stands, and what came of it.

    Attributes:
        user: who started it.
        state: "waiting", "running", "done", "failed" or "canceled".
        share: how much of it is done, in [0, 1].
        doing: what is being done, in words.
        result: what the work returned, once it is done.
        error: why it failed, in one line.
    """

    def __init__(self, user: str, work: Callable[[Ticket], Any], seconds: float) -> None:
        self.user, self.work, self.seconds = user, work, seconds
        self.state: State = "waiting"
        self.share, self.doing = 0.0, "starting"
        self.result: Any = None
        self.error = ""
        self._canceled = threading.Event()
        self._begin = 0.0

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "failed", "canceled")

    def cancel(self) -> None:
        """Asks the run to end at its next step."""
        self._canceled.set()

    def advance(self, share: float, doing: str) -> None:
        """Tells how far the work is; the work calls it between its steps.

        Raises:
            CanceledError: the run is to end.
            InputError: it takes too long.
        """
        if self._canceled.is_set():
            raise CanceledError
        if time.monotonic() - self._begin > self.seconds:
            raise InputError(f"this took over {self.seconds:g} seconds; ask for less")
        self.share, self.doing = min(max(share, 0.0), 1.0), doing

    def run(self) -> None:
        """Does the work; nothing that it raises goes further."""
        self.state, self._begin = "running", time.monotonic()
        try:
            self.advance(0.0, "starting")
            self.result = self.work(self)
            self.state = "done"
        except CanceledError:
            self.state = "canceled"
        except InputError as error:
            self.error, self.state = " ".join(str(error).split()), "failed"
        except Exception as error:  # one broken run must not end those of the others
            is_full = isinstance(error, OSError) and error.errno in FULL_DISK
            if not is_full:
                log.exception("a run of the page failed")
            self.error, self.state = FULL if is_full else BROKEN, "failed"


def address_of(user: str) -> str:
    """The address in the name of a user, whose rest the person chooses."""
    return user.partition(" ")[0]


class Rate:
    """Who started how many runs within the last minute.

    Args:
        who: what is counted, as errors call it.
        most: runs of each.
    """

    def __init__(self, who: str, most: int) -> None:
        self.who, self.most = who, most
        self._started: dict[str, deque[float]] = {}

    def check(self, name: str) -> None:
        """Raises InputError if one more run would be too many."""
        now = time.monotonic()
        for other, times in list(self._started.items()):
            while times and now - times[0] > MINUTE:
                times.popleft()
            if not times:
                del self._started[other]
        mine = self._started.get(name, deque())
        if len(mine) >= self.most:
            wait = MINUTE + 1 - (now - mine[0])
            raise InputError(
                f"{self.who} started {len(mine)} runs within a minute; wait {wait:.0f} seconds"
            )

    def count(self, name: str) -> None:
        """Counts a run that starts now."""
        self._started.setdefault(name, deque()).append(time.monotonic())


class Worker:
    """A thread that works on one ticket after the other, in the order in which they came."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._waiting: deque[Ticket] = deque()
        self._running: Ticket | None = None
        self._people = Rate("you", limits.per_minute)
        self._addresses = Rate("people at your address", limits.per_address)
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="kinema-web", daemon=True)
        self._thread.start()

    def submit(self, user: str, work: Callable[[Ticket], Any]) -> Ticket:
        """Puts a run at the end of the line.

        Args:
            user: who starts it: an address, and what follows a blank, which the person chooses.
            work: does it; calls `Ticket.advance` between its steps.

        Raises:
            InputError: the line is full, or too many runs wait or were started from this address,
                or by this person.
        """
        ticket = Ticket(user, work, self.limits.seconds)
        with self._changed:
            if self._closed:
                raise InputError("the page is closing; start it again")
            if len(self._waiting) >= self.limits.waiting:
                raise InputError(f"{len(self._waiting)} runs are waiting; try again in a minute")
            address = address_of(user)
            here = sum(address_of(other.user) == address for other in self._waiting)
            if here >= self.limits.waiting_per_address:
                raise InputError(
                    f"{here} runs from your address are waiting; try again in a minute"
                )
            self._people.check(user)
            self._addresses.check(address)
            self._people.count(user)
            self._addresses.count(address)
            self._waiting.append(ticket)
            self._changed.notify()
        return ticket

    def ahead_of(self, ticket: Ticket) -> int:
        """How many runs come before a waiting one."""
        with self._changed:
            place = self._waiting.index(ticket) if ticket in self._waiting else 0
            return place + (self._running is not None)

    def cancel(self, user: str) -> int:
        """Ends all runs of a person, and tells how many there were."""
        with self._changed:
            mine = [ticket for ticket in self._waiting if ticket.user == user]
            for ticket in mine:
                self._waiting.remove(ticket)
                ticket.state = "canceled"
            if self._running is not None and self._running.user == user:
                self._running.cancel()
                mine.append(self._running)
        return len(mine)

    def close(self) -> None:
        """Ends all runs, and the thread."""
        with self._changed:
            self._closed = True
            for ticket in self._waiting:
                ticket.state = "canceled"
            self._waiting.clear()
            if self._running is not None:
                self._running.cancel()
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._running = None
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                self._running = ticket = self._waiting.popleft()
            ticket.run()
