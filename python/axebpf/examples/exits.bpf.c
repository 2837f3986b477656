/* SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
 *
 * Who leaves guest mode, why, and for how long: number, total and longest duration of exits by VM and reason.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "vmm.h"

struct exit_key {
	__u32 vm_id;
	__u32 exit_reason;
};

struct exit_stat {
	__u64 count;
	__u64 total_ns;
	__u64 max_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct exit_key);
	__type(value, struct exit_stat);
} EXITS SEC(".maps");

/* Exits shorter than this are not counted. Set before loading; 0 counts all. */
const volatile __u64 threshold_ns = 0;

SEC("tracepoint/vmm/vcpu_run_exit")
int on_exit(struct trace_event_raw_vcpu_run_exit *ctx)
{
	struct exit_key key = { .vm_id = ctx->vm_id, .exit_reason = ctx->exit_reason };
	__u64 duration = ctx->duration_ns;
	struct exit_stat *stat;

	if (duration < threshold_ns)
		return 0;
	stat = bpf_map_lookup_elem(&EXITS, &key);
	if (!stat) {
		struct exit_stat zero = {};

		/* Another CPU may have been first; then its entry is the one to add to. */
		bpf_map_update_elem(&EXITS, &key, &zero, BPF_NOEXIST);
		stat = bpf_map_lookup_elem(&EXITS, &key);
		if (!stat)
			return 0; /* the map is full */
	}
	__sync_fetch_and_add(&stat->count, 1);
	__sync_fetch_and_add(&stat->total_ns, duration);
	/* Not atomic: of two CPUs that raise it at the same moment, the shorter may win. */
	if (duration > stat->max_ns)
		stat->max_ns = duration;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
