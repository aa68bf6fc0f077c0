// Grows anew from each end of the stack.
function f() { try { f(); } finally { f(); } }
f();
