#!/bin/bash
# Makes the recordings of this folder: `guest.py` under KVM, recorded through a trace instance of its own. Needs root.
set -eu
cd "$(dirname "$0")"
instance=/sys/kernel/tracing/instances/guest
mkdir -p "$instance"

# All events of KVM but those of the host's memory management, which come from every process.
begin() {
	echo >"$instance/trace"
	for event in "$instance"/events/kvm/*/; do
		case $event in *age_hva/ | *kvm_unmap_hva_range/) ;; *) echo 1 >"$event/enable" ;; esac
	done
}
end() { echo 0 >"$instance/events/enable"; }

# Two machines at once, with the column of process ids.
echo 1 >"$instance/options/record-tgid"
begin
python3 guest.py &
python3 guest.py
wait $!
end
cat "$instance/trace" >guest.trace.txt
echo 0 >"$instance/options/record-tgid"

# One machine, read while it runs.
begin
cat "$instance/trace_pipe" >guest.trace_pipe.txt &
reader=$!
python3 guest.py
end
sleep 1 # what is left in the pipe
kill $reader

# One machine, in trace-cmd's words. `extract` wants to write a sysctl; where that is not allowed, run this script in
# a mount namespace (unshare -m) with a file bound over /proc/sys/kernel/ftrace_enabled.
begin
python3 guest.py
end
trace-cmd extract -B guest -o guest.dat
trace-cmd report -i guest.dat >guest.report.txt
rm guest.dat # the instance is gone too

# One machine, in perf's words.
perf record -q -e 'kvm:*' -o guest.data python3 guest.py
perf script -i guest.data >guest.perf.txt
rm guest.data
