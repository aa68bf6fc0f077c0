// The engine in one piece, with the few views into its objects that printing values needs.
#include <unistd.h>
#include "quickjs.c"
#include "guest.h"

JSValue engine_class_name(JSContext *ctx, JSValueConst value)
{
    switch (JS_GetClassID(value)) {
    case JS_INVALID_CLASS_ID:
        return JS_UNDEFINED;
    case JS_CLASS_MODULE_NS:
        return JS_NewString(ctx, "Module");
    case JS_CLASS_GENERATOR:
        return JS_NewString(ctx, "Generator");
    default: {
        JSAtom atom = JS_GetClassName(ctx->rt, JS_GetClassID(value));
        JSValue name = JS_AtomToString(ctx, atom);
        JS_FreeAtom(ctx, atom);
        return name;
    }
    }
}

// Returns what an iterator of a Map or Set still has to give, without moving it: [pairs, item...]; else undefined.
JSValue engine_iterator_entries(JSContext *ctx, JSValueConst value)
{
    int magic = 0;
    JSMapIteratorData *it = JS_GetOpaque(value, JS_CLASS_MAP_ITERATOR);
    if (!it) {
        it = JS_GetOpaque(value, JS_CLASS_SET_ITERATOR);
        magic = 1;
    }
    if (!it)
        return JS_UNDEFINED;
    JSValue list = JS_NewArray(ctx);
    uint32_t count = 0;
    bool pairs = it->kind == JS_ITERATOR_KIND_KEY_AND_VALUE;
    JS_SetPropertyUint32(ctx, list, count++, JS_NewBool(ctx, pairs));
    if (JS_IsUndefined(it->obj))
        return list;
    JSMapState *state = JS_GetOpaque(it->obj, JS_CLASS_MAP + magic);
    struct list_head *el = it->cur_record ? it->cur_record->link.next : state->records.next;
    for (; el != &state->records; el = el->next) {
        JSMapRecord *record = list_entry(el, JSMapRecord, link);
        if (record->empty)
            continue;
        if (it->kind != JS_ITERATOR_KIND_VALUE || magic)
            JS_SetPropertyUint32(ctx, list, count++, js_dup(record->key));
        if (pairs || (it->kind == JS_ITERATOR_KIND_VALUE && !magic))
            JS_SetPropertyUint32(ctx, list, count++, js_dup(magic ? record->key : record->value));
    }
    return list;
}

// Returns the context of the code that runs, and puts another in its place.
JSValue engine_swap_context(JSContext *ctx, JSValueConst value)
{
    JSValue before = engine_context;
    engine_context = JS_DupValue(ctx, value);
    return before;
}

// Draws anew what Math.random begins with.
void engine_reseed(JSContext *ctx)
{
    if (getentropy(&ctx->random_state, sizeof ctx->random_state) < 0 || ctx->random_state == 0)
        ctx->random_state = 1;
}

// Returns what the call sites of stack traces have in common.
JSValue engine_call_site_prototype(JSContext *ctx)
{
    return JS_GetClassProto(ctx, JS_CLASS_CALL_SITE);
}

// Runs an ES module at once, as `require` wants it, and returns its namespace: undefined when it waits for something, null when
// it is being run already.
JSValue engine_require_module(JSContext *ctx, const char *url)
{
    JSModuleDef *module = js_host_resolve_imported_module(ctx, url, url, JS_UNDEFINED);
    if (!module)
        return JS_EXCEPTION;
    if (js_resolve_module(ctx, module) < 0) {
        js_free_modules(ctx, JS_FREE_MODULE_NOT_RESOLVED);
        return JS_EXCEPTION;
    }
    if (module->status == JS_MODULE_STATUS_EVALUATING)
        return JS_NULL;
    JSValue promise = JS_EvalFunction(ctx, JS_NewModuleValue(ctx, module));
    if (JS_IsException(promise))
        return JS_EXCEPTION;
    JSValue result = JS_UNDEFINED;
    if (JS_PromiseState(ctx, promise) == JS_PROMISE_REJECTED) {
        js_promise_set_handled(ctx, promise);
        result = JS_Throw(ctx, JS_PromiseResult(ctx, promise));
    } else if (JS_PromiseState(ctx, promise) == JS_PROMISE_FULFILLED) {
        result = JS_GetModuleNamespace(ctx, module);
    }
    JS_FreeValue(ctx, promise);
    return result;
}

void engine_redeclare(bool may)
{
    engine_redeclares = may;
}
