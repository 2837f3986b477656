/* SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
 *
 * Where the memory of a guest is hot: second-stage page faults by VM, region of guest-physical memory and kind of
 * access, with what they cost.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "vmm.h"

struct region_key {
	__u64 region; /* guest-physical address of its first byte */
	__u32 vm_id;
	__u32 access_type; /* enum vmm_access_type */
};

struct fault_stat {
	__u64 count;
	__u64 total_ns;
	__u64 max_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct region_key);
	__type(value, struct fault_stat);
} FAULTS SEC(".maps");

/* A region has 2^region_shift bytes. Set before loading; 21 is 2 MiB, the size of a large page. */
const volatile __u32 region_shift = 21;

/* Faults that found the map full: use larger regions, or a larger map. */
__u64 not_counted;

SEC("tracepoint/vmm/page_fault")
int on_fault(struct trace_event_raw_page_fault *ctx)
{
	struct region_key key = {
		/* `& 63`: C has no shift by the width of a type or more, and the constant may be set to anything. */
		.region = ctx->gpa >> (region_shift & 63) << (region_shift & 63),
		.vm_id = ctx->vm_id,
		.access_type = ctx->access_type,
	};
	__u64 duration = ctx->duration_ns;
	struct fault_stat *stat;

	stat = bpf_map_lookup_elem(&FAULTS, &key);
	if (!stat) {
		struct fault_stat zero = {};

		bpf_map_update_elem(&FAULTS, &key, &zero, BPF_NOEXIST);
		stat = bpf_map_lookup_elem(&FAULTS, &key);
		if (!stat) {
			__sync_fetch_and_add(&not_counted, 1);
			return 0;
		}
	}
	__sync_fetch_and_add(&stat->count, 1);
	__sync_fetch_and_add(&stat->total_ns, duration);
	if (duration > stat->max_ns)
		stat->max_ns = duration;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
