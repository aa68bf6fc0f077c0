//! What memory costs: forks, restores and commits by size and by pages written, beside what the machine itself takes for it.
//!
//! `SANDGLASS_FIGURES=1 cargo test --release -p sandglass-runtime --lib memory::figures -- --nocapture` prints the tables of
//! `docs/benchmarks.md`. Without the variable the smallest size runs once, for the results to be right; no time is asserted.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use sandglass_snapshots::NodeBatch;
use wasmtime::{Engine, Instance, InstancePre, Linker, Memory, Module, Store};

use super::mapping::instantiate_for_good;
use super::{Image, PAGE_BYTES, Snapshot, Tracking, module};

/// A guest that writes so many pages, some pages apart, from one on.
const GUEST: &str = r#"(module
    (memory (export "memory") 1 65536)
    (global $at (mut i32) (i32.const 0))
    (func (export "write") (param $from i32) (param $pages i32) (param $apart i32) (param $value i32)
        (global.set $at (i32.shl (local.get $from) (i32.const 12)))
        (loop $more
            (i32.store (global.get $at) (i32.add (i32.load (global.get $at)) (local.get $value)))
            (global.set $at (i32.add (global.get $at) (i32.shl (local.get $apart) (i32.const 12))))
            (br_if $more (local.tee $pages (i32.sub (local.get $pages) (i32.const 1)))))
        (global.set $at (i32.const 0))))"#;

struct Ground {
    ready: InstancePre<()>,
    engine: Engine,
    beginning: Snapshot,
}

struct Live {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
    tracking: Tracking,
}

impl Ground {
    /// A guest whose memory has so many mebibytes, all of them used.
    fn new(mebibytes: usize) -> Self {
        let wasm = module::rewrite(&wat::parse_str(GUEST).unwrap()).unwrap();
        let engine = crate::engine::new().unwrap();
        let module = Module::new(&engine, wasm).unwrap();
        let first = module::first_image(&engine, &module).unwrap();
        let ready = Linker::new(&engine).instantiate_pre(&module).unwrap();
        let mut content = vec![0u8; mebibytes << 20];
        for (number, page) in content.chunks_mut(PAGE_BYTES).enumerate() {
            page[8..16].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        }
        let image = Arc::new(Image::new(&content, first.minimum_bytes()).unwrap());
        Self { ready, engine, beginning: Snapshot::beginning(first, image) }
    }

    fn fork(&self, snapshot: &Snapshot) -> Live {
        let mut store = Store::new(&self.engine, ());
        store.set_fuel(u64::MAX).unwrap();
        let instance = instantiate_for_good(&self.ready, &mut store, snapshot.image()).now_or_never().unwrap().unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        snapshot.put(memory.data_mut(&mut store));
        Live { store, instance, memory, tracking: Tracking::default() }
    }
}

impl Live {
    fn write(&mut self, from: usize, pages: usize, apart: usize, value: u32) {
        type Arguments = (u32, u32, u32, u32);
        let write = self.instance.get_typed_func::<Arguments, ()>(&mut self.store, "write").unwrap();
        let [from, pages, apart] = [from, pages, apart].map(|number| u32::try_from(number).unwrap());
        write.call_async(&mut self.store, (from, pages, apart, value)).now_or_never().unwrap().unwrap();
    }

    fn rest(&mut self, base: &Snapshot, batch: &mut NodeBatch) -> Snapshot {
        let memory = self.memory.data(&self.store);
        let written = self.tracking.written(memory).unwrap();
        base.after(memory, written, Vec::new(), batch)
    }

    fn bytes(&self) -> Vec<u8> {
        self.memory.data(&self.store).to_vec()
    }
}

