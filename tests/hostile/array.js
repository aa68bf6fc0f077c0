// Arrays as long as they may be, sorted and joined.
const x = [];
x.length = 2 ** 32 - 1;
x.fill(1);
x.sort();
