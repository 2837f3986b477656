/* SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
 *
 * The question of exits.bpf.c, asked in a way that AxVisor can answer too: who leaves guest mode, why, and for how
 * long. The maps are the same on both targets.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "vmm.h"

/* With the vCPU in the key, an entry has one writer: a vCPU is on one CPU at a time. So no atomic additions. */
struct exit_key {
	__u32 vm_id;
	__u32 vcpu_id;
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

/* The first field of the record that is neither VM, vCPU nor duration. */
#define EXIT_REASON(ctx) ((ctx)->arg1)

SEC("axvisor/vmm/vcpu_run_exit")
int on_exit(struct axvisor_trace_context *ctx)
{
	struct exit_key key = { .vm_id = ctx->vm_id, .vcpu_id = ctx->vcpu_id, .exit_reason = EXIT_REASON(ctx) };
	__u64 duration = ctx->arg0;
	struct exit_stat *old = bpf_map_lookup_elem(&EXITS, &key), new = {};

	/* What is looked up is only read: on AxVisor it is a copy, and what is stored into it is lost. */
	if (old)
		new = *old;
	new.count++;
	new.total_ns += duration;
	if (duration > new.max_ns)
		new.max_ns = duration;
	/* Fails where the map is full, with another number on each target; 1 and 0 are the same on both. */
	return bpf_map_update_elem(&EXITS, &key, &new, BPF_ANY) ? 1 : 0;
}

char LICENSE[] SEC("license") = "GPL";
