/* Pointers to functions. */
#include "bench.h"

struct {
	__uint(type, 2);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} TABLE SEC(".maps");

static NOINLINE u64 helper(u64 x)
{
	return x * ktime();
}

static long each(void *map, u32 *key, u64 *value, u64 *ctx)
{
	*ctx += helper(*value);
	return 0;
}

static long step(u32 index, u64 *ctx)
{
	*ctx += index;
	return *ctx > 100;
}

SEC("tp/vmm/a")
int entry(void *ctx)
{
	u64 sum = helper(2);

	for_each(&TABLE, each, &sum, 0);
	loop(10, step, &sum, 0);
	loop(20, step, &sum, 0);
	return sum;
}
