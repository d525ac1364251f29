/* What the shape features need of the surface mesh: how many cubes of each kind it has, and its largest distances.
 *
 * Source: pyradiomics 3.0.1, cshape.c (BSD-3): marching cubes (W. E. Lorensen and H. E. Cline, 1987) on cubes of 2 x 2 x 2
 * voxels, whose vertices lie halfway between a voxel of the tumour and a neighbour outside. Convex hulls as in
 * A. M. Andrew, "Another efficient algorithm for convex hulls in two dimensions" (1979).
 *
 * Coordinates are doubled, so that they are whole numbers and every comparison is exact. The mask has an empty layer all
 * around.
 */
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

/* Any byte but 0 is tumour: numpy's bool may hold others than 1.
 *
 * Count the cubes by their number: bit 4 z + 2 y + x is voxel (z, y, x); and add up their positions along z, y and x.
 * Cubes without surface (0 and 255) are left out. */
int count_cubes(const uint8_t *mask, const ptrdiff_t shape[3], int64_t counts[256], int64_t positions[3][256])
{
    const ptrdiff_t rows = shape[1], columns = shape[2];
    uint8_t *corners = malloc((size_t)columns);
    if (!corners) return -1;
    memset(counts, 0, 256 * sizeof(int64_t));
    memset(positions, 0, 3 * 256 * sizeof(int64_t));
    for (ptrdiff_t z = 0; z < shape[0] - 1; z++)
        for (ptrdiff_t y = 0; y < rows - 1; y++) {
            const uint8_t *a = mask + (z * rows + y) * columns, *b = a + columns;
            const uint8_t *c = a + rows * columns, *d = c + columns;
            for (ptrdiff_t x = 0; x < columns; x++)
                corners[x] = (uint8_t)((a[x] != 0) | (b[x] != 0) << 2 | (c[x] != 0) << 4 | (d[x] != 0) << 6);
            for (ptrdiff_t x = 0; x < columns - 1; x++) {
                const int number = corners[x] | corners[x + 1] << 1;
                if (number == 0 || number == 255) continue;
                counts[number]++;
                positions[0][number] += z;
                positions[1][number] += y;
                positions[2][number] += x;
            }
        }
    free(corners);
    return 0;
}

/* How many voxels a row has, and the sums of their columns and of the squares. */
FOR_EACH_WIDTH
static void sums_of_row(const uint8_t *row, ptrdiff_t n, int64_t sums[3])
{
    int64_t count = 0, first = 0, second = 0;
    for (ptrdiff_t x = 0; x < n; x++) {
        const int64_t column = row[x] ? x : 0;
        count += row[x] != 0;
        first += column;
        second += column * column;
    }
    sums[0] = count, sums[1] = first, sums[2] = second;
}

void coordinate_sums(const uint8_t *mask, const ptrdiff_t shape[3], int64_t sums[10])
{
    memset(sums, 0, 10 * sizeof(int64_t));
    for (int64_t z = 0; z < shape[0]; z++)
        for (int64_t y = 0; y < shape[1]; y++) {
            int64_t row[3];
            sums_of_row(mask + (z * shape[1] + y) * shape[2], shape[2], row);
            const int64_t count = row[0], x = row[1];
            const int64_t added[10] = {count,         z * count, y * count,     x,     z * z * count,
                                       z * y * count, z * x,     y * y * count, y * x, row[2]};
            for (int k = 0; k < 10; k++) sums[k] += added[k];
        }
}

typedef struct {
    int32_t u, v;
} point_t;

/* Whether b lies on or to the right of the way from a to c: such a point is no corner of an upper hull. */
static int needless(point_t a, point_t b, point_t c)
{
    return (int64_t)(b.v - a.v) * (c.u - a.u) <= (int64_t)(c.v - a.v) * (b.u - a.u);
}

/* Append a point to a hull from below (sign -1) or above (1), by ascending u. */
static ptrdiff_t append(point_t *hull, ptrdiff_t n, point_t point, int sign)
{
    point.v *= sign;
    while (n >= 2 && needless(hull[n - 2], hull[n - 1], point)) n--;
    hull[n] = point;
    return n + 1;
}

/* The corners of the hull of one plane's vertices, given the first and last v of each u (first > last: none). */
static ptrdiff_t hull_of(const int32_t *first, const int32_t *last, ptrdiff_t n, point_t *upper, point_t *lower,
                         point_t *corners)
{
    ptrdiff_t above = 0, below = 0, found = 0;
    for (ptrdiff_t u = 0; u < n; u++) {
        if (first[u] > last[u]) continue;
        above = append(upper, above, (point_t){(int32_t)u, last[u]}, 1);
        below = append(lower, below, (point_t){(int32_t)u, first[u]}, -1);
    }
    for (ptrdiff_t k = 0; k < above; k++) corners[found++] = upper[k];
    for (ptrdiff_t k = 0; k < below; k++) corners[found++] = (point_t){lower[k].u, -lower[k].v};
    return found;
}

