/* SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
 *
 * Where the time of each vCPU goes: in its guest, or outside of it. Two programs share a map: one notes when a vCPU
 * enters its guest, the other adds up when it has left.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "vmm.h"

struct vcpu {
	__u32 vm_id;
	__u32 vcpu_id;
};

struct run_time {
	__u64 runs;
	__u64 guest_ns; /* from enter to exit: what a run handles itself, such as device accesses, is in it */
	__u64 host_ns;  /* from exit to the next enter: handling the exit, and waiting */
	/* When it last crossed the border. The one that is not 0 says on which side it is now. */
	__u64 entered_ns;
	__u64 left_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct vcpu);
	__type(value, struct run_time);
} RUN_TIME SEC(".maps");

/* A vCPU is on one CPU at a time, so nobody else changes its entry meanwhile: no atomic additions below. */

SEC("tracepoint/vmm/vcpu_run_enter")
int on_enter(struct trace_event_raw_vcpu_run_enter *ctx)
{
	struct vcpu key = { .vm_id = ctx->vm_id, .vcpu_id = ctx->vcpu_id };
	__u64 now = bpf_ktime_get_ns();
	struct run_time *time = bpf_map_lookup_elem(&RUN_TIME, &key);

	if (!time) {
		struct run_time first = { .entered_ns = now };

		bpf_map_update_elem(&RUN_TIME, &key, &first, BPF_ANY);
		return 0;
	}
	if (time->left_ns)
		time->host_ns += now - time->left_ns;
	time->entered_ns = now;
	time->left_ns = 0;
	return 0;
}

SEC("tracepoint/vmm/vcpu_run_exit")
int on_exit(struct trace_event_raw_vcpu_run_exit *ctx)
{
	struct vcpu key = { .vm_id = ctx->vm_id, .vcpu_id = ctx->vcpu_id };
	__u64 now = bpf_ktime_get_ns();
	struct run_time *time = bpf_map_lookup_elem(&RUN_TIME, &key);

	if (!time)
		return 0; /* attached in the middle of its first run: its enter was not seen */
	if (time->entered_ns) {
		time->runs++;
		time->guest_ns += now - time->entered_ns;
	}
	time->entered_ns = 0;
	time->left_ns = now;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
