/* What TV-L1 spends its time on, compiled once for each instruction set (see tvl1_simd.h).
 *
 * Formulas: Sanchez, Meinhardt-Llopis, Facciolo: TV-L1 Optical Flow Estimation (IPOL 2013), algorithm 1. */
#include "tvl1.h"
#include "tvl1_simd.h"

#include <float.h>
#include <string.h>

#define BLOCK (PLANES * LANES)

/* ---- Iterations ------------------------------------------------------------------------------------------------- */

typedef struct {
    vec tightness, most_step, dual_step;   /* theta, lambda * theta, tau / theta */
    vec last;                              /* of the last block: 1 where a right neighbour is in the picture, else 0 */
} constants;

/* What a block needs of the block to its left, carried in registers: of its own row the duals along x of the iteration
 * before and the new flow; of the row above the new flow and the duals along y of the iteration before. */
typedef struct {
    vec p11, p21, u, v, u_above, v_above, p12_above, p22_above;
} neighbour;

/* The flow of one block, equations 13 and 15: towards the data, then along the divergence of the duals. */
INLINE void primal(float *block, const neighbour *left, vec p11, vec p21, vec p12_above, vec p22_above,
                   const constants *c, vec *u_new, vec *v_new, vec *error) {
    const vec u = v_load(block + U * LANES), v = v_load(block + V * LANES);
    const vec ix = v_load(block + IX * LANES), iy = v_load(block + IY * LANES);
    const vec rho = v_fma(ix, u, v_fma(iy, v, v_load(block + RHO * LANES)));
    const vec unbound = v_mul(rho, v_load(block + NEG_INV_GRAD * LANES));
    const vec step = v_max(v_min(unbound, c->most_step), v_sub(v_all(0), c->most_step));
    const vec div_u = v_add(v_sub(p11, v_left(left->p11, p11)), v_sub(v_load(block + P12 * LANES), p12_above));
    const vec div_v = v_add(v_sub(p21, v_left(left->p21, p21)), v_sub(v_load(block + P22 * LANES), p22_above));
    *u_new = v_fma(c->tightness, div_u, v_fma(step, ix, u));
    *v_new = v_fma(c->tightness, div_v, v_fma(step, iy, v));
    const vec du = v_sub(*u_new, u), dv = v_sub(*v_new, v);
    *error = v_fma(du, du, v_fma(dv, dv, *error));
    v_store(block + U * LANES, *u_new);
    v_store(block + V * LANES, *v_new);
}

/* The duals of one component of one block, equation 14, from the forward differences of the flow. */
INLINE void dual(float *along_x, float *along_y, vec p_y, vec d_x, vec d_y, const constants *c) {
    const vec norm = v_sqrt(v_fma(d_x, d_x, v_mul(d_y, d_y)));
    const vec shrink = v_reciprocal(v_fma(c->dual_step, norm, v_all(1)));
    v_store(along_x, v_mul(v_fma(c->dual_step, d_x, v_load(along_x)), shrink));
    v_store(along_y, v_mul(v_fma(c->dual_step, d_y, p_y), shrink));
}

/* Both duals of the block above that is left of the one whose new flow is u_above, v_above. */
INLINE void duals_above(float *block, const neighbour *n, vec u_above, vec v_above, vec inside, const constants *c) {
    dual(block + P11 * LANES, block + P12 * LANES, n->p12_above,
         v_mul(inside, v_sub(v_right(n->u_above, u_above), n->u_above)), v_sub(n->u, n->u_above), c);
    dual(block + P21 * LANES, block + P22 * LANES, n->p22_above,
         v_mul(inside, v_sub(v_right(n->v_above, v_above), n->v_above)), v_sub(n->v, n->v_above), c);
}

/* One iteration's part in one row: its flow, then the duals of the row above, which wait for nothing else. On top of
 * the first row lies a row of zeros, which stays one. */
INLINE void pass(float *row, float *above, int blocks, const constants *c, int has_above, float *error_sum) {
    const vec zero = v_all(0), one = v_all(1);
    neighbour left = {zero, zero, zero, zero, zero, zero, zero, zero};
    vec error = v_load(error_sum);
    for (int b = 0; b < blocks; b++, row += BLOCK, above += BLOCK) {
        const vec p11 = v_load(row + P11 * LANES), p21 = v_load(row + P21 * LANES);
        const vec p12_above = v_load(above + P12 * LANES), p22_above = v_load(above + P22 * LANES);
        vec u_new, v_new;
        primal(row, &left, p11, p21, p12_above, p22_above, c, &u_new, &v_new, &error);
        if (has_above) {
            const vec u_above = v_load(above + U * LANES), v_above = v_load(above + V * LANES);
            if (b > 0)
                duals_above(above - BLOCK, &left, u_above, v_above, one, c);
            left = (neighbour){p11, p21, u_new, v_new, u_above, v_above, p12_above, p22_above};
        } else {
            left.p11 = p11;
            left.p21 = p21;
        }
    }
    if (has_above)
        duals_above(above - BLOCK, &left, zero, zero, c->last, c);
    v_store(error_sum, error);
}

