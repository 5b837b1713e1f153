# mypy: disable-error-code="untyped-decorator"
"""Triton kernels of a LIF layer over time, forward and backward; layer.py lays out memory and starts them.

One program takes a block of neurons through all time steps with potentials in float32 registers, so a step reads the
current and writes the spikes, and nothing else (Wu et al. 2018, eq. 10-12). There are two ways to share the neurons:

- flat: a block is BLOCK neighbours in memory, of any samples;
- pooling: a block is BLOCK cells of 2×2 neurons of one sample, held as a tile of BLOCK cells by 4 neurons. The axis
  along which memory is contiguous comes last, so that neighbouring threads read neighbouring addresses: the neurons of
  a cell when columns are innermost, the cells when channels are. An odd last row or column makes incomplete cells:
  their neurons fire, but have no pooled output.

Where neurons stand behind batch normalisation, norms is (3, C): mean, scale and bias of each channel. A value is then
normalised as it is read, (value − mean) · scale + bias, and never written.

Every operation on potentials is rounded on its own, as in lif_step, if the kernels are compiled with
enable_fp_fusion=False.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _flat(neurons: tl.tensor, BLOCK: tl.constexpr) -> tuple[tl.tensor, tl.tensor]:
    """Return the offsets of this program's neurons from the start of a time step, and which of them exist."""
    offset = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return offset, offset < neurons


