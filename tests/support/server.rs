//! The real binary as a service on a free port, over a data directory of its own. It dies with the tests, whatever happens.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{Answer, Request};

/// Starts the program, tells its process id, and kills it when whoever holds standard input is gone: also when the tests
/// are killed themselves.
const WATCHED: &str = r#""$@" & pid=$!; echo "pid $pid"; cat >/dev/null; kill -9 $pid 2>/dev/null; wait $pid"#;
const START_MAX: Duration = Duration::from_secs(600);
const STOP_MAX: Duration = Duration::from_secs(60);

/// What the service's process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) resident_kib: u64,
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
}

/// A service that runs.
pub(crate) struct Server {
    watcher: Child,
    pid: Pid,
    address: SocketAddr,
    token: String,
    data: Option<TempDir>,
}

impl Server {
    /// Returns a service that all tests share: each uses names of its own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a service over a new data directory.
    pub(crate) fn start() -> Self {
        Self::start_over(tempfile::tempdir().unwrap())
    }

    /// Starts a service over the data directory of an earlier one.
    pub(crate) fn start_over(data: TempDir) -> Self {
        Self::start_with(data, &[])
    }

    /// Starts a service with more flags.
    pub(crate) fn start_with(data: TempDir, flags: &[&str]) -> Self {
        Self::start_logging(data, flags, Stdio::inherit())
    }

