"""Maps as plain Python: what the bpf(2) side of each kind answers, by dictionaries and deques.

Each operation returns what it gives, or raises `RefusedError` with Linux's errno. The rules are those that
`rust/core/tests/map_oracle` compares with a running kernel.
"""

from __future__ import annotations

import errno
from collections import OrderedDict, deque

ENOTSUPP = 524
ANY, NOEXIST, EXIST, LOCK = 0, 1, 2, 4
NO_PREALLOC, NO_COMMON_LRU, NUMA_NODE, RDONLY, WRONLY = 1, 2, 4, 8, 16
ZERO_SEED, RDONLY_PROG, WRONLY_PROG, MMAPABLE, INNER_MAP = 64, 128, 256, 1024, 4096


class RefusedError(Exception):
    """An operation that Linux refuses."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, number))
        self.number = number


def refuse(number: int, when: object) -> None:
    """Refuses where that is so."""
    if when:
        raise RefusedError(number)


class PlainMap:
    """What all kinds share: who may read and write, freezing, flags."""

    batches: frozenset[str] = frozenset()

    def __init__(self, entries: int, flags: int) -> None:
        self.max_entries = entries
        self.readable, self.writable = not flags & WRONLY, not flags & RDONLY

    def may_read(self) -> None:
        refuse(errno.EPERM, not self.readable)

    def may_write(self) -> None:
        refuse(errno.EPERM, not self.writable)

    def freeze(self) -> None:
        self.may_write()
        self.writable = False

    def begin_lookup(self, flags: int) -> None:
        refuse(errno.EINVAL, flags & ~LOCK)
        self.may_read()
        refuse(errno.EINVAL, flags)

    def begin_update(self, flags: int) -> None:
        self.may_write()
        refuse(errno.EINVAL, flags & LOCK)

    def begin_take(self, flags: int) -> None:
        refuse(errno.EINVAL, flags & ~LOCK)
        self.may_read()
        self.may_write()
        refuse(errno.EINVAL, flags)

    def begin_batch(self, name: str, flags: int) -> None:
        if name.startswith("lookup"):
            self.may_read()
        if name != "lookup_batch":
            self.may_write()
        refuse(ENOTSUPP, name not in self.batches)
        refuse(errno.EINVAL, flags)


class PlainKeyed(PlainMap):
    """A kind with keys. Subclasses say what an update and a deletion do."""

    def __init__(self, entries: int, flags: int) -> None:
        super().__init__(entries, flags)
        self.values: OrderedDict[bytes, bytes] = OrderedDict()

    def find(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def lookup(self, key: bytes, flags: int) -> bytes | None:
        self.begin_lookup(flags)
        return self.find(key)

    def update(self, key: bytes, value: bytes, flags: int) -> None:
        self.begin_update(flags)
        self.set(key, value, flags)

    def set(self, key: bytes, value: bytes, flags: int) -> None:
        refuse(errno.EINVAL, flags > EXIST)
        refuse(errno.EEXIST, flags == NOEXIST and key in self.values)
        refuse(errno.ENOENT, flags == EXIST and key not in self.values)
        if key not in self.values and len(self.values) == self.max_entries:
            self.make_room()
        self.values[key] = value
        self.values.move_to_end(key)

    def make_room(self) -> None:
        raise RefusedError(errno.E2BIG)

    def delete(self, key: bytes) -> None:
        self.may_write()
        self.remove(key)

    def remove(self, key: bytes) -> None:
        refuse(errno.ENOENT, self.values.pop(key, None) is None)

    def lookup_and_delete(self, key: bytes, flags: int) -> bytes | None:
        self.begin_take(flags)
        return self.values.pop(key, None)

    def keys(self) -> set[bytes]:
        self.may_read()
        return set(self.values)

    def read_all(self, flags: int, remove: bool) -> dict[bytes, bytes]:
        self.begin_batch("lookup_and_delete_batch" if remove else "lookup_batch", flags)
        found = dict(self.values)
        if remove:
            self.values.clear()
        return found

    def update_batch(self, entries: list[tuple[bytes, bytes]], flags: int) -> None:
        self.begin_batch("update_batch", flags)
        for key, value in entries:
            self.set(key, value, ANY)

    def delete_batch(self, keys: list[bytes], flags: int) -> None:
        self.begin_batch("delete_batch", flags)
        for key in keys:
            self.remove(key)


class PlainHash(PlainKeyed):
    """`hash` and `percpu_hash`."""

    batches = frozenset({"lookup_batch", "lookup_and_delete_batch", "update_batch", "delete_batch"})


class PlainLru(PlainHash):
    """`lru_hash` and `lru_percpu_hash`: a new key drives out the one that was updated longest ago."""

    def make_room(self) -> None:
        self.values.popitem(last=False)


class PlainArray(PlainKeyed):
    """`array` and `percpu_array`: all indices are there."""

    batches = frozenset({"lookup_batch", "update_batch"})

    def __init__(self, entries: int, flags: int, value_size: int) -> None:
        super().__init__(entries, flags)
        self.values.update((index.to_bytes(4, "little"), bytes(value_size)) for index in range(entries))

    def set(self, key: bytes, value: bytes, flags: int) -> None:
        refuse(errno.EINVAL, flags > EXIST)
        refuse(errno.E2BIG, key not in self.values)
        refuse(errno.EEXIST, flags == NOEXIST)
        self.values[key] = value

    def remove(self, key: bytes) -> None:
        raise RefusedError(errno.EINVAL)

    def lookup_and_delete(self, key: bytes, flags: int) -> bytes | None:
        self.begin_take(flags)
        raise RefusedError(ENOTSUPP)


class PlainTrie(PlainKeyed):
    """`lpm_trie`: prefixes as strings of bits."""

    batches = frozenset({"lookup_batch", "update_batch", "delete_batch"})

    @staticmethod
    def prefix(key: bytes) -> bytes:
        """The key with the bits that do not count cleared. Of a length that cannot be, EINVAL."""
        length, bits = int.from_bytes(key[:4], "little"), key[4:]
        refuse(errno.EINVAL, length > 8 * len(bits))
        unused = 8 * len(bits) - length
        return key[:4] + (int.from_bytes(bits, "big") >> unused << unused).to_bytes(len(bits), "big")

    def find(self, key: bytes) -> bytes | None:
        length, bits = int.from_bytes(key[:4], "little"), key[4:]
        for shorter in range(min(length, 8 * len(bits)), -1, -1):
            prefix = self.prefix(shorter.to_bytes(4, "little") + bits)
            if length <= 8 * len(bits) and prefix in self.values:
                return self.values[prefix]
        return None

    def set(self, key: bytes, value: bytes, flags: int) -> None:
        refuse(errno.EINVAL, flags > EXIST)
        super().set(self.prefix(key), value, flags)

    def make_room(self) -> None:
        raise RefusedError(errno.ENOSPC)

    def remove(self, key: bytes) -> None:
        super().remove(self.prefix(key))

    def lookup_and_delete(self, key: bytes, flags: int) -> bytes | None:
        self.begin_take(flags)
        raise RefusedError(ENOTSUPP)


class PlainQueue(PlainMap):
    """`queue` and `stack`."""

    def __init__(self, entries: int, flags: int, newest_first: bool) -> None:
        super().__init__(entries, flags)
        self.values: deque[bytes] = deque()
        self.newest_first = newest_first

    def push(self, value: bytes, flags: int) -> None:
        self.begin_update(flags)
        refuse(errno.EINVAL, flags not in (ANY, EXIST))
        if len(self.values) == self.max_entries:
            refuse(errno.E2BIG, flags != EXIST)
            self.values.popleft()
        self.values.append(value)

    def peek(self) -> bytes | None:
        self.begin_lookup(ANY)
        return self.values[-1 if self.newest_first else 0] if self.values else None

    def pop(self) -> bytes | None:
        self.begin_take(ANY)
        if not self.values:
            return None
        return self.values.pop() if self.newest_first else self.values.popleft()


class PlainFilter(PlainMap):
    """`bloom_filter`: what was added is in it; what was not may be."""

    def __init__(self, entries: int, flags: int) -> None:
        super().__init__(entries, flags)
        self.added: set[bytes] = set()

    def push(self, value: bytes, flags: int) -> None:
        self.begin_update(flags)
        refuse(errno.EINVAL, flags != ANY)
        self.added.add(value)


class PlainMapOfMaps(PlainKeyed):
    """`array_of_maps` and `hash_of_maps`: numbers of maps, of which only some fit."""

    def __init__(self, entries: int, flags: int, by_index: bool, fitting: set[int], others: set[int]) -> None:
        super().__init__(entries, flags)
        self.by_index, self.fitting, self.others = by_index, fitting, others
        hash_only = () if by_index else ("lookup_and_delete_batch", "delete_batch")
        self.batches = frozenset({"lookup_batch", "update_batch", *hash_only})

    def fits(self, value: bytes) -> None:
        number = int.from_bytes(value, "little")
        refuse(errno.EBADF, number not in self.fitting | self.others)
        refuse(errno.EINVAL, number in self.others)

    def set(self, key: bytes, value: bytes, flags: int) -> None:
        if self.by_index:
            refuse(errno.EINVAL, flags != ANY)
            refuse(errno.E2BIG, int.from_bytes(key, "little") >= self.max_entries)
            self.fits(value)
            self.values[key] = value
        else:
            self.fits(value)
            super().set(key, value, flags)

    def remove(self, key: bytes) -> None:
        refuse(errno.E2BIG, self.by_index and int.from_bytes(key, "little") >= self.max_entries)
        super().remove(key)

    def lookup_and_delete(self, key: bytes, flags: int) -> bytes | None:
        self.begin_take(flags)
        raise RefusedError(ENOTSUPP)

    def keys(self) -> set[bytes]:
        self.may_read()
        every = {index.to_bytes(4, "little") for index in range(self.max_entries)}
        return every if self.by_index else set(self.values)


class PlainRing:
    """`ringbuf`: each record takes a header of 8 bytes and is padded to 8; one byte stays free."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.records: deque[bytes] = deque()

    def output(self, record: bytes, flags: int) -> None:
        refuse(errno.EINVAL, flags & ~3)
        taken = sum(self.room(old) for old in self.records)
        refuse(errno.EAGAIN, taken + self.room(record) >= self.size)
        self.records.append(record)

    def consume(self) -> bytes | None:
        return self.records.popleft() if self.records else None

    @staticmethod
    def room(record: bytes) -> int:
        return (len(record) + 8 + 7) // 8 * 8
