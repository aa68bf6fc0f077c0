// The digests of node:crypto: MD5, SHA-1 and the SHA-2 family, after RFC 1321 and FIPS 180-4.
#include <stdlib.h>
#include <string.h>
#include "guest.h"

typedef enum { MD5, SHA1, SHA224, SHA256, SHA384, SHA512 } Algorithm;

typedef struct {
    Algorithm algorithm;
    uint64_t length;
    uint32_t small[8];
    uint64_t large[8];
    uint8_t block[128];
} Digest;

static const struct {
    const char *name;
    int block, size;
} algorithms[] = {
    {"md5", 64, 16}, {"sha1", 64, 20}, {"sha224", 64, 28}, {"sha256", 64, 32}, {"sha384", 128, 48}, {"sha512", 128, 64},
};

static const uint64_t round512[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc, 0x3956c25bf348b538, 0x59f111f1b605d019,
    0x923f82a4af194f9b, 0xab1c5ed5da6d8118, 0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694, 0xe49b69c19ef14ad2, 0xefbe4786384f25e3,
    0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65, 0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
    0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4, 0xc6e00bf33da88fc2, 0xd5a79147930aa725,
    0x06ca6351e003826f, 0x142929670a0e6e70, 0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
    0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b, 0xa2bfe8a14cf10364, 0xa81a664bbc423001,
    0xc24b8b70d0f89791, 0xc76c51a30654be30, 0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8, 0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb,
    0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3, 0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b, 0xca273eceea26619c, 0xd186b8c721c0c207,
    0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178, 0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
    0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c, 0x4cc5d4becb3e42b6, 0x597f299cfc657e2a,
    0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

static const uint32_t round_md5[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501, 0x698098d8, 0x8b44f7af,
    0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa,
    0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8,
    0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665, 0xf4292244, 0x432aff97,
    0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1,
    0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

static uint32_t left32(uint32_t x, int n) { return x << n | x >> (32 - n); }
static uint32_t right32(uint32_t x, int n) { return x >> n | x << (32 - n); }
static uint64_t right64(uint64_t x, int n) { return x >> n | x << (64 - n); }

static uint32_t big32(const uint8_t *b) { return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]; }

static void md5_block(uint32_t *h, const uint8_t *data)
{
    static const int turns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], words[16];
    memcpy(words, data, 64);
    for (int i = 0; i < 64; i++) {
        uint32_t f;
        int g;
        switch (i / 16) {
        case 0: f = (b & c) | (~b & d); g = i; break;
        case 1: f = (d & b) | (~d & c); g = (5 * i + 1) % 16; break;
        case 2: f = b ^ c ^ d; g = (3 * i + 5) % 16; break;
        default: f = c ^ (b | ~d); g = 7 * i % 16; break;
        }
        f += a + round_md5[i] + words[g];
        a = d, d = c, c = b;
        b += left32(f, turns[i / 16][i % 4]);
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d;
}

static void sha1_block(uint32_t *h, const uint8_t *data)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 80; i++)
        w[i] = i < 16 ? big32(data + i * 4) : left32(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? ((b & c) | (~b & d)) + 0x5a827999 : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                   : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc : (b ^ c ^ d) + 0xca62c1d6;
        f += left32(a, 5) + e + w[i];
        e = d, d = c, c = left32(b, 30), b = a, a = f;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

static void sha256_block(uint32_t *h, const uint8_t *data)
{
    uint32_t w[64], s[8];
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; i++)
        w[i] = i < 16 ? big32(data + i * 4)
             : w[i - 16] + w[i - 7] + (right32(w[i - 15], 7) ^ right32(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (right32(w[i - 2], 17) ^ right32(w[i - 2], 19) ^ w[i - 2] >> 10);
    for (int i = 0; i < 64; i++) {
        // The constants of SHA-256 are the upper halves of the first of SHA-512.
        uint32_t one = s[7] + (right32(s[4], 6) ^ right32(s[4], 11) ^ right32(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) +
                       (uint32_t)(round512[i] >> 32) + w[i];
        uint32_t two = (right32(s[0], 2) ^ right32(s[0], 13) ^ right32(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 28);
        s[4] += one, s[0] = one + two;
    }
    for (int i = 0; i < 8; i++)
        h[i] += s[i];
}

static void sha512_block(uint64_t *h, const uint8_t *data)
{
    uint64_t w[80], s[8];
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 80; i++)
        w[i] = i < 16 ? (uint64_t)big32(data + i * 8) << 32 | big32(data + i * 8 + 4)
             : w[i - 16] + w[i - 7] + (right64(w[i - 15], 1) ^ right64(w[i - 15], 8) ^ w[i - 15] >> 7) +
               (right64(w[i - 2], 19) ^ right64(w[i - 2], 61) ^ w[i - 2] >> 6);
    for (int i = 0; i < 80; i++) {
        uint64_t one = s[7] + (right64(s[4], 14) ^ right64(s[4], 18) ^ right64(s[4], 41)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) +
                       round512[i] + w[i];
        uint64_t two = (right64(s[0], 28) ^ right64(s[0], 34) ^ right64(s[0], 39)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 56);
        s[4] += one, s[0] = one + two;
    }
    for (int i = 0; i < 8; i++)
        h[i] += s[i];
}

static void start(Digest *d, Algorithm algorithm)
{
    static const uint32_t one[] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0, 0, 0, 0};
    static const uint32_t of224[] = {0xc1059ed8, 0x367cd507, 0x3070dd17, 0xf70e5939, 0xffc00b31, 0x68581511, 0x64f98fa7, 0xbefa4fa4};
    static const uint32_t of256[] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    static const uint64_t of384[] = {0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17, 0x152fecd8f70e5939,
                                     0x67332667ffc00b31, 0x8eb44a8768581511, 0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4};
    static const uint64_t of512[] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                                     0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
    memset(d, 0, sizeof *d);
    d->algorithm = algorithm;
    memcpy(d->small, algorithm <= SHA1 ? one : algorithm == SHA224 ? of224 : of256, sizeof d->small);
    memcpy(d->large, algorithm == SHA384 ? of384 : of512, sizeof d->large);
}

static void one_block(Digest *d, const uint8_t *data)
{
    switch (d->algorithm) {
    case MD5: md5_block(d->small, data); break;
    case SHA1: sha1_block(d->small, data); break;
    case SHA224: case SHA256: sha256_block(d->small, data); break;
    default: sha512_block(d->large, data); break;
    }
}

static void update(Digest *d, const uint8_t *data, size_t length)
{
    size_t block = (size_t)algorithms[d->algorithm].block, held = d->length % block;
    d->length += length;
    if (held) {
        size_t part = block - held < length ? block - held : length;
        memcpy(d->block + held, data, part);
        data += part, length -= part;
        if (held + part < block)
            return;
        one_block(d, d->block);
    }
    for (; length >= block; data += block, length -= block)
        one_block(d, data);
    memcpy(d->block, data, length);
}

static void finish(Digest *d, uint8_t *out)
{
    static const uint8_t padding[128] = {0x80};
    size_t block = (size_t)algorithms[d->algorithm].block, tail = block / 8, held = d->length % block;
    uint64_t bits = d->length * 8;
    uint8_t length[16] = {0};
    for (int i = 0; i < 8; i++)
        length[d->algorithm == MD5 ? i : (int)tail - 1 - i] = (uint8_t)(bits >> i * 8);
    update(d, padding, (held < block - tail ? block : 2 * block) - tail - held);
    update(d, length, tail);
    for (int i = 0; i < algorithms[d->algorithm].size; i++)
        out[i] = d->algorithm == MD5 ? (uint8_t)(d->small[i / 4] >> i % 4 * 8)
               : block == 64 ? (uint8_t)(d->small[i / 4] >> (24 - i % 4 * 8)) : (uint8_t)(d->large[i / 8] >> (56 - i % 8 * 8));
}

static JSClassID digest_class;

static void digest_finalizer(JSRuntime *rt, JSValueConst value)
{
    free(JS_GetOpaque(value, digest_class));
}

void digest_register(JSRuntime *rt)
{
    static const JSClassDef definition = {"Digest", .finalizer = digest_finalizer};
    JS_NewClassID(rt, &digest_class);
    JS_NewClass(rt, digest_class, &definition);
}

static JSValue wrap(JSContext *ctx, const Digest *from)
{
    Digest *digest = malloc(sizeof *digest);
    if (!digest)
        return JS_ThrowOutOfMemory(ctx);
    *digest = *from;
    JSValue object = JS_NewObjectClass(ctx, digest_class);
    JS_SetOpaque(object, digest);
    return object;
}

// digestStart(name): a digest, or undefined when there is no such algorithm
static NATIVE(digest_start)
{
    const char *name = JS_ToCString(ctx, argv[0]);
    JSValue value = JS_UNDEFINED;
    for (int i = 0; name && i < COUNT(algorithms); i++) {
        if (!strcmp(name, algorithms[i].name)) {
            Digest digest;
            start(&digest, (Algorithm)i);
            value = wrap(ctx, &digest);
        }
    }
    JS_FreeCString(ctx, name);
    return value;
}

static NATIVE(digest_copy)
{
    Digest *digest = JS_GetOpaque2(ctx, argv[0], digest_class);
    return digest ? wrap(ctx, digest) : JS_EXCEPTION;
}

static NATIVE(digest_update)
{
    size_t length;
    Digest *digest = JS_GetOpaque2(ctx, argv[0], digest_class);
    uint8_t *bytes = digest ? bytes_of(ctx, argv[1], &length) : NULL;
    if (!bytes)
        return JS_EXCEPTION;
    update(digest, bytes, length);
    return JS_UNDEFINED;
}

static NATIVE(digest_finish)
{
    uint8_t out[64];
    Digest *digest = JS_GetOpaque2(ctx, argv[0], digest_class);
    if (!digest)
        return JS_EXCEPTION;
    finish(digest, out);
    return JS_NewArrayBufferCopy(ctx, out, (size_t)algorithms[digest->algorithm].size);
}

const JSCFunctionListEntry digest_functions[] = {
    JS_CFUNC_DEF("digestStart", 1, digest_start),
    JS_CFUNC_DEF("digestCopy", 1, digest_copy),
    JS_CFUNC_DEF("digestUpdate", 2, digest_update),
    JS_CFUNC_DEF("digestFinish", 1, digest_finish),
};
const int digest_functions_count = COUNT(digest_functions);
