/* Chains of calls, static and global, shared and recursive, and the order they are linked in. */
#include "bench.h"

u64 depth_seen;

static NOINLINE u64 leaf(u64 x)
{
	depth_seen += x;
	return x * 3;
}

static NOINLINE u64 middle(u64 x)
{
	return leaf(x) + leaf(x + 1) + ktime();
}

NOINLINE u64 shared(u64 x)
{
	return middle(x ^ 5) * 7;
}

NOINLINE u64 odd(u64 n);

NOINLINE u64 even(u64 n)
{
	return n ? odd(n - 1) * 3 + ktime() : 1;
}

NOINLINE u64 odd(u64 n)
{
	return n ? even(n - 1) * 5 + ktime() : 0;
}

static NOINLINE u64 deeper(u64 x)
{
	return shared(x) - middle(x);
}

SEC("tp/vmm/a")
int first(u64 *ctx)
{
	return deeper(ctx[1]) + leaf(ctx[2]);
}

SEC("tp/vmm/b")
int second(u64 *ctx)
{
	return leaf(ctx[1]) + shared(ctx[2]);
}

SEC("tp/vmm/b")
int third(u64 *ctx)
{
	return even(ctx[1]) + middle(ctx[1]);
}

SEC("tp/vmm/c")
int alone(u64 *ctx)
{
	return 0;
}
