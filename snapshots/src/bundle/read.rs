//! Reading a bundle into a store, whole or not at all.
//!
//! Nodes go to the store as they come, where nothing leads to them: the states themselves are kept back until everything
//! was seen and holds together. What a refused bundle leaves behind is collected with all else that nobody needs.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};

use bytes::Bytes;

use super::known::known_of;
use super::{BUNDLE_MAGIC, BundleError, HEADER_BYTES_MAX, Header, VERSION, length_max};
use crate::check::{CheckMemo, CheckReport, check_state};
use crate::closure::{children, is_leaf};
use crate::error::StoreError;
use crate::id::{NodeId, StateId};
use crate::node::{NodeBatch, NodeKind, NodeSource, node_id};
use crate::store::{Hold, Store};

/// How many bytes of nodes are gathered before they go to the store.
const BATCH_BYTES: u64 = 4 << 20;
/// Bytes of states that are kept back at most.
const STATE_BYTES_MAX: usize = 256 << 20;

/// Nodes of one bundle at most: the name of each is kept in memory until the end.
const NODES_MAX: u64 = 32 << 20;

/// How far an import is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BundleProgress {
    /// Nodes read.
    pub nodes: u64,
    /// Bytes of nodes read.
    pub bytes: u64,
}

/// A bundle whose states are in the store.
#[derive(Clone, Debug)]
pub struct ImportedBundle {
    /// Its states, in its order.
    pub states: Vec<StateId>,
    /// Nodes that it held.
    pub nodes: u64,
    /// Of those, the ones that the store did not have.
    pub nodes_new: u64,
    /// Bytes of its nodes.
    pub bytes: u64,
    /// Keeps the states until a log entry does.
    pub hold: Hold,
}

/// Reads a bundle and puts its states into the store. They are durable with the next append.
///
/// # Errors
/// A [`BundleError`] that names what is wrong; then none of its states is in the store unless it was before.
pub fn import_bundle(
    store: &Store,
    input: &mut dyn Read,
    progress: &mut dyn FnMut(BundleProgress),
) -> Result<ImportedBundle, BundleError> {
    let mut input = Hashed { input, hasher: blake3::Hasher::new() };
    let header = read_header(&mut input)?;
    let hold = store.hold();
    let mut base_holds = Vec::new();
    for base in &header.bases {
        base_holds.push(store.hold_state(*base).map_err(|error| match error {
            StoreError::MissingNode(_) => BundleError::MissingBase(*base),
            other => BundleError::Store(other),
        })?);
    }
    let roots: HashSet<NodeId> = header.roots.iter().map(|root| NodeId::from(*root)).collect();
    let mut import = Import {
        store,
        hold: &hold,
        roots,
        batch: NodeBatch::new(),
        seen: HashMap::new(),
        owed: HashSet::new(),
        states: HashMap::new(),
        state_bytes: 0,
        memo: CheckMemo::default(),
        bytes: 0,
        nodes_new: 0,
    };
    while let Some(bytes) = read_node(&mut input, import.seen.len() as u64 + 1)? {
        import.take(bytes)?;
        progress(BundleProgress { nodes: import.seen.len() as u64, bytes: import.bytes });
    }
    read_trailer(&mut input, import.seen.len() as u64, import.bytes)?;
    import.flush()?;
    import.finish(&header)
}

struct Import<'a> {
    store: &'a Store,
    hold: &'a Hold,
    roots: HashSet<NodeId>,
    batch: NodeBatch,
    seen: HashMap<NodeId, NodeKind>,
    /// What nodes referred to that had not come: the base states must have it.
    owed: HashSet<NodeId>,
    /// The states, which come into the store last.
    states: HashMap<NodeId, Bytes>,
    state_bytes: usize,
    memo: CheckMemo,
    bytes: u64,
    nodes_new: u64,
}

