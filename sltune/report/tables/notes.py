"""What stands around the tables in words: headings, facts, and what a reader must know to read the numbers rightly."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from sltune.report.analysis.baselines import Baseline
from sltune.report.analysis.published import session_set
from sltune.report.analysis.rows import Group
from sltune.report.analysis.summary import ReportSection, Table
from sltune.report.tables.comparison import CLUSTERED, comparison_notes
from sltune.report.tables.grid import percent
from sltune.runs.metrics import METRICS
from sltune.runs.record import EARLIER_SESSIONS

OPTIMISTIC = "optimistic: selects the epoch on the test set"
NESTED = "nested: unbiased by the selection of the configuration"
SYNTHETIC = "synthetic data"
BASELINES = (
    "Majority, nearest neighbour and ridge regression need no network: they are trained on counts of events of the "
    "same training parts, and tested on the same test parts"
)
NO_RESULT = "No trial has a result."
NO_COMPARISON = "measured on the real recordings, no comparison with synthetic data"


def heading(section: ReportSection) -> str:
    """Name dataset and session choice: ``SL-Animals-DVS, synthetic data, reduced set (S1, S2, S4)``."""
    dataset = section.dataset
    parts = [dataset.name, SYNTHETIC] if dataset.synthetic else [dataset.name]
    # Of other datasets, earlier versions wrote the sessions of SL-Animals, which they do not have.
    if section.sessions and ("SL-Animals" in dataset.name or set(section.sessions) != set(EARLIER_SESSIONS)):
        name = session_set(dataset.name, section.sessions)
        parts.append(f"{f'{name} set' if name else 'sessions'} ({', '.join(section.sessions)})")
    return ", ".join(parts)


def facts(section: ReportSection) -> str:
    """Say in one line what the numbers are measured in, against and on."""
    dataset = section.dataset
    classes = f"{len(dataset.classes)} classes, chance {percent(dataset.chance_percent)} %"
    protocol = f"; protocol {section.protocols[0]}" if len(section.protocols) == 1 else ""
    split = f"; split {', '.join(section.splits)}" if section.splits else ""
    return f"Accuracy in %; {classes}; data {dataset.fingerprint[:12]}{protocol}{split}."


def no_result(table: Table) -> str | None:
    """Return the sentence that stands for a table without any result."""
    return None if any(row.n for row in table.rows) else NO_RESULT


def mixture(table: Table) -> str | None:
    """Say why there are several tables, where there are: results on other data or sessions share no mean."""
    if len(table.sections) < 2:
        return None
    kinds = [f"{heading(section)}, data {section.dataset.fingerprint[:12]}" for section in table.sections]
    runs = Counter(run for section in table.sections for run in {row.group.run for row in section.rows})
    mixed = [f"; run {run} itself holds records of {count} kinds" for run, count in runs.items() if count > 1]
    return f"Never averaged or compared across: {'; '.join(kinds)}{''.join(mixed)}."


def whole_notes(table: Table) -> list[str]:
    """Return what concerns the table as a whole."""
    return [*(note for note in (no_result(table), mixture(table)) if note), *table.kept_apart]


def table_notes(table: Table) -> list[str]:
    """Return the notes of all sections, each once, after what concerns the table as a whole."""
    return [*whole_notes(table), *dict.fromkeys(note for section in table.sections for note in section_notes(section))]


def remarks(section: ReportSection) -> list[str]:
    """Return all that is to be said below the tables of a section."""
    return [*measured_remarks(section), *published_remarks(section)]


def measured_remarks(section: ReportSection) -> list[str]:
    """Return what is to be said of the measured numbers."""
    notes = [*section_notes(section), *_interval_note(section), *comparison_notes(section.comparisons)]
    return [*notes, BASELINES] if section.baselines else notes


def published_remarks(section: ReportSection) -> list[str]:
    """Return what is to be said of single published figures, and their sources."""
    methods: defaultdict[str, list[str]] = defaultdict(list)
    for figure in section.published:
        methods[figure.note].append(figure.method)
    noted = [f"{', '.join(names)}: {note}" for note, names in methods.items() if note]
    return [*noted, *(f"[{number}] {source}" for number, source in enumerate(section.sources, start=1))]


def section_notes(section: ReportSection) -> Iterator[str]:
    """Give what a reader must know to read the rows of a section rightly."""
    rows, published = section.rows, section.published
    if section.dataset.synthetic:
        yield f"{SYNTHETIC.capitalize()}: simulated events, not real recordings"
    yield from incomplete(section)
    yield from mixed_folds(section)
    yield from unhealthy(section)
    yield from dict.fromkeys(_choice(row.group) for row in rows if row.group.chosen_from)
    yield from dict.fromkeys(_nested(row.group) for row in rows if row.group.is_nested)
    if any(row.metric == "val_accuracy" for row in rows):
        yield "Validation: at the epoch of the lowest validation loss, whose weights are tested"
    if any(row.optimistic for row in rows):
        note = f"Protocol train-test is {OPTIMISTIC}, one for the highest accuracy and one for the lowest loss"
        yield f"{note}; the last epoch stands beside them"
    yield from _one_fold(section)
    yield from unbeaten(section)
    if published and section.dataset.synthetic:
        yield f"Published figures: {NO_COMPARISON}"
    if any(figure.std is not None and figure.ddof is None for figure in published):
        yield "Published ddof ?: the source does not say how its standard deviation was computed"
    if any(figure.protocol == "train-test" for figure in published):
        yield f"Published, train-test: {OPTIMISTIC}"
    if len({figure.split for figure in published}) > 1:
        yield "Published: figures of different splits were measured on other subjects, and do not compare"


def _one_fold(section: ReportSection) -> Iterator[str]:
    """Say what ± of a split with one fold leaves open."""
    for row in section.tests:
        if row.group.is_one_fold and row.std_over == "seeds":
            text = "one fold, so ± is over seeds: it says how trainings differ, and nothing of other test subjects"
            yield f"{row.group.label}: {text}"


def unbeaten(section: ReportSection) -> Iterator[str]:
    """Say which networks reach no more than a classifier without one, and than which is the best of these."""
    best: dict[str, Baseline] = {}
    for one in section.baselines:
        for row in one.unbeaten:
            known = best.get(row.group.label)
            if known is None or (one.row.mean or 0) > (known.row.mean or 0):
                best[row.group.label] = one
    for label, one in best.items():
        reached = f"which reaches {percent(one.row.mean)} % without a network"
        yield f"{label} does not beat {one.name} on event counts, {reached}"


def incomplete(section: ReportSection) -> Iterator[str]:
    """Say which configurations lack trials, and what has become of these."""
    for row in section.tests:
        if not row.complete:
            yield f"Incomplete: {row.group.label}: {row.trials}"


def unhealthy(section: ReportSection, only_grave: bool = False) -> Iterator[str]:
    """Say what speaks against the figures of trials, which no mean leaves out."""
    grave = any(remark.is_grave for remark in section.health)
    for remark in section.health:
        if remark.is_grave or not only_grave:
            yield f"Health: {remark.text}"
    if grave and not only_grave:
        yield "Health: trials that are named here count in every mean like all others"


def mixed_folds(section: ReportSection) -> Iterator[str]:
    """Say which configurations were tested on a recording in several folds, which are then not those of one split."""
    for row in section.tests:
        tested = Counter((value.seed, name) for value in row.values for name in value.tested_on)
        if twice := min((place for place, count in tested.items() if count > 1), default=None):
            text = f"{twice[1]} was tested on in several folds of seed {twice[0]}"
            yield f"No cross-validation: {row.group.label}: {text}"


def _choice(group: Group) -> str:
    how = f"best of {group.chosen_from} configurations by validation accuracy, which flatters that number"
    return f"{group.label}: {how}{'; --all lists the others' if group.is_alone else ''}"


def _nested(group: Group) -> str:
    how = "each outer fold tests the configuration that a search without its test signers has chosen"
    worth = (
        "so this test mean is unbiased by the selection; it belongs to the search as a whole, not to one configuration"
    )
    return f"{group.label}: {how}, {worth}"


def _interval_note(section: ReportSection) -> Iterator[str]:
    """Say what the intervals of means are."""
    rows = [row for row in section.rows if row.interval]
    found = dict.fromkeys(row.estimate.over for row in rows if row.estimate)
    if found:
        yield f"95 % interval: of the mean, for {' or '.join(found)}, by a t distribution with an error {CLUSTERED}"
    others = list(dict.fromkeys(METRICS[row.metric].row for row in rows if not row.estimate))
    if others:
        shared = any(row.group.same_splits and row.seed is None for row in rows if not row.estimate)
        of = f" of {', '.join(others)}" if found else ""
        aside = "; seeds that share their folds count as one value a fold" if shared else ""
        yield (
            f"95 % interval{of}: of the mean over splits, by a t distribution whose variance is corrected for "
            f"overlapping training sets (Nadeau & Bengio 2003){aside}"
        )