/* The duals of the last row: below it the flow goes on unchanged. */
static void finish(float *row, int blocks, const constants *c) {
    for (int b = 0; b < blocks; b++, row += BLOCK) {
        const int at_end = b == blocks - 1;
        const vec u = v_load(row + U * LANES), v = v_load(row + V * LANES), zero = v_all(0);
        const neighbour here = {zero, zero, u, v, u, v, v_load(row + P12 * LANES), v_load(row + P22 * LANES)};
        const vec u_next = at_end ? zero : v_load(row + BLOCK + U * LANES);
        const vec v_next = at_end ? zero : v_load(row + BLOCK + V * LANES);
        duals_above(row, &here, u_next, v_next, at_end ? c->last : v_all(1), c);
    }
}

/* Several iterations in one sweep over the rows: each follows one row behind the one before and finds what it left,
 * while a few rows stay in the cache. */
static void VARIANT(iterate)(const tvl1_level *level, const tvl1_work *work, const tvl1_params *params, int count,
                             double *errors) {
    float sums[TVL1_MOST_SWEEP][LANES] = {{0}}, last[LANES];
    for (int lane = 0; lane < LANES; lane++)
        last[lane] = lane < (level->width - 1) % LANES;
    const constants c = {v_all((float)params->theta), v_all((float)(params->lambda * params->theta)),
                         v_all((float)(params->tau / params->theta)), v_load(last)};
    for (int step = 0; step < level->height + count; step++)
        for (int i = 0; i < count; i++) {
            const int y = step - i;
            float *row = work->state + (ptrdiff_t)y * (ptrdiff_t)level->stride;
            if (y == 0)
                pass(row, work->zeros, level->blocks, &c, 0, sums[i]);
            else if (y > 0 && y < level->height)
                pass(row, row - level->stride, level->blocks, &c, 1, sums[i]);
            else if (y == level->height)
                finish(row - level->stride, level->blocks, &c);
        }
    for (int i = 0; i < count; i++)
        errors[i] = (double)v_sum(v_load(sums[i]));
}

/* ---- Warping ---------------------------------------------------------------------------------------------------- */

/* Where the pixels of one block point: offset of the first of the 4 x 4 taps around each place, and the taps' weights. */
typedef struct {
    int32_t offset[LANES];
    float along_x[4][LANES], along_y[4][LANES];
} places;

/* Coordinates as taps and the weights of Keys' cubic convolution with a = -0.75, as cv::remap has it. Places outside
 * the picture are brought to where all taps are zero. */
INLINE void split(const float *at, int32_t length, int32_t *tap, float weights[4][LANES]) {
    const float a = -0.75f, least = -3, most = (float)(length + 1);
    for (int i = 0; i < LANES; i++) {
        const float low = at[i] < least ? least : at[i], kept = low > most ? most : low;
        tap[i] = (int32_t)(kept + 4) - 4;
        const float t = kept - (float)tap[i], s = 1 - t;
        weights[0][i] = a * t * s * s;
        weights[1][i] = ((a + 2) * t - (a + 3)) * t * t + 1;
        weights[2][i] = ((a + 2) * s - (a + 3)) * s * s + 1;
        weights[3][i] = a * s * t * t;
    }
}

INLINE void locate(const float *block, int x, int y, const tvl1_level *level, places *found) {
    const int32_t row = level->width + 2 * TVL1_FRAME;
    float at_x[LANES], at_y[LANES];
    int32_t column[LANES], line[LANES];
    for (int i = 0; i < LANES; i++) {
        at_x[i] = (float)(x + i) + block[U * LANES + i];
        at_y[i] = (float)y + block[V * LANES + i];
    }
    split(at_x, level->width, column, found->along_x);
    split(at_y, level->height, line, found->along_y);
    for (int i = 0; i < LANES; i++)
        found->offset[i] = ((line[i] - 1 + TVL1_FRAME) * row + column[i] - 1 + TVL1_FRAME) * TVL1_CHANNELS;
}

