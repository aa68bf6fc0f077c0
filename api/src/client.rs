//! A client of the REST API, typed: what the command line, the demo and the tests call the service with.
//!
//! It blocks. Requests that only read are sent again when the connection breaks, and so are those that do something, since
//! they carry an `Idempotency-Key`: the service does each once. What has no key (writing and removing files, deleting) is
//! sent once.

mod error;
mod events;
mod files;
mod sessions;
mod tokens;
mod tools;
mod transport;

use std::io::{self, BufReader};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Method, Response};
use ureq::{Body, BodyReader};

pub use error::ClientError;
pub use events::{Event, Events};
pub use files::{Content, FileBody};

use crate::http::types::{
    Call, CallView, Checkpoint, CreateCall, CreateCheckpoint, CreateMount, CreateSandbox, Diff, Fork, Forked, Guest,
    Health, Keep, Mount, Moved, Operation, OutputEvent, Page, PathEvent, Restore, Retention, Revert, Sandbox, Steps,
    TrashItem, Undelete, Undeleted,
};
use transport::{Ask, Transport, encode, idempotency_key};

const JSON: &str = "application/json";
/// How many items a page of a list is asked for that is read to its end.
const PAGE: usize = 1000;
/// Changes of a diff when the asker names no number; the service's own default.
const DIFF_LIMIT: usize = 1000;
/// How often a stream is taken up again that gives nothing before it breaks.
const LOSSES_MAX: u32 = 4;
/// Wait before a stream is followed again that the service has ended.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);

/// A service that can be asked.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
}

/// A piece of a call's stream.
pub enum Streamed {
    /// The call has this id.
    Started(String),
    /// The guest printed something.
    Output(OutputEvent),
}

type Asked<T> = Result<T, ClientError>;

impl Client {
    /// Makes a client of the service at `http://HOST:PORT`; `token` goes along with every request.
    ///
    /// # Errors
    /// The address or the token can't be used. Nothing is sent yet.
    pub fn new(server: &str, token: Option<String>) -> Asked<Self> {
        Transport::new(server, token).map(|transport| Self { transport })
    }

    /// Returns the address of the service, without a slash at its end.
    #[must_use]
    pub fn server(&self) -> &str {
        self.transport.server()
    }

    /// Says whether the service can serve calls. `GET /readyz`.
    ///
    /// # Errors
    /// It can't, or does not answer.
    pub fn ready(&self) -> Asked<Health> {
        self.get("/readyz".to_owned())
    }

    /// Returns the service's description of itself. `GET /openapi.json`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn openapi(&self) -> Asked<Value> {
        self.get("/openapi.json".to_owned())
    }

    /// Returns the programs that can serve tools. `GET /v1/guests`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn guests(&self) -> Asked<Page<Guest>> {
        self.get("/v1/guests".to_owned())
    }

    /// Creates a sandbox. `POST /v1/sandboxes`.
    ///
    /// # Errors
    /// See [`ClientError`]; the name is taken, or what it shall be made from can't be used.
    pub fn create_sandbox(&self, request: &CreateSandbox) -> Asked<Sandbox> {
        self.post("/v1/sandboxes".to_owned(), request)
    }

    /// Returns all sandboxes, oldest first. `GET /v1/sandboxes`, page by page.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn sandboxes(&self) -> Asked<Vec<Sandbox>> {
        self.pages(|page| format!("/v1/sandboxes?{page}"), usize::MAX)
    }

    /// Returns a sandbox by name or id. `GET /v1/sandboxes/{sandbox}`.
    ///
    /// # Errors
    /// See [`ClientError`]; there is none.
    pub fn sandbox(&self, sandbox: &str) -> Asked<Sandbox> {
        self.get(at(sandbox, ""))
    }

    /// Deletes a sandbox. `DELETE /v1/sandboxes/{sandbox}`.
    ///
    /// # Errors
    /// See [`ClientError`]; there is none.
    pub fn delete_sandbox(&self, sandbox: &str) -> Asked<()> {
        self.transport.send(&Ask::new(Method::DELETE, at(sandbox, ""))).map(drop)
    }

    /// Returns a sandbox's policy document. `GET /v1/sandboxes/{sandbox}/policy`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn policy(&self, sandbox: &str) -> Asked<Value> {
        self.get(at(sandbox, "/policy"))
    }

    /// Forks a sandbox. `POST /v1/sandboxes/{sandbox}/fork`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn fork(&self, sandbox: &str, request: &Fork) -> Asked<Vec<Sandbox>> {
        let forked = self.post(at(sandbox, "/fork"), request)?;
        Ok(match forked {
            Forked::Many(forks) => forks.sandboxes,
            Forked::One(fork) => vec![*fork],
        })
    }

    /// Runs a tool and waits for its end. `POST /v1/sandboxes/{sandbox}/calls`.
    ///
    /// # Errors
    /// See [`ClientError`]. A program that fails is no error: [`Call::status`] tells.
    pub fn call(&self, sandbox: &str, request: &CreateCall) -> Asked<Call> {
        self.post(at(sandbox, "/calls"), request)
    }

    /// Runs a tool and shows its output as it comes; a connection that breaks is taken up again where it was.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn call_streaming(
        &self,
        sandbox: &str,
        request: &CreateCall,
        show: &mut dyn FnMut(Streamed) -> io::Result<()>,
    ) -> Asked<Call> {
        let body = self.body(request)?;
        let mut ask = Ask::new(Method::POST, at(sandbox, "/calls"));
        ask.headers = vec![("accept", "text/event-stream".to_owned()), ("idempotency-key", idempotency_key()?)];
        ask.body = Some((JSON, &body));
        let mut seen = Seen::default();
        let mut answer = self.transport.send_again(&ask)?;
        let mut losses = 0;
        loop {
            let event = seen.event;
            match self.follow(answer, &mut seen, show) {
                Err(ClientError::Lost { .. }) if losses < LOSSES_MAX => {}
                ended => return ended,
            }
            losses = if seen.event > event { 0 } else { losses + 1 };
            let again = match &seen.call {
                // Not even its id has come: the key makes sure that it runs once.
                None => self.transport.send_again(&ask),
                Some(call) => {
                    let mut resume = Ask::new(Method::GET, at(sandbox, &format!("/calls/{}/events", encode(call))));
                    resume.headers = vec![("last-event-id", seen.event.to_string())];
                    self.transport.send_again(&resume)
                }
            };
            answer = again?;
        }
    }

    /// Reads a call's stream to its end.
    fn follow(
        &self,
        answer: Response<Body>,
        seen: &mut Seen,
        show: &mut dyn FnMut(Streamed) -> io::Result<()>,
    ) -> Asked<Call> {
        let mut events = Events::new(BufReader::new(reader(answer)));
        loop {
            let event = events.next_event().map_err(|error| self.transport.lost(&error))?;
            let Some(event) = event else {
                return Err(self.transport.lost(&io::Error::from(io::ErrorKind::UnexpectedEof)));
            };
            match event.name.as_str() {
                "call" if seen.call.is_none() => {
                    let call: Value = self.parsed(&event.data)?;
                    let id = call["id"].as_str().ok_or_else(|| self.transport.unreadable("a call without an id"))?;
                    seen.call = Some(id.to_owned());
                    show(Streamed::Started(id.to_owned())).map_err(ClientError::Write)?;
                }
                "output" => {
                    let output: OutputEvent = self.parsed(&event.data)?;
                    if output.seq > seen.event {
                        seen.event = output.seq;
                        show(Streamed::Output(output)).map_err(ClientError::Write)?;
                    }
                }
                "result" => return self.parsed(&event.data),
                "problem" => return Err(ClientError::Problem(self.parsed(&event.data)?)),
                // Newer services may send more.
                _ => {}
            }
        }
    }

    /// Returns a call, ended or not. `GET /v1/sandboxes/{sandbox}/calls/{call}`.
    ///
    /// # Errors
    /// See [`ClientError`]; there is no such call.
    pub fn get_call(&self, sandbox: &str, call: &str) -> Asked<CallView> {
        self.get(at(sandbox, &format!("/calls/{}", encode(call))))
    }

    /// Returns the newest calls, newest first; their output is cut. `GET /v1/sandboxes/{sandbox}/calls`, page by page.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn calls(&self, sandbox: &str, limit: usize) -> Asked<Vec<Call>> {
        self.pages(|page| at(sandbox, &format!("/calls?{page}")), limit)
    }

    /// Cancels a call. `DELETE /v1/sandboxes/{sandbox}/calls/{call}`.
    ///
    /// # Errors
    /// See [`ClientError`]; it has ended.
    pub fn cancel_call(&self, sandbox: &str, call: &str) -> Asked<CallView> {
        let ask = Ask::new(Method::DELETE, at(sandbox, &format!("/calls/{}", encode(call))));
        self.transport.json(self.transport.send(&ask)?)
    }

    /// Returns the newest operations, newest first. `GET /v1/sandboxes/{sandbox}/operations`, page by page.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn operations(&self, sandbox: &str, limit: usize) -> Asked<Vec<Operation>> {
        self.pages(|page| at(sandbox, &format!("/operations?{page}")), limit)
    }

    /// Shows operations as they happen, after one or from now on, until `show` returns false or the sandbox is deleted.
    /// `GET /v1/sandboxes/{sandbox}/events`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn follow_operations(
        &self,
        sandbox: &str,
        after: Option<u64>,
        show: &mut dyn FnMut(Operation) -> io::Result<bool>,
    ) -> Asked<()> {
        let query = after.map_or_else(String::new, |after| format!("?after={after}"));
        let mut ask = Ask::new(Method::GET, at(sandbox, &format!("/events{query}")));
        loop {
            let mut events = Events::new(BufReader::new(reader(self.transport.send_again(&ask)?)));
            while let Ok(Some(event)) = events.next_event() {
                if event.name != "operation" {
                    continue;
                }
                let operation: Operation = self.parsed(&event.data)?;
                ask.headers = vec![("last-event-id", operation.seq.to_string())];
                let ended = operation.kind == "delete";
                if !show(operation).map_err(ClientError::Write)? || ended {
                    return Ok(());
                }
            }
            std::thread::sleep(FOLLOW_AGAIN);
        }
    }

    /// Compares two states, each an id, the number of an operation or a checkpoint's name; what the newest operation changed
    /// when none is given. `GET /v1/sandboxes/{sandbox}/diff`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn diff(&self, sandbox: &str, from: Option<&str>, to: Option<&str>, limit: Option<usize>) -> Asked<Diff> {
        let mut query = format!("?limit={}", limit.unwrap_or(DIFF_LIMIT));
        for (name, value) in [("from", from), ("to", to)] {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", encode(value)));
            }
        }
        self.get(at(sandbox, &format!("/diff{query}")))
    }

    /// Takes back operations. `POST /v1/sandboxes/{sandbox}/undo`.
    ///
    /// # Errors
    /// See [`ClientError`]; there are not as many to take back.
    pub fn undo(&self, sandbox: &str, steps: u32) -> Asked<Moved> {
        self.post(at(sandbox, "/undo"), &Steps { steps: Some(steps) })
    }

    /// Brings back what undo took back. `POST /v1/sandboxes/{sandbox}/redo`.
    ///
    /// # Errors
    /// See [`ClientError`]; there are not as many to bring back.
    pub fn redo(&self, sandbox: &str, steps: u32) -> Asked<Moved> {
        self.post(at(sandbox, "/redo"), &Steps { steps: Some(steps) })
    }

    /// Goes to any state. `POST /v1/sandboxes/{sandbox}/restore`.
    ///
    /// # Errors
    /// See [`ClientError`]; there is no such state.
    pub fn restore(&self, sandbox: &str, request: &Restore) -> Asked<Moved> {
        self.post(at(sandbox, "/restore"), request)
    }

    /// Takes back one operation. `POST /v1/sandboxes/{sandbox}/revert`.
    ///
    /// # Errors
    /// See [`ClientError`]; what it changed was changed since.
    pub fn revert(&self, sandbox: &str, request: &Revert) -> Asked<Moved> {
        self.post(at(sandbox, "/revert"), request)
    }

    /// Returns the operations that touched a path, newest first. `GET /v1/sandboxes/{sandbox}/history`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn history(&self, sandbox: &str, path: &str, limit: usize) -> Asked<Vec<PathEvent>> {
        let path = encode(path);
        self.pages(|page| at(sandbox, &format!("/history?path={path}&{page}")), limit)
    }

    /// Names the head. `POST /v1/sandboxes/{sandbox}/checkpoints`.
    ///
    /// # Errors
    /// See [`ClientError`]; the name is taken.
    pub fn create_checkpoint(&self, sandbox: &str, name: &str) -> Asked<Checkpoint> {
        self.post(at(sandbox, "/checkpoints"), &CreateCheckpoint { name: name.to_owned() })
    }

    /// Returns the checkpoints, oldest first. `GET /v1/sandboxes/{sandbox}/checkpoints`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn checkpoints(&self, sandbox: &str) -> Asked<Vec<Checkpoint>> {
        self.get(at(sandbox, "/checkpoints")).map(|page: Page<Checkpoint>| page.items)
    }

    /// Takes a checkpoint's name away. `DELETE /v1/sandboxes/{sandbox}/checkpoints/{name}`.
    ///
    /// # Errors
    /// See [`ClientError`]; there is none.
    pub fn delete_checkpoint(&self, sandbox: &str, name: &str) -> Asked<()> {
        self.transport.send(&Ask::new(Method::DELETE, at(sandbox, &format!("/checkpoints/{}", encode(name))))).map(drop)
    }

    /// Returns what a sandbox keeps. `GET /v1/sandboxes/{sandbox}/retention`.
    ///
    /// # Errors
    /// As for every request.
    pub fn retention(&self, sandbox: &str) -> Asked<Retention> {
        self.get(at(sandbox, "/retention"))
    }

    /// Sets what a sandbox keeps; `None` takes its rule away. `PUT` or `DELETE /v1/sandboxes/{sandbox}/retention`.
    ///
    /// # Errors
    /// As for every request.
    pub fn set_retention(&self, sandbox: &str, keep: Option<&Keep>) -> Asked<()> {
        let target = at(sandbox, "/retention");
        let Some(keep) = keep else { return self.transport.send(&Ask::new(Method::DELETE, target)).map(drop) };
        let body = self.body(keep)?;
        let mut ask = Ask::new(Method::PUT, target);
        ask.body = Some((JSON, &body));
        self.transport.send(&ask).map(drop)
    }

    /// Returns what is in the trash, the newest first. `GET /v1/trash`.
    ///
    /// # Errors
    /// As for every request.
    pub fn trash(&self) -> Asked<Vec<TrashItem>> {
        self.get("/v1/trash".to_owned()).map(|page: Page<TrashItem>| page.items)
    }

    /// Takes something out of the trash. `POST /v1/trash/restore`.
    ///
    /// # Errors
    /// As for every request.
    pub fn undelete(&self, request: &Undelete) -> Asked<Undeleted> {
        self.post("/v1/trash/restore".to_owned(), request)
    }

    /// Mounts a state or a sandbox's head on a directory of the service's machine. `POST /v1/mounts`.
    ///
    /// # Errors
    /// As for every request.
    pub fn mount(&self, request: &CreateMount) -> Asked<Mount> {
        self.post("/v1/mounts".to_owned(), request)
    }

    /// Returns the mounts there are. `GET /v1/mounts`.
    ///
    /// # Errors
    /// As for every request.
    pub fn mounts(&self) -> Asked<Vec<Mount>> {
        self.get("/v1/mounts".to_owned()).map(|page: Page<Mount>| page.items)
    }

    /// Ends a mount. `DELETE /v1/mounts/{id}`.
    ///
    /// # Errors
    /// As for every request.
    pub fn unmount(&self, id: u64) -> Asked<()> {
        self.transport.send(&Ask::new(Method::DELETE, format!("/v1/mounts/{id}"))).map(drop)
    }

    fn get<T: DeserializeOwned>(&self, target: String) -> Asked<T> {
        self.transport.json_again(&Ask::new(Method::GET, target))
    }

    fn post<T: DeserializeOwned>(&self, target: String, request: &impl Serialize) -> Asked<T> {
        let body = self.body(request)?;
        let mut ask = Ask::new(Method::POST, target);
        ask.headers = vec![("idempotency-key", idempotency_key()?)];
        ask.body = Some((JSON, &body));
        self.transport.json_again(&ask)
    }

    /// Reads pages until there are `limit` items or no more.
    fn pages<T: DeserializeOwned>(&self, target: impl Fn(&str) -> String, limit: usize) -> Asked<Vec<T>> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        while items.len() < limit {
            let more = cursor.as_deref().map_or_else(String::new, |cursor| format!("&cursor={}", encode(cursor)));
            let page: Page<T> = self.get(target(&format!("limit={}{more}", PAGE.min(limit - items.len()))))?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        items.truncate(limit);
        Ok(items)
    }

    fn body(&self, request: &impl Serialize) -> Asked<Vec<u8>> {
        serde_json::to_vec(request).map_err(|error| self.transport.unreadable(error.to_string()))
    }

    fn parsed<T: DeserializeOwned>(&self, text: &str) -> Asked<T> {
        serde_json::from_str(text).map_err(|error| self.transport.unreadable(error.to_string()))
    }
}

/// How far a call's stream has been read.
#[derive(Default)]
struct Seen {
    call: Option<String>,
    event: u64,
}

fn at(sandbox: &str, rest: &str) -> String {
    format!("/v1/sandboxes/{}{rest}", encode(sandbox))
}

fn reader(answer: Response<Body>) -> BodyReader<'static> {
    answer.into_body().into_with_config().limit(u64::MAX).reader()
}
