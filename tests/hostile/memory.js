// Takes memory in every shape.
const kept = [];
for (let n = 1; ; n++) {
    try { kept.push(new ArrayBuffer(1 << 20), 'x'.repeat(1 << 16) + n, new Array(1 << 14).fill(n)); } catch {}
}
