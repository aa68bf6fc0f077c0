// Waits for what nobody does.
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
for (;;);
