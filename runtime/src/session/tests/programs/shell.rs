//! Programs for bash.

use proptest::prelude::*;

use super::variable;

pub(super) const ALL: &str = r#"
for name in v0 v1 v2 v3 v4 a0 a1 a2 m0 m1 KEY0 KEY1 KEY2; do declare -p "$name" 2>&1; done
declare -f; alias; shopt nullglob extglob; set -o | grep -E 'pipefail|nounset|noglob'; umask; pwd; trap -p
find /workspace -type f | sort | while read -r file; do echo "$file"; tail -c 200 "$file"; wc -c < "$file"; done
"#;

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => any::<i16>().prop_map(|number| number.to_string()),
        3 => "[a-z]{0,8}".prop_map(|text| format!("'{text}'")),
        1 => "[a-z *?]{1,8}".prop_map(|text| format!("'{text}'")),
        2 => variable().prop_map(|name| format!("\"${name}\"")),
        1 => variable().prop_map(|name| format!("\"${{#{name}}}\"")),
    ]
}

/// One command or a few, which may fail.
fn statement() -> impl Strategy<Value = String> {
    let v = variable;
    prop_oneof![
        6 => (v(), word()).prop_map(|(name, value)| format!("{name}={value}")),
        3 => (v(), word()).prop_map(|(name, value)| format!("{name}+={value}")),
        3 => (0..3u8, prop::collection::vec(word(), 0..4)).prop_map(|(number, words)| format!("a{number}=({})", words.join(" "))),
        2 => (0..3u8, word()).prop_map(|(number, word)| format!("a{number}+=({word})")),
        2 => (0..3u8, 0..4u8).prop_map(|(number, at)| format!("unset 'a{number}[{at}]'; echo \"${{#a{number}[@]}}\"")),
        2 => (0..2u8, 0..4u8, word()).prop_map(|(number, key, word)| format!("declare -gA m{number}; m{number}[k{key}]={word}")),
        2 => v().prop_map(|name| format!("unset {name}")),
        3 => (v(), v()).prop_map(|(to, from)| format!("{to}=$((${{#{from}}} * 3 + 1))")),
        2 => v().prop_map(|name| format!("for n in 1 2 3; do {name}+=$n; done")),
        4 => v().prop_map(|name| format!("echo \"${{{name}-unset}}\"")),
        2 => (v(), v()).prop_map(|(name, other)| format!("f() {{ local n=$#; {name}=\"$n:$1\"; echo \"f ${other}\"; }}")),
        3 => word().prop_map(|word| format!("f {word} x")),
        2 => v().prop_map(|name| format!("{name}=$(printf '%s\\n' \"${{a0[@]}}\" | sort | head -n 2 | tr a-z A-Z)")),
        2 => v().prop_map(|name| format!("case ${name} in [0-9]*) echo number;; '') echo empty;; *) echo word;; esac")),
        1 => (0..3u8, word()).prop_map(|(key, word)| format!("export KEY{key}={word}; env | grep ^KEY | sort")),
        1 => (0..2u8).prop_map(|number| format!("mkdir -p /workspace/d{number} && cd /workspace/d{number}")),
        1 => prop::sample::select(vec!["set -o pipefail", "set +o pipefail", "set -f", "set +f", "shopt -s nullglob", "shopt -u nullglob", "umask 027", "umask 022"])
            .prop_map(str::to_owned),
        1 => Just("shopt -s expand_aliases; alias hello='echo hello'".to_owned()),
        1 => Just("trap 'echo signal' USR1; kill -USR1 $$".to_owned()),
        3 => (0..3u8, word()).prop_map(|(file, word)| format!("echo {word} >> f{file}")),
        2 => (0..3u8).prop_map(|file| format!("cat f{file}")),
        1 => (0..3u8).prop_map(|file| format!("rm f{file}")),
        1 => (0..3u8, 0..3u8).prop_map(|(from, to)| format!("mv f{from} f{to}")),
        1 => Just("exec 5>> /workspace/log".to_owned()),
        2 => word().prop_map(|word| format!("echo {word} >&5")),
        1 => (0..3u8).prop_map(|file| format!("exec 6< f{file}")),
        2 => v().prop_map(|name| format!("read -r -u 6 {name}; echo $?")),
        1 => Just("sleep 0 & wait; echo waited".to_owned()),
        1 => v().prop_map(|name| format!("{name}=$(printf '%070000d' 7); echo ${{#{name}}}; {name}=${{{name}: -3}}")),
        1 => Just("(exit 3) | cat; echo \"${PIPESTATUS[*]}\"".to_owned()),
        1 => Just("seq 2000 | while read -r n; do (( n % 500 )) || echo $n; done".to_owned()),
    ]
}

/// A program: some commands, then perhaps one that fails or ends the shell.
pub(super) fn program() -> impl Strategy<Value = String> {
    let end = prop_oneof![
        8 => Just(""),
        1 => Just("false"),
        1 => Just("not-a-command x"),
        1 => Just("echo \"${v9?is not there}\""),
        1 => Just("echo lost > lost; v0=lost; exit 3"),
        1 => Just("echo lost > lost; v0=lost; kill -9 $$"),
    ];
    (prop::collection::vec(statement(), 0..5), end).prop_map(|(lines, last)| lines.join("\n") + "\n" + last)
}