/* First and last column where two rows differ, doubled; b may be NULL for a row of zeros. */
static void ends_of(const uint8_t *a, const uint8_t *b, ptrdiff_t n, int32_t *first, int32_t *last)
{
    ptrdiff_t low = 0, high = n - 1;
    if (b) {
        while (low < n && !a[low] == !b[low]) low++;
        while (high >= low && !a[high] == !b[high]) high--;
    } else {
        while (low < n && !a[low]) low++;
        while (high >= low && !a[high]) high--;
    }
    *first = (int32_t)(2 * low);
    *last = (int32_t)(2 * high);
}

static int32_t largest_of_plane(const point_t *corners, ptrdiff_t n)
{
    int32_t largest = 0;
    for (ptrdiff_t k = 1; k < n; k++)
        for (ptrdiff_t j = 0; j < k; j++) {
            const int32_t u = corners[k].u - corners[j].u, v = corners[k].v - corners[j].v;
            const int32_t square = u * u + v * v;
            largest = square > largest ? square : largest;
        }
    return largest;
}

/* The corners of all planes, as coordinates side by side. */
typedef struct {
    int32_t *a, *u, *v;
    ptrdiff_t found, room;
} corners_t;

static int keep(corners_t *all, int32_t plane, const point_t *corners, ptrdiff_t n)
{
    if (all->found + n > all->room) {
        const ptrdiff_t room = 2 * (all->found + n);
        for (int k = 0; k < 3; k++) {
            int32_t **place = k == 0 ? &all->a : k == 1 ? &all->u : &all->v;
            int32_t *grown = realloc(*place, (size_t)room * sizeof(int32_t));
            if (!grown) return -1;
            *place = grown;
        }
        all->room = room;
    }
    for (ptrdiff_t k = 0; k < n; k++, all->found++) {
        all->a[all->found] = plane;
        all->u[all->found] = corners[k].u;
        all->v[all->found] = corners[k].v;
    }
    return 0;
}

/* Largest squared distance within any plane across the first axis of an array (planes, rows, columns); the corners of the
 * planes' hulls are kept in `all` where it is given. -1 where memory lacks. */
static int32_t largest_in_planes(const uint8_t *mask, ptrdiff_t planes, ptrdiff_t rows, ptrdiff_t columns, corners_t *all)
{
    const ptrdiff_t n = 2 * rows;
    int32_t *first = malloc((size_t)n * sizeof(int32_t)), *last = malloc((size_t)n * sizeof(int32_t));
    point_t *upper = malloc((size_t)n * sizeof(point_t)), *lower = malloc((size_t)n * sizeof(point_t));
    point_t *corners = malloc(2 * (size_t)n * sizeof(point_t));
    int32_t largest = -1;
    if (!first || !last || !upper || !lower || !corners) goto end;
    largest = 0;
    for (ptrdiff_t plane = 0; plane < planes; plane++) {
        const uint8_t *slice = mask + plane * rows * columns;
        /* A slice of voxels: vertices between the voxels of a row, and between rows. */
        for (ptrdiff_t row = 0; row < rows; row++) {
            const uint8_t *here = slice + row * columns;
            ends_of(here, NULL, columns, &first[2 * row], &last[2 * row]);
            if (first[2 * row] <= last[2 * row]) first[2 * row]--, last[2 * row]++;
            first[2 * row + 1] = 1, last[2 * row + 1] = 0;
            if (row + 1 < rows) ends_of(here, here + columns, columns, &first[2 * row + 1], &last[2 * row + 1]);
        }
        for (int between = 0; between < 2; between++) {
            if (between) {
                /* The plane between this slice and the next. */
                if (plane + 1 == planes) break;
                for (ptrdiff_t row = 0; row < rows; row++) {
                    const uint8_t *here = slice + row * columns;
                    ends_of(here, here + rows * columns, columns, &first[2 * row], &last[2 * row]);
                    first[2 * row + 1] = 1, last[2 * row + 1] = 0;
                }
            }
            const ptrdiff_t found = hull_of(first, last, n, upper, lower, corners);
            const int32_t square = largest_of_plane(corners, found);
            if (square > largest) largest = square;
            if (all && keep(all, (int32_t)(2 * plane + between), corners, found) < 0) {
                largest = -1;
                goto end;
            }
        }
    }
end:
    free(first), free(last), free(upper), free(lower), free(corners);
    return largest;
}

