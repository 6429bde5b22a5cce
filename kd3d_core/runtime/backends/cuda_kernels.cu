// Points to the network's input, and its maps to boxes, on the GPU. The arithmetic, and so the
// result, is that of kd3d_core/codec/{bev_image,pillars,decode,anchors}.py, whatever order the
// threads run in:
//
//   * sums over the points of a cell are sums of integers, whose order does not matter;
//   * where order does matter (which points a full pillar keeps, which peaks are the best), each
//     thread counts what comes before it, instead of asking who was there first.
//
// Kernels talk to each other only from one launch to the next, never within one, so there is no
// barrier and no shared memory. Compiled by NVRTC without contraction to fused multiply-adds, and
// by tests as C++ for the CPU.

typedef unsigned int word;
typedef unsigned long long wide;

// What a pass counts, at the front of its answer.
enum { INSIDE, PILLARS, DROPPED, PEAKS, COUNTERS = 8 };
// What is told with every cloud, in front of its points: their number, how many boxes may come
// back, how far the points are raised [m] (a double), then a threshold for each class.
enum { POINTS, LIMIT, LIFT, THRESHOLDS = 4 };
// Fields of a box in the answer; the label is an integer.
enum { LABEL, CENTER, SIZE = 4, YAW = 7, VELOCITY, SCORE = 10, LOGIT, FIELDS };

// Low corner x, y, z and top of the height range [m], edge of a cell [m], rows, columns.
struct Grid {
    double x, y, z, top, cell;
    int rows, columns;
};

struct HeadMaps {
    const float *heatmap, *offset, *height, *size, *rotation, *velocity;
};

struct AnchorMaps {
    const float *score, *box, *direction;
};

__device__ static int thread() { return blockIdx.x * blockDim.x + threadIdx.x; }

__device__ static double lift_of(const int *header) { return *(const double *)(header + LIFT); }

// pillars.locate: the cell of a point, or -1. Doubles, because the CPU has them there.
__device__ static int locate(const float *point, float z, Grid grid) {
    double column = floor((point[0] - grid.x) / grid.cell);
    double row = floor((point[1] - grid.y) / grid.cell);
    if (!(0 <= column && column < grid.columns && 0 <= row && row < grid.rows && grid.z <= z &&
          z < grid.top))
        return -1;
    return (int)row * grid.columns + (int)column;
}

extern "C" __global__ void clear(word *words, int count) {
    if (thread() < count) words[thread()] = 0;
}

// ---------------------------------------------------------------------------------- BEV image

// bev_image._accumulate. sums: (slices + 3, cells) words, zero before the first pass: points in
// each slice, the highest point, the complement of the lowest, points in all. Heights are at
// least 0, and such floats order as their bits do. intensity: (cells) in units of 2^-32.
extern "C" __global__ void image_add(const int *header, const float *points, int width, Grid grid,
                                     int slices, word *sums, wide *intensity) {
    int i = thread();
    if (i >= header[POINTS]) return;
    const float *point = points + (wide)i * width;
    grid.z -= lift_of(header);  // the grid is lowered in place of the points
    grid.top -= lift_of(header);
    int cell = locate(point, point[2], grid);
    if (cell < 0) return;
    int cells = grid.rows * grid.columns;
    float height = (float)((point[2] - grid.z) * (1.0 / (grid.top - grid.z)));
    int level = (int)((double)height * slices);
    word bits = __float_as_uint(height);
    double shine = fmin(fmax((double)point[3], -1024.0), 1024.0);
    atomicAdd(sums + (level < slices ? level : slices - 1) * cells + cell, 1u);
    atomicMax(sums + slices * cells + cell, bits);
    atomicMax(sums + (slices + 1) * cells + cell, ~bits);
    atomicAdd(sums + (slices + 2) * cells + cell, 1u);
    atomicAdd(intensity + cell, (wide)(long long)rint(shine * 4294967296.0));
}

__device__ static float saturate(const float *table, int last, word count) {
    return table[count < (word)last ? count : last];
}

// bev_image._normalise, a thread for each cell; leaves the sums at zero for the next pass.
// tables: (slice_full + 1) then (cell_full + 1) values.
extern "C" __global__ void image_write(int cells, int slices, int slice_full, int cell_full,
                                       const float *tables, word *sums, wide *intensity,
                                       word *counters, float *image) {
    int cell = thread();
    if (cell >= cells) return;
    word total = sums[(slices + 2) * cells + cell];
    if (total == 0) {
        for (int channel = 0; channel < slices + 4; ++channel) image[channel * cells + cell] = 0;
        return;
    }
    atomicAdd(counters + INSIDE, total);  // once a cell: all threads wait for one another here
    for (int level = 0; level < slices; ++level)
        image[level * cells + cell] = saturate(tables, slice_full, sums[level * cells + cell]);
    float *rest = image + slices * cells + cell;
    rest[0] = __uint_as_float(sums[slices * cells + cell]);
    rest[cells] = __uint_as_float(~sums[(slices + 1) * cells + cell]);
    rest[2 * cells] = (float)((double)(long long)intensity[cell] / 4294967296.0 / total);
    rest[3 * cells] = saturate(tables + slice_full + 1, cell_full, total);
    for (int plane = 0; plane < slices + 3; ++plane) sums[plane * cells + cell] = 0;
    intensity[cell] = 0;
}

