//! Tools from WAT: every type both ways, limits, refusals, and what survives on disk.

mod conformance;
mod preview2;

use std::path::Path;
use std::sync::Arc;

use sandglass_snapshots::{Quota, Store, StoreOptions};
use serde_json::json;

use super::*;
use crate::clock::SystemClock;
use crate::compile::Compiler;
use crate::entropy::SeededEntropy;
use crate::guest::{End, RunLimits};
use crate::wasi::{Output, Stream};

const TYPES: &str = include_str!("../../../tests/fixtures/tools/types.wat");
const HOSTILE: &str = include_str!("../../../tests/fixtures/tools/hostile.wat");

struct Nowhere;

impl Output for Nowhere {
    fn write(&self, _: Stream, _: &[u8]) {}
}

struct Trial {
    directory: tempfile::TempDir,
    store: Store,
    tools: Tools,
}

fn open(directory: &Path) -> Tools {
    Tools::open(directory.join("tools"), Compiler::InProcess, 4).unwrap()
}

fn new_tool(name: &str, wasm: Vec<u8>) -> NewTool {
    NewTool { name: name.to_owned(), wasm: wasm.into(), description: None, stub_imports: false }
}

impl Trial {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), StoreOptions::default()).unwrap();
        let tools = open(directory.path());
        Self { directory, store, tools }
    }

    fn add(&self, name: &str, wat: &str) -> Result<(ToolInfo, bool), Error> {
        self.tools.add(new_tool(name, wat::parse_str(wat).unwrap()), Timestamp(1), "test")
    }

    fn reopen(self) -> Self {
        let Self { directory, store, tools } = self;
        drop(tools);
        let tools = open(directory.path());
        Self { directory, store, tools }
    }

    fn run(&self, name: &str, arguments: &Value) -> Result<Ran, Error> {
        let call = self.tools.call(name, arguments, None)?.expect("a tool of this name");
        let transaction = self.store.begin_empty(Vec::new(), Quota { bytes: 1 << 20, inodes: 100 });
        let surroundings = Surroundings {
            mounts: Vec::new(),
            limits: RunLimits { fuel: 100_000_000, memory_bytes: 16 << 20, output_bytes: 1 << 20, open_files: 16 },
            output: Arc::new(Nowhere),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SeededEntropy::new(1)),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let ready = self.tools.load(&call)?;
        runtime.block_on(ready.run(Arc::new(arguments.clone()), transaction, surroundings))
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path().join("tools")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "code");
        names.sort();
        names
    }
}

#[test]
fn every_type_goes_in_and_comes_out() {
    let trial = Trial::new();
    let (info, is_new) = trial.add("types", TYPES).unwrap();
    assert!(is_new);
    let names: Vec<_> = info.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["types.echo", "types.fail", "types.maths.half"]);
    let all = json!({
        "bool": true, "s8": -128, "u8": 255, "s16": -32768, "u16": 65535, "s32": i32::MIN, "u32": u32::MAX,
        "s64": "-9223372036854775808", "u64": "18446744073709551615", "f32": 1.5, "f64": "-Infinity", "char": "\u{1f980}",
        "string": "gr\u{fc}\u{df}e", "bytes": "AAH/", "list": ["a", "", "c"], "tuple": [1, ["x", 2]],
        "colour": "green", "choice": { "word": "w" }, "nested": { "some": null }, "outcome": { "err": "no" },
        "rights": ["read", "run"], "points": [{ "x": 1, "y": null }, { "x": 2, "y": 3.5 }]
    });
    let ran = trial.run("types.echo", &json!({ "all": all })).unwrap();
    assert_eq!((ran.end, ran.exit_code), (End::Exited(0), None));
    assert_eq!(ran.result, Some(all.clone()));
    assert!(ran.fuel > 0 && ran.memory_peak_bytes >= 65536 && ran.transaction.is_some());
    let other = json!({
        "bool": false, "s8": 127, "u8": 0, "s16": 1, "u16": 2, "s32": 3, "u32": 4, "s64": 5, "u64": 6, "f32": "NaN",
        "f64": 0.1, "char": "x", "string": "", "bytes": "", "list": [], "tuple": [0, ["", 0]], "colour": "red",
        "choice": "nothing", "nested": { "some": "inner" }, "outcome": { "ok": null }, "rights": [], "points": []
    });
    assert_eq!(trial.run("types.echo", &json!({ "all": other })).unwrap().result, Some(other));
    let ran = trial.run("types.maths.half", &json!({ "n": 7 })).unwrap();
    assert_eq!(ran.result, Some(json!({ "ok": 3 })));
}

