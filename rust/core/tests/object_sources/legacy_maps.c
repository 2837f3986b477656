/* Maps as they were before BTF. */
#include "bench.h"

struct bpf_map_def {
	u32 type, key_size, value_size, max_entries, map_flags;
};

struct bpf_map_def SEC("maps") COUNTS = {1, 8, 16, 32, 1};
struct bpf_map_def SEC("maps") TABLE = {2, 4, 8, 64, 0};
struct pinned_map_def {
	struct bpf_map_def def;
	u32 id, pinning;
};
struct pinned_map_def SEC("maps/own") PINNED = {{2, 4, 4, 1, 0}, 0, 2};

SEC("tp/vmm/a")
int program(void *ctx)
{
	u64 key = 0;

	return map_lookup(&TABLE, &key) && map_lookup(&COUNTS, &key) && map_lookup(&PINNED, &key);
}
