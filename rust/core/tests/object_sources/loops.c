/* Loops as programs have them, each kept as one: the compiler is told not to unroll. */
#include "bench.h"

struct {
	__uint(type, 2);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, u64[16]);
} SLOTS SEC(".maps");

#define ROLLED _Pragma("clang loop unroll(disable) vectorize(disable)")

SEC("tracepoint/constant_bound") long constant_bound(u8 *context)
{
	long sum = 0;
	ROLLED for (int i = 0; i < 32; i++)
		sum = sum * 31 + context[i];
	return sum;
}

SEC("tracepoint/down") long down(u8 *context)
{
	long sum = 0;
	ROLLED for (int i = 31; i >= 0; i -= 3)
		sum = sum * 31 + context[i];
	return sum;
}

SEC("tracepoint/nested") long nested(u8 *context)
{
	long sum = 0;
	ROLLED for (u32 i = 0; i < 8; i++)
		ROLLED for (u32 j = i; j < 8; j++)
			sum = sum * 31 + context[i * 4 + j];
	return sum;
}

SEC("tracepoint/break_inside") long break_inside(u8 *context)
{
	u32 i;
	ROLLED for (i = 0; i < 48; i++)
		if (context[i] > 200)
			break;
	return i;
}

SEC("tracepoint/bounded_by_data") long bounded_by_data(u8 *context)
{
	u32 n = context[0];
	long sum = 0;
	ROLLED for (u32 i = 0; i < 40; i++) {
		if (i >= n)
			break;
		if (context[i] & 1)
			continue;
		sum += ktime();
	}
	return sum;
}

SEC("tracepoint/map_slots") long map_slots(void *context)
{
	u64 sum = 0;
	ROLLED for (u32 i = 0; i < 16; i++) {
		u32 key = i;
		u64 *value = map_lookup(&SLOTS, &key);
		if (value)
			sum += ++*value;
	}
	return sum;
}

/* The counter itself is the key, so that it stays in memory. */
SEC("tracepoint/counter_is_key") long counter_is_key(void *context)
{
	u64 sum = 0;
	ROLLED for (u32 i = 0; i < 16; i++) {
		u64 *value = map_lookup(&SLOTS, &i);
		if (!value)
			return 0;
		sum += *value;
		value[2] = i;
	}
	return sum;
}

SEC("tracepoint/array_in_value") long array_in_value(void *context)
{
	u32 key = 3;
	u64 *values = map_lookup(&SLOTS, &key), sum = 0;
	if (!values)
		return 0;
	ROLLED for (u32 i = 0; i < 16; i++) {
		sum += values[i];
		values[i] = sum;
	}
	return sum;
}

SEC("tracepoint/string_compare") long string_compare(char *context)
{
	char name[16] = "vcpu_run_exit";
	u32 i;
	ROLLED for (i = 0; i < sizeof name; i++) {
		if (context[i] != name[i])
			return 1;
		if (!name[i])
			break;
	}
	return 0;
}

SEC("tracepoint/log2") long log2_bounded(u64 *context)
{
	u64 value = context[1];
	u32 log = 0;
	ROLLED for (u32 i = 0; i < 64; i++) {
		if (value <= 1)
			break;
		value >>= 1;
		log++;
	}
	return log;
}

SEC("tracepoint/spilled") long spilled(u64 *context)
{
	u64 a = context[0], b = context[1], c = context[2], d = context[3], e = context[4];
	ROLLED for (u32 i = 0; i < 20; i++) {
		a += ktime() ^ b;
		b += a ^ c;
		c += b ^ d;
		d += c ^ e;
		e += d ^ i;
	}
	return a ^ b ^ c ^ d ^ e;
}

static NOINLINE u64 row(u8 *context, u32 begin)
{
	u64 sum = 0;
	ROLLED for (u32 i = begin; i < begin + 8; i++)
		sum = sum * 31 + context[i];
	return sum;
}

SEC("tracepoint/in_function") long in_function(u8 *context)
{
	u64 sum = 0;
	ROLLED for (u32 i = 0; i < 5; i++)
		sum ^= row(context, i * 8);
	return sum;
}

SEC("tracepoint/unbounded") long unbounded(u8 *context)
{
	u64 sum = 0;
	ROLLED for (u32 i = 0; i < context[0]; i++)
		sum = sum * 31 + ktime();
	return sum;
}

SEC("tracepoint/log2_unbounded") long log2_unbounded(u64 *context)
{
	u64 value = context[1];
	u32 log = 0;
	ROLLED while (value > 1) {
		value >>= 1;
		log += (u32)ktime();
	}
	return log;
}
