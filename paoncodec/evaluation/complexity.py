"""What a layer or a model costs: multiplications, operations, memory, parameters.

"Padé Neurons for Efficient Neural Models", III-D.
"""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def peak_allocation(run: Callable[[], object]) -> int:
    """The most bytes that torch's CPU allocator holds at once while ``run`` runs.

    Counted from what it holds at the beginning, as the profiler records it: tensors and the
    workspaces that torch's own kernels allocate, not what a library takes behind its back.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    events = record.profiler.kineto_results.events()
    changes = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
    held = most = 0
    for _, change in sorted(changes, key=lambda event: event[0]):
        held += change
        most = max(most, held)
    return most
