/* setjmp and longjmp over WebAssembly's exceptions: the functions that the compiler's lowering calls. */
#include <stdint.h>

struct state {
	void *invocation;
	uint32_t label;
	struct { void *env; int value; } argument;
};

void __wasm_setjmp(void *env, uint32_t label, void *invocation)
{
	struct state *state = env;
	state->invocation = invocation;
	state->label = label;
}

uint32_t __wasm_setjmp_test(void *env, void *invocation)
{
	struct state *state = env;
	return state->invocation == invocation ? state->label : 0;
}

void __wasm_longjmp(void *env, int value)
{
	struct state *state = env;
	state->argument.env = env;
	state->argument.value = value ? value : 1;
	__builtin_wasm_throw(1, &state->argument);
}