impl Import<'_> {
    /// Takes one node, which may refer only to what has come and to the base states.
    fn take(&mut self, bytes: Bytes) -> Result<(), BundleError> {
        let number = self.seen.len() as u64 + 1;
        let refused = |reason: &str| BundleError::Node { number, reason: reason.to_owned() };
        if number > NODES_MAX {
            return Err(refused("there are too many"));
        }
        let id = node_id(&bytes);
        let kind =
            bytes.first().copied().and_then(NodeKind::from_byte).ok_or_else(|| refused("its kind is unknown"))?;
        if self.seen.insert(id, kind).is_some() {
            return Err(BundleError::Twice(id));
        }
        if self.owed.contains(&id) {
            return Err(BundleError::Order(id));
        }
        let (seen, owed) = (&self.seen, &mut self.owed);
        let decoded = children(&id, &bytes, &mut |child, _| {
            if !seen.contains_key(&child) {
                owed.insert(child);
            }
        });
        decoded.map_err(|error| BundleError::Node { number, reason: error.to_string() })?;
        self.bytes += bytes.len() as u64;
        if kind == NodeKind::State {
            self.state_bytes = self.state_bytes.saturating_add(bytes.len());
            if !self.roots.contains(&id) {
                return Err(refused("it is a state that the header does not name"));
            }
            if self.state_bytes > STATE_BYTES_MAX {
                return Err(refused("its states are too large"));
            }
            self.states.insert(id, bytes);
            return Ok(());
        }
        if kind == NodeKind::Blob {
            self.memo.saw_blob(id, &bytes);
        }
        self.batch.insert_named(id, bytes);
        if self.batch.byte_len() >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BundleError> {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.nodes_new += self.store.put_counted(self.hold, batch)?;
        }
        Ok(())
    }

    fn finish(mut self, header: &Header) -> Result<ImportedBundle, BundleError> {
        let overlay = Overlay { store: self.store, states: std::mem::take(&mut self.states) };
        let known = known_of(&overlay, &header.roots, &header.bases).map_err(missing)?;
        self.complete(&overlay, &known)?;
        self.memo.trust(known);
        let mut report = CheckReport::default();
        for state in &header.roots {
            check_state(&overlay, *state, &mut self.memo, &mut report)?;
        }
        if let Some(first) = report.violations.first() {
            let more = report.violations.len() as u64 - 1 + report.more;
            let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
            let reason = format!("{}: {}{more}", first.path, first.reason);
            return Err(BundleError::Inconsistent { state: first.state, reason });
        }
        let mut states = NodeBatch::new();
        for (id, bytes) in overlay.states {
            states.insert_named(id, bytes);
        }
        if !states.is_empty() {
            self.nodes_new += self.store.put_counted(self.hold, states)?;
        }
        // The states hold all that they lead to: the names of single nodes can be forgotten.
        let hold = self.store.hold();
        for state in &header.roots {
            hold.absorb(&self.store.hold_state(*state)?);
        }
        let nodes = self.seen.len() as u64;
        Ok(ImportedBundle { states: header.roots.clone(), nodes, nodes_new: self.nodes_new, bytes: self.bytes, hold })
    }

    /// Checks that the states need all that came, and nothing else but what the base states have.
    fn complete(&self, source: &dyn NodeSource, known: &HashSet<NodeId>) -> Result<(), BundleError> {
        let mut reached: HashSet<NodeId> = HashSet::with_capacity(self.seen.len());
        let mut waiting: Vec<NodeId> = self.roots.iter().copied().collect();
        while let Some(id) = waiting.pop() {
            let Some(kind) = self.seen.get(&id) else {
                if known.contains(&id) {
                    continue;
                }
                return Err(BundleError::Missing(id));
            };
            if reached.insert(id) && !is_leaf(*kind) {
                children(&id, &source.node(&id)?, &mut |child, _| waiting.push(child))?;
            }
        }
        let mut surplus: Vec<_> = self.seen.keys().filter(|id| !reached.contains(*id)).collect();
        surplus.sort_unstable();
        surplus.first().map_or(Ok(()), |id| Err(BundleError::Surplus(**id)))
    }
}

/// The store with the states that it does not have yet.
struct Overlay<'a> {
    store: &'a Store,
    states: HashMap<NodeId, Bytes>,
}

