/* Static maps, two of them of one name in different functions. */
#include "bench.h"

static struct {
	__uint(type, 2);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} FIRST SEC(".maps");

static struct {
	__uint(type, 1);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u64);
} SECOND SEC(".maps");

SEC("tp/vmm/a")
int uses_second(void *ctx)
{
	u32 key = 0;

	return map_lookup(&SECOND, &key) != 0;
}

SEC("tp/vmm/b")
int uses_first(void *ctx)
{
	u32 key = 0;

	return map_lookup(&FIRST, &key) != 0;
}

SEC("tp/vmm/c")
int one(void *ctx)
{
	static struct {
		__uint(type, 2);
		__uint(max_entries, 3);
		__type(key, u32);
		__type(value, u64);
	} LOCAL SEC(".maps");
	u32 key = 0;

	return map_lookup(&LOCAL, &key) != 0;
}

SEC("tp/vmm/d")
int two(void *ctx)
{
	static struct {
		__uint(type, 2);
		__uint(max_entries, 4);
		__type(key, u32);
		__type(value, u64);
	} LOCAL SEC(".maps");
	u32 key = 0;

	return map_lookup(&LOCAL, &key) != 0;
}
