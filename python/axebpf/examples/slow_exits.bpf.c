/* SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
 *
 * Each slow exit as a record in a ring buffer, for a reader that wants them one by one and in order.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "vmm.h"

struct slow_exit {
	__u64 time_ns;
	__u64 duration_ns;
	__u32 vm_id;
	__u32 vcpu_id;
	__u32 exit_reason;
	__u32 cpu;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} SLOW SEC(".maps");

/* An exit at least this long is slow. Set before loading. */
const volatile __u64 threshold_ns = 100000;

/* Slow exits that found the ring full. */
__u64 dropped;

/* A function of its own, so that the object's BTF describes struct slow_exit: a ring buffer has no value type. */
static __noinline int fill(struct slow_exit *slow, const struct trace_event_raw_vcpu_run_exit *ctx)
{
	slow->time_ns = bpf_ktime_get_ns();
	slow->duration_ns = ctx->duration_ns;
	slow->vm_id = ctx->vm_id;
	slow->vcpu_id = ctx->vcpu_id;
	slow->exit_reason = ctx->exit_reason;
	slow->cpu = bpf_get_smp_processor_id();
	return 0;
}

SEC("tracepoint/vmm/vcpu_run_exit")
int on_exit(struct trace_event_raw_vcpu_run_exit *ctx)
{
	struct slow_exit *slow;

	if (ctx->duration_ns < threshold_ns)
		return 0;
	slow = bpf_ringbuf_reserve(&SLOW, sizeof(*slow), 0);
	if (!slow) {
		__sync_fetch_and_add(&dropped, 1);
		return 0;
	}
	fill(slow, ctx);
	bpf_ringbuf_submit(slow, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