/* Four channels (the picture, its gradients, nothing) where pixels q, q + 4, q + 8 ... of a block point, one pixel after
 * the other. `along_x` holds the weights of their taps in the same order. */
INLINE vec sample(const float *picture, size_t stride, const places *where, vec along_x, int q) {
#if LANES == 16
    vec of[4];
    for (int k = 0; k < 4; k++) {
        const float *at = picture + where->offset[4 * k + q];
        vec sum = v_mul(v_all(where->along_y[0][4 * k + q]), v_load(at));
        for (int j = 1; j < 4; j++)
            sum = v_fma(v_all(where->along_y[j][4 * k + q]), v_load(at + j * stride), sum);
        const __m512i each = _mm512_add_epi32(_mm512_set1_epi32(4 * k),
                                              _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0));
        of[k] = v_mul(sum, _mm512_permutexvar_ps(each, along_x));
    }
    const vec first = v_add(_mm512_shuffle_f32x4(of[0], of[1], 0x44), _mm512_shuffle_f32x4(of[0], of[1], 0xee));
    const vec second = v_add(_mm512_shuffle_f32x4(of[2], of[3], 0x44), _mm512_shuffle_f32x4(of[2], of[3], 0xee));
    return v_add(_mm512_shuffle_f32x4(first, second, 0x88), _mm512_shuffle_f32x4(first, second, 0xdd));
#elif LANES == 8
    vec of[2];
    for (int k = 0; k < 2; k++) {
        const float *at = picture + where->offset[4 * k + q];
        vec left = v_mul(v_all(where->along_y[0][4 * k + q]), v_load(at));
        vec right = v_mul(v_all(where->along_y[0][4 * k + q]), v_load(at + 8));
        for (int j = 1; j < 4; j++) {
            const vec weight = v_all(where->along_y[j][4 * k + q]);
            left = v_fma(weight, v_load(at + j * stride), left);
            right = v_fma(weight, v_load(at + j * stride + 8), right);
        }
        const __m256i each = _mm256_add_epi32(_mm256_set1_epi32(4 * k), _mm256_set_epi32(1, 1, 1, 1, 0, 0, 0, 0));
        const __m256i later = _mm256_add_epi32(each, _mm256_set1_epi32(2));
        of[k] = v_fma(left, _mm256_permutevar8x32_ps(along_x, each),
                      v_mul(right, _mm256_permutevar8x32_ps(along_x, later)));
    }
    return v_add(_mm256_permute2f128_ps(of[0], of[1], 0x20), _mm256_permute2f128_ps(of[0], of[1], 0x31));
#else
    const float *at = picture + where->offset[q];
    vec sum = v_all(0);
    for (int k = 0; k < 4; k++) {
        vec column = v_all(0);
        for (int j = 0; j < 4; j++)
            column = v_fma(v_all(where->along_y[j][q]), v_load(at + j * stride + k * TVL1_CHANNELS), column);
        sum = v_fma(v_all(along_x.at[k]), column, sum);
    }
    return sum;
#endif
}

/* The data term of one block: gradient, constant part of the residual, and what makes a residual a step. */
INLINE void warp_block(const tvl1_level *level, float *block, const float *first, int x, int y) {
    const size_t stride = (size_t)(level->width + 2 * TVL1_FRAME) * TVL1_CHANNELS;
    places where;
    locate(block, x, y, level, &where);
    vec found[4], along_x[4];
    for (int k = 0; k < 4; k++)
        along_x[k] = v_load(where.along_x[k]);
    v_transpose(along_x);
    for (int q = 0; q < 4; q++)
        found[q] = sample(level->second_padded, stride, &where, along_x[q], q);
    v_transpose(found);
    const vec ix = found[1], iy = found[2], square = v_add(v_mul(ix, ix), v_mul(iy, iy));
    const vec forecast = v_add(v_mul(ix, v_load(block + U * LANES)), v_mul(iy, v_load(block + V * LANES)));
    v_store(block + IX * LANES, ix);
    v_store(block + IY * LANES, iy);
    v_store(block + RHO * LANES, v_sub(v_sub(found[0], forecast), v_load(first)));
    v_store(block + NEG_INV_GRAD * LANES,
            v_where_greater(square, v_all(FLT_EPSILON), v_divide(v_all(-1), square)));
}

