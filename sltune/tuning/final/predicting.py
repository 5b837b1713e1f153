"""Predictions for samples: the rates of all classes, and the class with the highest one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from sltune.errors import DataError
from sltune.training.batches import BatchSource
from sltune.training.fit import Diverged, evaluate
from sltune.tuning.final.inputs import Inputs
from sltune.tuning.final.loading import Predictor

Row = Mapping[str, str | int | float]


@dataclass
class Tally:
    """What was predicted so far. judged: samples whose true class is known. recorded_s: time that was simulated."""

    samples: int = 0
    judged: int = 0
    correct: int = 0
    seconds: float = 0.0
    recorded_s: float = 0.0

    @property
    def words(self) -> str:
        speed = self.samples / self.seconds if self.seconds else 0.0
        share = self.seconds / self.recorded_s if self.recorded_s else 0.0
        text = f"{self.samples:,} samples in {self.seconds:.1f} s: {speed:,.1f} samples/s, {share:.2g} of real time"
        if not self.judged:
            return text
        percent = 100 * self.correct / self.judged
        return f"accuracy {percent:.2f} % ({self.correct:,} of {self.judged:,}); {text}"


def predict(predictor: Predictor, samples: Inputs, device: torch.device, tally: Tally) -> Iterator[Row]:
    """Give a row for each sample, with the rates of all classes as ``rate_NAME``; the tally counts them.

    Raises:
        DataError: a network's rates are not finite.
    """
    started, configuration = time.perf_counter(), predictor.configuration
    source = BatchSource(samples.samples, samples.indices, samples.frames, samples.crop_bins, device)
    rates = torch.zeros(())
    for network in predictor.networks:
        batches = source.evaluation(configuration.training.eval_batch_size, samples.crops)
        try:
            found = evaluate(network, batches, precision=configuration.training.precision).rates
        except Diverged as error:
            raise DataError(f"the network's rates of some sample are no finite numbers: {error}") from error
        assert found is not None
        rates = rates + found
    rates = rates / len(predictor.networks)
    tally.seconds += time.perf_counter() - started
    tally.recorded_s += samples.crops * source.seconds
    chosen = rates.argmax(1).tolist()
    for place, index in enumerate(map(int, samples.indices)):
        name, truth = predictor.classes[chosen[place]], samples.truths[place]
        tally.samples += 1
        tally.judged += truth is not None
        tally.correct += truth == name
        yield {
            "recording": samples.samples.recording[index],
            "sample": samples.samples.sample_id[index],
            "start_us": samples.samples.start_us(index),
            "duration_us": samples.samples.duration_us(index),
            "true": truth or "",
            "class": name,
            "rate": float(rates[place, chosen[place]]),
            **{f"rate_{each}": float(rate) for each, rate in zip(predictor.classes, rates[place], strict=True)},
        }
