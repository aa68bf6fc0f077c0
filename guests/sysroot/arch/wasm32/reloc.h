/* Nothing is linked at run time. */
#define LDSO_ARCH "wasm32"
#define REL_SYMBOLIC 1
#define REL_PLT 2
#define REL_RELATIVE 3
#define REL_COPY 4
#define CRTJMP(pc, sp) __builtin_trap()
