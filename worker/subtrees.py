"""For archives that are laid out one series a folder: a series is complete when its folder has been read.

Files come in the order of their paths, so a folder has been read once a file comes that lies outside of it. A folder
that a page's end cuts through is not complete on either page: its members wait for the end of the listing.
"""

from collections.abc import Callable, Sequence

from worker.series import Member, folder_of


class Subtrees:
    """Members of the folders that are being read."""

    def __init__(
        self, complete: Callable[[Sequence[Member]], None], incomplete: Callable[[Sequence[Member]], None]
    ) -> None:
        """`complete` gets all members of a folder that has been read, `incomplete` those that must wait."""
        self._complete, self._incomplete = complete, incomplete
        self._open: dict[str, list[Member]] = {}
        self._cut = ""  # the folder that the page before ended in; "" for the top, which is always cut then
        self._fresh = True  # whether the source begins on this page

    def go_on(self, folder: str) -> None:
        """The page before ended in `folder`: neither it nor what it lies in is complete on this page."""
        self._cut, self._fresh = folder, False

    def enter(self, folder: str) -> None:
        """A file of `folder` comes: folders that it does not lie in have been read."""
        for left in [name for name in self._open if not _within(folder, name)]:
            self._complete(self._open.pop(left))

    def add(self, member: Member) -> None:
        """Keep a member until its folder has been read."""
        folder = folder_of(member.file)
        if not self._fresh and _within(self._cut, folder):
            self._incomplete([member])
        else:
            self._open.setdefault(folder, []).append(member)

    def end(self, *, complete: bool) -> None:
        """The source has been read, or the page ends within it."""
        for members in self._open.values():
            (self._complete if complete else self._incomplete)(members)
        self._open.clear()
        if complete:
            self._fresh = True


def _within(folder: str, outer: str) -> bool:
    return not outer or folder == outer or folder.startswith(f"{outer}/")
