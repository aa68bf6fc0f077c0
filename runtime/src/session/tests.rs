//! Whatever happens to a session, later calls print what they print in an interpreter that only went on.
//!
//! Random programs run in sessions that are taken back, restored, forked, slept, ended, and whose service starts anew. At the end the
//! history that led to each head is replayed, in a new session of a new sandbox to which nothing happens but these calls.

mod programs;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use tempfile::TempDir;

use self::programs::Language;
use crate::compile::Compiler;
use crate::guest::{GuestSettings, Guests};
use crate::host::{Components, Host, Settings};
use crate::record::{Call, CallRequest, CallStatus, CreateRequest, ForkRequest, Moved, RestoreTarget};
use crate::sandbox::Sandbox;
use sandglass_snapshots::{SandboxId, StateId};

/// Sessions of each sandbox.
const SESSIONS: [(&str, Language); 4] =
    [("one", Language::Python), ("two", Language::Python), ("sh", Language::Shell), ("js", Language::JavaScript)];
const SANDBOXES_MAX: usize = 4;

/// What happens to one of the sandboxes, or to all.
#[derive(Clone, Debug)]
enum Step {
    Call { session: usize, program: String, dry_run: bool },
    Fresh { language: Language, program: String },
    Undo { steps: u32 },
    Redo,
    Restore { to: usize },
    Fork { of: usize },
    End { session: usize },
    Sleep,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let session = 0..SESSIONS.len();
    let program = || (0..SESSIONS.len()).prop_flat_map(|session| (Just(session), SESSIONS[session].1.program()));
    prop_oneof![
        24 => program().prop_map(|(session, program)| Step::Call { session, program, dry_run: false }),
        1 => program().prop_map(|(session, program)| Step::Call { session, program, dry_run: true }),
        1 => program().prop_map(|(session, program)| Step::Fresh { language: SESSIONS[session].1, program }),
        2 => (1..3u32).prop_map(|steps| Step::Undo { steps }),
        1 => Just(Step::Redo),
        3 => any::<usize>().prop_map(|to| Step::Restore { to }),
        2 => any::<usize>().prop_map(|of| Step::Fork { of }),
        1 => session.prop_map(|session| Step::End { session }),
        4 => Just(Step::Sleep),
        2 => Just(Step::Restart),
    ]
}

/// What a call was seen to do.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    status: &'static str,
    stdout: String,
    stderr: String,
    result: Option<String>,
}

