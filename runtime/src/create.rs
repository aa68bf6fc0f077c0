//! How a sandbox comes to be: its first state, and the entry that starts its log.

use std::path::Path;

use sandglass_policy::{Access, Policy};
use sandglass_snapshots::{
    Draft, EntryBody, FsError, ImportOptions, ImportProgress, Inode, NodeBatch, Operation, OperationKind, Quota,
    SandboxId, StateId, Timestamp, Transaction, import_directory,
};

use crate::error::Error;
use crate::host::{Host, NameGuard};
use crate::record::{CreateDetail, CreateRequest, ForkRequest, Source};
use crate::sandbox::{Sandbox, to_detail};

/// Where a sandbox's own files are; the working directory of its calls.
pub(crate) const WORKSPACE: &[u8] = b"workspace";
const NAME_BYTES_MAX: usize = 63;
const FORKS_MAX: usize = 1_000;
/// Forks are appended side by side, so that one sync serves many.
const FORK_THREADS: usize = 16;

/// The first state of a sandbox, with what its first entry says.
struct First {
    kind: OperationKind,
    state: StateId,
    nodes: NodeBatch,
    generation: u64,
    detail: CreateDetail,
}

pub(crate) fn create(
    host: &Host,
    request: CreateRequest,
    actor: &str,
    progress: &(dyn Fn(ImportProgress) + Sync),
) -> Result<Sandbox, Error> {
    let world = &host.world;
    world.running()?;
    let id = world.new_sandbox_id();
    let name = checked_name(request.name, id)?;
    if let Some(policy) = &request.policy {
        policy.check()?;
    }
    let reserved = host.reserve(&name, id)?;
    let own_policy = request.policy.unwrap_or_else(|| world.settings.policy.clone());
    let first = match request.from {
        Source::Empty => empty(host, name, own_policy, None, progress)?,
        Source::Directory(directory) => empty(host, name, own_policy, Some(&directory), progress)?,
        Source::State(state) => {
            let state = host.known_state(state)?;
            let guests = guest_names(host, state)?;
            let from = format!("state {state}");
            let detail = CreateDetail { name, policy: own_policy, guests, parent: None, from };
            First { kind: OperationKind::Create, state, nodes: NodeBatch::new(), generation: 1, detail }
        }
        Source::Sandbox(other) => {
            let other = host.sandbox(&other)?;
            fork_of(host, &other, None, name)?
        }
    };
    let detail = first.detail.clone();
    let time = append_first(host, id, first, actor)?;
    Ok(host.register(reserved, id, detail, time, 1))
}

/// Forks `sandbox`: each fork is a sandbox of its own whose first state is an existing one.
pub(crate) fn fork(host: &Host, sandbox: &Sandbox, request: ForkRequest, actor: &str) -> Result<Vec<Sandbox>, Error> {
    host.world.running()?;
    if request.names.is_empty() || request.names.len() > FORKS_MAX {
        let message = format!("{} forks were asked for, and 1 to {FORKS_MAX} can be made at once", request.names.len());
        return Err(Error::invalid("fork_count", message));
    }
    let state = request.state.map(|state| host.known_state(state)).transpose()?;
    let mut planned = Vec::with_capacity(request.names.len());
    for name in request.names {
        let id = host.world.new_sandbox_id();
        let name = checked_name(name, id)?;
        let reserved = host.reserve(&name, id)?;
        planned.push((id, reserved, fork_of(host, sandbox, state, name)?));
    }
    // One fork needs no thread of its own.
    let make = |(id, reserved, first): (SandboxId, NameGuard<'_>, First)| {
        let detail = first.detail.clone();
        let time = append_first(host, id, first, actor)?;
        Ok(host.register(reserved, id, detail, time, 1))
    };
    if planned.len() == 1 {
        return planned.into_iter().map(make).collect();
    }
    let threads = planned.len().min(FORK_THREADS);
    let mut shares: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, one) in planned.into_iter().enumerate() {
        shares[index % threads].push((index, one));
    }
    let made = std::thread::scope(|scope| {
        let make = &make;
        let work = |share: Vec<(usize, _)>| {
            scope.spawn(move || {
                let made = share.into_iter().map(|(index, one)| make(one).map(|sandbox| (index, sandbox)));
                made.collect::<Result<Vec<_>, Error>>()
            })
        };
        let running: Vec<_> = shares.into_iter().map(work).collect();
        let joined =
            running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(Error::internal("a fork panicked"))));
        joined.collect::<Result<Vec<_>, Error>>()
    });
    let mut made: Vec<_> = made?.into_iter().flatten().collect();
    made.sort_by_key(|(index, _)| *index);
    Ok(made.into_iter().map(|(_, sandbox)| sandbox).collect())
}

fn fork_of(host: &Host, parent: &Sandbox, state: Option<StateId>, name: String) -> Result<First, Error> {
    let head = host.world.store.head(parent.id())?;
    let state = state.unwrap_or(head.state);
    let (_, policy) = parent.policy()?;
    let detail = CreateDetail {
        name,
        policy,
        guests: guest_names(host, state)?,
        parent: Some(parent.id().to_string()),
        from: format!("sandbox {}", parent.name()),
    };
    Ok(First { kind: OperationKind::Fork, state, nodes: NodeBatch::new(), generation: head.generation + 1, detail })
}

