//! A guest over WASI preview 1, as a process: an interpreter whose image was taken after it had initialised, or a command.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::{Engine, Instance, InstancePre, Linker, Module, ResourceLimiter, Store, Trap};

use super::entrance::{self, Entrance};
use super::imports;
use super::lock::Entry;
use crate::kernel::{End, Ended, Exec, Kernel, Pid, Program, SLICE_FUEL, Started};
use crate::limits::{Limit, LimitExceeded, ProcExit};
use crate::memory::{self, Image};
use crate::wasi::{self, Told, Wasi, WasiOptions};

/// Elements that a guest's tables may have together. The largest guest has 47,157, and never more.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// A compiled guest. Clones share it.
#[derive(Clone)]
pub(crate) struct WasiGuest {
    inner: Arc<Inner>,
}

struct Inner {
    instance: InstancePre<Context>,
    /// What its memory begins as, unless the engine makes that.
    image: Option<Arc<Image>>,
    /// What the module itself begins with.
    first: Option<Arc<Image>>,
    entrance: Entrance,
    argv0: Option<String>,
    preopens: Vec<Vec<u8>>,
    env: BTreeMap<String, String>,
    /// A directory of the library, and the name that the guest knows it by.
    data: Option<(String, String)>,
}

/// What the host keeps beside a running instance.
pub(crate) struct Context {
    /// None while nothing runs.
    here: Option<Here>,
}

struct Here {
    wasi: Wasi,
    limiter: Limiter,
    /// The program, for a guest that takes source.
    source: Option<String>,
}

impl Context {
    fn wasi(&mut self) -> &mut Wasi {
        &mut self.here.as_mut().expect("a guest runs only where it was given its host's side").wasi
    }

    /// Opens what a session had open.
    pub(super) fn come_back(&mut self, rest: &[u8]) -> Result<(), String> {
        self.wasi().come_back(rest)
    }

    /// Returns what a session keeps of its descriptors.
    pub(super) fn at_rest(&mut self) -> Vec<u8> {
        self.wasi().at_rest()
    }

    fn take_source(&mut self) -> Option<String> {
        self.here.as_mut().and_then(|here| here.source.take())
    }

    pub(super) fn take_told(&mut self) -> Told {
        self.wasi().take_told()
    }

    /// Closes everything, and lets go of the call.
    pub(super) fn leave(&mut self) {
        if let Some(here) = self.here.take() {
            drop(here.wasi.finish());
        }
    }
}

impl ResourceLimiter for Context {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        match &mut self.here {
            Some(here) => here.limiter.memory_growing(current, desired, maximum),
            None => Ok(false),
        }
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        4
    }

    fn memories(&self) -> usize {
        1
    }
}

struct Limiter {
    kernel: Kernel,
    pid: Pid,
}

impl Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Ending the call says why; a failed growth would leave the interpreter to die of it in some odd way.
        self.kernel.lock().grow(self.pid, desired.saturating_sub(current) as u64)?;
        Ok(true)
    }
}

/// Returns the linker with everything that such a guest may import.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Context>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker, Context::wasi)?;
    imports::add_to_linker(&mut linker)?;
    Ok(linker)
}

