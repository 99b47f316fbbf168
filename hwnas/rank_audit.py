"""RankAudit: the order in which a supernet puts its sub-networks, held against that of networks trained alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

import numpy as np

from hwnas.errors import SettingsError, StoredFileError
from hwnas.files import read_json, write_json
from hwnas.ranking import RankAgreement, rank_agreement
from hwnas.spaces import Architecture

__all__ = ["AuditEntry", "AuditSource", "RankAudit"]

SCHEMA_VERSION: Final = 2

AuditSource = Literal["published", "trained"]


@dataclass(frozen=True)
class AuditEntry:
    """One network of an audit.

    Attributes:
        architecture: the network's.
        description: of it, for a person.
        macs: multiply-accumulates for one image.
        supernet_error: with the supernet's weights, from 0 to 1.
        alone_error: trained alone, from 0 to 1.
    """

    architecture: Architecture
    description: str
    macs: int
    supernet_error: float
    alone_error: float

    def to_json(self) -> dict[str, Any]:
        """As `RankAudit.load` reads it."""
        return {**vars(self), "architecture": self.architecture.to_json()}


@dataclass(frozen=True)
class RankAudit:
    """What an audit has found.

    Attributes:
        entries: the networks, at least one.
        source: whether the errors of networks alone were published or come of a training of their own.
        epochs: of that training; None where they were published.
        data: what the supernet was trained and scored on.
        alone_data: what the networks alone were.
        supernet: agreement of the supernet's order with that of the networks alone.
        macs: agreement of the order by MACs alone, the larger the better.
    """

    entries: tuple[AuditEntry, ...]
    source: AuditSource
    epochs: int | None
    data: str
    alone_data: str
    supernet: RankAgreement
    macs: RankAgreement

    @staticmethod
    def of(
        entries: Sequence[AuditEntry],
        *,
        source: AuditSource,
        data: str,
        alone_data: str | None = None,
        epochs: int | None = None,
    ) -> "RankAudit":
        """The audit of these networks; `alone_data` None: the same. Raises SettingsError where there are none."""
        if not entries:
            raise SettingsError("A rank audit", "must have networks", came="none came")
        alone_N = np.array([one.alone_error for one in entries])
        return RankAudit(
            tuple(entries),
            source,
            epochs,
            data,
            data if alone_data is None else alone_data,
            rank_agreement(np.array([one.supernet_error for one in entries]), alone_N),
            rank_agreement(-np.array([one.macs for one in entries], dtype=np.float64), alone_N),
        )

    @property
    def pick(self) -> AuditEntry:
        """The network that the supernet ranks first; of several the one with fewer MACs."""
        return min(self.entries, key=lambda one: (one.supernet_error, one.macs))

    @property
    def best(self) -> AuditEntry:
        """The network that is best alone; of several the one with fewer MACs."""
        return min(self.entries, key=lambda one: (one.alone_error, one.macs))

    @property
    def regret(self) -> float:
        """How much more error `pick` has alone than `best`, as a fraction."""
        return self.pick.alone_error - self.best.alone_error

    def save(self, path: Path) -> None:
        """Writes the audit as JSON, atomically. Raises StoredFileError."""
        write_json(
            path,
            {
                "schema_version": SCHEMA_VERSION,
                "source": self.source,
                "epochs": self.epochs,
                "data": self.data,
                "alone_data": self.alone_data,
                "entries": [one.to_json() for one in self.entries],
                "supernet": self.supernet.to_json(),
                "macs": self.macs.to_json(),
            },
        )

    @staticmethod
    def load(path: Path) -> "RankAudit":
        """Reads what `save` wrote; that the architectures are ones of their space is not checked. Raises StoredFileError."""
        document = read_json(path, kind="rank audit", schema_version=SCHEMA_VERSION)
        try:
            entries = tuple(_entry(one) for one in document["entries"])
            source, epochs = document["source"], document["epochs"]
            if source not in get_args(AuditSource) or not entries:
                raise ValueError(f"source {source!r}, {len(entries)} entries")
            return RankAudit(
                entries,
                cast(AuditSource, source),
                None if epochs is None else int(epochs),
                str(document["data"]),
                str(document["alone_data"]),
                RankAgreement.from_json(document["supernet"]),
                RankAgreement.from_json(document["macs"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoredFileError(
                str(path),
                "must be a rank audit",
                came=f"reading it says: {error!r}",
                do="Make it anew: hwnas audit RUN",
            ) from error


def _entry(document: Mapping[str, Any]) -> AuditEntry:
    architecture = document["architecture"]
    errors = [float(document[name]) for name in ("supernet_error", "alone_error")]
    if not np.isfinite(errors).all():
        raise ValueError(f"errors {errors}")
    choices = tuple(map(int, architecture["choices"]))
    return AuditEntry(
        Architecture(str(architecture["space"]), choices), str(document["description"]), int(document["macs"]), *errors
    )
