/* Tracepoints of a hypervisor, as BPF programs see them. Written by `axebpf header`; edits get lost. */
#ifndef AXEBPF_HEADER_H
#define AXEBPF_HEADER_H

/* The kernel's types, unless vmlinux.h has brought them. */
#ifndef __VMLINUX_H__
#ifndef _LINUX_TYPES_H
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
#endif

/* The header of every record. */
struct trace_entry {
    unsigned short type;
    unsigned char flags;
    unsigned char preempt_count;
    int pid;
};
#endif

/* The context of SEC("axvisor/...") programs: the tracepoint's id, its time, VM and vCPU, then arg0 = the duration
   if it has one, then its other fields in order. probe_type is 4 for a tracepoint. */
struct axvisor_trace_context {
    __u32 tracepoint_id;
    __u32 __pad;
    __u64 timestamp_ns;
    __u32 vm_id;
    __u32 vcpu_id;
    __u64 arg0;
    __u64 arg1;
    __u64 arg2;
    __u64 arg3;
    __u32 probe_type;
    __u32 __reserved;
};

/* AxVisor's helpers: what the vCPU on this CPU is doing. */
#ifdef __bpf__
static __u32 (*const bpf_get_current_vm_id)(void) __attribute__((unused)) = (void *) 100;
static __u32 (*const bpf_get_current_vcpu_id)(void) __attribute__((unused)) = (void *) 101;
static __u64 (*const bpf_get_exit_reason)(void) __attribute__((unused)) = (void *) 102;
#endif

enum vmm_shutdown_reason {
    VMM_SHUTDOWN_REASON_CLEAN = 0,
    VMM_SHUTDOWN_REASON_SYSTEM_DOWN = 1,
    VMM_SHUTDOWN_REASON_FORCED = 2,
    VMM_SHUTDOWN_REASON_FAULT = 3,
};

enum vmm_vcpu_state {
    VMM_VCPU_STATE_INVALID = 0,
    VMM_VCPU_STATE_CREATED = 1,
    VMM_VCPU_STATE_FREE = 2,
    VMM_VCPU_STATE_READY = 3,
    VMM_VCPU_STATE_RUNNING = 4,
    VMM_VCPU_STATE_BLOCKED = 5,
};

enum vmm_exit_reason {
    VMM_EXIT_REASON_HYPERCALL = 0,
    VMM_EXIT_REASON_MMIO_READ = 1,
    VMM_EXIT_REASON_MMIO_WRITE = 2,
    VMM_EXIT_REASON_SYS_REG_READ = 3,
    VMM_EXIT_REASON_SYS_REG_WRITE = 4,
    VMM_EXIT_REASON_IO_READ = 5,
    VMM_EXIT_REASON_IO_WRITE = 6,
    VMM_EXIT_REASON_EXTERNAL_INTERRUPT = 7,
    VMM_EXIT_REASON_NESTED_PAGE_FAULT = 8,
    VMM_EXIT_REASON_HALT = 9,
    VMM_EXIT_REASON_CPU_UP = 10,
    VMM_EXIT_REASON_CPU_DOWN = 11,
    VMM_EXIT_REASON_SYSTEM_DOWN = 12,
    VMM_EXIT_REASON_NOTHING = 13,
    VMM_EXIT_REASON_FAIL_ENTRY = 14,
    VMM_EXIT_REASON_SEND_IPI = 15,
};

enum vmm_mapping_flags {
    VMM_MAPPING_FLAGS_READ = 0x1,
    VMM_MAPPING_FLAGS_WRITE = 0x2,
    VMM_MAPPING_FLAGS_EXECUTE = 0x4,
    VMM_MAPPING_FLAGS_USER = 0x8,
    VMM_MAPPING_FLAGS_DEVICE = 0x10,
    VMM_MAPPING_FLAGS_UNCACHED = 0x20,
};

enum vmm_access_type {
    VMM_ACCESS_TYPE_READ = 0x1,
    VMM_ACCESS_TYPE_WRITE = 0x2,
    VMM_ACCESS_TYPE_EXECUTE = 0x4,
};