#[test]
fn an_error_is_an_answer_and_keeps_what_was_done() {
    let trial = Trial::new();
    trial.add("types", TYPES).unwrap();
    let ran = trial.run("types.fail", &json!({ "why": "because" })).unwrap();
    assert_eq!((ran.end, ran.result), (End::Exited(1), Some(json!({ "err": "because" }))));
    assert_eq!(ran.message.as_deref(), Some("the tool answered with an error: because"));
    assert!(ran.transaction.is_some());
}

#[test]
fn limits_and_traps_end_a_call_and_leave_nothing() {
    let trial = Trial::new();
    trial.add("hostile", HOSTILE).unwrap();
    for (name, word) in [
        ("loop", "limits.cpu"),
        ("grow", "limits.memory"),
        ("trap", "unreachable"),
        ("recurse", "stack"),
        ("wild-string", "out of bounds"),
        ("wild-list", ""),
        ("bad-utf8", "utf-8"),
        ("huge", "fuel"),
    ] {
        let ran = trial.run(&format!("hostile.{name}"), &json!({})).unwrap();
        let said = match ran.end {
            End::Exited(code) => panic!("{name} exited with {code}"),
            End::Trapped(reason) => reason,
            End::LimitExceeded(limit) => limit.to_string(),
        };
        assert!(said.contains(word), "{name}: `{said}` does not say {word}");
        assert!(ran.transaction.is_none() && ran.result.is_none(), "{name}");
    }
    // And the pool's slots are as good as new.
    trial.add("types", TYPES).unwrap();
    assert_eq!(trial.run("types.maths.half", &json!({ "n": 8 })).unwrap().result, Some(json!({ "ok": 4 })));
}

#[test]
fn a_program_of_preview_1_runs() {
    let trial = Trial::new();
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (drop (call $args (i32.const 0) (i32.const 4)))
            (call $exit (i32.load (i32.const 0)))))"#;
    let (info, _) = trial.add("count", wat).unwrap();
    assert_eq!((info.kind, info.functions.len()), (ToolKind::Module, 1));
    let ran = trial.run("count", &json!({ "argv": ["a", "b"] })).unwrap();
    assert_eq!((ran.end, ran.exit_code), (End::Exited(3), Some(3)));
    assert!(ran.transaction.is_some());
}

