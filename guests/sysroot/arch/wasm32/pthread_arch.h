/* There is one thread: its pointer is a variable. */
extern uintptr_t __wasm_thread_pointer;
static inline uintptr_t __get_tp() { return __wasm_thread_pointer; }
#define TLS_ABOVE_TP
#define GAP_ABOVE_TP 0
#define DTP_OFFSET 0
#define MC_PC __gregs[0]
