/* TV-L1 optical flow: what its files share. */
#ifndef VTK_TVL1_H
#define VTK_TVL1_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* Parameters; names and defaults as vtk_cli/flow/tvl1.py has them. Kept equal to its ctypes structure. */
typedef struct {
    double tau, lambda, theta, scale_step, epsilon;
    int32_t scales, warps, inner_iterations, outer_iterations, median;
} tvl1_params;

/* One level of the pyramid. All that an iteration touches lies together, block by block:
 *
 *   row y, block b:   u  v  p11  p12  p21  p22  Ix  Iy  rho  -1/|grad|^2      each of `lanes` floats
 *
 * A row of 340 pixels is 13.6 KB, read and written in one stream. Lanes past the width hold zeros, which the
 * iteration keeps: their gradient, data term and duals are zero. */
enum { U, V, P11, P12, P21, P22, IX, IY, RHO, NEG_INV_GRAD, PLANES };

typedef struct {
    int32_t width, height;
    int32_t blocks;          /* of a row */
    int32_t most_sweep;      /* iterations whose rows stay in the cache */
    size_t stride;           /* floats from row to row */
    float *first, *second;   /* the pictures, width x height */
    float *second_padded;    /* second picture, its x and y gradients and a zero, side by side, in a frame of zeros */
} tvl1_level;

/* Working memory that serves every level: sized for the finest. */
typedef struct {
    float *state;            /* rows of blocks */
    float *zeros;            /* a row of zero blocks, the one above the picture */
    float *planes[2];        /* u and v as plain rows, framed for the median, or while they are resized */
    float *plain;            /* a plane of the coarser level */
    float *columns;          /* five rows of sorted columns */
    float *lines[2];         /* two rows of a picture being resized */
    int32_t *left;           /* of each column of the result: the source's column to its left ... */
    float *share;            /* ... and the share of the one to its right */
} tvl1_work;

enum { TVL1_FRAME = 4,       /* zeros around second_padded: a bicubic tap reaches 2, coordinates are clamped 1 outside */
       TVL1_CHANNELS = 4,    /* of second_padded */
       TVL1_MARGIN = 2,      /* of a 5x5 median */
       TVL1_MOST_SWEEP = 16 };/* iterations in one sweep over the rows */

/* A picture to be resized bilinearly. `from` may be read one float past its end. */
typedef struct {
    const float *from;
    size_t from_stride;
    int32_t from_height;
    float *to;
    size_t to_stride;
    int32_t width, height;   /* of the result */
    double scale_y;          /* source pixels per pixel of the result */
    float factor;            /* the result's values are multiplied by it */
    const int32_t *left;
    const float *share;
    float *lines[2];
} tvl1_resize;

/* Where pixel `at` of an output axis lies: returns the source pixel to its left, and the share of the one to its right.
 * Pixel centres are at halves; outside the picture its border goes on. */
static inline int32_t tvl1_place(int32_t at, int32_t length, double scale, float *share) {
    const double centre = (at + 0.5) * scale - 0.5;
    const int32_t left = (int32_t)floor(centre);
    const int outside = left < 0 || left >= length - 1;
    *share = outside ? 0 : (float)(centre - left);
    return left < 0 ? 0 : outside ? length - 1 : left;
}

/* What depends on the instruction set. */
typedef struct {
    const char *name;
    int32_t lanes;
    /* Sample the second picture and its gradients where the flow points; prepare the data term. */
    void (*warp)(const tvl1_level *, const tvl1_work *);
    /* Median-filter u and v. */
    void (*median)(const tvl1_level *, const tvl1_work *, int size);
    /* `count` iterations; errors[i] is the sum of squared changes of the flow in iteration i. */
    void (*iterate)(const tvl1_level *, const tvl1_work *, const tvl1_params *, int count, double *errors);
    void (*resize)(const tvl1_resize *);
} tvl1_variant;

extern const tvl1_variant tvl1_baseline;
#ifdef TVL1_X86
extern const tvl1_variant tvl1_avx2, tvl1_avx512;
#endif

#endif