#[test]
fn what_cannot_be_a_tool_is_refused_with_a_reason() {
    let trial = Trial::new();
    let sockets = r#"(component (import "wasi:sockets/tcp@0.2.0" (instance (export "f" (func)))))"#;
    let http = r#"(component (import "wasi:http/types@0.2.0" (instance (export "f" (func)))))"#;
    let resource = r#"(component
        (type $r (resource (rep i32)))
        (export $e "handle" (type $r))
        (core module $m (func (export "f") (param i32)))
        (core instance $i (instantiate $m))
        (func $f (param "h" (borrow $e)) (canon lift (core func $i "f")))
        (export "take" (func $f)))"#;
    for (wat, code, word) in [
        (sockets, "missing_import", "imports `wasi:sockets/tcp@0.2.0`, and a tool has no sockets"),
        (http, "missing_import", "a tool has no HTTP; there are: wasi:cli/environment"),
        (r#"(component (import "my:own/thing" (func)))"#, "missing_import", "my:own/thing"),
        (resource, "invalid_tool", "resource"),
        ("(component)", "invalid_tool", "exports no function"),
        ("(module)", "invalid_tool", "without `_start`"),
        (r#"(module (import "env" "x" (func)) (func (export "_start")))"#, "invalid_tool", "imports `env.x`"),
        (r#"(module (func (export "_start") (param i32)))"#, "invalid_tool", "without `_start`"),
        ("(module (memory 1 1 shared))", "invalid_tool", ""),
    ] {
        let error = trial.add("bad", wat).err().unwrap();
        assert_eq!(error.code(), code, "{wat}: {error}");
        assert!(error.to_string().contains(word), "{wat}: {error}");
    }
    for (bytes, word) in [
        (&b""[..], "no WebAssembly"),
        (b"\x7fELF0000000000", "no WebAssembly"),
        (b"\0asm\x01\0\0\0junk", "unexpected end"),
        (b"\0asm\x0d\0\x01\0junk", "unexpected end"),
        (b"\0asm\x02\0\0\0", "version"),
    ] {
        let error = trial.tools.add(new_tool("bad", bytes.to_vec()), Timestamp(1), "test").err().unwrap();
        assert_eq!(error.code(), "invalid_tool", "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    for name in ["", "python", "A", "a.b", "../x", "1st", "a b", &"x".repeat(65)] {
        let error = trial.add(name, TYPES).err().unwrap();
        assert!(["invalid_name", "reserved_name"].contains(&error.code()), "{name}: {error}");
    }
    assert!(trial.tools.list().is_empty() && trial.files().is_empty(), "{:?}", trial.files());
}

#[test]
fn missing_imports_can_be_stubbed_and_using_one_ends_the_call() {
    let trial = Trial::new();
    let wat = r#"(component
        (import "wasi:random/random@0.2.3" (instance $random (export "get-random-u64" (func (result u64)))))
        (import "wasi:sockets/made-up@0.2.0" (instance $s (export "r" (type (sub resource))) (export "f" (func))))
        (core func $f (canon lower (func $s "f")))
        (core func $number (canon lower (func $random "get-random-u64")))
        (core module $m
            (import "" "f" (func $f))
            (import "" "number" (func $number (result i64)))
            (func (export "number") (result i64) (call $number))
            (func (export "use") (call $f))
            (func (export "leave") (result i32) (i32.const 5)))
        (core instance $i (instantiate $m (with "" (instance (export "f" (func $f)) (export "number" (func $number))))))
        (func (export "number") (result u64) (canon lift (core func $i "number")))
        (func (export "use") (canon lift (core func $i "use")))
        (func (export "leave") (result u32) (canon lift (core func $i "leave"))))"#;
    let mut new = new_tool("stubbed", wat::parse_str(wat).unwrap());
    assert_eq!(trial.tools.add(new.clone(), Timestamp(1), "test").err().unwrap().code(), "missing_import");
    new.stub_imports = true;
    trial.tools.add(new, Timestamp(1), "test").unwrap();
    assert_eq!(trial.run("stubbed.leave", &json!({})).unwrap().result, Some(json!(5)));
    let ran = trial.run("stubbed.number", &json!({})).unwrap();
    assert_eq!(ran.end, End::Exited(0), "what there is, is no stub");
    let ran = trial.run("stubbed.use", &json!({})).unwrap();
    assert!(matches!(ran.end, End::Trapped(reason) if reason.contains("wasi:sockets/made-up")));
}

#[test]
fn types_are_bounded_in_depth_and_number() {
    let trial = Trial::new();
    let deep = (0..40).fold("u8".to_owned(), |inner, _| format!("(option {inner})"));
    let function = |ty: &str| {
        format!(
            r#"(component
            (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
                (func (export "f") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "f") (param "x" {ty}) (canon lift (core func $i "f")
                (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
        )
    };
    let wide = (0..4).fold("u8".to_owned(), |inner, _| format!("(tuple {})", vec![inner; 12].join(" ")));
    for (ty, word) in [(deep, "deeper"), (wide, "more than 4000 types")] {
        let wat = function(&ty);
        let error = trial.add("bad", &wat).err().unwrap().to_string();
        assert!(error.contains(word) || error.contains("nest") || error.contains("size"), "{error}");
    }
}

#[test]
fn a_tool_survives_a_restart_and_is_replaced_and_removed() {
    let mut trial = Trial::new();
    let (first, _) = trial.add("types", TYPES).unwrap();
    trial = trial.reopen();
    assert_eq!(trial.tools.list().len(), 1);
    assert_eq!(trial.run("types.maths.half", &json!({ "n": 2 })).unwrap().result, Some(json!({ "ok": 1 })));
    let (second, is_new) = trial.add("types", HOSTILE).unwrap();
    assert!(!is_new && first.upload.unwrap().hash != second.upload.unwrap().hash);
    assert_eq!(trial.files().len(), 2, "{:?}", trial.files());
    assert_eq!(trial.tools.call("types.echo", &json!({}), None).err().unwrap().code(), "unknown_tool");
    trial.add("again", HOSTILE).unwrap();
    trial.tools.remove("types").unwrap();
    assert_eq!(trial.files().len(), 2, "two names, one upload: {:?}", trial.files());
    assert!(trial.run("again.trap", &json!({})).is_ok());
    assert_eq!(trial.tools.remove("types").unwrap_err().code(), "unknown_tool");
    trial.tools.remove("again").unwrap();
    assert!(trial.files().is_empty());
}

#[test]
fn damage_is_noticed_and_what_was_cut_off_is_removed() {
    let mut trial = Trial::new();
    let (info, _) = trial.add("types", TYPES).unwrap();
    let place = trial.directory.path().join("tools");
    let hash = crate::code_cache::hex(&info.upload.unwrap().hash);
    let wasm = place.join(format!("{hash}.wasm"));
    let good = std::fs::read(&wasm).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&wasm, &bad).unwrap();
    std::fs::write(place.join("half.tmp"), b"cut").unwrap();
    std::fs::write(place.join(format!("{}.wasm", "0".repeat(64))), b"nobody's").unwrap();
    trial = trial.reopen();
    assert_eq!(trial.files(), [format!("{hash}.wasm"), "types.json".to_owned()]);
    let error = trial.run("types.maths.half", &json!({ "n": 2 })).err().unwrap();
    assert_eq!(error.code(), "tool_damaged");
    trial.add("types", TYPES).unwrap();
    assert!(trial.run("types.maths.half", &json!({ "n": 2 })).is_ok());
    let label = place.join("types.json");
    let text = std::fs::read_to_string(&label).unwrap().replace("\"maths.half\"", "\"maths.hale\"");
    std::fs::write(&label, text).unwrap();
    trial = trial.reopen();
    assert!(trial.tools.list().is_empty());
    assert_eq!(trial.files().len(), 2, "what a damaged label may name is kept");
}

#[test]
fn one_function_needs_no_name_and_an_unknown_one_is_told() {
    let trial = Trial::new();
    let wat = r#"(component
        (core module $m (func (export "f") (param i32) (result i32) (local.get 0)))
        (core instance $i (instantiate $m))
        (func (export "same") (param "n" s32) (result s32) (canon lift (core func $i "f"))))"#;
    trial.add("one", wat).unwrap();
    for name in ["one", "one.same"] {
        assert_eq!(trial.run(name, &json!({ "n": -4 })).unwrap().result, Some(json!(-4)));
    }
    trial.add("types", TYPES).unwrap();
    for name in ["types", "types.none"] {
        let error = trial.tools.call(name, &json!({}), None).err().unwrap();
        assert_eq!(error.code(), "unknown_tool");
        assert!(error.hint().is_some_and(|hint| hint.contains("types.echo")));
    }
    let error = trial.tools.call("one", &json!({ "n": "x" }), None).err().unwrap();
    assert!(error.to_string().contains("arguments.n: a whole number"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("same: func(n: s32) -> s32")), "{:?}", error.hint());
    assert!(trial.tools.call("python", &json!({}), None).unwrap().is_none());
}

#[test]
fn what_is_said_of_functions_lasts() {
    let mut trial = Trial::new();
    trial.add("types", TYPES).unwrap();
    let say = |trial: &Trial, description: Option<&str>, functions: &[(&str, &str)]| {
        let functions = functions.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        trial.tools.describe("types", ToolWords { description: description.map(str::to_owned), functions })
    };
    let info =
        say(&trial, Some("Types."), &[("types.echo", " Gives back.\n"), ("types.maths.half", "Halves.")]).unwrap();
    assert!(info.functions[0].description.starts_with("Types.\n\nGives back.\n\necho: func(all: record"));
    assert!(info.functions[1].description.starts_with("Types.\n\nfail: func("));
    trial = trial.reopen();
    let info = trial.tools.get("types").unwrap();
    assert_eq!(info.description.as_deref(), Some("Types."));
    assert!(info.functions[2].description.starts_with("Types.\n\nHalves.\n\nhalf: func("));
    assert!(trial.run("types.maths.half", &json!({ "n": 2 })).is_ok());
    // One is taken away, and the rest stays.
    let info = say(&trial, None, &[("types.echo", "")]).unwrap();
    assert!(info.functions[0].description.starts_with("Types.\n\necho: func("));
    assert!(info.functions[2].description.contains("Halves."));
    // The same upload again changes nothing of it, another one keeps what it has too.
    let (info, _) = trial.add("types", TYPES).unwrap();
    assert!(info.description.is_none() && info.functions[2].description.starts_with("Halves.\n\nhalf"));
    trial.add("types", HOSTILE).unwrap();
    let (info, _) = trial.add("types", TYPES).unwrap();
    assert!(info.functions[2].description.starts_with("half: func("));
    let long = "x".repeat(4097);
    for (functions, code) in
        [(("types.none", "x"), "unknown_function"), (("types.echo", long.as_str()), "invalid_description")]
    {
        assert_eq!(say(&trial, None, &[functions]).err().unwrap().code(), code);
    }
    assert_eq!(trial.tools.describe("none", ToolWords::default()).err().unwrap().code(), "unknown_tool");
}