// ------------------------------------------------------------------------------------ pillars

// How many points, and how many of those in turn, are counted together.
enum { GROUP = 64 };

__device__ static float raised(const int *header, const float *point) {
    return point[2] + (float)lift_of(header);
}

// Where each point is; how many are in each cell, and which is its first: the largest complement.
extern "C" __global__ void pillar_locate(const int *header, const float *points, int width,
                                         Grid grid, int *cell_of, word *total, word *first) {
    int i = thread();
    if (i >= header[POINTS]) return;
    const float *point = points + (wide)i * width;
    int cell = locate(point, raised(header, point), grid);
    cell_of[i] = cell;
    if (cell < 0) return;
    atomicAdd(total + cell, 1u);
    atomicMax(first + cell, ~(word)i);
}

__device__ static bool is_first(int i, const int *cell_of, const word *first) {
    return cell_of[i] >= 0 && first[cell_of[i]] == ~(word)i;
}

// Count cells and their points by the group, and the group of groups, that their first point is
// in. fine, coarse: pairs of (cells, points), zero before.
extern "C" __global__ void pillar_tally(const int *header, const int *cell_of, const word *total,
                                        const word *first, word *fine, word *coarse,
                                        word *counters) {
    int i = thread();
    if (i >= header[POINTS] || !is_first(i, cell_of, first)) return;
    word points = total[cell_of[i]];
    atomicAdd(counters + INSIDE, points);
    atomicAdd(fine + 2 * (i / GROUP), 1u);
    atomicAdd(fine + 2 * (i / GROUP) + 1, points);
    atomicAdd(coarse + 2 * (i / (GROUP * GROUP)), 1u);
    atomicAdd(coarse + 2 * (i / (GROUP * GROUP)) + 1, points);
}

// pillars._assign: number the cells in the order of their first points. start: where the points
// of a pillar begin in the list; cells that get no pillar have slot -1.
extern "C" __global__ void pillar_number(const int *header, const int *cell_of, const word *total,
                                         const word *first, const word *fine, const word *coarse,
                                         int max_pillars, int *slot, int *start, int *place,
                                         word *counters) {
    int i = thread();
    if (i >= header[POINTS] || !is_first(i, cell_of, first)) return;
    int group = i / GROUP, top = group / GROUP;
    word number = 0, points = 0;
    for (int k = 0; k < top; ++k) {
        number += coarse[2 * k];
        points += coarse[2 * k + 1];
    }
    for (int k = top * GROUP; k < group; ++k) {
        number += fine[2 * k];
        points += fine[2 * k + 1];
    }
    for (int k = group * GROUP; k < i; ++k)
        if (is_first(k, cell_of, first)) {
            number += 1;
            points += total[cell_of[k]];
        }
    int cell = cell_of[i];
    bool fits = number < (word)max_pillars;
    slot[cell] = fits ? (int)number : -1;
    atomicAdd(counters + (fits ? PILLARS : DROPPED), 1u);
    if (!fits) return;
    start[number] = (int)points;
    place[number] = cell;
}

// List the points of each pillar, in any order. cursor: (max_pillars), zero before.
extern "C" __global__ void pillar_list(const int *header, const int *cell_of, const int *slot,
                                       const int *start, word *cursor, int *list) {
    int i = thread();
    if (i >= header[POINTS] || cell_of[i] < 0) return;
    int pillar = slot[cell_of[i]];
    if (pillar >= 0) list[start[pillar] + atomicAdd(cursor + pillar, 1u)] = i;
}

// pillars._fill: of n > most points, those whose rank r begins a new value of r * most / n, which
// is also their place. The rank of a point is the number of its pillar's points that come before
// it in the cloud. kept: (max_pillars, most, width).
extern "C" __global__ void pillar_keep(const int *header, const float *points, int width,
                                       const int *cell_of, const int *slot, const int *start,
                                       const word *cursor, const int *list, int most, float *kept) {
    int i = thread();
    if (i >= header[POINTS] || cell_of[i] < 0) return;
    int pillar = slot[cell_of[i]];
    if (pillar < 0) return;
    wide count = cursor[pillar], rank = 0;
    const int *mine = list + start[pillar];
    for (int k = 0; k < (int)count; ++k) rank += mine[k] < i;
    if (count > (wide)most) {
        if (rank * most % count >= (wide)most) return;
        rank = rank * most / count;
    }
    float *to = kept + ((wide)pillar * most + rank) * width;
    const float *point = points + (wide)i * width;
    for (int f = 0; f < width; ++f) to[f] = f == 2 ? raised(header, point) : point[f];
}