/// The middle of some times, in microseconds.
fn middle<T>(rounds: usize, mut work: impl FnMut() -> T) -> f64 {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            let made = work();
            let took = start.elapsed();
            drop(made);
            took.as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn is_asked_for() -> bool {
    std::env::var_os("SANDGLASS_FIGURES").is_some()
}

#[test]
fn forks_and_restores_by_size() {
    let sizes: &[usize] = if is_asked_for() { &[16, 64, 256, 1024] } else { &[16] };
    let rounds = if is_asked_for() { 41 } else { 1 };
    println!(
        "| memory, MiB | fork | first call, 100 pages | second | rest | in place back | fork, 500 pages over | own image | bare mmap, munmap |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for mebibytes in sizes {
        let ground = Ground::new(*mebibytes);
        let base = &ground.beginning;
        let apart = (mebibytes << 8) / 512;
        let fork = middle(rounds, || ground.fork(base));
        let mut lives: Vec<Live> = (0..rounds).map(|_| ground.fork(base)).collect();
        let mut next = lives.iter_mut();
        let first = middle(rounds, || next.next().unwrap().write(3, 100, apart, 1));
        let mut next = lives.iter_mut();
        let second = middle(rounds, || next.next().unwrap().write(3, 100, apart, 1));
        let mut next = lives.iter_mut();
        let rest = middle(rounds, || next.next().unwrap().rest(base, &mut NodeBatch::new()));
        drop(lives);
        // Back to a moment before, in place.
        let mut live = ground.fork(base);
        let mut batch = NodeBatch::new();
        live.write(3, 100, apart, 1);
        let before = live.rest(base, &mut batch);
        let bytes = live.bytes();
        let mut back: Vec<f64> = (0..rounds)
            .map(|_| {
                live.write(7, 120, apart, 5);
                let after = live.rest(&before, &mut NodeBatch::new());
                let start = Instant::now();
                assert!(before.put_over(&after, live.memory.data_mut(&mut live.store)));
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        back.sort_by(f64::total_cmp);
        assert!(live.bytes() == bytes, "{mebibytes} MiB, back in place");
        live.write(2, 500, apart, 9);
        let far = live.rest(&before, &mut batch);
        let over = middle(rounds, || ground.fork(&far));
        assert!(ground.fork(&far).bytes() == live.bytes(), "{mebibytes} MiB, pages over an image");
        let settle = middle(rounds.min(5), || far.settled().unwrap());
        let settled = far.settled().unwrap();
        assert!(ground.fork(&settled).bytes() == live.bytes(), "{mebibytes} MiB, an image of its own");
        let moved = far.over_image_of(&settled).unwrap();
        assert!(ground.fork(&moved).bytes() == live.bytes(), "{mebibytes} MiB, over another image");
        let bare = middle(rounds, || Image::new(&[], 0).unwrap());
        println!(
            "| {mebibytes} | {fork:.0} us | {first:.0} us | {second:.0} us | {rest:.0} us | {:.0} us | {over:.0} us | {:.1} ms | {bare:.0} us |",
            back[back.len() / 2],
            settle / 1e3,
        );
    }
}

#[test]
fn commits_by_pages_written() {
    let counts: &[usize] = if is_asked_for() { &[1, 16, 100, 500, 2000, 10_000] } else { &[100] };
    let rounds: u32 = if is_asked_for() { 21 } else { 1 };
    let ground = Ground::new(64);
    println!(
        "| pages written | the guest's writes | found and compared | stored bytes | memcpy | BLAKE3 of the pages |"
    );
    println!("|---|---|---|---|---|---|");
    for pages in counts {
        let mut live = ground.fork(&ground.beginning);
        let mut base = ground.beginning.clone();
        let (mut writes, mut rests, mut stored) = (Vec::new(), Vec::new(), 0);
        let apart = (64 << 8) / pages.max(&64);
        for round in 1..=rounds {
            let start = Instant::now();
            live.write(1, *pages, apart, round);
            writes.push(start.elapsed().as_secs_f64() * 1e6);
            let mut batch = NodeBatch::new();
            let start = Instant::now();
            base = live.rest(&base, &mut batch);
            rests.push(start.elapsed().as_secs_f64() * 1e6);
            stored = batch.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        }
        assert!(ground.fork(&base).bytes() == live.bytes(), "{pages} pages");
        writes.sort_by(f64::total_cmp);
        rests.sort_by(f64::total_cmp);
        let bytes = vec![7u8; pages * PAGE_BYTES];
        let mut copy = vec![0u8; bytes.len()];
        let memcpy = middle(rounds as usize, || copy.copy_from_slice(&bytes));
        let hash = middle(rounds as usize, || sandglass_snapshots::node_id(&bytes));
        println!(
            "| {pages} | {:.0} us | {:.0} us | {stored} | {memcpy:.0} us | {hash:.0} us |",
            writes[writes.len() / 2],
            rests[rests.len() / 2]
        );
    }
}
