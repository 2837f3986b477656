/* SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
 *
 * The record of AxVisor's tracepoint vmm:vcpu_run_exit as a tracing program sees it: the names and the layout
 * that a vmlinux.h would give it. Every record opens with 8 bytes that no program may read (they stand in
 * struct trace_entry, as on Linux); the fields follow in C layout.
 */
#ifndef VMM_H
#define VMM_H

struct trace_entry {
	__u16 type;
	__u8 flags;
	__u8 preempt_count;
	__s32 pid;
};

/* A vCPU left guest mode. */
struct trace_event_raw_vcpu_run_exit {
	struct trace_entry ent;
	__u32 vm_id;
	__u32 vcpu_id;
	__u32 exit_reason;
	__u64 duration_ns;
};

#endif