__device__ static int filled(word count, int most) { return count < (word)most ? count : most; }

// The middle of the kept points of each pillar: (max_pillars, 3) doubles.
extern "C" __global__ void pillar_mean(const word *counters, const word *cursor, const float *kept,
                                       int width, int most, double *means) {
    int pillar = thread();
    if (pillar >= (int)counters[PILLARS]) return;
    int count = filled(cursor[pillar], most);
    double sum[3] = {0, 0, 0};
    for (int m = 0; m < count; ++m)
        for (int f = 0; f < 3; ++f) sum[f] += kept[((wide)pillar * most + m) * width + f];
    for (int f = 0; f < 3; ++f) means[3 * pillar + f] = sum[f] / count;
}

// pillars._decorate, a thread for each number of (max_pillars, most, width + 5). Pillars that are
// not there repeat the first one, cell and all: it is written into the map again and again, always
// the same. Without any point the one pillar is of zeros, in cell 0.
extern "C" __global__ void pillar_write(const word *counters, const word *cursor,
                                        const float *kept, const double *means, const int *place,
                                        int width, int most, int max_pillars, Grid grid,
                                        float *pillars, int *narrow_cells, long long *wide_cells) {
    int features = width + 5, i = thread();
    if (i >= max_pillars * most * features) return;
    int f = i % features, m = i / features % most, pillar = i / features / most;
    int row = pillar < (int)counters[PILLARS] ? pillar : 0;
    bool empty = counters[PILLARS] == 0;
    int cell = empty ? 0 : place[row];
    if (m == 0 && f == 0) {
        if (wide_cells) wide_cells[pillar] = cell;
        else narrow_cells[pillar] = cell;
    }
    if (empty) {
        pillars[i] = 0;
        return;
    }
    const float *from =
        kept + ((wide)row * most + (m < filled(cursor[row], most) ? m : 0)) * width;
    float value;
    if (f < 4) value = from[f];
    else if (f < 7) value = (float)(from[f - 4] - means[3 * row + f - 4]);
    else if (f == 7) value = (float)(from[0] - (grid.x + (cell % grid.columns + 0.5) * grid.cell));
    else if (f == 8) value = (float)(from[1] - (grid.y + (cell / grid.columns + 0.5) * grid.cell));
    else value = from[4];
    pillars[i] = value;
}

// -------------------------------------------------------------------------------------- peaks

// A key that is larger for a larger logit and, where they are equal, for a smaller index.
__device__ static wide key_of(float logit, int index) {
    word bits = __float_as_uint(logit + 0.0f);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (wide)bits << 32 | ~(word)index;
}

__device__ static float logit_of(wide key) {
    word bits = (word)(key >> 32);
    return __uint_as_float(bits & 0x80000000u ? bits & 0x7fffffffu : ~bits);
}

__device__ static float sigmoid(float logit) {
    return (float)(1.0 / (1.0 + exp(-fmin(fmax((double)logit, -60.0), 60.0))));
}

// The number of keys larger than this one.
__device__ static int rank_of(wide key, const wide *keys, int count) {
    int rank = 0;
    for (int k = 0; k < count; ++k) rank += keys[k] > key;
    return rank;
}

// decode._peaks, a thread for each number of the heatmap (classes, rows, columns).
extern "C" __global__ void peak_find(const int *header, const float *heatmap, int classes,
                                     int rows, int columns, wide *keys, word *counters) {
    int i = thread();
    if (i >= classes * rows * columns) return;
    int column = i % columns, row = i / columns % rows, k = i / columns / rows;
    float value = heatmap[i];
    if (!(value >= ((const float *)header)[THRESHOLDS + k])) return;
    for (int y = row > 0 ? row - 1 : 0; y <= row + 1 && y < rows; ++y)
        for (int x = column > 0 ? column - 1 : 0; x <= column + 1 && x < columns; ++x)
            if (heatmap[(k * rows + y) * columns + x] > value) return;
    keys[atomicAdd(counters + PEAKS, 1u)] = key_of(value, i);
}

