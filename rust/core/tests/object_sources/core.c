/* A program that depends on the target's types, and one that does not. */
#include "bench.h"

struct vcpu {
	u64 id;
	u64 exits;
} __attribute__((preserve_access_index));

SEC("kprobe/handle_exit")
int relocatable(struct vcpu *vcpu)
{
	return vcpu->exits;
}

SEC("kprobe/handle_exit")
int plain(u64 *ctx)
{
	return ctx[1];
}
