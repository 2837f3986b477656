# A guest of a few hundred instructions, 32-bit protected mode without paging, for `guest.py`.
#
# Its first vCPU starts the second by INIT and SIPI, lets the 8254 timer interrupt it TICKS times, talks to a serial
# port and a device in memory that the host emulates, asks for CPUID, an MSR and a hypercall, and resets the machine.
# The second vCPU interrupts the first when it is up; then it halts until the first interrupts it, and writes to a port.
#
# Interrupts come only at the HLTs. Their handlers drop the frame and go back by a jump: where KVM has no hardware
# virtualization below it (HARDWARE is 0), its emulator runs this code. That has no IRET in protected mode, and repeats
# a hypercall for ever.

	.equ	TICKS, 8
	.equ	APIC, 0xfee00000
	.equ	DEVICE, 0xd0000000	# where there is no memory: each access is an exit

	.text
	.code32
	.globl	_start
_start:
	mov	$0x00080000, %esp
	movl	$0x1ff, APIC + 0xf0	# spurious vector: local APIC on
	movl	$0x700, APIC + 0x350	# LINT0 takes the 8259's interrupts

	# 8259: vectors from 0x20, only the timer let through
	mov	$0x11, %al
	out	%al, $0x20
	mov	$0x20, %al
	out	%al, $0x21
	mov	$0x04, %al
	out	%al, $0x21
	mov	$0x01, %al
	out	%al, $0x21
	mov	$0xfe, %al
	out	%al, $0x21

	# the second vCPU, at the page of `second`
	movl	$0x01000000, APIC + 0x310
	movl	$0x00004500, APIC + 0x300	# INIT
	movl	$0x01000000, APIC + 0x310
	movl	$0x00004600 + SIPI_PAGE, APIC + 0x300
	sti
	hlt				# until the second vCPU is up

start_timer:
	# 8254: channel 0, rate generator, 1193182 / 11932 = 100 Hz
	mov	$0x34, %al
	out	%al, $0x43
	mov	$0x9c, %al
	out	%al, $0x40
	mov	$0x2e, %al
	out	%al, $0x40

	xor	%edi, %edi
2:	sti
	hlt				# until the timer
tick:	inc	%edi

	mov	$0x3f8, %dx		# a letter on the serial port
	mov	%edi, %eax
	add	$0x40, %al
	out	%al, %dx
	mov	$0x3fd, %dx		# and its line status
	in	%dx, %al

	mov	%edi, DEVICE		# the device in memory
	mov	DEVICE + 4, %ebx

	mov	$0x40000000, %eax
	cpuid
	mov	$0x1b, %ecx		# IA32_APIC_BASE
	rdmsr

	.if HARDWARE
	mov	$5, %eax		# KVM_HC_KICK_CPU of the second vCPU
	xor	%ebx, %ebx
	mov	$1, %ecx
	vmcall				# KVM writes VMMCALL over it on AMD's processors
	.endif

	movl	$0x01000000, APIC + 0x310
	movl	$0x00004031, APIC + 0x300	# interrupt 0x31 to the second vCPU
	cmp	$TICKS, %edi
	jb	2b

	mov	$0xfe, %al		# the keyboard controller pulls the reset line
	out	%al, $0x64
3:	hlt
	jmp	3b

timer:					# interrupt 0x20
	mov	$0x20, %al
	out	%al, $0x20		# end of interrupt
	add	$12, %esp
	jmp	tick

up:					# interrupt 0x32
	movl	$0, APIC + 0xb0		# end of interrupt
	add	$12, %esp
	jmp	start_timer

kicked:					# interrupt 0x31
	movl	$0, APIC + 0xb0
	add	$12, %esp
	jmp	work

	# The second vCPU begins here in real mode, at a page boundary.
	.balign	4096
	.globl	second
second:
	.code16
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	gdt_pointer
	lidtl	idt_pointer
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$8, $flat
	.code32
flat:	mov	$16, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$0x00090000, %esp
	movl	$0x1ff, APIC + 0xf0
	movl	$0, APIC + 0x310
	movl	$0x00004032, APIC + 0x300	# interrupt 0x32 to the first vCPU
4:	sti
	hlt
work:	mov	$0x2f8, %dx		# a letter on the second serial port
	mov	$'*', %al
	out	%al, %dx
	jmp	4b

	.balign	16
	.globl	gdt_pointer, idt_pointer, gdt, idt
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
idt_pointer:
	.word	idt_end - idt - 1
	.long	idt
	.balign	16
gdt:	.quad	0
	.quad	0x00cf9b000000ffff	# 8: code, 4 GiB from 0
	.quad	0x00cf93000000ffff	# 16: data, 4 GiB from 0
gdt_end:

	# Gates of the two interrupts; the image lies below 64 KiB, so the upper half of an address is 0.
	.macro	gate handler
	.word	\handler
	.word	8
	.word	0x8e00
	.word	0
	.endm
	.balign	16
idt:	.fill	0x20, 8, 0
	gate	timer			# 0x20
	.fill	0x10, 8, 0
	gate	kicked			# 0x31
	gate	up			# 0x32
idt_end:
