//! From what the runtime says to what goes over the wire. Pure; nothing is decided here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sandglass_runtime as runtime;

use super::types;

/// Writes a time as RFC 3339 in UTC.
pub(crate) fn time(time: runtime::Timestamp) -> String {
    // Every number of nanoseconds in an i64 lies between 1677 and 2262, which jiff can say.
    Timestamp::from_nanosecond(i128::from(time.0)).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// Writes a time as HTTP headers have it.
pub(crate) fn http_date(time: runtime::Timestamp) -> String {
    let seconds = Timestamp::from_second(time.0.div_euclid(1_000_000_000)).unwrap_or(Timestamp::UNIX_EPOCH);
    seconds.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn mode(mode: u16) -> String {
    format!("{:04o}", mode & 0o7777)
}

/// Returns bytes as text, and exactly where the text is not exact.
pub(crate) fn text(bytes: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), Some(STANDARD.encode(bytes))),
    }
}

fn milliseconds(time: std::time::Duration) -> f64 {
    // To the microsecond: more digits would only look exact.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

pub(crate) fn sandbox(info: &runtime::SandboxInfo) -> types::Sandbox {
    types::Sandbox {
        id: info.id.to_string(),
        name: info.name.clone(),
        status: if info.running { types::SandboxStatus::Running } else { types::SandboxStatus::Idle },
        state: info.state.to_string(),
        seq: info.seq,
        generation: info.generation,
        created: time(info.created),
        updated: time(info.updated),
        files: types::SandboxFiles { bytes: info.files_bytes, inodes: info.inodes },
        guests: info.guests.iter().cloned().collect(),
        parent: info.parent.map(|parent| parent.to_string()),
    }
}

pub(crate) const fn call_status(status: runtime::CallStatus) -> types::CallStatus {
    match status {
        runtime::CallStatus::Ok => types::CallStatus::Ok,
        runtime::CallStatus::Error => types::CallStatus::Error,
        runtime::CallStatus::Timeout => types::CallStatus::Timeout,
        runtime::CallStatus::Limit => types::CallStatus::Limit,
        runtime::CallStatus::Trapped => types::CallStatus::Trapped,
        runtime::CallStatus::Denied => types::CallStatus::Denied,
        runtime::CallStatus::Held => types::CallStatus::Held,
        runtime::CallStatus::Cancelled => types::CallStatus::Cancelled,
    }
}

pub(crate) fn call(call: &runtime::Call) -> types::Call {
    let (stdout, stdout_base64) = text(&call.stdout);
    let (stderr, stderr_base64) = text(&call.stderr);
    types::Call {
        id: call.id.to_string(),
        seq: call.seq,
        sandbox: call.sandbox.to_string(),
        tool: call.tool.clone(),
        arguments: call.arguments.clone(),
        status: call_status(call.status),
        exit_code: call.exit_code,
        message: call.message.clone(),
        stdout,
        stdout_base64,
        stdout_truncated: call.stdout_cut,
        stderr,
        stderr_base64,
        stderr_truncated: call.stderr_cut,
        session: call.session.clone(),
        result: call.result.clone(),
        before: call.before.to_string(),
        after: call.after.to_string(),
        changes: changes(&call.changes),
        effects: Vec::new(),
        usage: types::CallUsage {
            wall_ms: milliseconds(call.usage.wall),
            fuel: call.usage.fuel,
            memory_peak_bytes: call.usage.memory_peak_bytes,
            output_bytes: call.usage.output_bytes,
        },
        undo: call.undo.to_owned(),
        dry_run: call.dry_run,
        time: time(call.time),
        actor: call.actor.clone(),
        guest: call.guest.clone(),
    }
}

pub(crate) fn pending(live: &runtime::LiveCall) -> types::PendingCall {
    types::PendingCall {
        id: live.id().to_string(),
        sandbox: live.sandbox().to_string(),
        status: match live.status() {
            runtime::LiveStatus::Queued => types::PendingStatus::Queued,
            runtime::LiveStatus::Running | runtime::LiveStatus::Ended => types::PendingStatus::Running,
        },
    }
}

pub(crate) const fn changes(summary: &runtime::DiffSummary) -> types::Changes {
    types::Changes {
        added: summary.added,
        removed: summary.removed,
        modified: summary.modified,
        renamed: summary.renamed,
        attributes: summary.attributes,
        bytes_added: summary.bytes_added,
        bytes_removed: summary.bytes_removed,
    }
}

pub(crate) const fn file_kind(kind: runtime::Kind) -> types::FileKind {
    match kind {
        runtime::Kind::File => types::FileKind::File,
        runtime::Kind::Directory => types::FileKind::Directory,
        runtime::Kind::Symlink => types::FileKind::Symlink,
    }
}

pub(crate) fn diff(from: String, to: String, diff: runtime::Diff) -> types::Diff {
    types::Diff {
        from,
        to,
        summary: changes(&diff.summary),
        changes: diff.changes.into_iter().map(change).collect(),
        truncated: diff.truncated,
    }
}

fn change(change: runtime::Change) -> types::Change {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let kind = change_kind(&change.kind);
    let renamed_from = match change.kind {
        runtime::ChangeKind::Renamed { from } => Some(lossy(&from)),
        _ => None,
    };
    let (before, after) = (change.before.map(side), change.after.map(side));
    types::Change { path: lossy(&change.path), kind, renamed_from, before, after }
}

const fn change_kind(kind: &runtime::ChangeKind) -> types::ChangeKind {
    match kind {
        runtime::ChangeKind::Added => types::ChangeKind::Added,
        runtime::ChangeKind::Removed => types::ChangeKind::Removed,
        runtime::ChangeKind::Modified => types::ChangeKind::Modified,
        runtime::ChangeKind::Renamed { .. } => types::ChangeKind::Renamed,
        runtime::ChangeKind::Attributes => types::ChangeKind::Attributes,
    }
}

fn side(side: runtime::Side) -> types::ChangeSide {
    types::ChangeSide {
        kind: file_kind(side.kind),
        mode: mode(side.mode),
        size: side.size,
        modified: time(side.modified),
    }
}

pub(crate) fn path_event(event: runtime::PathEvent) -> types::PathEvent {
    let (tool, call) = event.call.map(|call| (call.tool, call.id.to_string())).unzip();
    types::PathEvent {
        seq: event.seq,
        kind: event.kind.to_owned(),
        change: change_kind(&event.change),
        path: event.path,
        from: event.from,
        before: event.before.map(side),
        after: event.after.map(side),
        before_state: event.before_state.map(|state| state.to_string()),
        after_state: event.after_state.to_string(),
        target: event.target,
        tool,
        call,
        time: time(event.time),
        actor: event.actor,
    }
}

pub(crate) fn file(info: &runtime::FileInfo) -> types::FileEntry {
    types::FileEntry {
        path: info.path.clone(),
        name: info.name.clone(),
        kind: file_kind(info.kind),
        mode: mode(info.mode),
        size: info.size,
        modified: time(info.modified),
        target: info.target.clone(),
        etag: info.etag.clone(),
    }
}

pub(crate) fn operation(operation: runtime::OperationInfo) -> types::Operation {
    types::Operation {
        seq: operation.seq,
        id: operation.entry.to_string(),
        kind: operation.kind.to_owned(),
        time: time(operation.time),
        actor: operation.actor,
        before: operation.before.map(|state| state.to_string()),
        after: operation.after.to_string(),
        changed: operation.changed,
        expired: operation.expired,
        generation: operation.generation,
        target: operation.target,
        call: operation.call.map(|call| types::OperationCall {
            id: call.id.to_string(),
            tool: call.tool,
            status: call_status(call.status),
            exit_code: call.exit_code,
            wall_ms: milliseconds(call.wall),
        }),
        detail: operation.detail,
    }
}

pub(crate) fn moved(moved: runtime::Moved) -> types::Moved {
    types::Moved {
        before: moved.before.to_string(),
        after: moved.after.to_string(),
        changes: changes(&moved.changes),
        undone: moved.undone,
        operation: operation(moved.operation),
    }
}

pub(crate) fn session(info: runtime::SessionInfo, size: Option<runtime::SessionSize>) -> types::Session {
    let runtime::SessionInfo { name, guest, tool, has_memory, memory_bytes, etag: _ } = info;
    types::Session { name, guest, tool, has_memory, memory_bytes, stored_bytes: size.map(|size| size.stored_bytes) }
}

pub(crate) fn session_diff(diff: runtime::NamesDiff, session: String) -> types::SessionDiff {
    let side = |runtime::NameSide { kind, text, length, is_whole }| types::NameSide {
        type_name: kind,
        text,
        length,
        whole: is_whole,
    };
    let changes = diff.changes.into_iter().map(|change| types::NameChange {
        name: change.name,
        kind: match change.kind {
            runtime::NameChangeKind::Appeared => types::NameChangeKind::Appeared,
            runtime::NameChangeKind::Changed => types::NameChangeKind::Changed,
            runtime::NameChangeKind::Vanished => types::NameChangeKind::Vanished,
        },
        before: change.before.map(side),
        after: change.after.map(side),
    });
    types::SessionDiff {
        session,
        from: diff.from.to_string(),
        to: diff.to.to_string(),
        summary: types::NameChanges {
            appeared: diff.appeared,
            changed: diff.changed,
            vanished: diff.vanished,
            unchanged: diff.unchanged,
            sampled: diff.sampled,
        },
        changes: changes.collect(),
        truncated: !diff.is_complete,
    }
}

pub(crate) fn checkpoint(checkpoint: runtime::Checkpoint) -> types::Checkpoint {
    types::Checkpoint {
        name: checkpoint.name,
        state: checkpoint.state.to_string(),
        seq: checkpoint.seq,
        time: time(checkpoint.time),
    }
}

pub(crate) fn output(chunk: &runtime::Chunk) -> types::OutputEvent {
    let (text, base64) = match std::str::from_utf8(&chunk.bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(&chunk.bytes))),
    };
    let stream = match chunk.stream {
        runtime::wasi::Stream::Stdout => "stdout",
        runtime::wasi::Stream::Stderr => "stderr",
    };
    types::OutputEvent { seq: chunk.seq, stream: stream.to_owned(), text, base64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_and_http_expect() {
        let moment = runtime::Timestamp(1_790_000_000_123_456_789);
        assert_eq!(time(moment), "2026-09-21T14:13:20.123456789Z");
        assert_eq!(http_date(moment), "Mon, 21 Sep 2026 14:13:20 GMT");
        for edge in [i64::MIN, -1, 0, i64::MAX] {
            assert!(time(runtime::Timestamp(edge)).ends_with('Z'));
            assert!(http_date(runtime::Timestamp(edge)).ends_with("GMT"));
        }
        assert_eq!(http_date(runtime::Timestamp(-1)), "Wed, 31 Dec 1969 23:59:59 GMT");
    }

    #[test]
    fn output_that_is_not_utf8_is_exact_beside() {
        assert_eq!(text(b"plain"), ("plain".to_owned(), None));
        assert_eq!(text(b"\xff!"), ("\u{fffd}!".to_owned(), Some("/yE=".to_owned())));
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(mode(0o100_644), "0644");
        assert_eq!(mode(0o1777), "1777");
    }
}
