use std::sync::Arc;
use axebpf_core::{engine::*, isa::Insn, map::MapSet, memory::Window, program::Program, helper::*};
struct H; impl Host for H { fn now(&self)->u64{0} fn cpu(&self)->u32{0} fn random(&self)->u32{0} fn task(&self)->Task{Task::default()} fn vm_context(&self)->VmContext{VmContext::default()} fn print(&self,_:&str){} }
fn cpu()->f64{ let mut t=libc::timespec{tv_sec:0,tv_nsec:0}; unsafe{libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID,&mut t)}; t.tv_sec as f64*1e9+t.tv_nsec as f64 }
fn main(){
  let dir=std::env::var("BENCH_OBJ").unwrap();
  for n in "empty sum256 fnv1a sieve log2hist dispatch muldiv divconst ethparse callchain copyrev".split(' ') {
    let Ok(b)=std::fs::read(format!("{dir}/{n}.bin")) else {continue};
    if n=="callchain" {continue}
    let insns=b.chunks(8).map(|c|Insn::from_bytes(c.try_into().unwrap())).collect();
    let p=Program{name:n.into(),section:String::new(),program_type:None,target:None,insns,maps:vec![],subprograms:vec![],lines:vec![],license:String::new()};
    let r=Interpreter.load(Arc::new(p),MapSet::default()).unwrap();
    let mut buf=std::fs::read(format!("{dir}/input.bin")).unwrap();
    let mut st=Stack::new(0xdead_beef).unwrap();
    let a=buf.as_mut_ptr() as u64;
    let input=Input{args:[a,256],context:Window{start:a,len:256,writable:true},extra:&[],host:&H,budget:1<<40};
    let mut reps=1; let mut ret; let mut ins;
    loop { let t=cpu(); ret=0;ins=0; for _ in 0..reps { let o=unsafe{r.run(&mut st,&input)}; ret=o.result.unwrap(); ins=o.instructions; } let e=cpu()-t; if e>3e7 {println!("run axebpf-interpreter {n} {:.3} {:.3} {}",e/reps as f64, e/reps as f64, ret as u32); eprintln!("   {n} insns {ins} ns/insn {:.3}",e/reps as f64/ins as f64); break} reps*=2; }
  }
}
