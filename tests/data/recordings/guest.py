"""Runs `guest.S` under KVM: a machine with two vCPUs, in-kernel interrupt controllers and timer, 2 MiB of memory.

    python guest.py [MACHINES]

Nothing but the kernel, `as`, `ld` and Python is needed. What the guest writes to its serial port goes to standard
output.
Structures and numbers are those of `linux/kvm.h` for x86-64.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

LOAD_AT = 0x8000
MEMORY = 2 << 20
DEVICE = 0xD0000000

CREATE_VM, CREATE_VCPU, CREATE_IRQCHIP, CREATE_PIT2 = 0xAE01, 0xAE41, 0xAE60, 0x4040AE77
SET_TSS, SET_MEMORY, RUN, VCPU_MMAP_SIZE = 0xAE47, 0x4020AE46, 0xAE80, 0xAE04
GET_SREGS, SET_SREGS, SET_REGS = 0x8138AE83, 0x4138AE84, 0x4090AE82
GET_SUPPORTED_CPUID, SET_CPUID2 = 0xC008AE05, 0x4008AE90
EXIT_IO, EXIT_MMIO, EXIT_SHUTDOWN = 2, 6, 8


def image() -> tuple[bytes, dict[str, int]]:
    """The assembled guest and the addresses of its symbols."""
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
    hardware = "vmx" in flags or "svm" in flags
    with tempfile.TemporaryDirectory() as folder:
        source, built, linked = (str(Path(folder) / name) for name in ("guest.o", "guest.elf", "guest.bin"))
        page = LOAD_AT // 4096 + 1
        defines = ["--defsym", f"HARDWARE={int(hardware)}", "--defsym", f"SIPI_PAGE={page}"]
        subprocess.run(["as", "--32", *defines, "-o", source, str(Path(__file__).with_name("guest.S"))], check=True)
        subprocess.run(
            ["ld", "-m", "elf_i386", f"-Ttext={LOAD_AT:#x}", "-N", "--no-warn-rwx-segments", "-o", built, source],
            check=True,
        )
        subprocess.run(["objcopy", "-O", "binary", built, linked], check=True)
        listing = subprocess.run(["nm", built], check=True, capture_output=True, text=True).stdout
        symbols = {name: int(address, 16) for address, _, name in map(str.split, listing.splitlines())}
        return Path(linked).read_bytes(), symbols


class Machine:
    """A virtual machine with `vcpus` vCPUs."""

    def __init__(self, kvm: int, code: bytes, symbols: dict[str, int], vcpus: int) -> None:
        self.vm = fcntl.ioctl(kvm, CREATE_VM, 0)
        fcntl.ioctl(self.vm, SET_TSS, 0x7FFBD000)
        fcntl.ioctl(self.vm, CREATE_IRQCHIP, 0)
        fcntl.ioctl(self.vm, CREATE_PIT2, bytes(64))
        self.memory = mmap.mmap(-1, MEMORY)
        self.memory[LOAD_AT : LOAD_AT + len(code)] = code
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        fcntl.ioctl(self.vm, SET_MEMORY, struct.pack("<IIQQQ", 0, 0, 0, MEMORY, address))
        self.size = fcntl.ioctl(kvm, VCPU_MMAP_SIZE, 0)
        cpuid = bytearray(struct.pack("<II", 100, 0) + bytes(100 * 40))
        fcntl.ioctl(kvm, GET_SUPPORTED_CPUID, cpuid, True)
        self.vcpus = []
        for number in range(vcpus):
            vcpu = fcntl.ioctl(self.vm, CREATE_VCPU, number)
            fcntl.ioctl(vcpu, SET_CPUID2, cpuid)
            self.vcpus.append((vcpu, mmap.mmap(vcpu, self.size)))
        self._start(self.vcpus[0][0], symbols)
        self.over = threading.Event()

    def _start(self, vcpu: int, symbols: dict[str, int]) -> None:
        """Puts the first vCPU into flat protected mode at `_start`."""
        sregs = bytearray(312)
        fcntl.ioctl(vcpu, GET_SREGS, sregs, True)

        def segment(kind: int, selector: int, code: bool) -> bytes:
            # base, limit, selector, type, present, dpl, db, s, l, g, avl, unusable, padding
            return struct.pack("<QIHBBBBBBBBBB", 0, 0xFFFFFFFF, selector, kind, 1, 0, 1, 1, 0, 1, 0, 0, 0)

        sregs[0:24] = segment(11, 8, True)
        for place in range(1, 6):  # ds, es, fs, gs, ss
            sregs[24 * place : 24 * place + 24] = segment(3, 16, False)
        tables = struct.pack("<QH6x", symbols["gdt"], 23) + struct.pack("<QH6x", symbols["idt"], 8 * 0x33 - 1)
        sregs[192:224] = tables
        (cr0,) = struct.unpack_from("<Q", sregs, 224)
        struct.pack_into("<Q", sregs, 224, cr0 | 1)
        fcntl.ioctl(vcpu, SET_SREGS, bytes(sregs))
        regs = bytearray(144)
        struct.pack_into("<QQ", regs, 128, symbols["_start"], 2)  # rip, rflags
        fcntl.ioctl(vcpu, SET_REGS, bytes(regs))

    def run(self, number: int) -> None:
        """Runs a vCPU until the guest resets the machine."""
        vcpu, shared = self.vcpus[number]
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(15, f"CPU {number}/KVM".encode())  # PR_SET_NAME, as QEMU names these threads
        while not self.over.is_set():
            if libc.ioctl(vcpu, RUN, 0) < 0:
                if ctypes.get_errno() in (errno.EINTR, errno.EAGAIN):  # the second also when it is woken by SIPI
                    continue
                raise OSError(ctypes.get_errno(), "KVM_RUN")
            (reason,) = struct.unpack_from("<I", shared, 8)
            if reason == EXIT_IO:
                direction, size, port, count, offset = struct.unpack_from("<BBHIQ", shared, 32)
                if direction == 0:
                    shared[offset : offset + size * count] = b"\x60" * (size * count)
                elif port == 0x64:
                    self.over.set()
                else:
                    os.write(1, shared[offset : offset + size * count])
            elif reason == EXIT_MMIO:
                _, _, _, is_write = struct.unpack_from("<Q8sIB", shared, 32)
                if not is_write:
                    shared[40:48] = struct.pack("<Q", 0x5A)
            else:
                print(f"\nvCPU {number}: exit reason {reason}", file=sys.stderr)
                self.over.set()


def main() -> None:
    """Runs the machines, one after the other."""
    code, symbols = image()
    kvm = os.open("/dev/kvm", os.O_RDWR)
    machines = [Machine(kvm, code, symbols, 2) for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1)]
    for machine in machines:
        first = threading.Thread(target=machine.run, args=(0,), name="vcpu 0")
        second = threading.Thread(target=machine.run, args=(1,), name="vcpu 1", daemon=True)
        second.start()
        first.start()
        first.join()
    print()
    sys.stdout.flush()
    os._exit(0)  # the second vCPUs sleep in the kernel


if __name__ == "__main__":
    main()
