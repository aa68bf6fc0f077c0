// Objects that do things when they are looked at, printed at the end.
const x = { get a() { for (;;); }, [Symbol.toPrimitive]() { for (;;); }, toJSON() { for (;;); } };
console.log(x, `${x}`, JSON.stringify(x), x.a);
