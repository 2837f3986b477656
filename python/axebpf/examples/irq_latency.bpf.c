/* SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
 *
 * How long an interrupt is under way to its guest, in two legs, each a histogram for each vCPU: from the physical
 * interrupt until the hypervisor injects the virtual one, and from there until the vCPU is in its guest again.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "histogram.h"
#include "vmm.h"

struct vcpu {
	__u32 vm_id;
	__u32 vcpu_id;
};

/* What is under way to a vCPU; a time of 0 where nothing is. */
struct under_way {
	__u64 arrived_ns;
	__u64 arrived_cpu;
	__u64 injected_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct vcpu);
	__type(value, struct under_way);
} UNDER_WAY SEC(".maps");

/* external_interrupt to irq_inject, in ns */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct vcpu);
	__type(value, struct histogram);
} TO_INJECT SEC(".maps");

/* irq_inject to vcpu_run_enter, in ns */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct vcpu);
	__type(value, struct histogram);
} TO_ENTER SEC(".maps");

/* A value of a map, made where there is none; NULL where the map is full. Inlined, so that each call names its map. */
static __always_inline void *value_of(void *map, const struct vcpu *vcpu, const void *empty)
{
	void *found = bpf_map_lookup_elem(map, vcpu);

	if (found)
		return found;
	bpf_map_update_elem(map, vcpu, empty, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, vcpu);
}

static __always_inline struct under_way *under_way(const struct vcpu *vcpu)
{
	struct under_way empty = {};

	return value_of(&UNDER_WAY, vcpu, &empty);
}

static __always_inline void add(void *map, const struct vcpu *vcpu, __u64 ns)
{
	struct histogram empty = {}; /* 256 of the stack's 512 bytes */
	struct histogram *histogram = value_of(map, vcpu, &empty);

	if (histogram)
		__sync_fetch_and_add(&histogram->slots[log2_slot(ns)], 1);
}

SEC("tracepoint/vmm/external_interrupt")
int on_arrival(struct trace_event_raw_external_interrupt *ctx)
{
	struct vcpu vcpu = { .vm_id = ctx->vm_id, .vcpu_id = ctx->vcpu_id };
	struct under_way *irq = under_way(&vcpu);

	if (!irq)
		return 0;
	irq->arrived_ns = bpf_ktime_get_ns();
	irq->arrived_cpu = bpf_get_smp_processor_id();
	return 0;
}

SEC("tracepoint/vmm/irq_inject")
int on_inject(struct trace_event_raw_irq_inject *ctx)
{
	struct vcpu vcpu = { .vm_id = ctx->vm_id, .vcpu_id = ctx->vcpu_id };
	struct under_way *irq = under_way(&vcpu);
	__u64 now = bpf_ktime_get_ns();

	if (!irq)
		return 0;
	/* What another CPU injects, as vCPUs that interrupt each other do, is not the interrupt that arrived here. */
	if (irq->arrived_ns && irq->arrived_cpu == bpf_get_smp_processor_id()) {
		add(&TO_INJECT, &vcpu, now - irq->arrived_ns);
		irq->arrived_ns = 0;
	}
	/* Of several that wait for the same entry, the first waits longest. Two CPUs may inject at the same moment. */
	__sync_val_compare_and_swap(&irq->injected_ns, 0, now);
	return 0;
}

SEC("tracepoint/vmm/vcpu_run_enter")
int on_enter(struct trace_event_raw_vcpu_run_enter *ctx)
{
	struct vcpu vcpu = { .vm_id = ctx->vm_id, .vcpu_id = ctx->vcpu_id };
	struct under_way *irq = under_way(&vcpu);
	__u64 injected;

	if (!irq)
		return 0;
	/* If it is not 0 by now, it was an interrupt of the hypervisor itself, such as its tick: the guest gets none. */
	irq->arrived_ns = 0;
	injected = __sync_lock_test_and_set(&irq->injected_ns, 0); /* takes the time and leaves 0, in one step */
	if (injected)
		add(&TO_ENTER, &vcpu, bpf_ktime_get_ns() - injected);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
