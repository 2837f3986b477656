/*
 * A small guest under KVM, so that a real hypervisor's events can be recorded: `guest VCPUS ROUNDS`.
 *
 * Each vCPU runs 16-bit code that asks CPUID, writes to and reads from a port, reads and writes memory that is not
 * there (MMIO) and reads a machine-specific register, ROUNDS times; the first one also halts until an interrupt comes, which
 * the main thread raises through the in-kernel PIC.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

__asm__(".pushsection .rodata\n"
	".code16\n"
	"guest_begin:\n"
	"	xor %ax, %ax\n"
	"	mov %ax, %ds\n"
	"	mov $0xd000, %ax\n"
	"	mov %ax, %es\n"
	"	cmp $0, %si\n" /* SI: index of the vCPU; the first one sets up the PIC */
	"	jne 1f\n"
	"	mov $0x11, %al\n	out %al, $0x20\n"
	"	mov $0x08, %al\n	out %al, $0x21\n"
	"	mov $0x04, %al\n	out %al, $0x21\n"
	"	mov $0x01, %al\n	out %al, $0x21\n"
	"	mov $0x00, %al\n	out %al, $0x21\n"
	"1:	xor %eax, %eax\n	cpuid\n"
	"	mov $0x3f8, %dx\n	mov $'a', %al\n	out %al, %dx\n"
	"	mov $0x60, %dx\n	in %dx, %al\n"
	"	movl %es:0, %eax\n	movb $1, %es:4\n"
	"	mov $0x1b, %ecx\n	rdmsr\n"
	"	cmp $0, %si\n"
	"	jne 2f\n"
	"	sti\n	hlt\n	cli\n"
	"2:	dec %bp\n" /* BP: rounds left */
	"	jnz 1b\n"
	"	mov $0xf4, %dx\n	out %al, %dx\n" /* the end */
	"guest_handler:\n"
	"	push %ax\n	mov $0x20, %al\n	out %al, $0x20\n	pop %ax\n	iret\n"
	"guest_end:\n"
	".code64\n"
	".popsection\n");
extern const uint8_t guest_begin[], guest_handler[], guest_end[];

enum { CODE = 0x1000, END_PORT = 0xf4, IRQ = 4, VECTORS = 8 };

static int kvm, vm, rounds;
static atomic_int running;

static void *vcpu(void *argument)
{
	long index = (long)argument;
	int fd = ioctl(vm, KVM_CREATE_VCPU, index);
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_sregs segments;
	struct kvm_regs registers = { .rip = CODE, .rflags = 2, .rsp = 0x8000 + 0x1000 * index, .rsi = index, .rbp = rounds };

	if (fd < 0 || run == MAP_FAILED || ioctl(fd, KVM_GET_SREGS, &segments))
		err(1, "vcpu %ld", index);
	segments.cs.base = 0;
	segments.cs.selector = 0;
	if (ioctl(fd, KVM_SET_SREGS, &segments) || ioctl(fd, KVM_SET_REGS, &registers) ||
	    ioctl(fd, KVM_SET_MP_STATE, &runnable))
		err(1, "state of vcpu %ld", index);
	while (ioctl(fd, KVM_RUN, 0) == 0) {
		if (run->exit_reason == KVM_EXIT_IO && run->io.port == END_PORT)
			break;
		if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_IN)
			((uint8_t *)run)[run->io.data_offset] = 0x42;
		else if (run->exit_reason == KVM_EXIT_MMIO && !run->mmio.is_write)
			memset(run->mmio.data, 0x11, run->mmio.len);
		else if (run->exit_reason != KVM_EXIT_IO && run->exit_reason != KVM_EXIT_MMIO)
			errx(1, "vcpu %ld: exit reason %u", index, run->exit_reason);
	}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

int main(int argc, char **argv)
{
	int vcpus = argc > 1 ? atoi(argv[1]) : 1;
	pthread_t threads[16];
	uint8_t *memory = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = { .memory_size = 0x10000, .userspace_addr = (uintptr_t)memory };

	rounds = argc > 2 ? atoi(argv[2]) : 10;
	if (vcpus < 1 || vcpus > 16 || rounds < 1)
		errx(2, "guest VCPUS ROUNDS");
	kvm = open("/dev/kvm", O_RDWR);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (kvm < 0 || vm < 0 || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) || ioctl(vm, KVM_CREATE_IRQCHIP, 0))
		err(1, "/dev/kvm");
	memcpy(memory + CODE, guest_begin, guest_end - guest_begin);
	/* The interrupt's vector: offset and segment of its handler. */
	*(uint16_t *)(memory + 4 * (VECTORS + IRQ)) = CODE + (guest_handler - guest_begin);
	atomic_store(&running, vcpus);
	for (long index = 0; index < vcpus; index++)
		pthread_create(&threads[index], NULL, vcpu, (void *)index);
	while (atomic_load(&running) > 0) {
		struct kvm_irq_level pin = { .irq = IRQ, .level = 1 };

		ioctl(vm, KVM_IRQ_LINE, &pin);
		pin.level = 0;
		ioctl(vm, KVM_IRQ_LINE, &pin);
		usleep(500);
	}
	for (long index = 0; index < vcpus; index++)
		pthread_join(threads[index], NULL);
	return 0;
}