enum vmm_device_type {
    VMM_DEVICE_TYPE_DUMMY = 0,
    VMM_DEVICE_TYPE_INTERRUPT_CONTROLLER = 1,
    VMM_DEVICE_TYPE_CONSOLE = 2,
    VMM_DEVICE_TYPE_IVC_CHANNEL = 10,
    VMM_DEVICE_TYPE_GPPT_REDISTRIBUTOR = 32,
    VMM_DEVICE_TYPE_GPPT_DISTRIBUTOR = 33,
    VMM_DEVICE_TYPE_GPPT_ITS = 34,
    VMM_DEVICE_TYPE_X86_IO_APIC = 35,
    VMM_DEVICE_TYPE_X86_PIT = 36,
    VMM_DEVICE_TYPE_PPPT_GLOBAL = 48,
    VMM_DEVICE_TYPE_VIRTIO_BLK = 225,
    VMM_DEVICE_TYPE_VIRTIO_NET = 226,
    VMM_DEVICE_TYPE_VIRTIO_CONSOLE = 227,
};

enum vmm_timer_event_type {
    VMM_TIMER_EVENT_TYPE_ONE_SHOT = 0,
    VMM_TIMER_EVENT_TYPE_PERIODIC = 1,
};

enum shell_vm_command {
    SHELL_VM_COMMAND_CREATE = 0,
    SHELL_VM_COMMAND_START = 1,
    SHELL_VM_COMMAND_STOP = 2,
    SHELL_VM_COMMAND_SUSPEND = 3,
    SHELL_VM_COMMAND_RESUME = 4,
    SHELL_VM_COMMAND_RESTART = 5,
    SHELL_VM_COMMAND_DELETE = 6,
    SHELL_VM_COMMAND_LIST = 7,
    SHELL_VM_COMMAND_SHOW = 8,
};

/* vmm:vm_create, id 1 */
struct vmm_vm_create { /* A VM was created. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 vcpu_num;
    __u64 memory_size; /* bytes */
};
struct trace_event_raw_vm_create {
    struct trace_entry ent;
    __u32 vm_id;
    __u32 vcpu_num;
    __u64 memory_size;
    char __data[0];
};
typedef void (*btf_trace_vm_create)(void *, __u32 vm_id, __u32 vcpu_num, __u64 memory_size);

/* vmm:vm_boot, id 2 */
struct vmm_vm_boot { /* A VM was booted: its primary vCPU may run. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u64 duration_ns; /* ns */
};
struct trace_event_raw_vm_boot {
    struct trace_entry ent;
    __u32 vm_id;
    __u64 duration_ns;
    char __data[0];
};
typedef void (*btf_trace_vm_boot)(void *, __u32 vm_id, __u64 duration_ns);

/* vmm:vm_shutdown, id 3 */
struct vmm_vm_shutdown { /* The last vCPU of a VM has left; the duration is counted from the request to stop. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 reason; /* enum vmm_shutdown_reason */
    __u64 duration_ns; /* ns */
};
struct trace_event_raw_vm_shutdown {
    struct trace_entry ent;
    __u32 vm_id;
    __u32 reason;
    __u64 duration_ns;
    char __data[0];
};
typedef void (*btf_trace_vm_shutdown)(void *, __u32 vm_id, __u32 reason, __u64 duration_ns);

