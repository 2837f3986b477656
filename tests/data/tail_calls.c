/* A program for each reason of an exit, jumped to by reason; what has none counts as other. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} SEEN SEC(".maps");

static void seen(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&SEEN, &what);

	if (n)
		__sync_fetch_and_add(n, 1);
}

int on_hypercall(__u64 *ctx);
int on_itself(__u64 *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 8);
	__uint(key_size, sizeof(__u32));
	__array(values, int(__u64 *));
} JUMPS SEC(".maps") = {
	.values = { [0] = &on_hypercall, [5] = &on_itself },
};

SEC("raw_tracepoint/vcpu_run_exit")
int on_exit(__u64 *ctx)
{
	bpf_tail_call(ctx, &JUMPS, ctx[2]);
	seen(3);
	return 3;
}

SEC("raw_tracepoint/vcpu_run_exit")
int on_hypercall(__u64 *ctx)
{
	seen(0);
	return 10;
}

/* As often as Linux lets it. */
SEC("raw_tracepoint/vcpu_run_exit")
int on_itself(__u64 *ctx)
{
	seen(1);
	bpf_tail_call(ctx, &JUMPS, 5);
	return 11;
}

/* A program that is tail-called from a function returns to the caller of that function. */
static __attribute__((noinline)) int jump(__u64 *ctx)
{
	int result = 1;

	bpf_tail_call(ctx, &JUMPS, ctx[2]);
	asm volatile("" : "+r"(result)); /* or the caller would know it */
	return result;
}

SEC("raw_tracepoint/vcpu_run_exit")
int from_a_function(__u64 *ctx)
{
	int result = jump(ctx);

	seen(2);
	return result + 100;
}
