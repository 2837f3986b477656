/* SPDX-License-Identifier: GPL-3.0-or-later OR Apache-2.0
 *
 * What the hypervisor's scheduler does: how often it switches from which task to which, and how long each task was on
 * each CPU. Tasks are named by their address.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "vmm.h"

struct switch_key {
	__u64 from_task;
	__u64 to_task;
};

struct running {
	__u64 task;
	__u64 since_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct switch_key);
	__type(value, __u64);
} SWITCHES SEC(".maps");

/* By task, one value a CPU. LRU: tasks come and go, and where there is no room, who was longest away makes some. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} ON_CPU_NS SEC(".maps");

/* The task that each CPU runs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct running);
} RUNNING SEC(".maps");

static __always_inline void count(__u64 from_task, __u64 to_task)
{
	struct switch_key key = { .from_task = from_task, .to_task = to_task };
	__u64 zero = 0, *switches = bpf_map_lookup_elem(&SWITCHES, &key);

	if (!switches) {
		bpf_map_update_elem(&SWITCHES, &key, &zero, BPF_NOEXIST);
		switches = bpf_map_lookup_elem(&SWITCHES, &key);
		if (!switches)
			return; /* the map is full */
	}
	__sync_fetch_and_add(switches, 1);
}

static __always_inline void add_time(__u64 task, __u64 ns)
{
	__u64 *sum = bpf_map_lookup_elem(&ON_CPU_NS, &task);

	if (sum)
		*sum += ns;
	else
		/* Sets the value of this CPU, and those of the others to 0 where the task is new to them too. */
		bpf_map_update_elem(&ON_CPU_NS, &task, &ns, BPF_ANY);
}

SEC("tracepoint/vmm/task_switch")
int on_switch(struct trace_event_raw_task_switch *ctx)
{
	__u64 from_task = ctx->from_task, to_task = ctx->to_task, now = bpf_ktime_get_ns();
	__u32 only = 0;
	struct running *running = bpf_map_lookup_elem(&RUNNING, &only);

	count(from_task, to_task);
	if (!running)
		return 0;
	/* Since when the task that leaves was on, is known only if it was seen coming. */
	if (running->since_ns && running->task == from_task)
		add_time(from_task, now - running->since_ns);
	running->task = to_task;
	running->since_ns = now;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
