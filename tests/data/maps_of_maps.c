/* Exits of each VM by reason: a map of counters for each VM that is watched. */
struct counters {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
};

struct counters FIRST SEC(".maps");
struct counters SECOND SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct counters);
} BY_NUMBER SEC(".maps") = {
	.values = { [0] = &SECOND, [2] = &FIRST },
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct counters);
} BY_NAME SEC(".maps") = {
	.values = { [1] = &FIRST },
};

static void count(void *outer, __u32 vm, __u32 reason)
{
	void *counters = bpf_map_lookup_elem(outer, &vm);
	__u64 *n = counters ? bpf_map_lookup_elem(counters, &reason) : 0;

	if (n)
		__sync_fetch_and_add(n, 1);
}

/* ctx: vm_id, vcpu_id, exit_reason */
SEC("raw_tracepoint/vcpu_run_exit")
int on_exit(__u64 *ctx)
{
	count(&BY_NUMBER, ctx[0], ctx[2]);
	count(&BY_NAME, ctx[0], ctx[2]);
	return 0;
}