/// What led to a state, of what can be told apart.
#[derive(Clone, Debug)]
enum Event {
    Called { session: Option<&'static str>, language: Language, code: String, seen: Seen },
    Ended { session: &'static str },
}

/// A service and what is known of the states of its sandboxes.
struct World {
    directory: TempDir,
    host: Option<Host>,
    sandboxes: Vec<SandboxId>,
    histories: HashMap<StateId, Arc<Vec<Event>>>,
    /// The states that there were, oldest first.
    states: Vec<StateId>,
}

fn open(directory: &Path) -> Host {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp/guests");
    let settings = GuestSettings { compiler: Compiler::InProcess, ..GuestSettings::new(guests) };
    let guests = Guests::open(settings).expect("the catalogue opens");
    let mut settings = Settings::new(directory.to_owned());
    settings.durability = sandglass_snapshots::Durability::Process;
    settings.policy =
        serde_json::from_value(json!({ "version": 1, "limits": { "memory": "128MiB" } })).expect("a policy");
    Host::open(settings, Components::default(), guests).expect("the store opens")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl World {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let host = open(directory.path());
        let mut world =
            Self { directory, host: Some(host), sandboxes: Vec::new(), histories: HashMap::new(), states: Vec::new() };
        let made = world.create();
        let state = made.info().expect("the store is read").state;
        world.sandboxes.push(made.id());
        world.know(state, Arc::default());
        world
    }

    /// Lets the service go, once the threads of its calls have let go of it.
    fn stop(&mut self) {
        let host = self.host.take().expect("it runs");
        while Arc::strong_count(&host.world) > 1 {
            std::thread::yield_now();
        }
    }

    fn host(&self) -> &Host {
        self.host.as_ref().expect("it runs")
    }

    fn create(&self) -> Sandbox {
        self.host().create(CreateRequest::default(), "test", &|_| ()).expect("a sandbox")
    }

    fn sandbox(&self, number: usize) -> Sandbox {
        let id = self.sandboxes[number % self.sandboxes.len()];
        self.host().sandbox(&id.to_string()).expect("it is there")
    }

    fn know(&mut self, state: StateId, history: Arc<Vec<Event>>) {
        if self.histories.insert(state, history).is_none() {
            self.states.push(state);
        }
    }

    fn history(&self, state: StateId) -> Arc<Vec<Event>> {
        Arc::clone(self.histories.get(&state).expect("every state was made by a step"))
    }

    fn call(
        sandbox: &Sandbox,
        session: Option<&str>,
        language: Language,
        code: &str,
        dry_run: bool,
    ) -> (Arc<Call>, Seen) {
        let request = CallRequest {
            tool: language.tool().to_owned(),
            arguments: json!({ language.argument(): code }),
            session: session.map(str::to_owned),
            timeout: None,
            stdin: None,
            dry_run,
            id: None,
        };
        let live = sandbox.start(request, "test").expect("the call starts");
        let call = sandbox.world().threads.handle().block_on(live.wait()).expect("the call ends");
        let seen = Seen {
            status: call.status.as_str(),
            stdout: text(&call.stdout),
            stderr: text(&call.stderr),
            result: call.result.as_ref().map(ToString::to_string),
        };
        (call, seen)
    }

    /// A program ran: what it left is what its session and files are now.
    fn called(
        &mut self,
        sandbox: &Sandbox,
        session: Option<&'static str>,
        language: Language,
        program: &str,
        dry_run: bool,
    ) {
        let (call, seen) = Self::call(sandbox, session, language, program, dry_run);
        let is_kept = match (call.status, session) {
            (CallStatus::Ok, _) => true,
            // An exception stays; an end of a session is taken back, and says so.
            (CallStatus::Error, _) => session.is_none() || call.message.is_none(),
            _ => false,
        };
        assert!(is_kept || dry_run || call.before == call.after, "{seen:?}");
        if is_kept && !dry_run {
            let mut history = (*self.history(call.before)).clone();
            history.push(Event::Called { session, language, code: program.to_owned(), seen });
            self.know(call.after, Arc::new(history));
        }
    }

    fn moved(&mut self, sandbox: &Sandbox, moved: Result<Moved, crate::Error>) {
        match moved {
            Ok(moved) => drop(self.history(moved.after)),
            Err(error) => assert!(error.code().starts_with("nothing_to_"), "{error}"),
        }
        drop(self.history(sandbox.info().expect("the store is read").state));
    }

    fn take(&mut self, number: usize, step: &Step) {
        let sandbox = self.sandbox(number);
        match step {
            Step::Call { session, program, dry_run } => {
                let (name, language) = SESSIONS[*session];
                self.called(&sandbox, Some(name), language, program, *dry_run);
            }
            Step::Fresh { language, program } => self.called(&sandbox, None, *language, program, false),
            Step::Undo { steps } => self.moved(&sandbox, sandbox.undo(*steps, "test")),
            Step::Redo => self.moved(&sandbox, sandbox.redo(1, "test")),
            Step::Restore { to } => {
                // Also one of another sandbox, or of before the service began anew.
                let state = self.states[to % self.states.len()];
                let moved = sandbox.restore(&RestoreTarget::State(state), None, "test");
                assert_eq!(moved.expect("every state is kept").after, state);
            }
            Step::Fork { of } => {
                if self.sandboxes.len() < SANDBOXES_MAX {
                    let state = self.states[of % self.states.len()];
                    let request = ForkRequest { state: Some(state), names: vec![None] };
                    let forks = sandbox.fork(request, "test").expect("every state is kept");
                    self.sandboxes.push(forks[0].id());
                }
            }
            Step::End { session } => {
                let (session, _) = SESSIONS[*session];
                let before = sandbox.info().expect("the store is read").state;
                match sandbox.end_session(session, None, "test") {
                    Ok(moved) => {
                        let mut history = (*self.history(before)).clone();
                        history.push(Event::Ended { session });
                        self.know(moved.after, Arc::new(history));
                    }
                    Err(error) => assert_eq!(error.code(), "no_such_session"),
                }
            }
            Step::Sleep => sandbox.world().sessions.forget(sandbox.id()),
            Step::Restart => {
                drop(sandbox);
                self.stop();
                self.host = Some(open(self.directory.path()));
            }
        }
    }

    /// Replays what led to each head, and asks all sessions for all that they have.
    fn replay(&self) {
        for number in 0..self.sandboxes.len() {
            let sandbox = self.sandbox(number);
            let fresh = self.create();
            let history = self.history(sandbox.info().expect("the store is read").state);
            for event in &*history {
                match event {
                    Event::Called { session, language, code, seen } => {
                        let (_, again) = Self::call(&fresh, *session, *language, code, false);
                        assert_eq!(*seen, again, "{code}\nafter {history:#?}");
                    }
                    Event::Ended { session } => drop(fresh.end_session(session, None, "test").expect("it is there")),
                }
            }
            for (session, language) in SESSIONS {
                let (_, seen) = Self::call(&sandbox, Some(session), language, language.all(), false);
                let (_, again) = Self::call(&fresh, Some(session), language, language.all(), false);
                assert!(matches!(seen.status, "ok" | "error"), "{seen:?}");
                assert_eq!(seen, again, "after {history:#?}");
            }
        }
    }
}

#[test]
fn a_session_is_the_calls_that_led_to_it() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let cases = number("SANDGLASS_SESSION_SEQUENCES").unwrap_or(20);
    let steps = prop::collection::vec((any::<usize>(), step()), 1..30);
    let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let calls = std::cell::Cell::new(0usize);
    let outcome = TestRunner::new(config).run(&steps, |steps| {
        let mut world = World::new();
        for (number, step) in &steps {
            world.take(*number, step);
        }
        world.replay();
        world.stop();
        calls.set(calls.get() + steps.len());
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    println!("{cases} sequences, {} steps, no difference", calls.get());
}
