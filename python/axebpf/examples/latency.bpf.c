/* SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
 *
 * How long exits last: a histogram in powers of two for each exit reason. LATENCY is a table of REASONS rows
 * and SLOTS columns, row by row: LATENCY[reason * SLOTS + slot] counts the exits whose duration belongs in the slot.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "histogram.h"
#include "vmm.h"

#define REASONS 17 /* AxVisor's 16 reasons; the last row takes all others */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REASONS * SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} LATENCY SEC(".maps");

SEC("tracepoint/vmm/vcpu_run_exit")
int on_exit(struct trace_event_raw_vcpu_run_exit *ctx)
{
	__u32 reason = ctx->exit_reason;
	__u32 key;
	__u64 *count;

	if (reason >= REASONS)
		reason = REASONS - 1;
	key = reason * SLOTS + log2_slot(ctx->duration_ns);
	count = bpf_map_lookup_elem(&LATENCY, &key);
	if (count)
		++*count; /* of this CPU alone, so no atomic addition */
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