/* vmm:vm_destroy, id 4 */
struct vmm_vm_destroy { /* A VM was deleted. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
};
struct trace_event_raw_vm_destroy {
    struct trace_entry ent;
    __u32 vm_id;
    char __data[0];
};
typedef void (*btf_trace_vm_destroy)(void *, __u32 vm_id);

/* vmm:vcpu_create, id 10 */
struct vmm_vcpu_create { /* A vCPU was created. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 vcpu_id;
};
struct trace_event_raw_vcpu_create {
    struct trace_entry ent;
    __u32 vm_id;
    __u32 vcpu_id;
    char __data[0];
};
typedef void (*btf_trace_vcpu_create)(void *, __u32 vm_id, __u32 vcpu_id);

/* vmm:vcpu_destroy, id 11 */
struct vmm_vcpu_destroy { /* A vCPU was destroyed. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 vcpu_id;
};
struct trace_event_raw_vcpu_destroy {
    struct trace_entry ent;
    __u32 vm_id;
    __u32 vcpu_id;
    char __data[0];
};
typedef void (*btf_trace_vcpu_destroy)(void *, __u32 vm_id, __u32 vcpu_id);

/* vmm:vcpu_state_change, id 12 */
struct vmm_vcpu_state_change { /* A vCPU went from one state to another. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 vcpu_id;
    __u32 old_state; /* enum vmm_vcpu_state */
    __u32 new_state; /* enum vmm_vcpu_state */
};
struct trace_event_raw_vcpu_state_change {
    struct trace_entry ent;
    __u32 vm_id;
    __u32 vcpu_id;
    __u32 old_state;
    __u32 new_state;
    char __data[0];
};
typedef void (*btf_trace_vcpu_state_change)(void *, __u32 vm_id, __u32 vcpu_id, __u32 old_state, __u32 new_state);

/* vmm:vcpu_run_enter, id 20 */
struct vmm_vcpu_run_enter { /* A vCPU enters guest mode. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 vcpu_id;
};
struct trace_event_raw_vcpu_run_enter {
    struct trace_entry ent;
    __u32 vm_id;
    __u32 vcpu_id;
    char __data[0];
};
typedef void (*btf_trace_vcpu_run_enter)(void *, __u32 vm_id, __u32 vcpu_id);

/* vmm:vcpu_run_exit, id 21 */
struct vmm_vcpu_run_exit { /* A vCPU left guest mode; the duration is counted from its `vcpu_run_enter`, inner exits included. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 vcpu_id;
    __u32 exit_reason; /* enum vmm_exit_reason */
    __u64 duration_ns; /* ns */
};
struct trace_event_raw_vcpu_run_exit {
    struct trace_entry ent;
    __u32 vm_id;
    __u32 vcpu_id;
    __u32 exit_reason;
    __u64 duration_ns;
    char __data[0];
};
typedef void (*btf_trace_vcpu_run_exit)(void *, __u32 vm_id, __u32 vcpu_id, __u32 exit_reason, __u64 duration_ns);

/* vmm:hypercall, id 22 */
struct vmm_hypercall { /* A hypercall was handled. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 vcpu_id;
    __u64 nr;
    __s64 ret_val;
    __u64 duration_ns; /* ns */
};
struct trace_event_raw_hypercall {
    struct trace_entry ent;
    __u32 vm_id;
    __u32 vcpu_id;
    __u64 nr;
    __s64 ret_val;
    __u64 duration_ns;
    char __data[0];
};
typedef void (*btf_trace_hypercall)(void *, __u32 vm_id, __u32 vcpu_id, __u64 nr, __s64 ret_val, __u64 duration_ns);

/* vmm:external_interrupt, id 23 */
struct vmm_external_interrupt { /* A physical interrupt took a vCPU out of guest mode (aarch64 reports vector 0). */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 vcpu_id;
    __u64 vector;
};
struct trace_event_raw_external_interrupt {
    struct trace_entry ent;
    __u32 vm_id;
    __u32 vcpu_id;
    __u64 vector;
    char __data[0];
};
typedef void (*btf_trace_external_interrupt)(void *, __u32 vm_id, __u32 vcpu_id, __u64 vector);

/* vmm:vcpu_halt, id 24 */
struct vmm_vcpu_halt { /* A vCPU halted until the next interrupt. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 vcpu_id;
};
struct trace_event_raw_vcpu_halt {
    struct trace_entry ent;
    __u32 vm_id;
    __u32 vcpu_id;
    char __data[0];
};
typedef void (*btf_trace_vcpu_halt)(void *, __u32 vm_id, __u32 vcpu_id);

/* vmm:cpu_up, id 25 */
struct vmm_cpu_up { /* A vCPU started another one of its VM. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 source_vcpu;
    __u32 target_vcpu;
    __u64 entry_point;
};
struct trace_event_raw_cpu_up {
    struct trace_entry ent;
    __u32 vm_id;
    __u32 source_vcpu;
    __u32 target_vcpu;
    __u64 entry_point;
    char __data[0];
};
typedef void (*btf_trace_cpu_up)(void *, __u32 vm_id, __u32 source_vcpu, __u32 target_vcpu, __u64 entry_point);

/* vmm:ipi_send, id 26 */
struct vmm_ipi_send { /* A vCPU sent an interrupt to another one of its VM. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 vcpu_id;
    __u64 target_cpu;
    __u64 vector;
};
struct trace_event_raw_ipi_send {
    struct trace_entry ent;
    __u32 vm_id;
    __u32 vcpu_id;
    __u64 target_cpu;
    __u64 vector;
    char __data[0];
};
typedef void (*btf_trace_ipi_send)(void *, __u32 vm_id, __u32 vcpu_id, __u64 target_cpu, __u64 vector);

/* vmm:memory_map, id 30 */
struct vmm_memory_map { /* A region was mapped into a VM. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u64 gpa;
    __u64 hpa;
    __u64 size; /* bytes */
    __u32 flags; /* enum vmm_mapping_flags */
};
struct trace_event_raw_memory_map {
    struct trace_entry ent;
    __u32 vm_id;
    __u64 gpa;
    __u64 hpa;
    __u64 size;
    __u32 flags;
    char __data[0];
};
typedef void (*btf_trace_memory_map)(void *, __u32 vm_id, __u64 gpa, __u64 hpa, __u64 size, __u32 flags);

/* vmm:memory_unmap, id 31 */
struct vmm_memory_unmap { /* A region was unmapped from a VM. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u64 gpa;
    __u64 size; /* bytes */
};
struct trace_event_raw_memory_unmap {
    struct trace_entry ent;
    __u32 vm_id;
    __u64 gpa;
    __u64 size;
    char __data[0];
};
typedef void (*btf_trace_memory_unmap)(void *, __u32 vm_id, __u64 gpa, __u64 size);

/* vmm:page_fault, id 32 */
struct vmm_page_fault { /* A second-stage page fault was handled. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u64 gpa;
    __u32 access_type; /* enum vmm_access_type */
    __u64 duration_ns; /* ns */
};
struct trace_event_raw_page_fault {
    struct trace_entry ent;
    __u32 vm_id;
    __u64 gpa;
    __u32 access_type;
    __u64 duration_ns;
    char __data[0];
};
typedef void (*btf_trace_page_fault)(void *, __u32 vm_id, __u64 gpa, __u32 access_type, __u64 duration_ns);

/* vmm:device_access, id 40 */
struct vmm_device_access { /* A guest accessed an emulated device; the address is guest-physical, or a port number on x86-64. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 device_id; /* enum vmm_device_type */
    __u64 addr;
    __u32 is_write;
};
struct trace_event_raw_device_access {
    struct trace_entry ent;
    __u32 vm_id;
    __u32 device_id;
    __u64 addr;
    __u32 is_write;
    char __data[0];
};
typedef void (*btf_trace_device_access)(void *, __u32 vm_id, __u32 device_id, __u64 addr, __u32 is_write);

/* vmm:irq_inject, id 41 */
struct vmm_irq_inject { /* A virtual interrupt was given to a vCPU. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u32 vcpu_id;
    __u32 irq_num;
};
struct trace_event_raw_irq_inject {
    struct trace_entry ent;
    __u32 vm_id;
    __u32 vcpu_id;
    __u32 irq_num;
    char __data[0];
};
typedef void (*btf_trace_irq_inject)(void *, __u32 vm_id, __u32 vcpu_id, __u32 irq_num);

/* vmm:irq_handle, id 42 */
struct vmm_irq_handle { /* The hypervisor handled a physical interrupt. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 irq_num;
    __u64 duration_ns; /* ns */
};
struct trace_event_raw_irq_handle {
    struct trace_entry ent;
    __u32 irq_num;
    __u64 duration_ns;
    char __data[0];
};
typedef void (*btf_trace_irq_handle)(void *, __u32 irq_num, __u64 duration_ns);

/* vmm:vmm_init, id 50 */
struct vmm_vmm_init { /* The hypervisor is initialized. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 cpu_count;
    __u64 duration_ns; /* ns */
};
struct trace_event_raw_vmm_init {
    struct trace_entry ent;
    __u32 cpu_count;
    __u64 duration_ns;
    char __data[0];
};
typedef void (*btf_trace_vmm_init)(void *, __u32 cpu_count, __u64 duration_ns);

/* vmm:vhal_init, id 51 */
struct vmm_vhal_init { /* Virtualization is on, on one CPU. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 cpu_id;
    __u64 duration_ns; /* ns */
};
struct trace_event_raw_vhal_init {
    struct trace_entry ent;
    __u32 cpu_id;
    __u64 duration_ns;
    char __data[0];
};
typedef void (*btf_trace_vhal_init)(void *, __u32 cpu_id, __u64 duration_ns);

/* vmm:config_load, id 52 */
struct vmm_config_load { /* The configuration of a VM was read. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u64 duration_ns; /* ns */
};
struct trace_event_raw_config_load {
    struct trace_entry ent;
    __u32 vm_id;
    __u64 duration_ns;
    char __data[0];
};
typedef void (*btf_trace_config_load)(void *, __u32 vm_id, __u64 duration_ns);

/* vmm:image_load, id 53 */
struct vmm_image_load { /* An image (kernel, device tree, ramdisk) was copied into a VM. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 vm_id;
    __u64 image_size; /* bytes */
    __u64 duration_ns; /* ns */
};
struct trace_event_raw_image_load {
    struct trace_entry ent;
    __u32 vm_id;
    __u64 image_size;
    __u64 duration_ns;
    char __data[0];
};
typedef void (*btf_trace_image_load)(void *, __u32 vm_id, __u64 image_size, __u64 duration_ns);

/* vmm:timer_tick, id 60 */
struct vmm_timer_tick { /* The hypervisor's own periodic tick. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u64 timestamp; /* ns */
};
struct trace_event_raw_timer_tick {
    struct trace_entry ent;
    __u64 timestamp;
    char __data[0];
};
typedef void (*btf_trace_timer_tick)(void *, __u64 timestamp);

/* vmm:timer_event, id 61 */
struct vmm_timer_event { /* A timer of a VM fired. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 event_type; /* enum vmm_timer_event_type */
    __u32 vm_id;
};
struct trace_event_raw_timer_event {
    struct trace_entry ent;
    __u32 event_type;
    __u32 vm_id;
    char __data[0];
};
typedef void (*btf_trace_timer_event)(void *, __u32 event_type, __u32 vm_id);

/* vmm:task_switch, id 62 */
struct vmm_task_switch { /* The hypervisor's scheduler switched tasks; tasks are named by their address. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u64 from_task;
    __u64 to_task;
};
struct trace_event_raw_task_switch {
    struct trace_entry ent;
    __u64 from_task;
    __u64 to_task;
    char __data[0];
};
typedef void (*btf_trace_task_switch)(void *, __u64 from_task, __u64 to_task);

/* shell:shell_command, id 100 */
struct shell_shell_command { /* The shell ran a command. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u32 cmd_id; /* enum shell_vm_command */
    __u64 duration_ns; /* ns */
};
struct trace_event_raw_shell_command {
    struct trace_entry ent;
    __u32 cmd_id;
    __u64 duration_ns;
    char __data[0];
};
typedef void (*btf_trace_shell_command)(void *, __u32 cmd_id, __u64 duration_ns);

/* shell:shell_init, id 101 */
struct shell_shell_init { /* The shell started. */
    __u16 common_type;
    __u8 common_flags;
    __u8 common_preempt_count;
    __s32 common_pid;
    __u64 duration_ns; /* ns */
};
struct trace_event_raw_shell_init {
    struct trace_entry ent;
    __u64 duration_ns;
    char __data[0];
};
typedef void (*btf_trace_shell_init)(void *, __u64 duration_ns);

#endif /* AXEBPF_HEADER_H */
