"""A paragraph for the methods section of a paper and one for the results, which claim no more than the records show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sltune.report.analysis.published import Published
from sltune.report.analysis.runs import Run
from sltune.report.analysis.series import Series
from sltune.report.analysis.summary import ReportSection
from sltune.report.tables import notes
from sltune.report.tables.accuracy import mean_and_std
from sltune.report.tables.comparison import SIGNIFICANT, basis, p_words
from sltune.report.tables.grid import percent
from sltune.report.writing.answers import p_of
from sltune.report.writing.paper_table import Labels, named
from sltune.report.writing.references import key_of
from sltune.report.writing.standing import Standing, baselines_of, nearest_published, split_words, standing
from sltune.runs.commands import selected

SETTINGS = {
    "network.name": "network {}",
    "network.norm": "normalisation {}",
    "neuron.surrogate": "{} surrogate gradient",
    "neuron.decay": "decay {}",
    "neuron.v_threshold": "threshold {}",
    "training.loss": "loss {}",
    "training.optimizer": "optimizer {}",
    "training.learning_rate": "learning rate {:g}",
    "training.batch_size": "batch size {}",
    "training.epochs": "{} epochs",
    "sampling.train_crop": "{} training crops",
    "sampling.train_crop_ms": "crops of {} ms",
    "sampling.time_bin_ms": "time bins of {} ms",
}
"""The settings that a reader needs to picture the training; a configuration file beside the paper has all."""


@dataclass(frozen=True)
class Paragraphs:
    """Texts in which [@key] stands for a citation."""

    methods: str
    results: str


def paragraphs(section: ReportSection, series: Sequence[Series], runs: Sequence[Run], ddof: int, labels: Labels,
               reference: str = "") -> Paragraphs | None:  # fmt: skip
    """Write both paragraphs on a section; None where no trial has a result.

    Args:
        series, runs: those of which the section was made. labels: what methods are called. reference: what the best is
            compared with; see ``standing``.
    """
    found = standing(section, series, reference)
    if found is None:
        return None
    methods = [*_data(found, section), *_training(found), *_selection(found), *_statistics(found, section, ddof)]
    methods += _software(runs)
    results = [*_outcome(found, section, ddof, labels), *_compared(found, labels), *_published(found, section)]
    return Paragraphs(" ".join(methods), " ".join([*results, *_caveats(found, section)]))


def _data(found: Standing, section: ReportSection) -> Iterator[str]:
    records = found.result.done if found.result else ()
    recordings = {name for record in records for part in record.splits.values() for name in part}
    subjects = {one.subject for record in records for one in record.metrics.recordings.values()}
    counts = [f"{len(section.dataset.classes)} classes", *([f"{len(recordings)} recordings"] if recordings else [])]
    counts += [f"{len(subjects)} test subjects"] if subjects else []
    counts += [f"fingerprint {section.dataset.fingerprint[:12]}"]
    yield f"We used {notes.heading(section)} ({', '.join(counts)})."
    row = found.best
    split = f"{split_words(row)} of a cross-validation" if row.group.has_plain_folds else f"the split {row.group.split}"
    yield f"Accuracies are those of the test parts of {split}, in which no subject stands in two parts."
    if row.group.protocol == "train-test":
        yield "There was no validation part."
        yield (
            "Accuracies of the last epoch are given."
            if not row.optimistic
            else ("The epoch was selected on the test part, so that the accuracy is optimistic.")
        )
    else:
        yield "The weights of the epoch with the lowest validation loss were tested."


def _training(found: Standing) -> Iterator[str]:
    settings: Mapping[str, object] = found.result.settings if found.result else {}
    words = [form.format(settings[key]) for key, form in SETTINGS.items() if _is_worth_saying(settings.get(key))]
    if words:
        own = ":" in str(settings.get("network.name", ""))
        how = "trained" if own else "trained by spatio-temporal backpropagation [@wu-2018]"
        yield f"Networks were {how} ({', '.join(words)})."
    row = found.best
    folds, seeds = ({getattr(one, kind) for one in row.outcomes} for kind in ("fold", "seed"))
    lost = "" if row.complete else f", of which {row.n} have a result"
    each = f"{_number(len(folds), 'fold')} with {_number(len(seeds), 'seed')}"
    yield f"The best configuration was trained on {each}, {_number(row.planned, 'training')} in all{lost}."


def _is_worth_saying(value: object) -> bool:
    return value not in (None, "", "none")


def _selection(found: Standing) -> Iterator[str]:
    group = found.best.group
    if group.is_nested:
        yield (
            "Hyper-parameters were chosen in each outer fold by a search with Optuna [@akiba-2019] that has not seen "
            "its test subjects, so that the test mean is unbiased by the selection."
        )
    elif group.chosen_from > 1:
        how = f"by mean validation accuracy among {group.chosen_from} configurations sampled with Optuna [@akiba-2019]"
        yield f"The configuration was chosen {how}; {selected(group.chosen_from, group.is_one_fold)}."


def _statistics(found: Standing, section: ReportSection, ddof: int) -> Iterator[str]:
    if found.best.std(ddof) is not None:
        yield (
            f"Deviations are standard deviations with n-{ddof} in the denominator."
            if ddof
            else ("Deviations are population standard deviations.")
        )
    answer = found.comparison.answer if found.comparison else None
    sure = answer or found.best.estimate
    if sure is not None and sure.units:
        yield (
            f"Intervals (95 %) and tests of paired differences are for {sure.over}, by a t distribution with standard "
            f"errors clustered by {sure.unit} and trainings [@cameron-2011]."
        )
    elif sure is not None or found.best.interval is not None:
        yield (
            "Intervals (95 %) and tests of paired differences are those of a t distribution whose variance is "
            "corrected for overlapping training sets [@nadeau-2003]."
        )
    if answer is not None and answer.p_better is not None:
        yield (
            f"A method counts as practically better if it is so by more than {answer.equivalence:g} points; the "
            "probability of that is for a flat prior on the difference, after [@corani-2015]."
        )
    tests = sum(one.p_holm is not None for one in section.comparisons)
    if tests > 1:
        yield f"The p values of {tests} comparisons are corrected by Holm's method [@holm-1979]."


def _software(runs: Sequence[Run]) -> Iterator[str]:
    versions = {name: value for run in runs for name, value in run.info.versions.items() if name in ("sltune", "torch")}
    devices = sorted({record.device.name for run in runs for record in run.records if record.device.name})
    on = f" on {', '.join(devices)}" if devices else ""
    if versions:
        yield f"Everything ran in {', '.join(f'{name} {value}' for name, value in versions.items())}{on}."


def _outcome(found: Standing, section: ReportSection, ddof: int, labels: Labels) -> Iterator[str]:
    row = found.best
    interval = (
        f"; 95 % interval of the mean {row.interval.low:.2f} to {row.interval.high:.2f} %" if row.interval else ""
    )
    over = f" over {row.std_over}" if row.std_over else ""
    yield (
        f"{named(row.group, labels)} reached a test accuracy of {mean_and_std(row, ddof)} (mean{over}, n = {row.n}"
        f"{interval}), where chance is {percent(section.dataset.chance_percent)} %."
    )
    if others := [f"{percent(one.row.mean)} % ({one.name})" for one in baselines_of(row, section)]:
        yield f"Classifiers without a network reached {', '.join(others)} on the same test parts."


def _compared(found: Standing, labels: Labels) -> Iterator[str]:
    rival, test = found.rival, found.comparison.test if found.comparison else None
    if rival is None:
        return
    name = named(rival.group, labels) if rival.group.label == found.rival_name else f"the {found.rival_name}"
    if test is None:
        reason = found.comparison.reason if found.comparison else "there is nothing to pair"
        yield f"It was not tested against {name} ({percent(rival.mean)} %), as {reason}."
        return
    p, sure = p_of(found), found.comparison.answer if found.comparison else None
    parts = [f"{test.difference:+.2f} points"]
    if sure is not None and sure.interval is not None:
        parts.append(f"95 % interval {sure.interval.low:+.2f} to {sure.interval.high:+.2f}")
    if sure is not None and sure.p_better is not None:
        parts.append(f"probability of practically better {sure.p_better:.2f}")
    parts.append(basis(sure) if sure is not None else f"n = {test.n}")
    numbers = "; ".join(parts)
    if p is None:
        yield f"Against {name} the difference was {numbers}; too few values allow no test."
    elif p < SIGNIFICANT:
        side = "higher" if test.difference > 0 else "lower"
        yield f"Its accuracy was {side} than that of {name} ({numbers}; {p_words(p)})."
    else:
        yield f"No difference from {name} could be shown ({numbers}; {p_words(p)})."


def _published(found: Standing, section: ReportSection) -> Iterator[str]:
    figure: Published | None = nearest_published(found.best, section)
    if figure is None:
        return
    cited = f" [@{key_of(figure)}]" if key_of(figure) else ""
    std = "" if figure.std is None else f" ± {percent(figure.std)}"
    yield (
        f"Published for {figure.method}{cited} are {percent(figure.mean)}{std} % (split: {figure.split}; protocol: "
        f"{figure.protocol or 'not stated'}); a published mean allows no paired test."
    )


def _caveats(found: Standing, section: ReportSection) -> Iterator[str]:
    if section.dataset.synthetic:
        yield "All data are simulated; nothing follows for real recordings."
    if not found.best.complete:
        yield f"The mean is incomplete: {found.best.trials}."


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"