static void VARIANT(warp)(const tvl1_level *level, const tvl1_work *work) {
    for (int y = 0; y < level->height; y++) {
        float *row = work->state + (size_t)y * level->stride, last[PLANES * LANES];
        const float *first = level->first + (size_t)y * level->width;
        const int whole = level->width / LANES, left = level->width % LANES;
        for (int b = 0; b < whole; b++)
            warp_block(level, row + (size_t)b * BLOCK, first + b * LANES, b * LANES, y);
        if (left) {   /* lanes outside get no data term, and nothing is read past the end of the picture */
            float *block = row + (size_t)whole * BLOCK, pixels[LANES] = {0};
            memcpy(pixels, first + whole * LANES, (size_t)left * sizeof *pixels);
            memcpy(last, block, sizeof last);
            warp_block(level, last, pixels, whole * LANES, y);
            for (int plane = IX; plane < PLANES; plane++)
                memcpy(block + plane * LANES, last + plane * LANES, (size_t)left * sizeof *last);
        }
    }
}

/* ---- Bilinear resizing ------------------------------------------------------------------------------------------ */

INLINE float between(float a, float b, float share) {
#if LANES > 4
    return __builtin_fmaf(b - a, share, a);
#else
    return (b - a) * share + a;
#endif
}

/* Row y of `source` with the columns of the result. */
static void stretch(const tvl1_resize *r, int32_t y, float *restrict to) {
    const float *restrict from = r->from + (size_t)y * r->from_stride, *restrict share = r->share;
    const int32_t *restrict left = r->left;
    for (int32_t x = 0; x < r->width; x++)
        to[x] = between(from[left[x]], from[left[x] + 1], share[x]);
}

/* As cv::resize with INTER_LINEAR: along x, then along y. Rows that two results need are stretched once. */
static void VARIANT(resize)(const tvl1_resize *r) {
    float *upper = r->lines[0], *lower = r->lines[1];
    int32_t in_upper = -1, in_lower = -1;
    for (int32_t y = 0; y < r->height; y++) {
        float share;
        const int32_t top = tvl1_place(y, r->from_height, r->scale_y, &share);
        const int32_t below = top + 1 < r->from_height ? top + 1 : top;
        if (in_lower == top) {
            float *kept = upper;
            upper = lower;
            lower = kept;
            in_lower = in_upper;
            in_upper = top;
        }
        if (in_upper != top)
            stretch(r, in_upper = top, upper);
        if (in_lower != below)
            stretch(r, in_lower = below, lower);
        float *restrict to = r->to + (size_t)y * r->to_stride;
        const float *restrict a = upper, *restrict b = lower;
        for (int32_t x = 0; x < r->width; x++)
            to[x] = between(a[x], b[x], share) * r->factor;
    }
}

/* ---- Median ----------------------------------------------------------------------------------------------------- */

#define ORDER(a, b) { const vec lower = v_min(a, b); b = v_max(a, b); a = lower; }
#define SORT3(a, b, c) { ORDER(b, c) ORDER(a, b) ORDER(b, c) }
#define SORT5(a, b, c, d, e) \
    { ORDER(a, b) ORDER(d, e) ORDER(c, e) ORDER(c, d) ORDER(a, d) ORDER(a, c) ORDER(b, e) ORDER(b, d) ORDER(b, c) }

/* The middle of nine: sort columns of three; then the largest of the minima, the middle of the middles and the least
 * of the maxima have the same middle. */
INLINE vec median9(vec a, vec b, vec c, vec d, vec e, vec f, vec g, vec h, vec i) {
    SORT3(a, b, c)
    SORT3(d, e, f)
    SORT3(g, h, i)
    vec low = v_max(v_max(a, d), g), middle_1 = b, middle_2 = e, middle_3 = h, high = v_min(v_min(c, f), i);
    SORT3(middle_1, middle_2, middle_3)
    SORT3(low, middle_2, high)
    return middle_2;
}

/* The middle of five sorted columns m[rank][column]. Sorted by rank across columns too, m grows to the right and
 * downwards; six places are certain to lie below the middle and six above. Of the diagonals beside the main
 * antidiagonal two values each are certain as well; nine stay. Orderings whose results are not used are left out by
 * the compiler. */
INLINE vec median25(vec m[5][5]) {
    for (int rank = 0; rank < 5; rank++)
        SORT5(m[rank][0], m[rank][1], m[rank][2], m[rank][3], m[rank][4])
    vec a = m[0][3], b = m[1][2], c = m[2][1], d = m[3][0];
    ORDER(a, b)
    ORDER(c, d)
    const vec low_1 = v_max(b, d), low_2 = v_max(v_max(a, c), v_min(b, d));
    vec e = m[1][4], f = m[2][3], g = m[3][2], h = m[4][1];
    ORDER(e, f)
    ORDER(g, h)
    const vec high_1 = v_min(e, g), high_2 = v_min(v_min(f, h), v_max(e, g));
    return median9(low_1, low_2, m[0][4], m[1][3], m[2][2], m[3][1], m[4][0], high_1, high_2);
}

