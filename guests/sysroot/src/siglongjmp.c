/* The jumps that keep the signal mask. */
#include <setjmp.h>
#include <signal.h>

void __sigsetjmp_mask(sigjmp_buf env, int save)
{
	env->__fl = save;
	if (save) sigprocmask(SIG_SETMASK, 0, (sigset_t *)env->__ss);
}

_Noreturn void siglongjmp(sigjmp_buf env, int value)
{
	if (env->__fl) sigprocmask(SIG_SETMASK, (sigset_t *)env->__ss, 0);
	longjmp(env, value);
}
