// A string that doubles.
let x = 'x';
for (;;) { x += x; }
