// Recurses through what the language itself calls.
const trap = { get(target, key, receiver) { return receiver[key + 'x']; } };
let caught = 0;
for (const attempt of [
    () => new Proxy({}, trap).x,
    () => { let x = []; for (let i = 0; i < 2e5; i++) x = [x]; return JSON.stringify(x); },
    () => JSON.parse('['.repeat(1e6)),
    () => { const x = {}; x.toString = () => `${x}`; return `${x}`; },
    () => [1].sort.call([2, 1], function f() { return [2, 1].sort(f)[0]; }),
    () => 'x'.replace(/x/g, function f() { return 'x'.replace(/x/g, f); }),
    () => new RegExp('('.repeat(1e5) + ')'.repeat(1e5)),
    () => eval('('.repeat(1e5) + ')'.repeat(1e5)),
]) {
    try { attempt(); } catch (error) { caught++; }
}
console.log(caught);