// decode._read for the best peaks, each at its rank in boxes (header[LIMIT], FIELDS).
// task: (classes). A thread takes every stride-th peak.
extern "C" __global__ void peak_read(const int *header, const word *counters, const wide *keys,
                                     int stride, HeadMaps maps, const int *task, int rows,
                                     int columns, double low_x, double low_y, double step,
                                     float *boxes) {
    int count = (int)counters[PEAKS];
    for (int i = thread(); i < count; i += stride) {
        int rank = rank_of(keys[i], keys, count);
        if (rank >= header[LIMIT]) continue;
        int index = (int)~(word)keys[i], cells = rows * columns;
        int k = index / cells, cell = index % cells, t = task[k];
        int row = cell / columns, column = cell % columns;
        float *box = boxes + rank * FIELDS;
        ((int *)box)[LABEL] = k;
        box[CENTER] = (float)(low_x + (column + (double)maps.offset[2 * t * cells + cell]) * step);
        box[CENTER + 1] =
            (float)(low_y + (row + (double)maps.offset[(2 * t + 1) * cells + cell]) * step);
        box[CENTER + 2] = maps.height[t * cells + cell];
        for (int c = 0; c < 3; ++c)
            box[SIZE + c] =
                (float)exp(fmin(fmax((double)maps.size[(3 * t + c) * cells + cell], -5.0), 5.0));
        const float *turn = maps.rotation + 4 * t * cells + cell;
        double axis = atan2((double)turn[2 * cells], (double)turn[3 * cells]) / 2;
        bool back = sin(axis) * turn[0] + cos(axis) * turn[cells] < 0;
        box[YAW] = (float)(back ? axis + 3.141592653589793 : axis);
        for (int c = 0; c < 2; ++c)
            box[VELOCITY + c] = maps.velocity[(2 * t + c) * cells + cell];
        box[LOGIT] = logit_of(keys[i]);
        box[SCORE] = sigmoid(box[LOGIT]);
    }
}

// ------------------------------------------------------------------------------------ anchors

// The class that an anchor reports: the first of the largest logits.
__device__ static int best_class(const float *score, int classes, int slot, int cell, int cells) {
    int best = 0;
    for (int k = 1; k < classes; ++k)
        if (score[(slot * classes + k) * cells + cell] >
            score[(slot * classes + best) * cells + cell])
            best = k;
    return best;
}

// The first half of anchors.decode_anchors, a thread for each of (2 classes, cells) anchors. The
// thresholds are probabilities here.
extern "C" __global__ void anchor_find(const int *header, const float *score, int classes,
                                       int cells, wide *keys, word *counters) {
    int i = thread();
    if (i >= 2 * classes * cells) return;
    int k = best_class(score, classes, i / cells, i % cells, cells);
    float value = score[(i / cells * classes + k) * cells + i % cells];
    if (value != value || !(sigmoid(value) >= ((const float *)header)[THRESHOLDS + k])) return;
    keys[atomicAdd(counters + PEAKS, 1u)] = key_of(value, i);
}

// The second half: slot 2 k is the anchor of class k at yaw 0, slot 2 k + 1 that at a quarter
// turn. anchors: (classes, 4) doubles length, width, height, z [m].
extern "C" __global__ void anchor_read(const int *header, const word *counters, const wide *keys,
                                       int stride, AnchorMaps maps, const double *anchors,
                                       int classes, int rows, int columns, double low_x,
                                       double low_y, double step, float *boxes) {
    const double pi = 3.141592653589793, split = pi / 4;
    int count = (int)counters[PEAKS], cells = rows * columns;
    for (int i = thread(); i < count; i += stride) {
        int rank = rank_of(keys[i], keys, count);
        if (rank >= header[LIMIT]) continue;
        int index = (int)~(word)keys[i], slot = index / cells, cell = index % cells;
        const double *anchor = anchors + 4 * (slot / 2);
        const float *residual = maps.box + slot * 7 * cells + cell;
        const float *direction = maps.direction + slot * 2 * cells + cell;
        double diagonal = hypot(anchor[0], anchor[1]);
        float *box = boxes + rank * FIELDS;
        ((int *)box)[LABEL] = best_class(maps.score, classes, slot, cell, cells);
        box[CENTER] =
            (float)(low_x + (cell % columns + 0.5) * step + residual[0] * diagonal);
        box[CENTER + 1] =
            (float)(low_y + (cell / columns + 0.5) * step + residual[cells] * diagonal);
        box[CENTER + 2] = (float)(anchor[3] + residual[2 * cells] * anchor[2]);
        for (int c = 0; c < 3; ++c)
            box[SIZE + c] = (float)(anchor[c] * exp(fmin(fmax((double)residual[(3 + c) * cells],
                                                              -3.0), 3.0)));
        double turn = (slot % 2 ? pi / 2 : 0) + residual[6 * cells] - split;
        box[YAW] = (float)(turn - pi * floor(turn / pi) + split +
                           (direction[cells] > direction[0] ? pi : 0));
        box[VELOCITY] = box[VELOCITY + 1] = __uint_as_float(0x7fc00000u);
        box[LOGIT] = logit_of(keys[i]);
        box[SCORE] = sigmoid(box[LOGIT]);
    }
}
