//! The rows of the table of helpers: facts, a line or two each.
//!
//! Names and prototypes are those of Linux's `bpf-helpers(7)`; which program types may call a helper, and which are for
//! GPL-compatible programs only, was asked of Linux 6.18 and is asked again by `tests/helper_linux.rs`. Ids 100 to 102
//! are the seed's, for programs of every type: Linux gives these numbers to helpers for other ones (an `xdp` program
//! would get `bpf_tcp_check_syncookie#100` there).

use super::table::{ArgKind, Helper, Implementation, ProgramTypes, ReturnKind};
use super::{dynptr, hypervisor, iterate, map, perf, print, probe, ring, spin, string, tail, task, time};
use crate::map::MapUse;
use crate::program::ProgramType::{
    Axvisor, Kprobe, Mem, PerfEvent, RawTracepoint, SocketFilter, Syscall, Tracepoint, Xdp,
};

const NONE: ProgramTypes = ProgramTypes::of(&[]);
const PERF_EVENT: ProgramTypes = ProgramTypes::of(&[PerfEvent]);
const TRACING: ProgramTypes = ProgramTypes::of(&[Tracepoint, RawTracepoint, Kprobe, PerfEvent, Axvisor]);
const SYSCALL: ProgramTypes = ProgramTypes::of(&[Syscall, Mem]);
const XDP: ProgramTypes = ProgramTypes::of(&[Xdp]);
const SOCKET: ProgramTypes = ProgramTypes::of(&[SocketFilter]);
const NET: ProgramTypes = XDP.and(SOCKET);
const SYSCALL_AND_XDP: ProgramTypes = SYSCALL.and(XDP);
const SYSCALL_AND_SOCKET: ProgramTypes = SYSCALL.and(SOCKET);
const SYSCALL_AND_NET: ProgramTypes = SYSCALL.and(NET);
const TRACING_AND_SYSCALL: ProgramTypes = TRACING.and(SYSCALL);
const ALL: ProgramTypes = TRACING.and(SYSCALL_AND_NET);

/// `id name types [gpl] [= "returned C type" ("C parameters") [kinds of argument] kind-of-result function]`; a map says
/// what is done with it
macro_rules! rows {
    (@gpl) => { false };
    (@gpl gpl) => { true };
    (@use) => { None };
    (@use $use:ident) => { Some(MapUse::$use) };
    (@run) => { None };
    (@run $returns:literal $params:literal [$($arg:ident $(($use:ident))?),*] $result:ident $run:path) => {
        Some(Implementation {
            returns: $returns,
            params: $params,
            args: &[$(ArgKind::$arg),*],
            map_use: rows!(@use $($($use)?)*),
            result: ReturnKind::$result,
            run: $run,
        })
    };
    ($($id:literal $name:ident $types:ident $($gpl:ident)?
        $(= $returns:literal ($params:literal)
            [$($arg:ident $(($use:ident))?),*] $result:ident $run:path)? ;)*) => {
        &[$(Helper {
            id: $id,
            name: stringify!($name),
            gpl_only: rows!(@gpl $($gpl)?),
            types: $types,
            implementation: rows!(@run $($returns $params [$($arg $(($use))?),*] $result $run)?),
        }),*]
    };
}