@triton.jit
def _cells(
    channels: tl.tensor, height: tl.tensor, width: tl.tensor, CHANNELS_LAST: tl.constexpr, BLOCK: tl.constexpr
) -> tuple[tl.tensor, ...]:
    """Return offsets of this program's neurons and which exist, the same of its cells' pooled outputs, and channels.

    Offsets start at a time step. Only the sample's takes 64 bits: one sample has less than 2³¹ neurons.
    """
    rows = (height + 1) // 2
    columns = (width + 1) // 2
    blocks = tl.cdiv(channels * rows * columns, BLOCK)
    sample = (tl.program_id(0) // blocks).to(tl.int64)
    index = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    cell = tl.expand_dims(index, 1)
    part = tl.expand_dims(tl.arange(0, 4), 0)
    if CHANNELS_LAST:
        channel, row, column = cell % channels, cell // channels // columns, cell // channels % columns
        neuron = ((2 * row + part // 2) * width + 2 * column + part % 2) * channels + channel
        output = (row * (width // 2) + column) * channels + channel
    else:
        channel, row, column = cell // columns // rows, cell // columns % rows, cell % columns
        neuron = (channel * height + 2 * row + part // 2) * width + 2 * column + part % 2
        output = (channel * (height // 2) + row) * (width // 2) + column
    present = cell < channels * rows * columns
    exists = present & (2 * row + part // 2 < height) & (2 * column + part % 2 < width)
    pooled = present & (row < height // 2) & (column < width // 2)
    neuron += sample * (channels * height * width)
    output += sample * (channels * (height // 2) * (width // 2))
    return neuron, exists, output, pooled, channel


@triton.jit
def _start(
    potential: tl.tensor, spikes: tl.tensor, neuron: tl.tensor, exists: tl.tensor
) -> tuple[tl.tensor, tl.tensor]:
    """Return potentials and spikes before the first step; at rest if the pointers are None."""
    if potential is None:
        state = tl.zeros(neuron.shape, tl.float32), tl.zeros(neuron.shape, tl.float32)
    else:
        state = tl.load(potential + neuron, mask=exists, other=0.0), tl.load(spikes + neuron, mask=exists, other=0.0)
    return state


@triton.jit
def _norm(norms: tl.tensor, channel: tl.tensor, channels: tl.tensor) -> tuple[tl.tensor, ...]:
    """Return mean, scale and bias of each neuron's channel; numbers that nothing reads if there is no normalisation."""
    if norms is None:
        norm = 0.0, 1.0, 0.0
    else:
        own = norms + channel % channels
        norm = tl.load(own), tl.load(own + channels), tl.load(own + 2 * channels)
    return norm


@triton.jit
def _advance(
    potential: tl.tensor,
    spikes: tl.tensor,
    current: tl.tensor,
    exists: tl.tensor,
    decay: tl.tensor,
    v_threshold: tl.tensor,
    norms: tl.tensor,
    mean: tl.tensor,
    scale: tl.tensor,
    bias: tl.tensor,
) -> tuple[tl.tensor, tl.tensor]:
    """Return potentials and spikes one step on; the products and the sum are those of lif_step, in its order."""
    value = tl.load(current, mask=exists, other=0.0).to(tl.float32)
    if norms is not None:
        value = (value - mean) * scale + bias
    potential = decay * potential * (1 - spikes) + value
    return potential, ((potential > v_threshold) & exists).to(tl.float32)


@triton.jit
def _window(x: tl.tensor, a: tl.tensor, b: tl.tensor, WINDOW: tl.constexpr) -> tl.tensor:
    """Return the surrogate derivative at x = u − v_threshold; a and b are the window's constants from layer.py."""
    if WINDOW == "rectangular":
        derivative = tl.where(tl.abs(x) < a, b, 0.0)
    elif WINDOW == "polynomial":
        derivative = tl.maximum(a - b * tl.abs(x), 0.0)
    elif WINDOW == "sigmoid":
        # The window is even, and this sign cannot overflow.
        tail = tl.exp(-tl.abs(x) * a)
        derivative = tail / ((1 + tail) * (1 + tail)) * a
    else:
        tl.static_assert(WINDOW == "gaussian")
        derivative = tl.exp(-(x * x) * a) * b
    return derivative


@triton.jit(do_not_specialize=["steps"])
def lif_forward(
    current: tl.tensor,
    spikes: tl.tensor,
    start_potential: tl.tensor,
    start_spikes: tl.tensor,
    end_potential: tl.tensor,
    end_spikes: tl.tensor,
    counts: tl.tensor,
    decays: tl.tensor,
    norms: tl.tensor,
    steps: tl.tensor,
    step_size: tl.tensor,
    output_size: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    decay_count: tl.tensor,
    channel_size: tl.tensor,
    decay: tl.tensor,
    v_threshold: tl.tensor,
    POOL: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Write spikes or their 2×2 averages, the state after the last step, and the number of spikes per program.

    step_size and output_size are the values of current and of spikes in a time step. decays: used in place of decay
    unless None; decay_count values, one of each channel or of all. norms: None without a normalisation. channel_size:
    a channel's neurons that lie side by side.
    """
    if POOL:
        neuron, exists, output, pooled, channel = _cells(channels, height, width, CHANNELS_LAST, BLOCK)
    else:
        neuron, exists = _flat(step_size, BLOCK)
        channel = neuron // channel_size
    if decays is not None:
        decay = tl.load(decays + channel % decay_count)
    mean, scale, bias = _norm(norms, channel, channels)
    potential, fired = _start(start_potential, start_spikes, neuron, exists)
    count = tl.zeros(neuron.shape, tl.float32)
    for _ in range(steps):
        potential, fired = _advance(
            potential, fired, current + neuron, exists, decay, v_threshold, norms, mean, scale, bias
        )
        count += fired
        if POOL:
            pooled_spikes = tl.sum(fired, axis=1, keep_dims=True) * 0.25
            tl.store(spikes + output, pooled_spikes, mask=pooled)
        else:
            tl.store(spikes + neuron, fired, mask=exists)
        current += step_size
        spikes += output_size
    tl.store(end_potential + neuron, potential, mask=exists)
    tl.store(end_spikes + neuron, fired, mask=exists)
    # A neuron's count is exact in float32, since it is at most the number of steps; the block's needs an integer.
    tl.store(counts + tl.program_id(0), tl.sum(count.to(tl.int32)))


@triton.jit(do_not_specialize=["steps"])
def lif_backward(
    current: tl.tensor,
    output_gradient: tl.tensor,
    scratch: tl.tensor,
    current_gradient: tl.tensor,
    start_potential: tl.tensor,
    start_spikes: tl.tensor,
    decays: tl.tensor,
    decay_gradient: tl.tensor,
    norms: tl.tensor,
    norm_gradient: tl.tensor,
    steps: tl.tensor,
    step_size: tl.tensor,
    output_size: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    decay_count: tl.tensor,
    channel_size: tl.tensor,
    decay: tl.tensor,
    v_threshold: tl.tensor,
    a: tl.tensor,
    b: tl.tensor,
    WINDOW: tl.constexpr,
    POOL: tl.constexpr,
    CHANNELS_LAST: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Write dL/dI from dL/d(output), both over all steps, and where there are decays, each neuron's dL/d(decay).

    I is the normalised current where there is a normalisation. Two more values of each neuron, (2, step_size), then say
    what its channel's gradients come from: dL/dI, and its product with the distance of the input from the mean.

    A first sweep runs the neurons forward again and leaves u(t) in scratch, float32 of the current's shape. That may be
    current_gradient itself: the reverse sweep reads u(t − 1) before it writes dL/dI(t − 1) in the same place.
    """
    if POOL:
        neuron, exists, output, pooled, channel = _cells(channels, height, width, CHANNELS_LAST, BLOCK)
    else:
        neuron, exists = _flat(step_size, BLOCK)
        channel = neuron // channel_size
        output, pooled = neuron, exists
    if decays is not None:
        decay = tl.load(decays + channel % decay_count)
    mean, scale, bias = _norm(norms, channel, channels)
    potential, spikes = _start(start_potential, start_spikes, neuron, exists)
    for _ in range(steps):
        potential, spikes = _advance(
            potential, spikes, current + neuron, exists, decay, v_threshold, norms, mean, scale, bias
        )
        tl.store(scratch + neuron, potential, mask=exists)
        current += step_size
        scratch += step_size
        current_gradient += step_size
        output_gradient += output_size
    # A thread may read what another one of its block wrote.
    tl.debug_barrier()
    gradient = tl.zeros(neuron.shape, tl.float32)
    to_decay = tl.zeros(neuron.shape, tl.float32)
    to_bias = tl.zeros(neuron.shape, tl.float32)
    to_scale = tl.zeros(neuron.shape, tl.float32)
    for _ in range(steps):
        scratch -= step_size
        current_gradient -= step_size
        output_gradient -= output_size
        potential = tl.load(scratch + neuron, mask=exists, other=0.0)
        received = tl.load(output_gradient + output, mask=pooled, other=0.0).to(tl.float32)
        if POOL:
            received *= 0.25
        if decays is not None:
            to_decay += potential * (1 - (potential > v_threshold).to(tl.float32)) * gradient
        # What the next step's potential sends back through the reset, to o(t), and past it, to u(t).
        to_spikes = received - decay * potential * gradient
        to_potential = decay * ((1 - (potential > v_threshold).to(tl.float32)) * gradient)
        gradient = to_spikes * _window(potential - v_threshold, a, b, WINDOW) + to_potential
        tl.store(current_gradient + neuron, gradient, mask=exists)
        if norms is not None:
            current -= step_size
            to_bias += gradient
            to_scale += gradient * (tl.load(current + neuron, mask=exists, other=0.0).to(tl.float32) - mean)
    if norms is not None:
        tl.store(norm_gradient + neuron, to_bias, mask=exists)
        tl.store(norm_gradient + step_size + neuron, to_scale, mask=exists)
    if decays is not None:
        potential, spikes = _start(start_potential, start_spikes, neuron, exists)
        to_decay += potential * (1 - spikes) * gradient
        tl.store(decay_gradient + neuron, to_decay, mask=exists)


@triton.jit
def through_statistics(
    images: tl.tensor,
    gradient: tl.tensor,
    norms: tl.tensor,
    factors: tl.tensor,
    values: tl.tensor,
    channels: tl.tensor,
    channel_size: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """Turn the gradient by normalised images into that by images: scale · gradient + slope · (images − mean) + shift.

    values: their number, over all steps. factors: slope and shift of each channel, (2, channels).
    """
    offset, exists = _flat(values, BLOCK)
    # Within an image 32 bits are enough; to divide every offset of 64 would take longer than to read the images.
    start = (tl.program_id(0).to(tl.int64) * BLOCK % (channels * channel_size)).to(tl.int32)
    channel = (start + tl.arange(0, BLOCK)) // channel_size % channels
    mean, scale, _ = _norm(norms, channel, channels)
    distance = tl.load(images + offset, mask=exists, other=0.0) - mean
    through = tl.load(factors + channel) * distance + tl.load(factors + channels + channel)
    tl.store(gradient + offset, scale * tl.load(gradient + offset, mask=exists, other=0.0) + through, mask=exists)
