/* A vector of floats for each instruction set; the file that includes this is compiled once for each. */
#ifndef VTK_TVL1_SIMD_H
#define VTK_TVL1_SIMD_H

#include <math.h>

#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#include <immintrin.h>
#define VARIANT(name) name##_avx512
#define VARIANT_NAME "avx512"
#define LANES 16
typedef __m512 vec;
INLINE vec v_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void v_store(float *p, vec a) { _mm512_storeu_ps(p, a); }
INLINE vec v_all(float a) { return _mm512_set1_ps(a); }
INLINE vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
INLINE vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
INLINE vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
INLINE vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vec v_min(vec a, vec b) { return _mm512_min_ps(a, b); }
INLINE vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); }
INLINE float v_sum(vec a) { return _mm512_reduce_add_ps(a); }
/* The last lane of `left`, then all but the last of `a`: the left neighbours. */
INLINE vec v_left(vec left, vec a) {
    return _mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(a), _mm512_castps_si512(left), 15));
}
/* All but the first lane of `a`, then the first of `right`: the right neighbours. */
INLINE vec v_right(vec a, vec right) {
    return _mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(right), _mm512_castps_si512(a), 1));
}
INLINE vec v_sqrt(vec a) { return _mm512_sqrt_ps(a); }
/* 1/a to float's precision: 14 bits, doubled by a Newton step. */
INLINE vec v_reciprocal(vec a) {
    const vec y = _mm512_rcp14_ps(a);
    return _mm512_mul_ps(y, _mm512_fnmadd_ps(a, y, _mm512_set1_ps(2.0f)));
}
INLINE vec v_divide(vec a, vec b) { return _mm512_div_ps(a, b); }
/* `kept` where a > b, else 0. */
INLINE vec v_where_greater(vec a, vec b, vec kept) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), kept);
}
#define UNPACK_LOW(a, b) _mm512_unpacklo_ps(a, b)
#define UNPACK_HIGH(a, b) _mm512_unpackhi_ps(a, b)
#define PAIR_LOW(a, b) _mm512_shuffle_ps(a, b, 0x44)
#define PAIR_HIGH(a, b) _mm512_shuffle_ps(a, b, 0xee)

#elif defined(__AVX2__)
#include <immintrin.h>
#define VARIANT(name) name##_avx2
#define VARIANT_NAME "avx2"
#define LANES 8
typedef __m256 vec;
INLINE vec v_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void v_store(float *p, vec a) { _mm256_storeu_ps(p, a); }
INLINE vec v_all(float a) { return _mm256_set1_ps(a); }
INLINE vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
INLINE vec v_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
INLINE vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
INLINE vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vec v_min(vec a, vec b) { return _mm256_min_ps(a, b); }
INLINE vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); }
INLINE float v_sum(vec a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
INLINE vec v_left(vec left, vec a) {
    __m256i middle = _mm256_permute2x128_si256(_mm256_castps_si256(left), _mm256_castps_si256(a), 0x21);
    return _mm256_castsi256_ps(_mm256_alignr_epi8(_mm256_castps_si256(a), middle, 12));
}
INLINE vec v_right(vec a, vec right) {
    __m256i middle = _mm256_permute2x128_si256(_mm256_castps_si256(a), _mm256_castps_si256(right), 0x21);
    return _mm256_castsi256_ps(_mm256_alignr_epi8(middle, _mm256_castps_si256(a), 4));
}
INLINE vec v_sqrt(vec a) { return _mm256_sqrt_ps(a); }
INLINE vec v_reciprocal(vec a) {
    const vec y = _mm256_rcp_ps(a);
    return _mm256_mul_ps(y, _mm256_fnmadd_ps(a, y, _mm256_set1_ps(2.0f)));
}
INLINE vec v_divide(vec a, vec b) { return _mm256_div_ps(a, b); }
INLINE vec v_where_greater(vec a, vec b, vec kept) { return _mm256_and_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ), kept); }
#define UNPACK_LOW(a, b) _mm256_unpacklo_ps(a, b)
#define UNPACK_HIGH(a, b) _mm256_unpackhi_ps(a, b)
#define PAIR_LOW(a, b) _mm256_shuffle_ps(a, b, 0x44)
#define PAIR_HIGH(a, b) _mm256_shuffle_ps(a, b, 0xee)

#else
/* Any processor: four floats, which compilers turn into SSE2, NEON or whatever there is. */
#define VARIANT(name) name##_baseline
#define VARIANT_NAME "baseline"
#define LANES 4
typedef struct { float at[LANES]; } vec;
#define EACH(expression) { vec r; for (int i = 0; i < LANES; i++) r.at[i] = (expression); return r; }
INLINE vec v_load(const float *p) EACH(p[i])
INLINE void v_store(float *p, vec a) { for (int i = 0; i < LANES; i++) p[i] = a.at[i]; }
INLINE vec v_all(float a) EACH(a)
INLINE vec v_add(vec a, vec b) EACH(a.at[i] + b.at[i])
INLINE vec v_sub(vec a, vec b) EACH(a.at[i] - b.at[i])
INLINE vec v_mul(vec a, vec b) EACH(a.at[i] * b.at[i])
INLINE vec v_fma(vec a, vec b, vec c) EACH(a.at[i] * b.at[i] + c.at[i])
INLINE vec v_min(vec a, vec b) EACH(a.at[i] < b.at[i] ? a.at[i] : b.at[i])
INLINE vec v_max(vec a, vec b) EACH(a.at[i] > b.at[i] ? a.at[i] : b.at[i])
INLINE float v_sum(vec a) { return (a.at[0] + a.at[1]) + (a.at[2] + a.at[3]); }
INLINE vec v_left(vec left, vec a) EACH(i ? a.at[i - 1] : left.at[LANES - 1])
INLINE vec v_right(vec a, vec right) EACH(i < LANES - 1 ? a.at[i + 1] : right.at[0])
INLINE vec v_sqrt(vec a) EACH(sqrtf(a.at[i]))
INLINE vec v_reciprocal(vec a) EACH(1.0f / a.at[i])
INLINE vec v_divide(vec a, vec b) EACH(a.at[i] / b.at[i])
INLINE vec v_where_greater(vec a, vec b, vec kept) EACH(a.at[i] > b.at[i] ? kept.at[i] : 0.0f)
#endif

/* Transpose each square of 4 x 4: lane 4 k + j of vector i goes to lane 4 k + i of vector j. */
INLINE void v_transpose(vec m[4]) {
#if LANES == 4
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < i; j++) {
            const float kept = m[i].at[j];
            m[i].at[j] = m[j].at[i];
            m[j].at[i] = kept;
        }
#else
    const vec a = UNPACK_LOW(m[0], m[1]), b = UNPACK_HIGH(m[0], m[1]);
    const vec c = UNPACK_LOW(m[2], m[3]), d = UNPACK_HIGH(m[2], m[3]);
    m[0] = PAIR_LOW(a, c);
    m[1] = PAIR_HIGH(a, c);
    m[2] = PAIR_LOW(b, d);
    m[3] = PAIR_HIGH(b, d);
#endif
}

#endif
