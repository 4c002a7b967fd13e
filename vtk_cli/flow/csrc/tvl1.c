/* TV-L1 optical flow as OpenCV's DualTVL1OpticalFlow computes it: pyramid, warps, medians, iterations until the flow
 * stands still. The heavy parts are in tvl1_kernels.c; vtk_cli/flow/tvl1_kernel.py calls this file.
 *
 * Zach, Pock, Bischof: A Duality Based Approach for Realtime TV-L1 Optical Flow (DAGM 2007); numerical scheme: Sanchez,
 * Meinhardt-Llopis, Facciolo: TV-L1 Optical Flow Estimation (IPOL 2013). */
#include "tvl1.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef TVL1_X86
#include <cpuid.h>
#include <xmmintrin.h>
#endif

#define EXPORT __attribute__((visibility("default")))

enum { MOST_SCALES = 64,
       LEAST_SIDE = 16,      /* pixels; a level below it is left out */
       RECENT = 3,           /* iterations whose errors foretell the next ones */
       CACHE = 400 << 10,    /* bytes of the L2 cache that the rows of a sweep may take */
       CACHE_PAGE = 4096,
       ALIGNMENT = 64 };

static const double LEAST_FALL = 0.12;   /* of the logarithm of the error in one iteration, where it wavers */

typedef struct {
    tvl1_params params;
    const tvl1_variant *variant;
    int32_t scales;
    tvl1_level levels[MOST_SCALES];
    tvl1_work work;
} tvl1_solver;

/* ---- Instruction sets ------------------------------------------------------------------------------------------- */

#ifdef TVL1_X86
enum { HAS_AVX2 = 1, HAS_AVX512 = 2 };

/* What both the processor offers and the system saves when it changes from one program to another (Intel, Software
 * Developer's Manual, volume 1, 14.3 and 15.2). Not __builtin_cpu_supports, which not every compiler's library has. */
