"""An estimate of the energy that a decision takes, from its operations and the energy of each."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

from sltune.errors import UsageError

PICOJOULE = 1e-12


@dataclass(frozen=True)
class EnergyTable:
    """Picojoules of an operation; by default those of float32 in 45 nm at 0.9 V.

    Horowitz 2014, "Computing's energy problem (and what we can do about it)", ISSCC, figure 1.1.9.

    accumulate: of an AC, an addition. multiply_accumulate: of a MAC, a multiplication (3.7) and an addition. update: of
    a membrane update, which decays a potential and adds the current to it, a MAC. access: of 32 bits that are read from
    or written to memory, half of the 64 bits of a cache of 8 kB (10).
    """

    accumulate: float = 0.9
    multiply_accumulate: float = 4.6
    update: float = 4.6
    access: float = 5.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the table with other values, such as "accumulate=0.1,access=650".

        Raises:
            UsageError: there is no such operation, or a value is no number of at least 0.
        """
        names = [one.name for one in fields(cls)]
        values = dict[str, float]()
        for part in text.split(","):
            name, _, value = (piece.strip() for piece in part.partition("="))
            try:
                values[name] = float(value)
            except ValueError:
                values[name] = -1.0
            if name not in names or not 0 <= values[name] < float("inf"):
                allowed = f"{', '.join(names)}, each with the picojoules that it takes, such as accumulate=0.1"
                raise UsageError(f"--energy {text}: {part!r} is not allowed; allowed are {allowed}")
        return cls(**values)

    def joules(self, acs: float, macs: float, updates: float) -> float:
        """Return the energy of operations, without that of memory."""
        return PICOJOULE * (self.accumulate * acs + self.multiply_accumulate * macs + self.update * updates)

    def joules_with_memory(self, acs: float, macs: float, updates: float) -> float:
        """Return the energy with that of memory.

        Every operation reads its weight, every update reads and writes its potential, and sums stay in registers.
        """
        return self.joules(acs, macs, updates) + PICOJOULE * self.access * (acs + macs + 2 * updates)


DEFAULT_TABLE = EnergyTable()
