/* Signals: handlers are called when a system call comes back, which is where they can be. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include "syscall.h"
#include "wasm.h"

/* What the host keeps of an action. */
enum { DEFAULT = 0, IGNORE = 1, HANDLE = 2 };

static struct sigaction actions[_NSIG];

int __libc_sigaction(int number, const struct sigaction *restrict action, struct sigaction *restrict old)
{
	if (old) *old = actions[number];
	if (!action) return 0;
	int what = action->sa_handler == SIG_DFL ? DEFAULT : action->sa_handler == SIG_IGN ? IGNORE : HANDLE;
	long answer = __host_syscall(SYS_rt_sigaction, number, what, action->sa_flags, 0, 0, 0);
	if (answer < 0) return __syscall_ret(answer);
	/* A child that borrows this memory changes its own actions, not those of its parent. */
	if (!__borrowing) actions[number] = *action;
	return 0;
}

int __sigaction(int number, const struct sigaction *restrict action, struct sigaction *restrict old)
{
	if (number - 1U >= _NSIG - 1 || number - 32U < 3) {
		errno = EINVAL;
		return -1;
	}
	return __libc_sigaction(number, action, old);
}
__attribute__((__weak__, __alias__("__sigaction"))) int sigaction(int, const struct sigaction *restrict,
	struct sigaction *restrict);

/* posix_spawn wants to know which signals have handlers. */
void __get_handler_set(sigset_t *set)
{
	sigemptyset(set);
	for (int number = 1; number < _NSIG; number++)
		if (actions[number].sa_handler != SIG_DFL && actions[number].sa_handler != SIG_IGN) sigaddset(set, number);
}

/* Calls the handlers of what has come. */
void __wasm_signals(void)
{
	long number;
	while ((number = __host_signal()) > 0) {
		struct sigaction action = actions[number];
		sigset_t mask = action.sa_mask, before;
		if (!(action.sa_flags & SA_NODEFER)) sigaddset(&mask, number);
		if (action.sa_flags & SA_RESETHAND) __libc_sigaction(number, &(struct sigaction){.sa_handler = SIG_DFL}, 0);
		__host_syscall(SYS_rt_sigprocmask, SIG_BLOCK, (long)&mask, (long)&before, _NSIG / 8, 0, 0);
		if (action.sa_flags & SA_SIGINFO) {
			siginfo_t info = {.si_signo = number};
			action.sa_sigaction(number, &info, 0);
		} else {
			action.sa_handler(number);
		}
		__host_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, _NSIG / 8, 0, 0);
	}
}