/// All helpers, ascending by id without a gap, from 1.
pub(super) static ROWS: &[Helper] = rows! {
    1 bpf_map_lookup_elem ALL
        = "void *" ("void *map, const void *key") [MapPtr(Lookup), MapKey] MapValueOrNull map::lookup;
    2 bpf_map_update_elem ALL
        = "long" ("void *map, const void *key, const void *value, __u64 flags")
        [MapPtr(Update), MapKey, MapValue, Anything] Integer map::update;
    3 bpf_map_delete_elem ALL = "long" ("void *map, const void *key") [MapPtr(Delete), MapKey] Integer map::delete;
    4 bpf_probe_read TRACING_AND_SYSCALL gpl
        = "long" ("void *dst, __u32 size, const void *unsafe_ptr")
        [MemWrite, SizeOrZero, Anything] Integer probe::probe_read;
    5 bpf_ktime_get_ns ALL = "__u64" ("void") [] Integer time::ktime_get_ns;
    6 bpf_trace_printk ALL gpl
        = "long" ("const char *fmt, __u32 fmt_size, ...")
        [MemRead, Size] Integer print::trace_printk;
    7 bpf_get_prandom_u32 ALL = "__u32" ("void") [] Integer task::get_prandom_u32;
    8 bpf_get_smp_processor_id ALL = "__u32" ("void") [] Integer task::get_smp_processor_id;
    9 bpf_skb_store_bytes NONE;
    10 bpf_l3_csum_replace NONE;
    11 bpf_l4_csum_replace NONE;
    // Where it returns, it leaves nothing in r0, whatever its C type says.
    12 bpf_tail_call ALL
        = "long" ("void *ctx, void *prog_array_map, __u32 index")
        [Context, MapPtr(TailCall), Anything] Void tail::tail_call;
    13 bpf_clone_redirect NONE;
    14 bpf_get_current_pid_tgid ALL = "__u64" ("void") [] Integer task::get_current_pid_tgid;
    15 bpf_get_current_uid_gid ALL = "__u64" ("void") [] Integer task::get_current_uid_gid;
    16 bpf_get_current_comm ALL
        = "long" ("void *buf, __u32 size_of_buf")
        [MemWrite, Size] Integer task::get_current_comm;
    17 bpf_get_cgroup_classid ALL;
    18 bpf_skb_vlan_push NONE;
    19 bpf_skb_vlan_pop NONE;
    20 bpf_skb_get_tunnel_key NONE;
    21 bpf_skb_set_tunnel_key NONE;
    22 bpf_perf_event_read ALL gpl;
    23 bpf_redirect XDP;
    24 bpf_get_route_realm NONE;
    25 bpf_perf_event_output ALL gpl
        = "long" ("void *ctx, void *map, __u64 flags, void *data, __u64 size")
        [Context, MapPtr(PerfOutput), Anything, MemRead, SizeOrZero] Integer perf::output;
    26 bpf_skb_load_bytes SOCKET;
    // Linux lets perf_event programs without a GPL-compatible licence call this one.
    27 bpf_get_stackid TRACING_AND_SYSCALL gpl;
    28 bpf_csum_diff XDP;
    29 bpf_skb_get_tunnel_opt NONE;
    30 bpf_skb_set_tunnel_opt NONE;
    31 bpf_skb_change_proto NONE;
    32 bpf_skb_change_type NONE;
    33 bpf_skb_under_cgroup NONE;
    34 bpf_get_hash_recalc NONE;
    35 bpf_get_current_task ALL gpl = "__u64" ("void") [] Integer task::get_current_task;
    36 bpf_probe_write_user NONE;
    37 bpf_current_task_under_cgroup ALL;
    38 bpf_skb_change_tail NONE;
    39 bpf_skb_pull_data NONE;
    40 bpf_csum_update NONE;
    41 bpf_set_hash_invalid NONE;
    42 bpf_get_numa_node_id ALL = "long" ("void") [] Integer task::get_numa_node_id;
    43 bpf_skb_change_head NONE;
    44 bpf_xdp_adjust_head XDP;
    45 bpf_probe_read_str TRACING_AND_SYSCALL gpl
        = "long" ("void *dst, __u32 size, const void *unsafe_ptr")
        [MemWrite, SizeOrZero, Anything] Integer probe::probe_read_str;
    46 bpf_get_socket_cookie SYSCALL_AND_SOCKET;
    47 bpf_get_socket_uid SOCKET;
    48 bpf_set_hash NONE;
    49 bpf_setsockopt NONE;
    50 bpf_skb_adjust_room NONE;
    51 bpf_redirect_map XDP;
    52 bpf_sk_redirect_map NONE;
    53 bpf_sock_map_update NONE;
    54 bpf_xdp_adjust_meta XDP;
    55 bpf_perf_event_read_value ALL gpl;
    56 bpf_perf_prog_read_value PERF_EVENT gpl;
    57 bpf_getsockopt NONE;
    58 bpf_override_return NONE;
    59 bpf_sock_ops_cb_flags_set NONE;
    60 bpf_msg_redirect_map NONE;
    61 bpf_msg_apply_bytes NONE;
    62 bpf_msg_cork_bytes NONE;
    63 bpf_msg_pull_data NONE;
    64 bpf_bind NONE;
    65 bpf_xdp_adjust_tail XDP;
    66 bpf_skb_get_xfrm_state NONE;
    67 bpf_get_stack TRACING_AND_SYSCALL gpl;
    68 bpf_skb_load_bytes_relative SOCKET;
    69 bpf_fib_lookup XDP gpl;
    70 bpf_sock_hash_update NONE;
    71 bpf_msg_redirect_hash NONE;
    72 bpf_sk_redirect_hash NONE;
    73 bpf_lwt_push_encap NONE;
    74 bpf_lwt_seg6_store_bytes NONE;
    75 bpf_lwt_seg6_adjust_srh NONE;
    76 bpf_lwt_seg6_action NONE;
    77 bpf_rc_repeat NONE;
    78 bpf_rc_keydown NONE;
    79 bpf_skb_cgroup_id NONE;
    80 bpf_get_current_cgroup_id ALL;
    81 bpf_get_local_storage NONE;
    82 bpf_sk_select_reuseport NONE;
    83 bpf_skb_ancestor_cgroup_id NONE;
    84 bpf_sk_lookup_tcp XDP;
    85 bpf_sk_lookup_udp XDP;
    86 bpf_sk_release XDP;
    87 bpf_map_push_elem ALL
        = "long" ("void *map, const void *value, __u64 flags")
        [MapPtr(Push), MapValue, Anything] Integer map::push;
    88 bpf_map_pop_elem ALL = "long" ("void *map, void *value") [MapPtr(Pop), MapValueOut] Integer map::pop;
    89 bpf_map_peek_elem ALL = "long" ("void *map, void *value") [MapPtr(Peek), MapValueOut] Integer map::peek;
    90 bpf_msg_push_data NONE;
    91 bpf_msg_pop_data NONE;
    92 bpf_rc_pointer_rel NONE;
    // Whether a program may use them is for its maps to say: `ProgramType::may_lock`.
    93 bpf_spin_lock ALL = "void" ("struct bpf_spin_lock *lock") [SpinLock] Void spin::lock;
    94 bpf_spin_unlock ALL = "void" ("struct bpf_spin_lock *lock") [SpinLock] Void spin::unlock;
    95 bpf_sk_fullsock NONE;
    96 bpf_tcp_sock NONE;
    97 bpf_skb_ecn_set_ce NONE;
    98 bpf_get_listener_sock NONE;
    99 bpf_skc_lookup_tcp XDP;
    100 bpf_get_current_vm_id ALL = "__u32" ("void") [] Integer hypervisor::get_current_vm_id;
    101 bpf_get_current_vcpu_id ALL = "__u32" ("void") [] Integer hypervisor::get_current_vcpu_id;
    102 bpf_get_exit_reason ALL = "__u64" ("void") [] Integer hypervisor::get_exit_reason;
    103 bpf_sysctl_get_new_value NONE;
    104 bpf_sysctl_set_new_value NONE;
    105 bpf_strtol ALL;
    106 bpf_strtoul ALL;
    107 bpf_sk_storage_get SYSCALL;
    108 bpf_sk_storage_delete SYSCALL;
    109 bpf_send_signal ALL;
    110 bpf_tcp_gen_syncookie XDP gpl;
    111 bpf_skb_output SYSCALL gpl;
    112 bpf_probe_read_user ALL gpl
        = "long" ("void *dst, __u32 size, const void *unsafe_ptr")
        [MemWrite, SizeOrZero, Anything] Integer probe::probe_read_user;
    113 bpf_probe_read_kernel ALL gpl
        = "long" ("void *dst, __u32 size, const void *unsafe_ptr")
        [MemWrite, SizeOrZero, Anything] Integer probe::probe_read_kernel;
    114 bpf_probe_read_user_str ALL gpl
        = "long" ("void *dst, __u32 size, const void *unsafe_ptr")
        [MemWrite, SizeOrZero, Anything] Integer probe::probe_read_user_str;
    115 bpf_probe_read_kernel_str ALL gpl
        = "long" ("void *dst, __u32 size, const void *unsafe_ptr")
        [MemWrite, SizeOrZero, Anything] Integer probe::probe_read_kernel_str;
    116 bpf_tcp_send_ack NONE;
    117 bpf_send_signal_thread ALL;
    118 bpf_jiffies64 ALL = "__u64" ("void") [] Integer time::jiffies64;
    119 bpf_read_branch_records PERF_EVENT gpl;
    120 bpf_get_ns_current_pid_tgid ALL;
    121 bpf_xdp_output SYSCALL gpl;
    122 bpf_get_netns_cookie SOCKET;
    123 bpf_get_current_ancestor_cgroup_id ALL;
    124 bpf_sk_assign NONE;
    125 bpf_ktime_get_boot_ns ALL = "__u64" ("void") [] Integer time::ktime_get_ns;
    126 bpf_seq_printf NONE;
    127 bpf_seq_write NONE;
    128 bpf_sk_cgroup_id NONE;
    129 bpf_sk_ancestor_cgroup_id NONE;
    130 bpf_ringbuf_output ALL
        = "long" ("void *ringbuf, void *data, __u64 size, __u64 flags")
        [MapPtr(Ring), MemRead, SizeOrZero, Anything] Integer ring::output;
    131 bpf_ringbuf_reserve ALL
        = "void *" ("void *ringbuf, __u64 size, __u64 flags")
        [MapPtr(Ring), AllocSize, Anything] RingRecordOrNull ring::reserve;
    132 bpf_ringbuf_submit ALL = "void" ("void *data, __u64 flags") [RingRecord, Anything] Void ring::submit;
    133 bpf_ringbuf_discard ALL = "void" ("void *data, __u64 flags") [RingRecord, Anything] Void ring::discard;
    134 bpf_ringbuf_query ALL = "__u64" ("void *ringbuf, __u64 flags") [MapPtr(Ring), Anything] Integer ring::query;
    135 bpf_csum_level NONE;
    136 bpf_skc_to_tcp6_sock SYSCALL_AND_NET;
    137 bpf_skc_to_tcp_sock SYSCALL_AND_NET;
    138 bpf_skc_to_tcp_timewait_sock SYSCALL_AND_NET;
    139 bpf_skc_to_tcp_request_sock SYSCALL_AND_NET;
    140 bpf_skc_to_udp6_sock SYSCALL_AND_NET;
    141 bpf_get_task_stack ALL;
    142 bpf_load_hdr_opt NONE;
    143 bpf_store_hdr_opt NONE;
    144 bpf_reserve_hdr_opt NONE;
    145 bpf_inode_storage_get NONE;
    146 bpf_inode_storage_delete NONE;
    147 bpf_d_path SYSCALL;
    148 bpf_copy_from_user ALL;
    149 bpf_snprintf_btf ALL;
    150 bpf_seq_printf_btf NONE;
    151 bpf_skb_cgroup_classid NONE;
    152 bpf_redirect_neigh NONE;
    153 bpf_per_cpu_ptr ALL;
    154 bpf_this_cpu_ptr ALL;
    155 bpf_redirect_peer NONE;
    156 bpf_task_storage_get ALL;
    157 bpf_task_storage_delete ALL;
    158 bpf_get_current_task_btf ALL gpl;
    159 bpf_bprm_opts_set NONE;
    160 bpf_ktime_get_coarse_ns NET;
    161 bpf_ima_inode_hash NONE;
    162 bpf_sock_from_file SYSCALL;
    163 bpf_check_mtu XDP gpl;
    164 bpf_for_each_map_elem ALL
        = "long" ("void *map, void *callback_fn, void *callback_ctx, __u64 flags")
        [MapPtr(ForEach), Callback, StackOrNull, Anything] Integer iterate::for_each_map_elem;
    165 bpf_snprintf ALL gpl
        = "long" ("char *str, __u32 str_size, const char *fmt, __u64 *data, __u32 data_len")
        [MemWriteOrNull, SizeOrZero, ConstString, MemReadOrNull, SizeOrZero] Integer print::snprintf;
    166 bpf_sys_bpf SYSCALL;
    167 bpf_btf_find_by_name_kind SYSCALL;
    168 bpf_sys_close SYSCALL;
    169 bpf_timer_init ALL gpl;
    170 bpf_timer_set_callback ALL gpl;
    171 bpf_timer_start ALL gpl;
    172 bpf_timer_cancel ALL gpl;
    173 bpf_get_func_ip TRACING_AND_SYSCALL gpl;
    174 bpf_get_attach_cookie TRACING = "__u64" ("void *ctx") [Context] Integer task::get_attach_cookie;
    175 bpf_task_pt_regs ALL gpl;
    176 bpf_get_branch_snapshot ALL gpl;
    177 bpf_trace_vprintk ALL gpl
        = "long" ("const char *fmt, __u32 fmt_size, const void *data, __u32 data_len")
        [MemRead, Size, MemReadOrNull, SizeOrZero] Integer print::trace_vprintk;
    178 bpf_skc_to_unix_sock SYSCALL_AND_NET;
    179 bpf_kallsyms_lookup_name SYSCALL;
    180 bpf_find_vma ALL;
    181 bpf_loop ALL
        = "long" ("__u32 nr_loops, void *callback_fn, void *callback_ctx, __u64 flags")
        [Anything, Callback, StackOrNull, Anything] Integer iterate::bpf_loop;
    182 bpf_strncmp ALL
        = "long" ("const char *s1, __u32 s1_sz, const char *s2")
        [MemRead, Size, ConstString] Integer string::strncmp;
    183 bpf_get_func_arg NONE;
    184 bpf_get_func_ret NONE;
    185 bpf_get_func_arg_cnt NONE;
    186 bpf_get_retval NONE;
    187 bpf_set_retval NONE;
    188 bpf_xdp_get_buff_len SYSCALL_AND_XDP;
    189 bpf_xdp_load_bytes XDP;
    190 bpf_xdp_store_bytes XDP;
    191 bpf_copy_from_user_task ALL gpl;
    192 bpf_skb_set_tstamp NONE;
    193 bpf_ima_file_hash NONE;
    194 bpf_kptr_xchg ALL;
    195 bpf_map_lookup_percpu_elem ALL
        = "void *" ("void *map, const void *key, __u32 cpu")
        [MapPtr(LookupPercpu), MapKey, Anything] MapValueOrNull map::lookup_percpu;
    196 bpf_skc_to_mptcp_sock SYSCALL_AND_NET;
    197 bpf_dynptr_from_mem ALL
        = "long" ("void *data, __u32 size, __u64 flags, struct bpf_dynptr *ptr")
        [DynptrMemory, SizeOrZero, Anything, NewLocalDynptr] Integer dynptr::from_mem;
    198 bpf_ringbuf_reserve_dynptr ALL
        = "long" ("void *ringbuf, __u32 size, __u64 flags, struct bpf_dynptr *ptr")
        [MapPtr(Ring), Anything, Anything, NewRingDynptr] Integer dynptr::reserve;
    199 bpf_ringbuf_submit_dynptr ALL
        = "void" ("struct bpf_dynptr *ptr, __u64 flags") [RingDynptr, Anything] Void dynptr::submit;
    200 bpf_ringbuf_discard_dynptr ALL
        = "void" ("struct bpf_dynptr *ptr, __u64 flags") [RingDynptr, Anything] Void dynptr::discard;
    201 bpf_dynptr_read ALL
        = "long" ("void *dst, __u32 len, const struct bpf_dynptr *src, __u32 offset, __u64 flags")
        [MemWrite, SizeOrZero, Dynptr, Anything, Anything] Integer dynptr::read;
    202 bpf_dynptr_write ALL
        = "long" ("const struct bpf_dynptr *dst, __u32 offset, void *src, __u32 len, __u64 flags")
        [Dynptr, Anything, MemRead, SizeOrZero, Anything] Integer dynptr::write;
    203 bpf_dynptr_data ALL
        = "void *" ("const struct bpf_dynptr *ptr, __u32 offset, __u32 len")
        [Dynptr, Anything, AllocSize] DynptrMemoryOrNull dynptr::data;
    204 bpf_tcp_raw_gen_syncookie_ipv4 XDP gpl;
    205 bpf_tcp_raw_gen_syncookie_ipv6 XDP gpl;
    206 bpf_tcp_raw_check_syncookie_ipv4 XDP gpl;
    207 bpf_tcp_raw_check_syncookie_ipv6 XDP gpl;
    208 bpf_ktime_get_tai_ns ALL = "__u64" ("void") [] Integer time::ktime_get_ns;
    209 bpf_user_ringbuf_drain ALL;
    210 bpf_cgrp_storage_get ALL;
    211 bpf_cgrp_storage_delete ALL;
};
