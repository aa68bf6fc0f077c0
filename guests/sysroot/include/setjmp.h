/* setjmp is the compiler's: it must be called by this name in the function that is to be come back to. */
#ifndef _SETJMP_H
#define _SETJMP_H

#include <features.h>
#include <bits/setjmp.h>

typedef struct __jmp_buf_tag {
	__jmp_buf __jb;
	unsigned long __fl;
	unsigned long __ss[128/sizeof(long)];
} jmp_buf[1];
typedef jmp_buf sigjmp_buf;

int setjmp(jmp_buf) __attribute__((__returns_twice__));
_Noreturn void longjmp(jmp_buf, int);
void __sigsetjmp_mask(sigjmp_buf, int);
_Noreturn void siglongjmp(sigjmp_buf, int);

#define setjmp setjmp
#define _setjmp(env) setjmp(env)
#define _longjmp(env, value) longjmp(env, value)
#define sigsetjmp(env, save) (__sigsetjmp_mask(env, save), setjmp(env))

#endif
