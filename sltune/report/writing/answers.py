"""The questions that a reader asks of results, each with its answer in a sentence or two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from sltune.report.analysis.costs import Cost
from sltune.report.analysis.rows import Row
from sltune.report.analysis.runs import Run
from sltune.report.analysis.series import Series
from sltune.report.analysis.summary import ReportSection
from sltune.report.tables.accuracy import leading, mean_and_std
from sltune.report.tables.comparison import SIGNIFICANT, basis, p_words
from sltune.report.tables.grid import percent
from sltune.report.writing.next_step import next_step
from sltune.report.writing.standing import Standing, baselines_of, nearest_published, split_words, standing
from sltune.runs.metrics import METRICS
from sltune.wording import shortened

MAX_NAME = 32
"""Characters of a method's name; more would break the answer's two lines."""
COSTS = ("parameters", "effective_macs", "effective_acs", "synaptic_ops", "spikes", "energy_joules")
"""What is told of costs, in this order; the earlier count of operations only where there is no better one."""
WORST = 3
"""Signers who are named: whoever has more failures finds them in the plot of all."""


@dataclass(frozen=True)
class Answer:
    """An answer.

    word: its question in a word. question: in full. number: what stands large on a page; "" where there is none.
    text: the answer, which has the number, too. command: what to type; "" where there is nothing.
    """

    word: str
    question: str
    number: str
    text: str
    command: str = ""

    @property
    def rest(self) -> str:
        """The text without the number, where it begins with that."""
        return self.text.removeprefix(self.number).lstrip(",;: ") if self.number else self.text


def answers(section: ReportSection, series: Sequence[Series], runs: Sequence[Run], table_ddof: int = 1,
            reference: str = "") -> list[Answer]:  # fmt: skip
    """Answer what readers ask first of a section; nothing where no trial has a result.

    Args:
        series, runs: those of which the section was made. reference: what the best is compared with; see ``standing``.
    """
    found = standing(section, series, reference)
    if found is None:
        return []
    return [
        _which(found, table_ddof, len(leading(section))),
        _better(found, section),
        _by_how_much(found, section),
        _how_sure(found),
        _baselines(found, section),
        _published(found, section),
        _cost(found, section),
        _signers(found),
        Answer("Next", "What should I run next?", "", *next_step(found, section, runs)),
    ]


def name_of(label: str) -> str:
    return shortened(label, MAX_NAME)


def p_of(found: Standing) -> float | None:
    """Return the p value of the comparison, corrected for others where there are several."""
    compared = found.comparison
    if compared is None or compared.answer is None:
        return None
    return compared.answer.p if compared.p_holm is None else compared.p_holm


def trials_words(row: Row) -> str:
    """Say what a mean is over: ``n 12 of 12: 4 folds, 3 seeds``."""
    folds, seeds = ({getattr(one, kind) for one in row.values} for kind in ("fold", "seed"))
    parts = [f"{len(found)} {kind}{'s' * (len(found) != 1)}" for kind, found in (("fold", folds), ("seed", seeds))]
    return f"n {row.n} of {row.planned}: {', '.join(parts)}"


def _which(found: Standing, ddof: int, methods: int) -> Answer:
    row = found.best
    selected = ", epoch selected on the test set" if row.optimistic else ""
    winner = f", best of {row.group.chosen_from} by validation" if row.group.chosen_from > 1 else ""
    winner += ", nested, unbiased by the selection" if row.group.is_nested else ""
    number = mean_and_std(row, ddof)
    # Who looks at several test means and names the highest has selected on the test set.
    chosen = f"; highest test mean of {methods}, so optimistic" if methods > 1 else ""
    text = f"{name_of(row.group.label)}: {number} test accuracy ({trials_words(row)}{winner}{selected}){chosen}"
    return Answer("Best", "Which is best?", number, text)


def _better(found: Standing, section: ReportSection) -> Answer:
    question = "Is it better than the next?"
    if found.rival is None:
        interval, chance = found.best.interval, section.dataset.chance_percent
        verdict = "unknown" if interval is None else "yes" if interval.low > chance else "not shown"
        why = "no interval" if interval is None else f"95 % interval {interval.low:.2f} to {interval.high:.2f} %"
        text = f"{verdict}: nothing but chance, {percent(chance)} %, to compare it with, {why}"
        return Answer("Better", question, verdict, text)
    names = f"{name_of(found.best.group.label)} against {name_of(found.rival_name)}"
    verdict, text = _verdict(found)
    return Answer("Better", question, verdict, f"{verdict}: {names}, {text}")


def _verdict(found: Standing) -> tuple[str, str]:
    """Return yes, no or unknown, and why."""
    p, compared = p_of(found), found.comparison
    if compared is None or compared.test is None:
        return "unknown", f"not compared, {compared.reason if compared else 'no trial of it has a result'}"
    if p is None:
        return "unknown", "as too few values, or values all alike, allow no test"
    if p < SIGNIFICANT:
        return "yes" if compared.test.difference > 0 else "no", f"more than chance explains at 5 % ({p_words(p)})"
    return "not shown", f"the difference can be chance ({p_words(p)})"


def _by_how_much(found: Standing, section: ReportSection) -> Answer:
    question = "By how much?"
    rival, compared = found.rival, found.comparison
    if rival is None or compared is None:
        number = f"{(found.best.mean or 0.0) - section.dataset.chance_percent:+.2f} points"
        return Answer("By", question, number, f"{number} to chance")
    means = f"{percent(found.best.mean)} % against {percent(rival.mean)} %"
    if compared.test is None:
        return Answer("By", question, "", f"{means}, not paired")
    number, n = f"{compared.test.difference:+.2f} points", compared.test.n
    pairs = "one pair of trainings on the same test part" if n == 1 else f"{n} pairs of the same test parts"
    return Answer("By", question, number, f"{number}, over {pairs} ({means})")


def _how_sure(found: Standing) -> Answer:
    question, sure = "How sure is that?", found.comparison.answer if found.comparison else None
    if sure is None or sure.interval is None:
        own = found.best.interval
        alone = f"; of the mean alone {own.low:.2f} to {own.high:.2f} %" if own else ""
        return Answer("Sure", question, "", f"no interval of a difference{alone}")
    number = f"{sure.interval.low:+.2f} to {sure.interval.high:+.2f} points"
    likely = "" if sure.p_better is None else f"; P(better by > {sure.equivalence:g}) {sure.p_better:.2f}"
    return Answer("Sure", question, number, f"95 % interval {number}{likely}; {basis(sure)}")


def _baselines(found: Standing, section: ReportSection) -> Answer:
    chance = f"chance {percent(section.dataset.chance_percent)} %"
    others = [f"{one.name} {percent(one.row.mean)} %" for one in baselines_of(found.best, section)]
    number, above = "", "; no other baselines: the run was made without them"
    best = next(iter(baselines_of(found.best, section)), None)
    if best is not None and best.row.mean is not None and found.best.mean is not None:
        number = f"{found.best.mean - best.row.mean:+.2f} points"
        above = f"; {number} to {best.name}"
    text = f"{', '.join([chance, *others])}{above}"
    return Answer("Baseline", "Against chance and nearest neighbour?", number, text)


def _published(found: Standing, section: ReportSection) -> Answer:
    question, row = "Against published results?", found.best
    if section.dataset.synthetic:
        return Answer("Published", question, "", "none: real recordings do not compare with synthetic data")
    figure = nearest_published(row, section)
    if figure is None or row.mean is None:
        return Answer("Published", question, "", "no figure is known of this dataset, or they were left out")
    number = f"{row.mean - figure.mean:+.2f} points"
    std = "" if figure.std is None else f" ± {percent(figure.std)}"
    text = f"{number} to {name_of(figure.method)}, {percent(figure.mean)}{std} % ({_unlike(figure, row)})"
    return Answer("Published", question, number, text)


def _unlike(figure: object, row: Row) -> str:
    """Say in what a published figure was measured otherwise than a row."""
    split, protocol = getattr(figure, "split", ""), getattr(figure, "protocol", "")
    parts = [] if split == split_words(row) else [f"split {split}"]
    parts += [] if protocol == row.group.protocol else [f"protocol {protocol or 'not stated'}"]
    return f"but {', '.join(parts)}" if parts else "same split and protocol"


def _cost(found: Standing, section: ReportSection) -> Answer:
    cost = next((one for one in section.costs if one.group == found.best.group), None)
    parts = list(cost_parts(cost)) if cost else []
    return Answer("Cost", "What did it cost?", parts[0] if parts else "", "; ".join(parts) or "nothing was counted")


def cost_parts(cost: Cost) -> Iterator[str]:
    """Give what a configuration cost, each with its unit."""
    for name in COSTS:
        value = cost.metrics.get(name)
        if value is not None and not (name == "synaptic_ops" and cost.metrics.get("effective_acs") is not None):
            metric = METRICS[name]
            each = " a sample" if metric.unit.endswith("/sample") else ""
            yield " ".join(f"{metric.shown(value):.4g} {metric.shown_as} {metric.column}{each}".split())
    if cost.minutes is not None:
        yield f"{cost.minutes:.3g} min a training"


def _signers(found: Standing) -> Answer:
    question = "Which signers fail?"
    shares = found.result.by("subject") if found.result else {}
    if not shares:
        return Answer("Signers", question, "", "the records do not say who was tested")
    if all(share.samples == 1 for share in shares.values()):
        wrong = sum(share.percent < 50 for share in shares.values())
        return Answer(
            "Samples", "Which samples fail?", f"{wrong}", f"{wrong} of {len(shares)}; the data name no signers"
        )
    order = sorted(shares, key=lambda name: (shares[name].percent, name))
    worst = [f"{name_of(name)} {shares[name].percent:.1f} %" for name in order[:WORST]]
    middle = median(share.percent for share in shares.values())
    below = sum(share.percent < middle - 20 for share in shares.values())
    text = f"lowest {', '.join(worst)}; median {middle:.1f} % of {len(shares)}, {below} more than 20 points below it"
    return Answer("Signers", question, worst[0], text)
