/* Maps of maps and of programs, with initial entries. */
#include "bench.h"

struct inner {
	__uint(type, 2);
	__uint(max_entries, 5);
	__type(key, u32);
	__type(value, u64);
};
struct inner INNER_A SEC(".maps");
struct inner INNER_B SEC(".maps");

struct {
	__uint(type, 12);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct inner);
} OUTER SEC(".maps") = {
	.values = {[0] = &INNER_B, [3] = &INNER_A},
};

struct {
	__uint(type, 13);
	__uint(max_entries, 4);
	__uint(key_size, 8);
	__array(values, struct {
		__uint(type, 1);
		__uint(max_entries, 6);
		__type(key, u64);
		__type(value, u32);
	});
} BY_KEY SEC(".maps");

int target(u64 *ctx);

struct {
	__uint(type, 3);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(u64 *));
} JUMPS SEC(".maps") = {
	.values = {[1] = &target},
};

SEC("raw_tp/a")
int target(u64 *ctx)
{
	return 42;
}

SEC("raw_tp/a")
int entry(u64 *ctx)
{
	u32 key = ctx[0] & 3;
	void *inner = map_lookup(&OUTER, &key);
	u64 wide = key;

	if (inner)
		map_lookup(inner, &key);
	map_lookup(&BY_KEY, &wide);
	tail_call(ctx, &JUMPS, 1);
	return 0;
}
