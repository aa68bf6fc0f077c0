// The streams of zlib, as node's own lib/zlib.js drives them.
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "guest.h"

// The numbers of node's modes.
typedef enum { NONE, DEFLATE, INFLATE, GZIP, GUNZIP, DEFLATERAW, INFLATERAW, UNZIP } Mode;

typedef struct {
    z_stream stream;
    Mode mode;
    int level, window_bits, memory, strategy, fault;
    uint8_t *dictionary;
    size_t dictionary_bytes;
    int ready;
} Stream;

static JSClassID class_id;

static int deflates(const Stream *s) { return s->mode == DEFLATE || s->mode == GZIP || s->mode == DEFLATERAW; }

static void end(Stream *s)
{
    if (s->ready)
        (void)(deflates(s) ? deflateEnd(&s->stream) : inflateEnd(&s->stream));
    s->ready = 0;
}

static void finalize(JSRuntime *rt, JSValueConst value)
{
    Stream *s = JS_GetOpaque(value, class_id);
    if (!s)
        return;
    end(s);
    free(s->dictionary);
    free(s);
}

static JSClassDef class = {"ZlibStream", .finalizer = finalize};

static void give_dictionary(Stream *s)
{
    s->fault = Z_OK;
    if (!s->dictionary)
        return;
    if (s->mode == DEFLATE || s->mode == DEFLATERAW)
        s->fault = deflateSetDictionary(&s->stream, s->dictionary, s->dictionary_bytes);
    else if (s->mode == INFLATERAW)
        s->fault = inflateSetDictionary(&s->stream, s->dictionary, s->dictionary_bytes);
}

static void begin(Stream *s)
{
    int bits = s->window_bits;
    memset(&s->stream, 0, sizeof s->stream);
    if (s->mode == GZIP || s->mode == GUNZIP)
        bits += 16;
    if (s->mode == UNZIP)
        bits += 32;
    if (s->mode == DEFLATERAW || s->mode == INFLATERAW)
        bits = -bits;
    s->fault = deflates(s) ? deflateInit2(&s->stream, s->level, Z_DEFLATED, bits, s->memory, s->strategy) : inflateInit2(&s->stream, bits);
    s->ready = s->fault == Z_OK;
    if (s->ready)
        give_dictionary(s);
}

// zlibOpen(mode, windowBits, level, memLevel, strategy, dictionary)
static NATIVE(zlib_open)
{
    int32_t numbers[5];
    for (int i = 0; i < 5; i++)
        if (JS_ToInt32(ctx, &numbers[i], argv[i]))
            return JS_EXCEPTION;
    Stream *s = calloc(1, sizeof *s);
    JSValue object = s ? JS_NewObjectClass(ctx, class_id) : JS_ThrowOutOfMemory(ctx);
    if (JS_IsException(object)) {
        free(s);
        return object;
    }
    JS_SetOpaque(object, s);
    s->mode = numbers[0];
    s->window_bits = numbers[1] ? numbers[1] : 15;
    s->level = numbers[2];
    s->memory = numbers[3];
    s->strategy = numbers[4];
    if (!JS_IsUndefined(argv[5])) {
        uint8_t *bytes = bytes_of(ctx, argv[5], &s->dictionary_bytes);
        if (!bytes || !(s->dictionary = malloc(s->dictionary_bytes + 1))) {
            JS_FreeValue(ctx, object);
            return JS_EXCEPTION;
        }
        memcpy(s->dictionary, bytes, s->dictionary_bytes);
    }
    begin(s);
    return object;
}

static int work(Stream *s, int flush)
{
    if (deflates(s))
        return deflate(&s->stream, flush);
    int result = inflate(&s->stream, flush);
    if (result == Z_NEED_DICT && s->dictionary && s->mode == INFLATE) {
        result = inflateSetDictionary(&s->stream, s->dictionary, s->dictionary_bytes);
        // A wrong dictionary is wrong data for whoever reads.
        return result == Z_OK ? inflate(&s->stream, flush) : result == Z_DATA_ERROR ? Z_NEED_DICT : result;
    }
    // A gzip file may have several members; zeros after the last are padding.
    while (result == Z_STREAM_END && s->mode == GUNZIP && s->stream.avail_in > 0 && s->stream.next_in[0] != 0) {
        inflateReset(&s->stream);
        result = inflate(&s->stream, flush);
    }
    return result;
}

