//! Programs in Python.

use proptest::prelude::*;

use super::{mostly_tried, variable};

/// Shows all that a session has, and all files.
pub(super) const ALL: &str = "\
import os, sys
def _show(value):
    if isinstance(value, Thing): return ('Thing', sorted((name, _show(item)) for name, item in vars(value).items()))
    return repr(value)[:300]
class Thing: pass
Thing = globals().get('Point', Thing)
print([(name, _show(value)) for name, value in sorted(globals().items()) if name[0] in 'abv' and name[1:].isdigit()])
print(sorted(name for name in sys.modules if name in ('json', 're', 'csv', 'decimal', 'textwrap', 'fractions', 'statistics')))
print(os.getcwd(), sorted((name, value) for name, value in os.environ.items() if name.startswith('KEY')))
for _root, _, _files in sorted(os.walk('/workspace')):
    for _name in sorted(_files):
        _file = os.path.join(_root, _name)
        print(_file, open(_file, 'rb').read()[-200:], os.stat(_file).st_size)
";

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i16>().prop_map(|number| number.to_string()),
        "[a-z]{0,8}".prop_map(|text| format!("{text:?}")),
        prop::collection::vec(0..99u8, 0..6).prop_map(|numbers| format!("{numbers:?}")),
        prop::collection::vec("[a-z]{1,3}", 1..6).prop_map(|words| format!("set({words:?})")),
        ("[a-z]{1,3}", 0..99u8).prop_map(|(key, value)| format!("{{{key:?}: {value}, {value}: ({key:?},)}}")),
        Just("1.5".to_owned()),
        Just("None".to_owned()),
    ]
}

/// One line or a few, which may fail.
fn statement() -> impl Strategy<Value = String> {
    let v = variable;
    prop_oneof![
        6 => (v(), literal()).prop_map(|(name, value)| format!("{name} = {value}")),
        4 => (v(), v()).prop_map(|(to, from)| format!("{to} = [{from}, {from}]")),
        3 => (v(), v()).prop_map(|(to, from)| format!("{to} += {from}")),
        3 => (v(), literal()).prop_map(|(name, value)| format!("{name}.append({value})")),
        2 => (v(), 0..3u8).prop_map(|(name, at)| format!("{name}[{at}] = {at}")),
        2 => v().prop_map(|name| format!("del {name}")),
        4 => v().prop_map(|name| format!("print(type({name}).__name__, repr({name})[:80])")),
        2 => (v(), v()).prop_map(|(name, other)| format!("def f(a=[]):\n    a.append(len(a)); return a, repr({name})[:40]\n{other} = f()")),
        2 => v().prop_map(|name| format!("{name} = f()")),
        2 => Just("g = (n * n for n in range(9)); next(g)".to_owned()),
        3 => v().prop_map(|name| format!("{name} = next(g)")),
        2 => (v(), 0..99u8).prop_map(|(name, x)| format!("class Point:\n    def __init__(self, x): self.x = x\n    def __repr__(self): return 'Point'\n{name} = Point({x})")),
        2 => v().prop_map(|name| format!("{name}.x += 1; {name}.seen = sorted(vars({name}))")),
        2 => prop::sample::select(vec!["json", "re", "csv", "decimal", "textwrap", "fractions", "statistics"])
            .prop_map(|module| format!("import {module}; print({module}.__name__)")),
        2 => (v(), v()).prop_map(|(to, from)| format!("import json; {to} = json.loads(json.dumps({from}))")),
        2 => v().prop_map(|name| format!("from fractions import Fraction; {name} = Fraction(len(dir()) % 7, 3) ** 5")),
        3 => (0..3u8, v()).prop_map(|(file, name)| format!("open('f{file}', 'a').write(repr({name})[:60] + '\\n')")),
        2 => (0..3u8).prop_map(|file| format!("print(open('f{file}').read())")),
        1 => (0..3u8).prop_map(|file| format!("import os; os.remove('f{file}')")),
        1 => (0..3u8, 0..3u8).prop_map(|(from, to)| format!("import os; os.rename('f{from}', 'f{to}')")),
        2 => Just("h = open('/workspace/log', 'a+'); print(h.tell())".to_owned()),
        3 => v().prop_map(|name| format!("print(h.write(repr({name})[:9])); h.flush(); h.seek(0); print(len(h.read()))")),
        1 => (0..2u8).prop_map(|number| format!("import os; os.makedirs('/workspace/d{number}', exist_ok=True); os.chdir('/workspace/d{number}')")),
        1 => (0..3u8, 0..9u8).prop_map(|(key, value)| format!("import os; os.environ['KEY{key}'] = '{value}'")),
        2 => (0..3u8, any::<u8>()).prop_map(|(number, byte)| format!("b{number} = bytearray({byte} for _ in range(70000))")),
        2 => (0..3u8, 0..70_000u32, any::<u8>()).prop_map(|(number, at, byte)| format!("b{number}[{at}] = {byte}")),
        1 => (0..3u8).prop_map(|number| format!("b{number} = bytes(1 << 20); b{number} = len(b{number}), sum(b{number})")),
        1 => Just("async def c(n):\n    import asyncio\n    await asyncio.sleep(0)\n    return n * 2\nprint(await c(4))".to_owned()),
        1 => Just("import gc; gc.collect(); None".to_owned()),
        1 => Just("l = []\nfor n in range(20000): l.append({n: [n]})\ndel l".to_owned()),
    ]
}

/// A program: some statements, then perhaps an expression, an exception or an end.
pub(super) fn program() -> impl Strategy<Value = String> {
    let end = prop_oneof![
        6 => Just(String::new()),
        4 => variable(),
        2 => (variable(), variable()).prop_map(|(left, right)| format!("{left}, {right}")),
        1 => Just("raise ValueError(sorted(name for name in dir() if name[0] == 'v'))".to_owned()),
        1 => Just("open('lost', 'w').write('lost'); v0 = 'lost'; raise SystemExit(3)".to_owned()),
        1 => Just("open('lost', 'w').write('lost'); v0 = 'lost'; import os; os._exit(4)".to_owned()),
        1 => Just("open('lost', 'w').write('lost'); v0 = 'lost'; bytearray(1 << 30)".to_owned()),
    ];
    (prop::collection::vec(statement(), 0..4), end).prop_map(|(lines, last)| {
        let tried = |line: &str| {
            let inner: String = line.lines().map(|line| format!("    {line}\n")).collect();
            format!("try:\n{inner}except Exception as error: print(type(error).__name__, error)")
        };
        mostly_tried(&lines, &last, |line| !line.contains("await"), tried)
    })
}