    /// Starts a service with more flags, whose log goes somewhere.
    pub(crate) fn start_logging(data: TempDir, flags: &[&str], log: Stdio) -> Self {
        let mut watcher = Command::new("sh")
            .args(["-c", WATCHED, "sh", env!("CARGO_BIN_EXE_sandglass"), "serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .args(flags)
            .env("SANDGLASS_GUESTS", guests())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
        let mut line = |start: &str| {
            let line = lines.next().unwrap_or_else(|| panic!("the service ended before it said `{start}`")).unwrap();
            line.strip_prefix(start).unwrap_or_else(|| panic!("`{line}` does not start with `{start}`")).to_owned()
        };
        let pid = Pid::from_raw(line("pid ").parse().unwrap()).unwrap();
        let address = line("listening on http://").parse().unwrap();
        let token = std::fs::read_to_string(data.path().join("token")).unwrap().trim().to_owned();
        let server = Self { watcher, pid, address, token, data: Some(data) };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + START_MAX;
        while self.get("/readyz").status != 200 {
            assert!(Instant::now() < deadline, "the service is never ready");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the service as a power cut would end the process; its data directory stays.
    pub(crate) fn kill(mut self) -> TempDir {
        kill_process(self.pid, Signal::KILL).unwrap();
        self.ended()
    }

    /// Asks the service to end and waits for it; its data directory stays.
    pub(crate) fn stop(mut self) -> TempDir {
        kill_process(self.pid, Signal::TERM).unwrap();
        self.ended()
    }

    /// Waits for a service that ends by itself; its data directory stays.
    pub(crate) fn stopped(mut self) -> TempDir {
        self.ended()
    }

    /// Sends a signal to the service.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    fn ended(&mut self) -> TempDir {
        let deadline = Instant::now() + STOP_MAX;
        // The watcher reaps its child only once it looks, so a process that has ended may still have an id: its port tells.
        while std::net::TcpStream::connect(self.address).is_ok() || self.lives() {
            assert!(Instant::now() < deadline, "the service does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(self.watcher.stdin.take());
        self.watcher.wait().unwrap();
        self.data.take().unwrap()
    }

    /// Whether the service's process still does anything.
    pub(crate) fn lives(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero()));
        let state = status.ok().and_then(|text| text.rsplit(") ").next().and_then(|rest| rest.chars().next()));
        !matches!(state, None | Some('Z' | 'X'))
    }

    /// Looks at what the service's process holds.
    pub(crate) fn figures(&self) -> Figures {
        let process = PathBuf::from(format!("/proc/{}", self.pid.as_raw_nonzero()));
        let count = |name: &str| std::fs::read_dir(process.join(name)).unwrap().count();
        let status = std::fs::read_to_string(process.join("status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Figures {
            resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors: count("fd"),
            threads: count("task"),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn data(&self) -> &Path {
        self.data.as_ref().unwrap().path()
    }

    /// Returns a request with the token.
    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        Request::new(method, &format!("{}{path}", self.url()))
            .header("authorization", &format!("Bearer {}", self.token))
    }

    /// Returns a request with another token.
    pub(crate) fn request_as(&self, token: &str, method: &str, path: &str) -> Request {
        Request::new(method, &format!("{}{path}", self.url())).header("authorization", &format!("Bearer {token}"))
    }

    /// Makes a token and returns its secret and its id.
    pub(crate) fn make_token(&self, body: &Value) -> (String, String) {
        let made = self.post("/v1/tokens", body).ok(201);
        (made["secret"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path).json(body).send()
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path).send()
    }

    /// Makes a sandbox.
    pub(crate) fn create(&self, name: &str) -> Value {
        self.post("/v1/sandboxes", &json!({ "name": name })).ok(201)
    }

    /// Writes a file of a sandbox, by its absolute path there.
    pub(crate) fn put_file(&self, sandbox: &str, path: &str, bytes: &[u8]) -> Value {
        let answer = self.request("PUT", &format!("/v1/sandboxes/{sandbox}/files{path}")).bytes(bytes).send();
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        answer.ok(answer.status)
    }

    /// Runs Python code and returns the call, however it ended.
    pub(crate) fn call(&self, sandbox: &str, code: &str) -> Value {
        let body = json!({ "tool": "python", "arguments": { "code": code } });
        self.post(&format!("/v1/sandboxes/{sandbox}/calls"), &body).ok(200)
    }

    /// Starts Python code and returns where the call stands.
    pub(crate) fn start_call(&self, sandbox: &str, code: &str) -> Value {
        let body = json!({ "tool": "python", "arguments": { "code": code } });
        let request = self.request("POST", &format!("/v1/sandboxes/{sandbox}/calls")).header("prefer", "respond-async");
        request.json(&body).send().started()
    }

    /// Waits until a call has ended, and returns it.
    pub(crate) fn wait_for_call(&self, sandbox: &str, call: &str) -> Value {
        let path = format!("/v1/sandboxes/{sandbox}/calls/{call}");
        loop {
            let found = self.request("GET", &path).header("prefer", "wait=60").send().ok(200);
            if !matches!(found["status"].as_str(), Some("queued" | "running")) {
                return found;
            }
        }
    }

    /// Follows a call until its output holds `text`.
    pub(crate) fn wait_for_output(&self, sandbox: &str, call: &str, text: &str) {
        let path = format!("/v1/sandboxes/{sandbox}/calls/{call}/events");
        let mut printed = String::new();
        for event in self.request("GET", &path).events() {
            printed.push_str(event.data["text"].as_str().unwrap_or_default());
            if printed.contains(text) {
                return;
            }
            assert!(event.name != "result", "the call ended without printing `{text}`: {}", event.data);
        }
        panic!("the stream ended before `{text}`");
    }

    /// Returns by how much slower than promised answers may be on this machine, with the tests beside it.
    pub(crate) fn patience(&self) -> u32 {
        5
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        // Nothing can be done about a shell that does not end, and panicking here would hide why the test failed.
        let _status = self.watcher.wait().is_ok();
    }
}

/// Where guests lie that have been compiled by earlier runs: compiling an interpreter takes longer than all tests.
pub(crate) fn guests() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests")
}

/// Where `python-data` is installed, for tests that need it: the directory that `SANDGLASS_PYTHON_DATA` names.
pub(crate) fn data_guests() -> Option<PathBuf> {
    let guests = PathBuf::from(std::env::var_os("SANDGLASS_PYTHON_DATA")?);
    let mut installed = std::fs::read_dir(guests.join("installed")).ok()?;
    let is_there =
        installed.any(|found| found.is_ok_and(|found| found.file_name().to_string_lossy().starts_with("python-data-")));
    is_there.then_some(guests)
}
