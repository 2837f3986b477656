/* SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
 *
 * An audit of hypercalls: which VM makes which call how often, how many of them fail, and how long the slowest took.
 * Those that fail are kept one by one, in a ring buffer.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "vmm.h"

/* Both members have 8 bytes, so the key has no padding: a hash compares every byte of a key, padding too. */
struct call_key {
	__u64 vm_id;
	__u64 nr;
};

struct call_stat {
	__u64 count;
	__u64 errors;
	__u64 max_ns;
};

struct failed_call {
	__u64 time_ns;
	__u64 nr;
	__s64 ret_val;
	__u32 vm_id;
	__u32 vcpu_id;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct call_key);
	__type(value, struct call_stat);
} CALLS SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} FAILED SEC(".maps");

/* Calls that found CALLS full: a guest can call with any number that it likes. */
__u64 not_counted;

/* Failed calls that found the ring full. */
__u64 dropped;

/* A function of its own, so that the object's BTF describes struct failed_call: a ring buffer has no value type. */
static __noinline int fill(struct failed_call *failed, const struct trace_event_raw_hypercall *ctx)
{
	failed->time_ns = bpf_ktime_get_ns();
	failed->nr = ctx->nr;
	failed->ret_val = ctx->ret_val;
	failed->vm_id = ctx->vm_id;
	failed->vcpu_id = ctx->vcpu_id;
	return 0;
}

static __always_inline void keep(const struct trace_event_raw_hypercall *ctx)
{
	struct failed_call *failed = bpf_ringbuf_reserve(&FAILED, sizeof(*failed), 0);

	if (!failed) {
		__sync_fetch_and_add(&dropped, 1);
		return;
	}
	fill(failed, ctx);
	bpf_ringbuf_submit(failed, 0); /* what is reserved must be submitted or discarded, on every path */
}

SEC("tracepoint/vmm/hypercall")
int on_hypercall(struct trace_event_raw_hypercall *ctx)
{
	struct call_key key = { .vm_id = ctx->vm_id, .nr = ctx->nr };
	__u64 duration = ctx->duration_ns;
	struct call_stat *stat;

	/* Signed, as on Linux: -1 is an error, an address is not. */
	if (ctx->ret_val < 0)
		keep(ctx);
	stat = bpf_map_lookup_elem(&CALLS, &key);
	if (!stat) {
		struct call_stat zero = {};

		/* Another CPU may have been first; then its entry is the one to add to. */
		bpf_map_update_elem(&CALLS, &key, &zero, BPF_NOEXIST);
		stat = bpf_map_lookup_elem(&CALLS, &key);
		if (!stat) {
			__sync_fetch_and_add(&not_counted, 1);
			return 0;
		}
	}
	__sync_fetch_and_add(&stat->count, 1);
	if (ctx->ret_val < 0)
		__sync_fetch_and_add(&stat->errors, 1);
	/* Not atomic: of two CPUs that raise it at the same moment, the shorter may win. */
	if (duration > stat->max_ns)
		stat->max_ns = duration;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