FOR_EACH_WIDTH
static int32_t farthest(const int32_t *restrict a, const int32_t *restrict u, const int32_t *restrict v, ptrdiff_t n,
                        int32_t from_a, int32_t from_u, int32_t from_v)
{
    int32_t largest = 0;
    for (ptrdiff_t k = 0; k < n; k++) {
        const int32_t x = a[k] - from_a, y = u[k] - from_u, z = v[k] - from_v;
        const int32_t square = x * x + y * y + z * z;
        largest = square > largest ? square : largest;
    }
    return largest;
}

/* By distance from the middle, the farthest first: two points are no farther apart than their distances together. */
typedef struct {
    int32_t square, a, u, v;
} ranked_t;

static int by_distance(const void *one, const void *other)
{
    const int32_t a = ((const ranked_t *)one)->square, b = ((const ranked_t *)other)->square;
    return (a < b) - (a > b);
}

static int32_t largest_in_space(corners_t *all)
{
    const ptrdiff_t n = all->found;
    if (n < 2) return 0;
    ranked_t *ranked = malloc((size_t)n * sizeof(ranked_t));
    if (!ranked) return -1;
    int32_t low[3] = {all->a[0], all->u[0], all->v[0]}, high[3] = {all->a[0], all->u[0], all->v[0]};
    for (ptrdiff_t k = 1; k < n; k++) {
        const int32_t one[3] = {all->a[k], all->u[k], all->v[k]};
        for (int axis = 0; axis < 3; axis++) {
            if (one[axis] < low[axis]) low[axis] = one[axis];
            if (one[axis] > high[axis]) high[axis] = one[axis];
        }
    }
    const int32_t middle[3] = {(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, (low[2] + high[2]) / 2};
    for (ptrdiff_t k = 0; k < n; k++) {
        const int32_t x = all->a[k] - middle[0], y = all->u[k] - middle[1], z = all->v[k] - middle[2];
        ranked[k] = (ranked_t){x * x + y * y + z * z, all->a[k], all->u[k], all->v[k]};
    }
    qsort(ranked, (size_t)n, sizeof(ranked_t), by_distance);
    for (ptrdiff_t k = 0; k < n; k++) all->a[k] = ranked[k].a, all->u[k] = ranked[k].u, all->v[k] = ranked[k].v;

    int32_t largest = 0;
    ptrdiff_t within = n; /* points that can be one of a farther pair with the present one */
    for (ptrdiff_t k = 0; k < within; k++) {
        /* (r + s)^2 <= largest rules a pair out; 2 r s is at most r^2 + s^2, and 2 (r^2 + s^2) is a whole number. */
        while (within > k && 2 * ((int64_t)ranked[k].square + ranked[within - 1].square) <= largest) within--;
        const int32_t square = farthest(all->a, all->u, all->v, within, ranked[k].a, ranked[k].u, ranked[k].v);
        if (square > largest) largest = square;
    }
    free(ranked);
    return largest;
}

int largest_squares(const uint8_t *mask, const ptrdiff_t shape[3], int32_t squares[4])
{
    const ptrdiff_t planes = shape[0], rows = shape[1], columns = shape[2];
    corners_t all = {.found = 0};
    int status = -1;
    uint8_t *turned = calloc((size_t)(planes * rows), (size_t)columns);
    if (!turned) goto end;
    squares[0] = largest_in_planes(mask, planes, rows, columns, &all);
    for (ptrdiff_t z = 0; z < planes; z++)
        for (ptrdiff_t y = 0; y < rows; y++)
            memcpy(turned + (y * planes + z) * columns, mask + (z * rows + y) * columns, (size_t)columns);
    squares[1] = largest_in_planes(turned, rows, planes, columns, NULL);
    for (ptrdiff_t z = 0; z < planes; z++)
        for (ptrdiff_t y = 0; y < rows; y++)
            for (ptrdiff_t x = 0; x < columns; x++) turned[(x * planes + z) * rows + y] = mask[(z * rows + y) * columns + x];
    squares[2] = largest_in_planes(turned, columns, planes, rows, NULL);
    if (squares[0] < 0 || squares[1] < 0 || squares[2] < 0) goto end;
    squares[3] = largest_in_space(&all);
    status = squares[3] < 0 ? -1 : 0;
end:
    free(turned), free(all.a), free(all.u), free(all.v);
    return status;
}
