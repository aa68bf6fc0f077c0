// Bytes and text: the encodings of Buffer, comparing and searching, without a loop in JavaScript.
#include <stdlib.h>
#include <string.h>
#include "guest.h"

enum { ENC_UTF8, ENC_LATIN1, ENC_ASCII, ENC_UTF16, ENC_HEX, ENC_BASE64, ENC_BASE64URL };

uint8_t *bytes_of(JSContext *ctx, JSValueConst value, size_t *length)
{
    uint8_t *bytes = JS_GetUint8Array(ctx, length, value);
    static uint8_t none;
    if (!bytes && !JS_HasException(ctx) && *length == 0)
        return &none;
    return bytes;
}

char *utf8_of(JSContext *ctx, JSValueConst value, size_t *length)
{
    char *text = (char *)JS_ToCStringLen(ctx, length, value);
    if (!text)
        return NULL;
    // A lone surrogate comes as three bytes, as long as the replacement character that stands for it outside.
    uint8_t *byte = (uint8_t *)text, *end = byte + *length;
    while ((byte = memchr(byte, 0xed, (size_t)(end - byte)))) {
        if (end - byte >= 3 && byte[1] >= 0xa0)
            memcpy(byte, "\xef\xbf\xbd", 3);
        byte++;
    }
    return text;
}

static void *resize(JSRuntime *rt, void *opaque, void *bytes, size_t size)
{
    if (size)
        return realloc(bytes, size);
    free(bytes);
    return NULL;
}

JSValue buffer_from(JSContext *ctx, uint8_t *bytes, size_t length)
{
    if (!bytes)
        return JS_ThrowOutOfMemory(ctx);
    return JS_NewArrayBuffer(ctx, bytes, length, 0, resize, NULL, false);
}

