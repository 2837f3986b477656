/* Variables in every data section, by name and by static offset. */
#include "bench.h"

struct point {
	u32 x;
	s64 y;
};

const volatile u64 threshold_ns = 5000;
const volatile u8 flags[3] = {1, 2, 3};
u32 counter = 7;
struct point origin = {.x = 1, .y = -2};
u64 zeroed[4];
static u64 hidden_zero;
static u32 hidden_data = 99;
u32 own_data SEC(".data.own") = 11;
const volatile u32 own_rodata SEC(".rodata.own") = 12;

SEC("tracepoint/vmm/vcpu_run_exit")
int on_exit(u64 *ctx)
{
	counter += flags[2];
	origin.y += ctx[1];
	zeroed[3] = origin.x;
	hidden_zero++;
	*(volatile u32 *)&hidden_data += hidden_zero;
	own_data += own_rodata;
	return ctx[2] > threshold_ns;
}

SEC("raw_tp/vm_boot")
int on_boot(u64 *ctx)
{
	char text[] = "a string long enough to be copied from a section of constants, and not put together";
	u64 sum = 0;

	for (unsigned i = 0; i < sizeof(text); i++)
		sum += text[i] * ctx[i & 7];
	return sum + zeroed[ctx[0] & 3];
}