static int instruction_sets(void) {
    unsigned a, b, c, d, saved, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return 0;
    const int fma = (c & bit_FMA) != 0;
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    if ((saved & 0x06) != 0x06 || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    const int avx2 = fma && (b & bit_AVX2);
    const int avx512 = avx2 && (b & bit_AVX512F) && (saved & 0xe6) == 0xe6;
    return (avx2 ? HAS_AVX2 : 0) | (avx512 ? HAS_AVX512 : 0);
}
#endif

/* The variant of this name, or for NULL the fastest; NULL where this processor does not run it. */
static const tvl1_variant *find_variant(const char *name) {
#ifdef TVL1_X86
    const int has = instruction_sets();
    if (has & HAS_AVX512 && (!name || !strcmp(name, tvl1_avx512.name)))
        return &tvl1_avx512;
    if (has & HAS_AVX2 && (!name || !strcmp(name, tvl1_avx2.name)))
        return &tvl1_avx2;
#endif
    return !name || !strcmp(name, tvl1_baseline.name) ? &tvl1_baseline : NULL;
}

/* ---- Bilinear resizing ------------------------------------------------------------------------------------------ */

static void resize(const tvl1_solver *solver, const float *from, const tvl1_level *source, float *to,
                   const tvl1_level *level, double scale_x, double scale_y, float factor) {
    const tvl1_work *work = &solver->work;
    for (int32_t x = 0; x < level->width; x++)
        work->left[x] = tvl1_place(x, source->width, scale_x, &work->share[x]);
    solver->variant->resize(&(tvl1_resize){
        .from = from, .from_stride = (size_t)source->width, .from_height = source->height,
        .to = to, .to_stride = (size_t)level->width, .width = level->width, .height = level->height,
        .scale_y = scale_y, .factor = factor, .left = work->left, .share = work->share,
        .lines = {work->lines[0], work->lines[1]}});
}

/* ---- Pictures and state of a level ------------------------------------------------------------------------------ */

/* The second picture with its central differences, borders repeated, in a frame of zeros. */
static void pad_second(tvl1_level *level) {
    const int32_t width = level->width, height = level->height, padded = width + 2 * TVL1_FRAME;
    for (int32_t y = 0; y < height; y++) {
        const float *row = level->second + (size_t)y * width;
        const float *above = y > 0 ? row - width : row, *below = y < height - 1 ? row + width : row;
        float *to = level->second_padded + ((size_t)(y + TVL1_FRAME) * padded + TVL1_FRAME) * TVL1_CHANNELS;
        for (int32_t x = 0; x < width; x++, to += TVL1_CHANNELS) {
            to[0] = row[x];
            to[1] = 0.5f * (row[x < width - 1 ? x + 1 : x] - row[x > 0 ? x - 1 : x]);
            to[2] = 0.5f * (below[x] - above[x]);
        }
    }
}

static void take_pictures(tvl1_solver *solver, const uint8_t *first, const uint8_t *second) {
    tvl1_level *finest = solver->levels;
    for (size_t i = 0; i < (size_t)finest->width * finest->height; i++) {
        finest->first[i] = first[i];
        finest->second[i] = second[i];
    }
    for (int32_t s = 0; s < solver->scales; s++) {
        tvl1_level *level = solver->levels + s;
        if (s) {
            const double scale = 1 / solver->params.scale_step;
            resize(solver, level[-1].first, level - 1, level->first, level, scale, scale, 1);
            resize(solver, level[-1].second, level - 1, level->second, level, scale, scale, 1);
        }
        pad_second(level);
    }
}

/* A plane of the blocks as plain rows. */
static void read_plane(const tvl1_solver *solver, const tvl1_level *level, int plane, float *to) {
    const int32_t lanes = solver->variant->lanes;
    for (int32_t y = 0; y < level->height; y++, to += level->width) {
        const float *from = solver->work.state + (size_t)y * level->stride + (size_t)(plane * lanes);
        for (int32_t x = 0; x < level->width; x += lanes, from += PLANES * lanes)
            memcpy(to + x, from, (size_t)(level->width - x < lanes ? level->width - x : lanes) * sizeof *to);
    }
}

/* Plain rows as a plane of the blocks. */
static void write_plane(const tvl1_solver *solver, const tvl1_level *level, int plane, const float *from) {
    const int32_t lanes = solver->variant->lanes;
    for (int32_t y = 0; y < level->height; y++, from += level->width) {
        float *to = solver->work.state + (size_t)y * level->stride + (size_t)(plane * lanes);
        for (int32_t x = 0; x < level->width; x += lanes, to += PLANES * lanes)
            memcpy(to, from + x, (size_t)(level->width - x < lanes ? level->width - x : lanes) * sizeof *to);
    }
}

/* The state at the beginning of a level: no duals; the flow of the coarser level, brought to size. */
static void begin_level(const tvl1_solver *solver, const tvl1_level *level, const tvl1_level *coarser) {
    const tvl1_work *work = &solver->work;
    if (coarser)
        for (int plane = U; plane <= V; plane++) {
            read_plane(solver, coarser, plane, work->plain);
            resize(solver, work->plain, coarser, work->planes[plane], level, (double)coarser->width / level->width,
                   (double)coarser->height / level->height, (float)(1 / solver->params.scale_step));
        }
    memset(work->state, 0, (size_t)level->height * level->stride * sizeof(float));
    if (coarser)
        for (int plane = U; plane <= V; plane++)
            write_plane(solver, level, plane, work->planes[plane]);
}

/* ---- Solving ---------------------------------------------------------------------------------------------------- */

/* The errors of a warp so far, to foretell when it ends. OpenCV looks after every iteration; a sweep of several that
 * went past the end would give another flow. */
typedef struct {
    double ended;         /* the error at which it ends */
    double last;          /* infinite before the first iteration */
    double falls[RECENT]; /* log(error / next error) of the last iterations */
    int32_t done;
} course;

static void note_errors(course *c, const double *errors, int32_t count) {
    for (int32_t i = 0; i < count; i++, c->done++) {
        c->falls[c->done % RECENT] = log(c->last / errors[i]);
        c->last = errors[i];
    }
}

/* How many iterations to do in one sweep: half of those that it would take to the end if all went as the steepest of
 * the last three; errors fall ever more slowly. Within three iterations of a median a warp may end at any. */
static int32_t sweep_length(const course *c, int32_t inner, int32_t most) {
    if (inner < RECENT)
        return 1;
    double steepest = LEAST_FALL;
    for (int i = 0; i < RECENT; i++)
        steepest = c->falls[i] > steepest ? c->falls[i] : steepest;
    const double length = 0.5 * log(c->last / c->ended) / steepest;
    return length < 1 ? 1 : length > most ? most : (int32_t)length;
}

static void solve_warp(const tvl1_solver *solver, const tvl1_level *level) {
    const tvl1_params *params = &solver->params;
    course c = {.ended = params->epsilon * params->epsilon * (double)level->width * level->height, .last = HUGE_VAL};
    double errors[TVL1_MOST_SWEEP];
    solver->variant->warp(level, &solver->work);
    for (int32_t outer = 0; c.last > c.ended && outer < params->outer_iterations; outer++) {
        if (params->median > 1)
            solver->variant->median(level, &solver->work, params->median);
        for (int32_t inner = 0; c.last > c.ended && inner < params->inner_iterations;) {
            const int32_t left = params->inner_iterations - inner;
            const int32_t count = sweep_length(&c, inner, left < level->most_sweep ? left : level->most_sweep);
            solver->variant->iterate(level, &solver->work, params, count, errors);
            note_errors(&c, errors, count);
            inner += count;
        }
    }
}

/* Flow from `first` to `second`, both rows of `width` bytes; flow is two planes of floats, x then y, in pixels. */
EXPORT void vtk_tvl1_flow(tvl1_solver *solver, const uint8_t *first, const uint8_t *second, float *flow) {
#ifdef TVL1_X86
    /* Where nothing moves the duals fall towards zero; denormal numbers would make that a hundred times slower. */
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
#endif
    take_pictures(solver, first, second);
    for (int32_t s = solver->scales - 1; s >= 0; s--) {
        const tvl1_level *level = solver->levels + s;
        begin_level(solver, level, s < solver->scales - 1 ? level + 1 : NULL);
        for (int32_t warp = 0; warp < solver->params.warps; warp++)
            solve_warp(solver, level);
    }
    const tvl1_level *finest = solver->levels;
    for (int plane = U; plane <= V; plane++)
        read_plane(solver, finest, plane, flow + (size_t)plane * finest->width * finest->height);
#ifdef TVL1_X86
    _mm_setcsr(before);
#endif
}

/* ---- Making a solver -------------------------------------------------------------------------------------------- */

static float *floats(size_t count, int *failed) {
    void *memory = NULL;
    if (posix_memalign(&memory, ALIGNMENT, count * sizeof(float))) {
        *failed = 1;
        return NULL;
    }
    memset(memory, 0, count * sizeof(float));
    return memory;
}

/* Sizes of the pyramid: each level is `scale_step` of the one before, down to LEAST_SIDE. */
static void lay_out(tvl1_solver *solver, int32_t width, int32_t height) {
    const int32_t lanes = solver->variant->lanes;
    for (int32_t s = 0; s < solver->params.scales && s < MOST_SCALES; s++) {
        if (s) {
            width = (int32_t)lrint(width * solver->params.scale_step);
            height = (int32_t)lrint(height * solver->params.scale_step);
            if (width < LEAST_SIDE || height < LEAST_SIDE)
                break;
        }
        const int32_t blocks = (width + lanes - 1) / lanes;
        size_t stride = (size_t)blocks * PLANES * lanes;
        if (stride * sizeof(float) % CACHE_PAGE == 0)   /* rows would fall into the same few sets of the cache */
            stride += (size_t)PLANES * lanes;
        const int32_t rows = (int32_t)(CACHE / (stride * sizeof(float))) - 2;   /* of a sweep that stay in the cache */
        const int32_t most_sweep = rows < 1 ? 1 : rows > TVL1_MOST_SWEEP ? TVL1_MOST_SWEEP : rows;
        solver->levels[s] = (tvl1_level){width, height, blocks, most_sweep, stride, NULL, NULL, NULL};
        solver->scales = s + 1;
    }
}

EXPORT void vtk_tvl1_close(tvl1_solver *solver) {
    if (!solver)
        return;
    for (int32_t s = 0; s < solver->scales; s++) {
        free(solver->levels[s].first);
        free(solver->levels[s].second);
        free(solver->levels[s].second_padded);
    }
    free(solver->work.state);
    free(solver->work.zeros);
    free(solver->work.planes[0]);
    free(solver->work.planes[1]);
    free(solver->work.columns);
    free(solver->work.plain);
    free(solver->work.lines[0]);
    free(solver->work.lines[1]);
    free(solver->work.share);
    free(solver->work.left);
    free(solver);
}

/* A solver for pictures of one size with the variant of this name (NULL: the fastest); NULL where memory does not
 * suffice or the processor does not run the variant. */
EXPORT tvl1_solver *vtk_tvl1_open(const tvl1_params *params, int32_t width, int32_t height, const char *variant) {
    tvl1_solver *solver = calloc(1, sizeof *solver);
    if (!solver)
        return NULL;
    solver->params = *params;
    solver->variant = find_variant(variant);
    if (!solver->variant) {
        free(solver);
        return NULL;
    }
    lay_out(solver, width, height);
    int failed = 0;
    for (int32_t s = 0; s < solver->scales; s++) {
        tvl1_level *level = solver->levels + s;
        const size_t pixels = (size_t)level->width * level->height + 1;   /* resizing reads one past the end */
        const size_t framed = ((size_t)level->width + 2 * TVL1_FRAME) * ((size_t)level->height + 2 * TVL1_FRAME);
        level->first = floats(pixels, &failed);
        level->second = floats(pixels, &failed);
        level->second_padded = floats(framed * TVL1_CHANNELS, &failed);
    }
    const tvl1_level *finest = solver->levels;
    const size_t pixels = (size_t)width * height + 1;
    const size_t row = (size_t)(finest->blocks + 1) * solver->variant->lanes + 2 * TVL1_MARGIN;
    solver->work.state = floats(finest->stride * finest->height, &failed);
    solver->work.zeros = floats(finest->stride, &failed);
    solver->work.planes[0] = floats(row * height, &failed);
    solver->work.planes[1] = floats(row * height, &failed);
    solver->work.columns = floats(row * (2 * TVL1_MARGIN + 1), &failed);
    solver->work.plain = floats(pixels, &failed);
    solver->work.lines[0] = floats((size_t)width, &failed);
    solver->work.lines[1] = floats((size_t)width, &failed);
    solver->work.share = floats((size_t)width, &failed);
    solver->work.left = (int32_t *)floats((size_t)width, &failed);
    if (failed) {
        vtk_tvl1_close(solver);
        return NULL;
    }
    return solver;
}

/* The name of the variant that a solver uses. */
EXPORT const char *vtk_tvl1_variant(const tvl1_solver *solver) { return solver->variant->name; }

/* What this library was built from: a digest of the sources. */
EXPORT const char *vtk_tvl1_sources(void) { return TVL1_SOURCES; }
