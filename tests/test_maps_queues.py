"""Queues and stacks in Python, as of a `collections.deque`."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest
from axebpf import Bench, MapError
from axebpf.bench import LoadedObject
from axebpf.maps import BPF_EXIST
from axebpf.queue_map import QueueMap
from hypothesis import given
from hypothesis import strategies as st

FULL = 4

NOTHING = object()


@pytest.fixture
def progs(types: Path) -> LoadedObject:
    return Bench().load(types)


number = st.integers(0, 2**64 - 1)
operations = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["append", "push", "replace"]), number),
        st.tuples(st.just("extend"), st.lists(number, max_size=FULL + 1)),
        st.tuples(st.sampled_from(["pop", "peek", "clear"]), st.none()),
    )
)


@pytest.mark.parametrize("kind", ["queue", "stack"])
@given(steps=operations)
def test_it_does_what_a_deque_does(kind: str, steps: list[tuple[str, object]]) -> None:
    ours = Bench().create_map(kind, 0, 8, FULL)
    # A queue gives from the left, a stack from the right.
    theirs: collections.deque[object] = collections.deque()
    give = theirs.popleft if kind == "queue" else theirs.pop
    for name, value in steps:
        if name in ("append", "push", "extend"):
            values = value if isinstance(value, list) else [value]
            room = FULL - len(theirs)
            theirs.extend(values[:room])
            if len(values) > room:
                with pytest.raises(MapError, match="E2BIG"):
                    getattr(ours, name)(value)
            else:
                getattr(ours, name)(value)
        elif name == "replace":
            if len(theirs) == FULL:
                theirs.popleft()
            theirs.append(value)
            ours.push(value, BPF_EXIST)
        elif name == "clear":
            theirs.clear()
            ours.clear()
        elif not theirs:
            with pytest.raises(IndexError, match="map0 is empty"):
                getattr(ours, name)()
        elif name == "peek":
            assert ours.peek() == theirs[0 if kind == "queue" else -1]
        else:
            assert ours.pop() == give()
        in_order = list(theirs) if kind == "queue" else list(reversed(theirs))
        assert list(ours) == in_order
        assert ours == in_order
        assert (len(ours), bool(ours), ours.to_numpy().tolist()) == (len(theirs), bool(theirs), in_order)
        assert (ours[:2], ours[-1:]) == (in_order[:2], in_order[-1:])


def test_values_are_typed(progs: LoadedObject) -> None:
    queue, stack = progs.maps["QUEUE"], progs.maps["STACK"]
    queue.extend([(1, 2), {"a": 3, "b": 4}])
    assert queue.peek().a == 1
    assert queue == [(1, 2), (3, 4)] == list(queue)
    assert queue == collections.deque([(1, 2), (3, 4)])
    assert queue != [(1, 2)]
    assert queue != 5
    assert (3, 4) in queue
    queue.push(bytes([5, 0, 6, 0]), BPF_EXIST)
    assert [queue.popleft(), queue.pop()] == [(3, 4), (5, 6)]
    with pytest.raises(MapError, match="b: i8 holds -128 to 127, not 128"):
        queue.append((0, 128))
    with pytest.raises(MapError, match="STACK: the value 'x': u32 takes an integer"):
        stack.append("x")
    stack.extend([1, 2])
    assert (stack.maxlen, stack[0], stack == queue) == (2, 2, False)
    with pytest.raises(MapError, match=r"STACK: a stack gives its newest value only: pop\(\)"):
        stack.popleft()
    assert stack == [2, 1]


def test_the_raw_operations_take_an_empty_key() -> None:
    queue = Bench().create_map("queue", 0, 4, 2)
    assert isinstance(queue, QueueMap)
    queue.update(b"", bytes([1, 0, 0, 0]))
    queue.update(b"", bytes([2, 0, 0, 0]))
    assert queue.lookup(b"") == queue.lookup_and_delete(b"") == bytes([1, 0, 0, 0])
    assert list(queue) == [2]


def test_a_frozen_queue_is_not_changed(progs: LoadedObject) -> None:
    queue = progs.maps["QUEUE"]
    queue.append((1, 1))
    queue.freeze()
    for change in (queue.clear, queue.pop, lambda: queue.append((2, 2))):
        with pytest.raises(MapError, match="EPERM"):
            change()
    assert list(queue) == [(1, 1)]


def test_an_empty_queue_can_be_in_a_map_of_maps() -> None:
    """It is false, and a map nonetheless."""
    bench = Bench()
    queue = bench.create_map("queue", 0, 4, 2)
    outer = bench.create_map("array_of_maps", 4, 4, 2, inner=queue)
    outer[1] = queue
    assert not queue
    assert outer[1] is queue
