/* Map definitions of every form, used from two programs in different orders. */
#include "bench.h"

struct key {
	u32 vm_id;
	u32 vcpu_id;
};
typedef struct {
	u64 count;
	u64 total_ns;
	u32 reasons[4];
} stats_t;

struct {
	__uint(type, 1);
	__uint(max_entries, 1024);
	__type(key, struct key);
	__type(value, stats_t);
} EXITS SEC(".maps");

struct {
	__uint(type, 2);
	__uint(key_size, 4);
	__uint(value_size, 16);
	__uint(max_entries, 3);
	__uint(map_flags, 1024);
	__uint(numa_node, 0);
	__uint(pinning, 1);
} BYTES SEC(".maps");

struct ring {
	__uint(type, 27);
	__uint(max_entries, 5000);
};
struct ring RING SEC(".maps");

struct {
	__uint(type, 30);
	__uint(max_entries, 100);
	__uint(map_extra, 3);
	__type(value, u64);
} BLOOM SEC(".maps");

struct {
	__uint(type, 9);
	__uint(max_entries, 8);
	__type(key, u64);
	__type(value, const volatile u32);
} LRU SEC(".maps");

SEC("tracepoint/vmm/a")
int first(u64 *ctx)
{
	struct key key = {ctx[1], ctx[2]};
	stats_t zero = {}, *stats = map_lookup(&EXITS, &key);
	u32 index = 1;

	if (stats)
		stats->count++;
	else
		map_update(&EXITS, &key, &zero, 0);
	map_lookup(&BYTES, &index);
	return ringbuf_output(&RING, &key, sizeof(key), 0);
}

SEC("tracepoint/vmm/a")
int second(u64 *ctx)
{
	u64 key = ctx[1];
	struct key exit = {};

	map_lookup(&LRU, &key);
	ringbuf_output(&RING, &key, sizeof(key), 0);
	map_lookup(&LRU, &exit);
	map_lookup(&EXITS, &exit);
	return 0;
}
