/* SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
 *
 * What happens in which order until a VM runs, and how long each phase of it takes. One object, a program for each
 * tracepoint, all of them filling one map.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "vmm.h"

enum phase {
	VMM_INIT,
	VHAL_INIT,
	CONFIG_LOAD,
	VM_CREATE,
	MEMORY_MAP,
	IMAGE_LOAD,
	VCPU_CREATE,
	VM_BOOT,
	FIRST_RUN,
};

struct phase_key {
	__u32 vm_id; /* 0: the hypervisor itself, before there are VMs */
	enum phase phase;
};

struct phase_time {
	__u64 begin_ns;    /* the first event's time less its duration */
	__u64 end_ns;      /* the latest event's time */
	__u64 duration_ns; /* of all its events; 0 where they have none */
	__u64 count;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct phase_key);
	__type(value, struct phase_time);
} PHASES SEC(".maps");

/* An event of a phase, which comes at its end. A phase may have several: a CPU, an image, a vCPU each. */
static __always_inline int add(__u32 vm_id, enum phase phase, __u64 duration)
{
	struct phase_key key = { .vm_id = vm_id, .phase = phase };
	__u64 now = bpf_ktime_get_ns();
	struct phase_time *time = bpf_map_lookup_elem(&PHASES, &key);

	if (!time) {
		struct phase_time first = { .begin_ns = now - duration };

		bpf_map_update_elem(&PHASES, &key, &first, BPF_NOEXIST);
		time = bpf_map_lookup_elem(&PHASES, &key);
		if (!time)
			return 0; /* the map is full */
	}
	/* Not atomic: VMs are prepared one after the other, by one CPU. */
	time->end_ns = now;
	time->duration_ns += duration;
	time->count++;
	return 0;
}

SEC("tracepoint/vmm/vmm_init")
int on_vmm_init(struct trace_event_raw_vmm_init *ctx)
{
	return add(0, VMM_INIT, ctx->duration_ns);
}

SEC("tracepoint/vmm/vhal_init")
int on_vhal_init(struct trace_event_raw_vhal_init *ctx)
{
	return add(0, VHAL_INIT, ctx->duration_ns);
}

SEC("tracepoint/vmm/config_load")
int on_config_load(struct trace_event_raw_config_load *ctx)
{
	return add(ctx->vm_id, CONFIG_LOAD, ctx->duration_ns);
}

SEC("tracepoint/vmm/vm_create")
int on_vm_create(struct trace_event_raw_vm_create *ctx)
{
	return add(ctx->vm_id, VM_CREATE, 0);
}

SEC("tracepoint/vmm/memory_map")
int on_memory_map(struct trace_event_raw_memory_map *ctx)
{
	return add(ctx->vm_id, MEMORY_MAP, 0);
}

SEC("tracepoint/vmm/image_load")
int on_image_load(struct trace_event_raw_image_load *ctx)
{
	return add(ctx->vm_id, IMAGE_LOAD, ctx->duration_ns);
}

SEC("tracepoint/vmm/vcpu_create")
int on_vcpu_create(struct trace_event_raw_vcpu_create *ctx)
{
	return add(ctx->vm_id, VCPU_CREATE, 0);
}

SEC("tracepoint/vmm/vm_boot")
int on_vm_boot(struct trace_event_raw_vm_boot *ctx)
{
	return add(ctx->vm_id, VM_BOOT, ctx->duration_ns);
}

/* Only the first entry of each VM counts, so this one looks before it adds. */
SEC("tracepoint/vmm/vcpu_run_enter")
int on_run_enter(struct trace_event_raw_vcpu_run_enter *ctx)
{
	struct phase_key key = { .vm_id = ctx->vm_id, .phase = FIRST_RUN };

	if (bpf_map_lookup_elem(&PHASES, &key))
		return 0;
	return add(ctx->vm_id, FIRST_RUN, 0);
}

char LICENSE[] SEC("license") = "GPL";
