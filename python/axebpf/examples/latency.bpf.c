/* SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
 *
 * How long exits last: a histogram in powers of two for each exit reason. LATENCY is a table of REASONS rows
 * and SLOTS columns, row by row: LATENCY[reason * SLOTS + slot] counts the exits of 2^slot to 2^(slot+1) - 1 ns.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "vmm.h"

#define REASONS 17 /* AxVisor's 16 reasons; the last row takes all others */
#define SLOTS 32   /* slot 0 takes 0 ns too; the last slot takes everything from 2^31 ns */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REASONS * SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} LATENCY SEC(".maps");

static __always_inline __u32 log2_u32(__u32 v)
{
	__u32 r, shift;

	r = (v > 0xffff) << 4;
	v >>= r;
	shift = (v > 0xff) << 3;
	v >>= shift;
	r |= shift;
	shift = (v > 0xf) << 2;
	v >>= shift;
	r |= shift;
	shift = (v > 0x3) << 1;
	v >>= shift;
	r |= shift;
	return r | (v >> 1);
}

SEC("tracepoint/vmm/vcpu_run_exit")
int on_exit(struct trace_event_raw_vcpu_run_exit *ctx)
{
	__u64 duration = ctx->duration_ns;
	__u32 reason = ctx->exit_reason;
	__u32 slot = duration >> 32 ? SLOTS - 1 : log2_u32(duration);
	__u32 key;
	__u64 *count;

	if (reason >= REASONS)
		reason = REASONS - 1;
	key = reason * SLOTS + slot;
	count = bpf_map_lookup_elem(&LATENCY, &key);
	if (count)
		++*count; /* of this CPU alone, so no atomic addition */
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
