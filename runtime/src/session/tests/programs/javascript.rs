//! Programs in JavaScript.

use proptest::prelude::*;

use super::{mostly_tried, variable};

pub(super) const ALL: &str = r"
for (const name of ['v0', 'v1', 'v2', 'v3', 'v4', 'b0', 'b1', 'b2', 'f', 'Point']) {
    const value = globalThis[name];
    let text;
    try { text = typeof value === 'function' ? String(value) : require('util').inspect(value, { depth: 4 }); } catch (error) { text = error.message; }
    console.log(name, typeof value, String(text).slice(0, 300));
}
console.log(process.cwd(), Object.entries(process.env).filter(([name]) => name.startsWith('KEY')).sort());
for (const file of require('child_process').execSync('find /workspace -type f | sort').toString().split('\n').filter(Boolean)) {
    const content = require('fs').readFileSync(file);
    console.log(file, content.length, JSON.stringify(content.toString('latin1').slice(-200)));
}
";

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i16>().prop_map(|number| number.to_string()),
        "[a-z]{0,8}".prop_map(|text| format!("{text:?}")),
        prop::collection::vec(0..99u8, 0..6).prop_map(|numbers| format!("{numbers:?}")),
        prop::collection::vec("[a-z]{1,3}", 1..6).prop_map(|words| format!("new Set({words:?})")),
        ("[a-z]{1,3}", 0..99u8).prop_map(|(key, value)| format!("{{ {key}: {value}, x: [{key:?}] }}")),
        ("[a-z]{1,3}", 0..99u8).prop_map(|(key, value)| format!("new Map([[{key:?}, {value}]])")),
        Just("1.5".to_owned()),
        Just("10n ** 20n".to_owned()),
        Just("null".to_owned()),
        Just("/a(b)?/g".to_owned()),
    ]
}

/// One line or a few, which may fail.
fn statement() -> impl Strategy<Value = String> {
    let v = variable;
    prop_oneof![
        6 => (v(), literal()).prop_map(|(name, value)| format!("globalThis.{name} = {value};")),
        3 => (v(), literal()).prop_map(|(name, value)| format!("var {name} = {value};")),
        4 => (v(), v()).prop_map(|(to, from)| format!("globalThis.{to} = [{from}, {from}];")),
        3 => (v(), literal()).prop_map(|(name, value)| format!("{name}.push({value});")),
        2 => (v(), 0..3u8).prop_map(|(name, at)| format!("{name}[{at}] = {at};")),
        2 => v().prop_map(|name| format!("delete globalThis.{name};")),
        4 => v().prop_map(|name| format!("console.log(typeof {name}, {name});")),
        2 => (v(), v()).prop_map(|(name, other)| format!("globalThis.f = (a => () => {{ a.push(a.length); return [...a, typeof {name}]; }})([]); globalThis.{other} = f();")),
        2 => v().prop_map(|name| format!("globalThis.{name} = f();")),
        1 => Just("globalThis.g = (function* () { for (let n = 0; ; n++) yield n * n; })(); g.next();".to_owned()),
        3 => v().prop_map(|name| format!("globalThis.{name} = g.next().value;")),
        2 => (v(), 0..99u8).prop_map(|(name, x)| format!("globalThis.Point = class Point {{ #x = {x}; grow() {{ return ++this.#x; }} }}; globalThis.{name} = new Point();")),
        2 => v().prop_map(|name| format!("console.log({name}.grow());")),
        2 => (v(), v()).prop_map(|(to, from)| format!("globalThis.{to} = JSON.parse(JSON.stringify({from}));")),
        2 => v().prop_map(|name| format!("globalThis.{name} = await new Promise(done => setTimeout(() => done('later'), 1));")),
        2 => v().prop_map(|name| format!("Promise.resolve(7).then(value => {{ globalThis.{name} = value; }});")),
        1 => Just("const { join } = require('path'); console.log(join('a', '..', 'b'));".to_owned()),
        3 => (0..3u8, v()).prop_map(|(file, name)| format!("require('fs').appendFileSync('f{file}', String({name}).slice(0, 60) + '\\n');")),
        2 => (0..3u8).prop_map(|file| format!("console.log(require('fs').readFileSync('f{file}', 'utf8'));")),
        1 => (0..3u8).prop_map(|file| format!("require('fs').unlinkSync('f{file}');")),
        1 => (0..3u8, 0..3u8).prop_map(|(from, to)| format!("require('fs').renameSync('f{from}', 'f{to}');")),
        1 => Just("globalThis.h = require('fs').openSync('/workspace/log', 'a+');".to_owned()),
        2 => v().prop_map(|name| format!("console.log(require('fs').writeSync(h, String({name}).slice(0, 9)));")),
        1 => (0..2u8).prop_map(|number| format!("require('fs').mkdirSync('/workspace/d{number}', {{ recursive: true }}); process.chdir('/workspace/d{number}');")),
        1 => (0..3u8, 0..9u8).prop_map(|(key, value)| format!("process.env.KEY{key} = '{value}';")),
        2 => (0..3u8, any::<u8>()).prop_map(|(number, byte)| format!("globalThis.b{number} = new Uint8Array(70000).fill({byte});")),
        2 => (0..3u8, 0..70_000u32, any::<u8>()).prop_map(|(number, at, byte)| format!("b{number}[{at}] = {byte};")),
        1 => Just("{ const list = []; for (let n = 0; n < 20000; n++) list.push({ n: [n] }); }".to_owned()),
    ]
}

/// A program: some statements, then perhaps an expression, an exception or an end.
pub(super) fn program() -> impl Strategy<Value = String> {
    let end = prop_oneof![
        6 => Just(String::new()),
        4 => variable(),
        2 => (variable(), variable()).prop_map(|(left, right)| format!("[{left}, {right}]")),
        1 => Just("throw new TypeError('on purpose')".to_owned()),
        1 => Just("Promise.reject(new Error('nobody caught this'))".to_owned()),
        1 => Just("require('fs').writeFileSync('lost', 'lost'); globalThis.v0 = 'lost'; process.exit(3)".to_owned()),
        1 => Just("require('fs').writeFileSync('lost', 'lost'); globalThis.v0 = 'lost'; for (const all = []; ; ) all.push(new ArrayBuffer(1 << 24))".to_owned()),
    ];
    (prop::collection::vec(statement(), 0..4), end).prop_map(|(lines, last)| {
        let can_try = |line: &str| !line.contains("await") && !line.starts_with("const");
        let tried =
            |line: &str| format!("try {{ {line} }} catch (error) {{ console.log(error.name, error.message); }}");
        mostly_tried(&lines, &last, can_try, tried)
    })
}
