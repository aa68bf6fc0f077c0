/* What the compiler's lowering of setjmp keeps, and the signal mask. */
typedef unsigned long __jmp_buf[8];
