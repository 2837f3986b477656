/* Programs that ask for what axebpf does not have, cut at the lines that begin with "//-".
 * Such a line has a name, the class of the error, and a pattern for its message.
 */

//- kconfig LoadError LINUX_KERNEL_VERSION is a kernel configuration value
extern int LINUX_KERNEL_VERSION __kconfig;
SEC("tracepoint/vmm/vm_boot") int program(void *ctx) { return LINUX_KERNEL_VERSION; }

//- ksym LoadError init_task is a kernel variable
extern const void init_task __ksym;
SEC("tracepoint/vmm/vm_boot") int program(void *ctx) { return (long)&init_task; }

//- kfunc LoadError bpf_kfunc_thing is a kernel function \(kfunc\)
extern int bpf_kfunc_thing(int) __ksym;
SEC("tracepoint/vmm/vm_boot") int program(void *ctx) { return bpf_kfunc_thing(3); }

//- core LoadError a CO-RE relocation .*struct task_struct
struct task_struct { int pid; } __attribute__((preserve_access_index));
SEC("tracepoint/vmm/vm_boot") int program(void *ctx) {
	return bpf_probe_read_kernel(0, 0, __builtin_preserve_access_index(&((struct task_struct *)ctx)->pid));
}

//- no_programs LoadError no programs: .*does the source have SEC\("…"\) functions\?
int number;

//- no_such_kind MapError map STACKS: axebpf has no stack_trace maps, which Linux has; it has hash, array
struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} STACKS SEC(".maps");
SEC("tracepoint/vmm/vm_boot") int program(void *ctx) { return bpf_get_stackid(ctx, &STACKS, 0); }

//- unknown_kind MapError map ODD: axebpf has no map kind 999
struct {
	__uint(type, 999);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} ODD SEC(".maps");
SEC("tracepoint/vmm/vm_boot") int program(void *ctx) { int key = 0; return !bpf_map_lookup_elem(&ODD, &key); }

//- key_size MapError map WIDE: key size of array maps must be 4, an index, found 8
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 8);
	__uint(value_size, 4);
} WIDE SEC(".maps");
SEC("tracepoint/vmm/vm_boot") int program(void *ctx) { long key = 0; return !bpf_map_lookup_elem(&WIDE, &key); }

//- value_size MapError map EMPTY: value size of hash maps must be at least 1, found 0
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, 8);
} EMPTY SEC(".maps");
SEC("tracepoint/vmm/vm_boot") int program(void *ctx) { long key = 0; return !bpf_map_lookup_elem(&EMPTY, &key); }

//- map_in_map MapError map OUTER: prog_array maps cannot be inner maps
struct inner {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct inner);
} OUTER SEC(".maps");
SEC("tracepoint/vmm/vm_boot") int program(void *ctx) { int key = 0; return !bpf_map_lookup_elem(&OUTER, &key); }

//- no_inner_map MapError map OUTER: array_of_maps maps need an inner map
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} OUTER SEC(".maps");
SEC("tracepoint/vmm/vm_boot") int program(void *ctx) { int key = 0; return !bpf_map_lookup_elem(&OUTER, &key); }
