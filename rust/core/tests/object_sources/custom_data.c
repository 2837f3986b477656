/* Data sections of names of their own, which libbpf passes over. */
#include "bench.h"

u32 writable SEC("tuning") = 21;
const volatile u32 constant SEC("limits") = 22;

SEC("vmexit/handler")
int handler(void *ctx)
{
	writable += 1;
	return writable + constant;
}