// zlibRun(stream, flush, in, offset, length, out, offset, length): [fault, bytes of in that are left, bytes of out that are left, why]
static NATIVE(zlib_run)
{
    Stream *s = JS_GetOpaque2(ctx, argv[0], class_id);
    size_t in_bytes = 0, out_bytes;
    int64_t in_offset, in_length, out_offset, out_length;
    int32_t flush;
    uint8_t *in = NULL;
    if (!s)
        return JS_EXCEPTION;
    if (!JS_IsNull(argv[2]) && !JS_IsUndefined(argv[2]) && !(in = bytes_of(ctx, argv[2], &in_bytes)))
        return JS_EXCEPTION;
    uint8_t *out = bytes_of(ctx, argv[5], &out_bytes);
    if (!out || JS_ToInt32(ctx, &flush, argv[1]) || JS_ToInt64(ctx, &in_offset, argv[3]) || JS_ToInt64(ctx, &in_length, argv[4])
        || JS_ToInt64(ctx, &out_offset, argv[6]) || JS_ToInt64(ctx, &out_length, argv[7]))
        return JS_EXCEPTION;
    if (in_offset < 0 || in_length < 0 || (uint64_t)in_offset + (uint64_t)in_length > in_bytes || out_offset < 0 || out_length < 0
        || (uint64_t)out_offset + (uint64_t)out_length > out_bytes)
        return JS_ThrowRangeError(ctx, "outside the buffer");
    s->stream.next_in = in ? in + in_offset : (uint8_t *)"";
    s->stream.avail_in = in ? (uInt)in_length : 0;
    s->stream.next_out = out + out_offset;
    s->stream.avail_out = (uInt)out_length;
    s->stream.msg = NULL;
    int result = s->fault != Z_OK ? s->fault : s->ready ? work(s, flush) : Z_STREAM_ERROR;
    const char *why = NULL;
    switch (result) {
    case Z_OK:
    case Z_BUF_ERROR:
        if (s->stream.avail_out != 0 && flush == Z_FINISH)
            result = Z_BUF_ERROR, why = "unexpected end of file";
        else
            result = Z_OK;
        break;
    case Z_STREAM_END:
        result = Z_OK;
        break;
    case Z_NEED_DICT:
        why = s->dictionary ? "Bad dictionary" : "Missing dictionary";
        break;
    default:
        why = s->stream.msg ? s->stream.msg : "Zlib error";
    }
    JSValue list = JS_NewArray(ctx);
    JS_SetPropertyUint32(ctx, list, 0, JS_NewInt32(ctx, result));
    JS_SetPropertyUint32(ctx, list, 1, JS_NewInt64(ctx, s->stream.avail_in));
    JS_SetPropertyUint32(ctx, list, 2, JS_NewInt64(ctx, s->stream.avail_out));
    JS_SetPropertyUint32(ctx, list, 3, why ? JS_NewString(ctx, why) : JS_UNDEFINED);
    return list;
}

// zlibParams(stream, level, strategy)
static NATIVE(zlib_params)
{
    Stream *s = JS_GetOpaque2(ctx, argv[0], class_id);
    int32_t level, strategy;
    if (!s || JS_ToInt32(ctx, &level, argv[1]) || JS_ToInt32(ctx, &strategy, argv[2]))
        return JS_EXCEPTION;
    uint8_t none[1];
    s->stream.next_out = none;
    s->stream.avail_out = 0;
    s->stream.avail_in = 0;
    return JS_NewInt32(ctx, s->ready && deflates(s) ? deflateParams(&s->stream, level, strategy) : Z_OK);
}

static NATIVE(zlib_reset)
{
    Stream *s = JS_GetOpaque2(ctx, argv[0], class_id);
    if (!s)
        return JS_EXCEPTION;
    end(s);
    begin(s);
    return JS_UNDEFINED;
}

static NATIVE(zlib_close)
{
    Stream *s = JS_GetOpaque2(ctx, argv[0], class_id);
    if (!s)
        return JS_EXCEPTION;
    end(s);
    return JS_UNDEFINED;
}

// crc32(bytes, value)
static NATIVE(zlib_crc32)
{
    size_t length;
    uint32_t value;
    uint8_t *bytes = bytes_of(ctx, argv[0], &length);
    if (!bytes || JS_ToUint32(ctx, &value, argv[1]))
        return JS_EXCEPTION;
    return JS_NewUint32(ctx, (uint32_t)crc32(value, bytes, (uInt)length));
}

const JSCFunctionListEntry deflate_functions[] = {
    JS_CFUNC_DEF("zlibOpen", 6, zlib_open),   JS_CFUNC_DEF("zlibRun", 8, zlib_run),     JS_CFUNC_DEF("zlibParams", 3, zlib_params),
    JS_CFUNC_DEF("zlibReset", 1, zlib_reset), JS_CFUNC_DEF("zlibClose", 1, zlib_close), JS_CFUNC_DEF("crc32", 2, zlib_crc32),
};
const int deflate_functions_count = COUNT(deflate_functions);

void deflate_register(JSRuntime *rt)
{
    JS_NewClassID(rt, &class_id);
    JS_NewClass(rt, class_id, &class);
}
