/* There is one thread: nothing else runs between a load and a store. */
#define a_barrier a_barrier
static inline void a_barrier() {}
#define a_cas a_cas
static inline int a_cas(volatile int *p, int t, int s)
{
	int old = *p;
	if (old == t) *p = s;
	return old;
}
#define a_crash a_crash
static inline void a_crash() { __builtin_trap(); }
