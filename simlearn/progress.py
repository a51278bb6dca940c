"""Progress bars that no other process can stop."""

from __future__ import annotations

from tqdm.auto import tqdm
from tqdm.std import TqdmDefaultWriteLock  # type: ignore[attr-defined]  # not in the stubs


class Bar(tqdm):  # type: ignore[type-arg]  # generic in the stubs alone
    """A bar of tqdm whose lock no other process can hold.

    Before it draws, tqdm takes a lock that all forks of a process share. One that is killed in that moment (by the
    out-of-memory killer, say) keeps it for ever, and each of the others stands still at its next bar, shown or not.
    Here it is only the lock among threads, which tqdm takes as well.
    """

    _lock = TqdmDefaultWriteLock.th_lock