impl NodeSource for Overlay<'_> {
    fn node(&self, id: &NodeId) -> Result<Bytes, StoreError> {
        self.states.get(id).map_or_else(|| self.store.node(id), |bytes| Ok(bytes.clone()))
    }
}

fn missing(error: StoreError) -> BundleError {
    match error {
        StoreError::MissingNode(id) => BundleError::Missing(id),
        other => BundleError::Store(other),
    }
}

fn read_header(input: &mut Hashed<'_>) -> Result<Header, BundleError> {
    let magic: [u8; 8] = input.array("its first bytes")?;
    if magic != *BUNDLE_MAGIC {
        return Err(BundleError::NoBundle);
    }
    let found = u32::from_le_bytes(input.array("its version")?);
    if found != VERSION {
        return Err(BundleError::OtherFormat { found });
    }
    let length = u32::from_le_bytes(input.array("its header")?) as usize;
    if length > HEADER_BYTES_MAX {
        return Err(BundleError::Header(format!("it has {length} bytes, more than {HEADER_BYTES_MAX}")));
    }
    let mut bytes = Vec::new();
    input.append(&mut bytes, length, "its header")?;
    Header::decode(&bytes).map_err(|error| BundleError::Header(error.to_string()))
}

/// Reads the next node; none at the end mark.
fn read_node(input: &mut Hashed<'_>, number: u64) -> Result<Option<Bytes>, BundleError> {
    let length = u32::from_le_bytes(input.array("the length of a node")?) as usize;
    if length == 0 {
        return Ok(None);
    }
    let [kind] = input.array("a node")?;
    let limit = NodeKind::from_byte(kind).and_then(length_max);
    let limit = limit.ok_or_else(|| BundleError::Node { number, reason: format!("its kind is {kind}") })?;
    if length > limit {
        let reason = format!("it has {length} bytes, and its kind at most {limit}");
        return Err(BundleError::Node { number, reason });
    }
    let mut bytes = vec![kind];
    input.append(&mut bytes, length - 1, "a node")?;
    Ok(Some(bytes.into()))
}

fn read_trailer(input: &mut Hashed<'_>, nodes: u64, bytes: u64) -> Result<(), BundleError> {
    let said = (u64::from_le_bytes(input.array("its end")?), u64::from_le_bytes(input.array("its end")?));
    if said.0 != nodes {
        return Err(BundleError::Trailer("the number of nodes is another"));
    }
    if said.1 != bytes {
        return Err(BundleError::Trailer("the number of bytes is another"));
    }
    let hash = *input.hasher.finalize().as_bytes();
    if input.array::<32>("its end")? != hash {
        return Err(BundleError::Trailer("the checksum is another"));
    }
    let mut more = [0];
    loop {
        match input.input.read(&mut more) {
            Ok(0) => return Ok(()),
            Ok(_) => return Err(BundleError::Trailer("something follows it")),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(BundleError::Read(error)),
        }
    }
}

struct Hashed<'a> {
    input: &'a mut dyn Read,
    hasher: blake3::Hasher,
}

impl Hashed<'_> {
    fn array<const LENGTH: usize>(&mut self, what: &'static str) -> Result<[u8; LENGTH], BundleError> {
        let mut bytes = [0; LENGTH];
        self.input.read_exact(&mut bytes).map_err(|error| failed(error, what))?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    /// Appends so many bytes; memory grows with what comes, not with what was promised.
    fn append(&mut self, bytes: &mut Vec<u8>, length: usize, what: &'static str) -> Result<(), BundleError> {
        const STEP: usize = 128 << 10;
        let mut left = length;
        while left > 0 {
            let start = bytes.len();
            let step = left.min(STEP);
            bytes.resize(start + step, 0);
            self.input.read_exact(&mut bytes[start..]).map_err(|error| failed(error, what))?;
            self.hasher.update(&bytes[start..]);
            left -= step;
        }
        Ok(())
    }
}

fn failed(error: io::Error, what: &'static str) -> BundleError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BundleError::Truncated(what),
        _ => BundleError::Read(error),
    }
}