/// Makes the directories that every sandbox begins with, but its `/workspace`: `/tmp`, as shared as anywhere, and
/// `/usr/local/bin` for commands that are installed by hand.
pub(crate) fn lay_out(transaction: &mut Transaction, now: Timestamp) -> Result<(), FsError> {
    transaction.create_directory(Inode::ROOT, b"tmp", 0o1777, now)?;
    let mut directory = Inode::ROOT;
    for name in [&b"usr"[..], b"local", b"bin"] {
        directory = transaction.create_directory(directory, name, 0o755, now)?;
    }
    Ok(())
}

/// Builds a first state: what every sandbox has, `/workspace` (from a directory of the host, if one is given) and the policy's
/// mounts.
fn empty(
    host: &Host,
    name: String,
    policy: Policy,
    workspace: Option<&Path>,
    progress: &(dyn Fn(ImportProgress) + Sync),
) -> Result<First, Error> {
    let pins = host.guests().pins()?;
    let grants = policy.grants();
    let quota = Quota { bytes: grants.limits.disk.bytes(), inodes: grants.limits.files };
    let hashes = pins.iter().map(|pin| (pin.tool.clone(), pin.hash)).collect();
    let mut transaction = host.world.store.begin_empty(hashes, quota);
    let now = host.world.clock.now();
    lay_out(&mut transaction, now)?;
    match workspace {
        Some(directory) => bring_in(host, &mut transaction, directory, Inode::ROOT, WORKSPACE, progress)?,
        None => drop(transaction.create_directory(Inode::ROOT, WORKSPACE, 0o755, now)?),
    }
    for mount in &grants.mounts {
        match mount.access {
            Access::Ro => {
                let parts = crate::files::parts(&mount.path)?;
                let Some((last, parents)) = parts.split_last() else { continue };
                let mut directory = Inode::ROOT;
                for part in parents {
                    directory = match transaction.lookup(directory, part) {
                        Err(FsError::NotFound) => transaction.create_directory(directory, part, 0o755, now)?,
                        found => found?,
                    };
                }
                bring_in(host, &mut transaction, Path::new(&mount.host), directory, last, progress)?;
            }
        }
    }
    let sealed = transaction.seal()?;
    let from = workspace.map_or_else(|| "nothing".to_owned(), |path| format!("directory {}", path.display()));
    let guests = pins.into_iter().map(|pin| (pin.tool, pin.name)).collect();
    let detail = CreateDetail { name, policy, guests, parent: None, from };
    Ok(First { kind: OperationKind::Create, state: sealed.state, nodes: sealed.nodes, generation: 1, detail })
}

fn bring_in(
    host: &Host,
    transaction: &mut Transaction,
    from: &Path,
    directory: Inode,
    name: &[u8],
    progress: &(dyn Fn(ImportProgress) + Sync),
) -> Result<(), Error> {
    let shown = from.display();
    if !from.is_dir() {
        return Err(Error::invalid("no_such_directory", format!("`{shown}` is not a directory of the host"))
            .hinted("give an absolute path to a directory that the service can read"));
    }
    let options = ImportOptions { threads: host.world.settings.import_threads };
    let imported = import_directory(&host.world.store, from, &options, progress)?;
    for (path, reason) in &imported.skipped {
        tracing::warn!(path = %path.display(), reason = %reason, "not imported");
    }
    transaction.attach(directory, name, &imported, host.world.clock.now())?;
    Ok(())
}

fn append_first(
    host: &Host,
    id: SandboxId,
    first: First,
    actor: &str,
) -> Result<sandglass_snapshots::Timestamp, Error> {
    let time = host.world.clock.now();
    let operation = Operation {
        kind: first.kind,
        before: None,
        after: first.state,
        generation: first.generation,
        actor: actor.to_owned(),
        target: None,
        policy_revision: 1,
        detail: to_detail(&first.detail)?,
        call: None,
    };
    let draft = Draft { time, body: EntryBody::Operation(operation) };
    host.world.store.append(id, None, vec![draft], first.nodes)?;
    tracing::info!(sandbox.id = %id, sandbox.name = %first.detail.name, from = %first.detail.from, "sandbox created");
    Ok(time)
}

fn guest_names(host: &Host, state: StateId) -> Result<Vec<(String, String)>, Error> {
    let pinned = host.world.store.guests(state)?;
    Ok(pinned.into_iter().map(|(tool, hash)| (tool, host.guests().name_of(&hash))).collect())
}

fn checked_name(name: Option<String>, id: SandboxId) -> Result<String, Error> {
    let Some(name) = name else {
        // The random end of an id reads well and can't be another's name: names never start with `sb_`.
        let text = id.to_string();
        return Ok(format!("sandbox-{}", &text[text.len() - 10..]));
    };
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let starts = name.bytes().next().is_some_and(fits);
    if starts && name.len() <= NAME_BYTES_MAX && name.bytes().all(|byte| fits(byte) || byte == b'-') {
        return Ok(name);
    }
    let message = format!("`{}` can't be a sandbox's name", name.chars().take(80).collect::<String>());
    Err(Error::invalid("invalid_name", message).hinted(format!(
        "use 1 to {NAME_BYTES_MAX} lower-case letters, digits and hyphens, starting with a letter or digit"
    )))
}