impl WasiGuest {
    pub(super) fn new(
        linker: &Linker<Context>,
        module: &Module,
        entry: &Entry,
        image: Arc<Image>,
    ) -> wasmtime::Result<Self> {
        let data = entry.library.as_ref().and_then(|library| library.data.as_ref());
        let inner = Inner {
            instance: linker.instantiate_pre(module)?,
            first: Some(Arc::clone(&image)),
            image: Some(image),
            entrance: Entrance::new(entry),
            argv0: entry.argv0.clone(),
            preopens: entry.preopens.iter().map(|path| path.clone().into_bytes()).collect(),
            env: entry.env.clone(),
            data: data.map(|data| (data.folder.clone(), data.name.clone())),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns a program that somebody uploaded: it starts at `_start` and has the root directory.
    ///
    /// # Errors
    /// It imports what there is not.
    pub(crate) fn of_command(linker: &Linker<Context>, module: &Module) -> wasmtime::Result<Self> {
        let inner = Inner {
            instance: linker.instantiate_pre(module)?,
            image: None,
            first: None,
            entrance: Entrance::of_command(),
            argv0: None,
            preopens: vec![b"/".to_vec()],
            env: BTreeMap::new(),
            data: None,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns a program that runs in a fresh instance.
    pub(crate) fn program(&self, exec: Exec) -> Program {
        let guest = self.clone();
        Box::new(move |started| Box::pin(guest.run(exec, started)))
    }

    async fn run(self, exec: Exec, started: Started) -> Ended {
        let fuel = started.fuel;
        match self.try_run(exec, started).await {
            Ok(ended) => ended,
            Err(error) => Ended { how: End::Call(error), fuel },
        }
    }

    async fn try_run(self, exec: Exec, started: Started) -> wasmtime::Result<Ended> {
        let fuel = started.fuel;
        let mut store = self.store(exec, &started)?;
        let how = match self.enter(&mut store).await {
            Ok((_, status)) => End::Exited(status),
            Err(error) => ending(error, fuel),
        };
        let left = store.get_fuel()?;
        store.data_mut().leave();
        Ok(Ended { how, fuel: fuel.saturating_sub(left) })
    }

    /// Runs a program in a fresh instance, and returns an image of the memory that it leaves. It is the same one twice: as a
    /// command line, and as source for a guest that takes that.
    ///
    /// # Errors
    /// It fails, as a program or by what it may use.
    pub(super) async fn image_after(
        &self,
        exec: Exec,
        source: String,
        started: Started,
    ) -> wasmtime::Result<Arc<Image>> {
        let first = self.inner.image.as_ref().ok_or_else(|| wasmtime::Error::msg("a guest without an image"))?;
        let mut store = self.store(exec, &started)?;
        if let Some(here) = store.data_mut().here.as_mut().filter(|here| here.source.is_some()) {
            here.source = Some(source);
        }
        let (instance, status) = self.enter(&mut store).await?;
        if status != 0 {
            return Err(wasmtime::Error::msg(format!("the program exited with {status}")));
        }
        let memory = instance.get_memory(&mut store, "memory").ok_or_else(|| wasmtime::Error::msg("no memory"))?;
        Ok(Arc::new(Image::new(memory.data(&store), first.minimum_bytes())?))
    }

    /// Returns the same guest, whose programs begin with another image.
    pub(super) fn beginning_with(&self, image: Arc<Image>) -> Self {
        let inner = &*self.inner;
        let inner = Inner {
            instance: inner.instance.clone(),
            image: Some(image),
            first: inner.first.clone(),
            entrance: inner.entrance.clone(),
            argv0: inner.argv0.clone(),
            preopens: inner.preopens.clone(),
            env: inner.env.clone(),
            data: inner.data.clone(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns what an instance of a process needs.
    fn store(&self, exec: Exec, started: &Started) -> wasmtime::Result<Store<Context>> {
        let mut store = self.store_of(self.context(exec, started)?)?;
        store.set_fuel(started.fuel)?;
        store.fuel_async_yield_interval(Some(SLICE_FUEL))?;
        Ok(store)
    }

    pub(super) fn store_of(&self, context: Context) -> wasmtime::Result<Store<Context>> {
        let mut store = Store::new(self.inner.instance.module().engine(), context);
        store.limiter(|context| context);
        // Making an instance costs nothing that is counted, and must not fail for want of it.
        store.set_fuel(u64::MAX)?;
        Ok(store)
    }

    /// Says whether an instance is its memory and its globals, and nothing else.
    pub(super) fn may_have_sessions(&self) -> bool {
        self.inner.image.is_some() && memory::module::may_have_sessions(self.inner.instance.module())
    }

    pub(super) fn instance(&self) -> &InstancePre<Context> {
        &self.inner.instance
    }

    /// Returns the images that programs begin with, and that the module began with.
    pub(super) fn images(&self) -> Option<(&Arc<Image>, &Arc<Image>)> {
        self.inner.image.as_ref().zip(self.inner.first.as_ref())
    }

    /// Returns the host's side of a process.
    pub(super) fn context(&self, exec: Exec, started: &Started) -> wasmtime::Result<Context> {
        let (kernel, pid) = (started.kernel.clone(), started.pid);
        let inner = &*self.inner;
        let (open_files_max, directory) = {
            let mut state = kernel.lock();
            let directory = state.processes.get(pid).map(|process| process.directory);
            (state.open_files_max(), directory.and_then(|directory| state.vfs.path_of(directory).ok()))
        };
        let (mut args, env) = (self.arguments(exec.args), self.environment(exec.env, directory));
        let source = inner.entrance.takes_source().then(|| entrance::source(&args, &env));
        if source.is_some() {
            args.truncate(1);
        }
        let options = WasiOptions { args, env, preopens: inner.preopens.clone(), open_files_max };
        let mut wasi = Wasi::new(kernel.clone(), pid, options)?;
        if let Some((folder, name)) = &inner.data {
            wasi.open_from_start(folder.as_bytes(), name.as_bytes())?;
        }
        let limiter = Limiter { kernel, pid };
        Ok(Context { here: Some(Here { wasi, limiter, source }) })
    }

    /// Counts the memory of an image that an instance is about to begin with.
    pub(super) fn count(&self, store: &mut Store<Context>, image: &Image) -> wasmtime::Result<()> {
        // The engine knows of what the module asks for only.
        let more = image.bytes().saturating_sub(image.minimum_bytes());
        if let Some(here) = &mut store.data_mut().here {
            here.limiter.memory_growing(0, more, None)?;
        }
        Ok(())
    }

    async fn enter(&self, store: &mut Store<Context>) -> wasmtime::Result<(Instance, i32)> {
        let inner = &*self.inner;
        let instance = match &inner.image {
            Some(image) => {
                self.count(store, image)?;
                memory::instantiate(&inner.instance, store, image).await?
            }
            None => inner.instance.instantiate_async(&mut *store).await?,
        };
        // Reactors' images were taken after initialisation; one that has the export still wants it.
        if let Some(initialize) = instance.get_func(&mut *store, "_initialize") {
            initialize.typed::<(), ()>(&*store)?.call_async(&mut *store, ()).await?;
        }
        let status = self.call_entry(store, &instance).await?;
        Ok((instance, status))
    }

    /// Runs the guest once: with the arguments, environment and descriptors that its context has.
    pub(super) async fn call_entry(&self, store: &mut Store<Context>, instance: &Instance) -> wasmtime::Result<i32> {
        let source = store.data_mut().take_source();
        self.inner.entrance.enter(store, instance, source).await
    }

    fn arguments(&self, args: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let inner = &*self.inner;
        let mut words = args.into_iter();
        let name = words.next().unwrap_or_default();
        let mut all = vec![inner.argv0.as_ref().map_or(name, |argv0| argv0.clone().into_bytes())];
        all.extend(words);
        all
    }

    /// Adds what this guest needs. `PWD` is how it learns where it is.
    fn environment(&self, env: Vec<Vec<u8>>, directory: Option<Vec<u8>>) -> Vec<Vec<u8>> {
        let is = |variable: &[u8], name: &str| {
            variable.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'='))
        };
        let mut all: Vec<Vec<u8>> = self
            .inner
            .env
            .iter()
            .filter(|(name, _)| !env.iter().any(|variable| is(variable, name)))
            .map(|(name, value)| format!("{name}={value}").into_bytes())
            .collect();
        let moved = directory.filter(|directory| directory != b"/").map(|directory| [b"PWD=", &directory[..]].concat());
        let is_moved = moved.is_some();
        all.extend(env.into_iter().filter(|variable| !(is_moved && is(variable, "PWD"))));
        all.extend(moved);
        all
    }
}

/// Returns how a program ended that did not return.
pub(super) fn ending(error: wasmtime::Error, fuel: u64) -> End {
    if let Some(ProcExit(status)) = error.downcast_ref() {
        return End::Exited(*status);
    }
    if error.is::<LimitExceeded>() || error.is::<sandglass_snapshots::StoreError>() {
        return End::Call(error);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => End::Call(LimitExceeded { limit: Limit::Cpu, allowed: fuel }.into()),
        Some(trap) => End::Trapped(trap.to_string()),
        None => {
            let text = error.root_cause().to_string();
            End::Trapped(text.lines().next().unwrap_or_default().to_owned())
        }
    }
}
