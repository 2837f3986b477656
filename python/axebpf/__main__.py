"""`python -m axebpf` is the command `axebpf`."""

import sys

from axebpf.cli import main

if __name__ == "__main__":
    sys.exit(main())
