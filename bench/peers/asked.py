"""What peers are asked to do: a record that passes to their processes as JSON."""

import json
from dataclasses import asdict, dataclass

from models.registry import Network, networks


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which networks judge, and how; passes between processes as JSON."""

    classifiers: tuple[str, ...]
    segment: str  # `positive`, `all` or `none`
    as_originals: bool = False  # denoise every picture in colour, over their wide window

    @classmethod
    def read(cls, text: str) -> "Asked":
        """From what `written` gave."""
        fields = json.loads(text)
        return cls(**{**fields, "classifiers": tuple(fields["classifiers"])})

    @property
    def written(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @property
    def named(self) -> tuple[Network, ...]:
        """What is known of the classifiers."""
        return tuple(networks()[name] for name in self.classifiers)