/* A plane of the blocks as plain rows, its borders repeated into the margins. */
static void unpack(const tvl1_level *level, const tvl1_work *work, int plane, float *rows, size_t stride) {
    for (int y = 0; y < level->height; y++) {
        float *to = rows + (size_t)y * stride + TVL1_MARGIN;
        const float *from = work->state + (size_t)y * level->stride + plane * LANES;
        for (int b = 0; b < level->blocks; b++)
            v_store(to + b * LANES, v_load(from + (size_t)b * BLOCK));
        for (int i = 0; i < TVL1_MARGIN; i++) {
            to[-1 - i] = to[0];
            to[level->width + i] = to[level->width - 1];
        }
    }
}

/* Row y of a column-sorted neighbourhood: columns[k] holds, for each x, the k-th of the five values around (x, y). */
INLINE void sort_columns(const float *const *rows, int size, size_t length, float *columns, size_t stride) {
    for (size_t x = 0; x < length; x += LANES) {
        if (size == 5) {
            vec a = v_load(rows[0] + x), b = v_load(rows[1] + x), c = v_load(rows[2] + x), d = v_load(rows[3] + x),
                e = v_load(rows[4] + x);
            SORT5(a, b, c, d, e)
            v_store(columns + x, a);
            v_store(columns + stride + x, b);
            v_store(columns + 2 * stride + x, c);
            v_store(columns + 3 * stride + x, d);
            v_store(columns + 4 * stride + x, e);
        } else {
            vec a = v_load(rows[0] + x), b = v_load(rows[1] + x), c = v_load(rows[2] + x);
            SORT3(a, b, c)
            v_store(columns + x, a);
            v_store(columns + stride + x, b);
            v_store(columns + 2 * stride + x, c);
        }
    }
}

INLINE vec middle_of(const float *columns, size_t stride, int size) {
    if (size == 3) {
        vec m[3][3];
        for (int rank = 0; rank < 3; rank++)
            for (int column = 0; column < 3; column++)
                m[rank][column] = v_load(columns + rank * stride + column + 1);
        vec low = v_max(v_max(m[0][0], m[0][1]), m[0][2]), high = v_min(v_min(m[2][0], m[2][1]), m[2][2]);
        vec middle = m[1][1];
        SORT3(m[1][0], middle, m[1][2])
        SORT3(low, middle, high)
        return middle;
    }
    vec m[5][5];
    for (int rank = 0; rank < 5; rank++)
        for (int column = 0; column < 5; column++)
            m[rank][column] = v_load(columns + rank * stride + column);
    return median25(m);
}

INLINE void filter(const tvl1_level *level, const tvl1_work *work, int plane, int size) {
    const size_t length = (size_t)level->blocks * LANES + 2 * TVL1_MARGIN, stride = length + LANES;
    const int reach = size / 2, height = level->height;
    float *rows = work->planes[plane], inside[LANES];
    unpack(level, work, plane, rows, stride);
    for (int lane = 0; lane < LANES; lane++)
        inside[lane] = lane <= (level->width - 1) % LANES;
    for (int y = 0; y < height; y++) {
        const float *around[5];
        for (int i = 0; i < size; i++) {
            const int line = y + i - reach;
            around[i] = rows + (size_t)(line < 0 ? 0 : line >= height ? height - 1 : line) * stride;
        }
        sort_columns(around, size, length, work->columns, stride);
        float *to = work->state + (size_t)y * level->stride + plane * LANES;
        for (int b = 0; b < level->blocks; b++) {
            vec found = middle_of(work->columns + b * LANES, stride, size);
            if (b == level->blocks - 1)
                found = v_mul(found, v_load(inside));
            v_store(to + (size_t)b * BLOCK, found);
        }
    }
}

static void VARIANT(median)(const tvl1_level *level, const tvl1_work *work, int size) {
    for (int plane = U; plane <= V; plane++)
        if (size == 5)
            filter(level, work, plane, 5);
        else
            filter(level, work, plane, 3);
}

const tvl1_variant VARIANT(tvl1) = {
    .name = VARIANT_NAME, .lanes = LANES, .warp = VARIANT(warp), .median = VARIANT(median), .iterate = VARIANT(iterate),
    .resize = VARIANT(resize)};
