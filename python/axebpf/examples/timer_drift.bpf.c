/* SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
 *
 * How regular the hypervisor's tick is on each CPU: how far the time between two ticks is from the period, as a
 * histogram. What it loses over all is `last_ns - first_ns - (ticks - 1) * period_ns`, for the reader to compute.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "histogram.h"
#include "vmm.h"

#define CPUS 256 /* ticks of CPUs beyond are not counted */

struct drift {
	__u64 ticks;
	__u64 first_ns; /* when the first and the latest tick were, by their own time stamps */
	__u64 last_ns;
	__u64 early; /* ticks less than a period after the one before, and more than one */
	__u64 late;
	__u64 max_ns; /* the largest deviation to either side */
};

/* By number of the CPU, whose ticks alone change the entry: nothing here needs to be atomic. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CPUS);
	__type(key, __u32);
	__type(value, struct drift);
} DRIFT SEC(".maps");

/* How many ticks deviate by how many ns, to either side; each CPU has values of its own under each slot. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} DEVIATION SEC(".maps");

/* The time from tick to tick as configured. Set before loading; this is 100 Hz. */
const volatile __u64 period_ns = 10000000;

SEC("tracepoint/vmm/timer_tick")
int on_tick(struct trace_event_raw_timer_tick *ctx)
{
	__u32 cpu = bpf_get_smp_processor_id(), slot;
	struct drift *drift = bpf_map_lookup_elem(&DRIFT, &cpu);
	/* The tick's own time stamp: when this program gets to run is another matter. */
	__u64 now = ctx->timestamp, deviation, *count;
	__s64 difference;

	if (!drift)
		return 0;
	if (drift->ticks++) {
		difference = now - drift->last_ns - period_ns;
		deviation = difference < 0 ? -difference : difference;
		if (difference < 0)
			drift->early++;
		if (difference > 0)
			drift->late++;
		if (deviation > drift->max_ns)
			drift->max_ns = deviation;
		slot = log2_slot(deviation);
		count = bpf_map_lookup_elem(&DEVIATION, &slot);
		if (count)
			++*count;
	} else {
		drift->first_ns = now;
	}
	drift->last_ns = now;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
