/* Symbols that a kernel would provide; one program needs none. */
#include "bench.h"

#define WEAK __attribute__((weak))
extern u32 CONFIG_HZ __attribute__((section(".kconfig"))) WEAK;
extern const int bpf_prog_active __attribute__((section(".ksyms")));
extern void bpf_rcu_read_lock(void) __attribute__((section(".ksyms")));
extern int nowhere;

SEC("tp/vmm/a")
int plain(void *ctx)
{
	return 1;
}

SEC("tp/vmm/a")
int kconfig(void *ctx)
{
	return CONFIG_HZ;
}

SEC("tp/vmm/a")
int ksym(void *ctx)
{
	return *(volatile int *)&bpf_prog_active;
}

SEC("tp/vmm/a")
int kfunc(void *ctx)
{
	bpf_rcu_read_lock();
	return 0;
}

static NOINLINE int deep(void)
{
	bpf_rcu_read_lock();
	return ktime();
}

SEC("tp/vmm/a")
int through_a_call(void *ctx)
{
	return deep() + 1;
}

SEC("tp/vmm/a")
int unknown(void *ctx)
{
	return *(volatile int *)&nowhere;
}
