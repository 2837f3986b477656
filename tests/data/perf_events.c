/* Long exits, as records for a reader on the CPU that they happened on. */
struct long_exit {
	__u32 vm_id;
	__u32 reason;
	__u64 duration_ns;
};

/* A type that only records have must be named somewhere for the BTF to have it. */
struct long_exit *unused __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} EVENTS SEC(".maps");

SEC("raw_tracepoint/vcpu_run_exit")
int on_exit(__u64 *ctx)
{
	struct long_exit record = { ctx[0], ctx[2], ctx[3] };

	return bpf_perf_event_output(ctx, &EVENTS, BPF_F_CURRENT_CPU, &record, sizeof(record));
}