static int hex_digit(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int base64_digit(int c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

// encode(string, encoding): ArrayBuffer
static NATIVE(text_encode)
{
    int32_t encoding = 0;
    JS_ToInt32(ctx, &encoding, argv[1]);
    size_t length, size = 0;
    if (encoding == ENC_UTF8 || encoding >= ENC_HEX) {
        char *text = utf8_of(ctx, argv[0], &length);
        if (!text)
            return JS_EXCEPTION;
        uint8_t *bytes = malloc(length + 3);
        if (bytes && encoding == ENC_UTF8) {
            memcpy(bytes, text, size = length);
        } else if (bytes && encoding == ENC_HEX) {
            for (size_t i = 0; i + 1 < length; i += 2) {
                int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
                if (high < 0 || low < 0)
                    break;
                bytes[size++] = (uint8_t)(high << 4 | low);
            }
        } else if (bytes) {
            uint32_t group = 0;
            int bits = 0;
            for (size_t i = 0; i < length && text[i] != '='; i++) {
                int digit = base64_digit(text[i]);
                if (digit < 0)
                    continue;
                group = group << 6 | (uint32_t)digit;
                if ((bits += 6) >= 8)
                    bytes[size++] = (uint8_t)(group >> (bits -= 8));
            }
        }
        JS_FreeCString(ctx, text);
        return buffer_from(ctx, bytes, size);
    }
    const uint16_t *units = JS_ToCStringLenUTF16(ctx, &length, argv[0]);
    if (!units)
        return JS_EXCEPTION;
    size = encoding == ENC_UTF16 ? length * 2 : length;
    uint8_t *bytes = malloc(size + 1);
    if (bytes && encoding == ENC_UTF16)
        memcpy(bytes, units, size);
    else if (bytes)
        for (size_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)units[i];
    JS_FreeCStringUTF16(ctx, units);
    return buffer_from(ctx, bytes, size);
}

static JSValue base64_text(JSContext *ctx, const uint8_t *bytes, size_t length, int url)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *digits = url ? safe : plain;
    char *text = malloc(length / 3 * 4 + 5);
    if (!text)
        return JS_ThrowOutOfMemory(ctx);
    size_t size = 0, i = 0;
    for (; i + 2 < length; i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            text[size++] = digits[group >> shift & 63];
    }
    if (i < length) {
        uint32_t group = (uint32_t)bytes[i] << 16 | (i + 1 < length ? (uint32_t)bytes[i + 1] << 8 : 0);
        text[size++] = digits[group >> 18 & 63];
        text[size++] = digits[group >> 12 & 63];
        if (i + 1 < length)
            text[size++] = digits[group >> 6 & 63];
        while (!url && size % 4)
            text[size++] = '=';
    }
    JSValue value = JS_NewStringLen(ctx, text, size);
    free(text);
    return value;
}

// Whether these bytes are UTF-8, and where the first fault is.
static size_t utf8_valid(const uint8_t *bytes, size_t length)
{
    size_t i = 0;
    while (i < length) {
        uint8_t lead = bytes[i];
        if (lead < 0x80) {
            i++;
            continue;
        }
        size_t more = lead >= 0xc2 && lead < 0xe0 ? 1 : lead >= 0xe0 && lead < 0xf0 ? 2 : lead >= 0xf0 && lead < 0xf5 ? 3 : 0;
        if (!more || i + more >= length)
            return i;
        uint8_t next = bytes[i + 1];
        if ((lead == 0xe0 && next < 0xa0) || (lead == 0xed && next > 0x9f) || (lead == 0xf0 && next < 0x90) ||
            (lead == 0xf4 && next > 0x8f))
            return i;
        for (size_t k = 1; k <= more; k++)
            if ((bytes[i + k] & 0xc0) != 0x80)
                return i;
        i += more + 1;
    }
    return length;
}

// Decodes as browsers do: each maximal part of a broken sequence becomes one replacement character.
static JSValue utf8_text(JSContext *ctx, const uint8_t *bytes, size_t length)
{
    if (utf8_valid(bytes, length) == length)
        return JS_NewStringLen(ctx, (const char *)bytes, length);
    char *text = malloc(length * 3 + 1);
    if (!text)
        return JS_ThrowOutOfMemory(ctx);
    size_t size = 0, i = 0;
    while (i < length) {
        size_t good = utf8_valid(bytes + i, length - i);
        memcpy(text + size, bytes + i, good);
        size += good;
        i += good;
        if (i == length)
            break;
        uint8_t lead = bytes[i++];
        size_t more = lead >= 0xc2 && lead < 0xe0 ? 1 : lead >= 0xe0 && lead < 0xf0 ? 2 : lead >= 0xf0 && lead < 0xf5 ? 3 : 0;
        uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        for (; more && i < length && bytes[i] >= low && bytes[i] <= high; more--, i++)
            low = 0x80, high = 0xbf;
        memcpy(text + size, "\xef\xbf\xbd", 3);
        size += 3;
    }
    JSValue value = JS_NewStringLen(ctx, text, size);
    free(text);
    return value;
}

// decode(bytes, encoding, start, end): string
static NATIVE(text_decode)
{
    size_t length;
    uint8_t *bytes = bytes_of(ctx, argv[0], &length);
    if (!bytes)
        return JS_EXCEPTION;
    int32_t encoding = 0;
    JS_ToInt32(ctx, &encoding, argv[1]);
    double start = 0, end = (double)length;
    if (argc > 2 && !JS_IsUndefined(argv[2]))
        JS_ToFloat64(ctx, &start, argv[2]);
    if (argc > 3 && !JS_IsUndefined(argv[3]))
        JS_ToFloat64(ctx, &end, argv[3]);
    if (end > (double)length)
        end = (double)length;
    if (!(start >= 0) || !(start < end))
        return JS_NewStringLen(ctx, "", 0);
    bytes += (size_t)start;
    length = (size_t)end - (size_t)start;
    if (encoding == ENC_UTF8)
        return utf8_text(ctx, bytes, length);
    if (encoding == ENC_BASE64 || encoding == ENC_BASE64URL)
        return base64_text(ctx, bytes, length, encoding == ENC_BASE64URL);
    if (encoding == ENC_HEX) {
        char *text = malloc(length * 2 + 1);
        if (!text)
            return JS_ThrowOutOfMemory(ctx);
        for (size_t i = 0; i < length; i++) {
            text[i * 2] = "0123456789abcdef"[bytes[i] >> 4];
            text[i * 2 + 1] = "0123456789abcdef"[bytes[i] & 15];
        }
        JSValue value = JS_NewStringLen(ctx, text, length * 2);
        free(text);
        return value;
    }
    size_t count = encoding == ENC_UTF16 ? length / 2 : length;
    uint16_t *units = malloc(count * 2 + 2);
    if (!units)
        return JS_ThrowOutOfMemory(ctx);
    if (encoding == ENC_UTF16)
        memcpy(units, bytes, count * 2);
    else
        for (size_t i = 0; i < count; i++)
            units[i] = encoding == ENC_ASCII ? bytes[i] & 0x7f : bytes[i];
    JSValue value = JS_NewStringUTF16(ctx, units, count);
    free(units);
    return value;
}

// validUtf8(bytes)
static NATIVE(text_valid_utf8)
{
    size_t length;
    uint8_t *bytes = bytes_of(ctx, argv[0], &length);
    return bytes ? JS_NewBool(ctx, utf8_valid(bytes, length) == length) : JS_EXCEPTION;
}

// utf8Length(string)
static NATIVE(text_utf8_length)
{
    size_t length;
    const char *text = JS_ToCStringLen(ctx, &length, argv[0]);
    JS_FreeCString(ctx, text);
    return text ? JS_NewInt64(ctx, (int64_t)length) : JS_EXCEPTION;
}

// compare(bytes, bytes): -1, 0 or 1
static NATIVE(text_compare)
{
    size_t one, two;
    uint8_t *left = bytes_of(ctx, argv[0], &one), *right = left ? bytes_of(ctx, argv[1], &two) : NULL;
    if (!right)
        return JS_EXCEPTION;
    int order = memcmp(left, right, one < two ? one : two);
    return JS_NewInt32(ctx, order ? (order < 0 ? -1 : 1) : one < two ? -1 : one > two);
}

// find(bytes, wanted bytes, from): the first place at or after `from`, or -1
static NATIVE(text_find)
{
    size_t length, size;
    uint8_t *bytes = bytes_of(ctx, argv[0], &length), *wanted = bytes ? bytes_of(ctx, argv[1], &size) : NULL;
    double from = 0;
    JS_ToFloat64(ctx, &from, argv[2]);
    if (!wanted)
        return JS_EXCEPTION;
    if (size == 0 || !(from >= 0) || from + (double)size > (double)length)
        return JS_NewInt32(ctx, -1);
    uint8_t *at = bytes + (size_t)from, *last = bytes + length - size;
    while (at <= last && (at = memchr(at, wanted[0], (size_t)(last - at) + 1))) {
        if (!memcmp(at, wanted, size))
            return JS_NewInt64(ctx, at - bytes);
        at++;
    }
    return JS_NewInt32(ctx, -1);
}

const JSCFunctionListEntry text_functions[] = {
    JS_CFUNC_DEF("encode", 2, text_encode),
    JS_CFUNC_DEF("decode", 4, text_decode),
    JS_CFUNC_DEF("validUtf8", 1, text_valid_utf8),
    JS_CFUNC_DEF("utf8Length", 1, text_utf8_length),
    JS_CFUNC_DEF("compare", 2, text_compare),
    JS_CFUNC_DEF("find", 3, text_find),
};
const int text_functions_count = COUNT(text_functions);
