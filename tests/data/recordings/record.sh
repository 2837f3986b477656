#!/bin/sh
# Records the guest of guest.c in the three text forms, as root: kvm-trace.txt, kvm-trace-pipe.txt, kvm-trace-cmd.txt.
set -eu
cd "$(dirname "$0")"
tracing=/sys/kernel/tracing
gcc -Wall -O2 -pthread -o guest guest.c
trap 'echo 0 > $tracing/events/kvm/enable; rm -f guest trace.dat' EXIT

echo > $tracing/trace
echo 1 > $tracing/events/kvm/enable
./guest 2 8
echo 0 > $tracing/events/kvm/enable
cat $tracing/trace > kvm-trace.txt
# trace-cmd takes what is in the kernel's buffer, because in a container it may not set up tracing itself.
trace-cmd extract -o trace.dat > /dev/null
trace-cmd report trace.dat > kvm-trace-cmd.txt 2> /dev/null

echo > $tracing/trace
echo 1 > $tracing/events/kvm/enable
./guest 2 8
echo 0 > $tracing/events/kvm/enable
timeout 1 cat $tracing/trace_pipe > kvm-trace-pipe.txt || true
echo > $tracing/trace
