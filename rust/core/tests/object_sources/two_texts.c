/* Functions at equal offsets of several executable sections, and static functions beside programs. */
#include "bench.h"

NOINLINE u64 near(u64 x)
{
	return ktime() + 11;
}

__attribute__((section(".text.far"))) NOINLINE u64 far(u64 x)
{
	return ktime() + 22;
}

__attribute__((section(".text.far"))) NOINLINE u64 calls_near(u64 x)
{
	return near(x) + 33;
}

__attribute__((section("vmexit/handler"))) static NOINLINE u64 beside(u64 x)
{
	return far(x) + 44;
}

SEC("vmexit/handler")
int handler(u64 *ctx)
{
	return beside(ctx[0]) + near(ctx[1]) + calls_near(ctx[2]);
}

SEC("other")
static int unused_but_kept(u64 *ctx)
{
	return far(ctx[0]) + 55;
}
