/* Stretches the levels of a limited-range 4:2:0 picture to JPEG's full range; see vtk_cli/video/levels.py.
 *
 * In 16-bit integers, eight levels to an SSE2 register, which every x86-64 processor has.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define EXPORT __attribute__((visibility("default")))

typedef struct {
    uint16_t factor, term;
    int16_t zero;
} stretching;

/* 255 / 219 and 255 / 224 in 2^15ths, and terms that make every level round to the nearest, halves up: found by trial;
 * tests/unit/video/test_levels.py walks all 256. */
static const stretching LUMA = {38154, 41, 42}, COLOUR = {37301, 91, 69};

/* max(0, min(255, factor * (2 level + term) / 2^16 - zero)); the term has at most 10 bits, the product 25. */
static inline uint8_t stretch(uint8_t level, stretching by)
{
    const uint16_t doubled = (uint16_t)(2 * level + by.term);
    int16_t stretched = (int16_t)(((uint32_t)doubled * by.factor) >> 16);
    stretched = stretched > by.zero ? stretched : by.zero;
    stretched = (int16_t)(stretched - by.zero);
    return (uint8_t)(stretched < 255 ? stretched : 255);
}

#ifdef __SSE2__
enum { LANES = 16 };

/* The same for sixteen levels; what compilers make of the above takes twice as long. */
static inline void stretch_lanes(const uint8_t *from, uint8_t *to, stretching by)
{
    const __m128i factor = _mm_set1_epi16((int16_t)by.factor), term = _mm_set1_epi16((int16_t)by.term);
    const __m128i zero = _mm_set1_epi16(by.zero);
    const __m128i levels = _mm_loadu_si128((const __m128i *)from);
    __m128i low = _mm_unpacklo_epi8(levels, _mm_setzero_si128());
    __m128i high = _mm_unpackhi_epi8(levels, _mm_setzero_si128());
    low = _mm_mulhi_epu16(_mm_add_epi16(_mm_add_epi16(low, low), term), factor);
    high = _mm_mulhi_epu16(_mm_add_epi16(_mm_add_epi16(high, high), term), factor);
    _mm_storeu_si128((__m128i *)to, _mm_packus_epi16(_mm_subs_epu16(low, zero), _mm_subs_epu16(high, zero)));
}
#endif

static inline void stretch_row(const uint8_t *restrict from, uint8_t *restrict to, int32_t width, stretching by)
{
    int32_t x = 0;
#ifdef __SSE2__
    for (; x + LANES <= width; x += LANES)
        stretch_lanes(from + x, to + x, by);
    if (x < width && width >= LANES) { /* the last ones, some of them for the second time */
        stretch_lanes(from + width - LANES, to + width - LANES, by);
        return;
    }
#endif
    for (; x < width; x++)
        to[x] = stretch(from[x], by);
}

static uint8_t *stretch_colour(const uint8_t *from, ptrdiff_t stride, uint8_t *to, int32_t width, int32_t height)
{
    for (int32_t y = 0; y < height; y++, to += width)
        stretch_row(from + y * stride, to, width, COLOUR);
    return to;
}

/* `picture` is filled with luma, its sides rounded up to even numbers by repeating the last column and row, then blue,
 * then red, half as wide and high. Strides are the bytes from row to row of what is read. */
EXPORT void vtk_levels_stretch(const uint8_t *luma, const uint8_t *blue, const uint8_t *red, ptrdiff_t luma_stride,
                               ptrdiff_t blue_stride, ptrdiff_t red_stride, int32_t width, int32_t height,
                               uint8_t *picture)
{
    const int32_t half_width = (width + 1) / 2, half_height = (height + 1) / 2;
    const size_t even_width = 2 * (size_t)half_width;
    uint8_t *to = picture;
    for (int32_t y = 0; y < height; y++, to += even_width) {
        stretch_row(luma + y * luma_stride, to, width, LUMA);
        to[even_width - 1] = to[width - 1];
    }
    if (height % 2) {
        memcpy(to, to - even_width, even_width);
        to += even_width;
    }
    to = stretch_colour(blue, blue_stride, to, half_width, half_height);
    stretch_colour(red, red_stride, to, half_width, half_height);
}

/* What this library was built from: a digest of the sources. */
EXPORT const char *vtk_levels_sources(void) { return LEVELS_SOURCES; }
