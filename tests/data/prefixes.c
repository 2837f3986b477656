/* A trie in the two ways in which its key is written, and a bloom filter. */
struct network {
	__u32 prefixlen;
	__u8 address[4];
};

struct wide {
	__u32 prefixlen;
	__u32 vm;
	__u64 page;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16);
	__type(key, struct network);
	__type(value, __u32);
} ROUTES SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16);
	__type(key, struct wide);
	__type(value, __u64);
} PAGES SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 1000);
	__uint(map_extra, 3);
	__type(value, struct network);
} SEEN SEC(".maps");

__u32 found;
long answers[4];

SEC("raw_tracepoint/vm_boot")
int look(void *ctx)
{
	struct network key = { 32, { 10, 1, 2, 3 } };
	__u32 *value = bpf_map_lookup_elem(&ROUTES, &key);
	if (value) {
		found = *value;
		__sync_fetch_and_add(value, 100);
	}
	answers[0] = bpf_map_peek_elem(&SEEN, &key);
	answers[1] = bpf_map_push_elem(&SEEN, &key, BPF_ANY);
	answers[2] = bpf_map_peek_elem(&SEEN, &key);
	key.prefixlen = 33;
	answers[3] = bpf_map_update_elem(&ROUTES, &key, &found, BPF_ANY);
	return 0;
}
