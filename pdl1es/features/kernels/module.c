/* The module: checks what Python hands over, lets the interpreter go on meanwhile, and calls a kernel.
 *
 * Arrays come by the buffer protocol, C-contiguous, results in arrays that the caller made. The stable ABI of Python 3.11
 * makes one module for every later Python.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "kernels.h"

/* Take an array: of one of the struct codes in kinds, of so many axes. Sets an error and returns -1 where it is not. */
static int take(PyObject *object, Py_buffer *view, const char *name, const char *kinds, int axes, int writable)
{
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) < 0)
        return -1;
    if (!view->format || strlen(view->format) != 1 || !strchr(kinds, view->format[0]) || view->ndim != axes) {
        PyErr_Format(PyExc_TypeError, "%s must be an array of %d axes and of type %s", name, axes, kinds);
        PyBuffer_Release(view);
        return -1;
    }
    return 0;
}

/* What every filter is given: the crop, the tumour's box in it, the mask on the box, and the place for the voxels. */
typedef struct {
    Py_buffer hu, mask, out;
    box_t box;
    Py_ssize_t voxels;
} filter_t;

static void release(filter_t *f)
{
    PyBuffer_Release(&f->out);
    PyBuffer_Release(&f->mask);
    PyBuffer_Release(&f->hu);
}

static int refuse(filter_t *f, const char *why)
{
    PyErr_SetString(PyExc_ValueError, why);
    release(f);
    return -1;
}

/* Take and check a filter's arrays; out holds voxels in its last axis. */
static int take_filter(filter_t *f, PyObject *hu, PyObject *mask, PyObject *out, const char *kind, int out_axes)
{
    if (take(hu, &f->hu, "hu", "h", 3, 0) < 0) return -1;
    if (take(mask, &f->mask, "mask", "?", 3, 0) < 0) {
        PyBuffer_Release(&f->hu);
        return -1;
    }
    if (take(out, &f->out, "out", kind, out_axes, 1) < 0) {
        PyBuffer_Release(&f->mask);
        PyBuffer_Release(&f->hu);
        return -1;
    }
    for (int axis = 0; axis < 3; axis++) {
        if (f->box.low[axis] < 0 || f->box.low[axis] >= f->box.high[axis] || f->box.high[axis] > f->hu.shape[axis])
            return refuse(f, "the box does not lie in the image");
        if (f->mask.shape[axis] != f->box.high[axis] - f->box.low[axis])
            return refuse(f, "the mask has another shape than the box");
    }
    const uint8_t *voxel = f->mask.buf;
    Py_ssize_t count = 0;
    for (Py_ssize_t k = 0; k < f->mask.len; k++) count += voxel[k] != 0;
    f->voxels = f->out.shape[out_axes - 1];
    if (count != f->voxels) return refuse(f, "the result has another number of voxels than the mask");
    return 0;
}

static PyObject *finish(filter_t *f, int status)
{
    release(f);
    if (status == -1) return PyErr_NoMemory();
    if (status < 0) {
        PyErr_SetString(PyExc_ValueError, "the samples lie beyond the margin");
        return NULL;
    }
    Py_RETURN_NONE;
}

#define BOX(box) &(box).low[0], &(box).high[0], &(box).low[1], &(box).high[1], &(box).low[2], &(box).high[2]
#define BOX_CODES "((nn)(nn)(nn))"

static PyObject *py_laplacian_of_gaussian(PyObject *self, PyObject *arguments)
{
    PyObject *hu, *mask, *out;
    double sigma;
    filter_t f;
    int status;
    if (!PyArg_ParseTuple(arguments, "O" BOX_CODES "OdO", &hu, BOX(f.box), &mask, &sigma, &out)) return NULL;
    if (take_filter(&f, hu, mask, out, "f", 1) < 0) return NULL;
    if (!(sigma > 0) || f.hu.shape[0] < 4 || f.hu.shape[1] < 4 || f.hu.shape[2] < 4) {
        refuse(&f, "sigma must be positive and each axis have 4 voxels");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = laplacian_of_gaussian(f.hu.buf, f.hu.shape, sigma, &f.box, f.mask.buf, f.out.buf);
    Py_END_ALLOW_THREADS
    return finish(&f, status);
}

static PyObject *py_wavelet(PyObject *self, PyObject *arguments)
{
    PyObject *hu, *mask, *out, *lo_object, *hi_object;
    Py_buffer lo, hi;
    filter_t f;
    int status;
    if (!PyArg_ParseTuple(arguments, "O" BOX_CODES "OOOO", &hu, BOX(f.box), &mask, &lo_object, &hi_object, &out))
        return NULL;
    if (take_filter(&f, hu, mask, out, "d", 2) < 0) return NULL;
    if (take(lo_object, &lo, "lo", "d", 1, 0) < 0) goto release_f;
    if (take(hi_object, &hi, "hi", "d", 1, 0) < 0) goto release_lo;
    const Py_ssize_t taps = lo.shape[0];
    if (taps < 2 || taps % 2 || taps > 1000 || hi.shape[0] != taps || f.out.shape[0] != 4
        || f.hu.shape[1] + f.hu.shape[1] % 2 < taps || f.hu.shape[2] + f.hu.shape[2] % 2 < taps) {
        PyErr_SetString(PyExc_ValueError, "two filters of one even length, at most that of rows and columns, give 4 images");
        PyBuffer_Release(&hi);
        goto release_lo;
    }
    Py_BEGIN_ALLOW_THREADS
    status = wavelet(f.hu.buf, f.hu.shape, lo.buf, hi.buf, (int)taps, &f.box, f.mask.buf, f.out.buf, f.voxels);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&hi);
    PyBuffer_Release(&lo);
    return finish(&f, status);
release_lo:
    PyBuffer_Release(&lo);
release_f:
    release(&f);
    return NULL;
}

static PyObject *py_gradient(PyObject *self, PyObject *arguments)
{
    PyObject *hu, *mask, *out;
    filter_t f;
    int status;
    if (!PyArg_ParseTuple(arguments, "O" BOX_CODES "OO", &hu, BOX(f.box), &mask, &out)) return NULL;
    if (take_filter(&f, hu, mask, out, "f", 1) < 0) return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = gradient(f.hu.buf, f.hu.shape, &f.box, f.mask.buf, f.out.buf);
    Py_END_ALLOW_THREADS
    return finish(&f, status);
}

static PyObject *py_local_binary_pattern(PyObject *self, PyObject *arguments)
{
    PyObject *hu, *mask, *out, *rows_object, *columns_object;
    Py_buffer rows, columns;
    Py_ssize_t margin;
    filter_t f;
    int status;
    if (!PyArg_ParseTuple(arguments, "O" BOX_CODES "OOOnO", &hu, BOX(f.box), &mask, &rows_object, &columns_object, &margin,
                          &out))
        return NULL;
    if (take_filter(&f, hu, mask, out, "h", 1) < 0) return NULL;
    if (take(rows_object, &rows, "rows", "d", 1, 0) < 0) goto release_f;
    if (take(columns_object, &columns, "columns", "d", 1, 0) < 0) goto release_rows;
    const Py_ssize_t samples = rows.shape[0];
    if (samples < 1 || samples > 8 || columns.shape[0] != samples || margin < 1 || margin > 100) {
        PyErr_SetString(PyExc_ValueError, "at most 8 samples, within 100 voxels");
        PyBuffer_Release(&columns);
        goto release_rows;
    }
    Py_BEGIN_ALLOW_THREADS
    status = local_binary_pattern(f.hu.buf, f.hu.shape, rows.buf, columns.buf, (int)samples, margin, &f.box, f.mask.buf,
                                  f.out.buf);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&columns);
    PyBuffer_Release(&rows);
    return finish(&f, status);
release_rows:
    PyBuffer_Release(&rows);
release_f:
    release(&f);
    return NULL;
}

/* The arrays of one call, released together. */
typedef struct {
    Py_buffer views[12];
    int taken;
} arrays_t;

static void release_arrays(arrays_t *arrays)
{
    while (arrays->taken) PyBuffer_Release(&arrays->views[--arrays->taken]);
}

/* Take one more array; NULL with an error set where it is not as it must be. */
static Py_buffer *one_more(arrays_t *arrays, PyObject *object, const char *name, const char *kinds, int axes, int writable)
{
    Py_buffer *view = &arrays->views[arrays->taken];
    if (take(object, view, name, kinds, axes, writable) < 0) return NULL;
    arrays->taken++;
    return view;
}

static PyObject *wrong(arrays_t *arrays, const char *why)
{
    if (why) PyErr_SetString(PyExc_ValueError, why);
    release_arrays(arrays);
    return NULL;
}

static PyObject *py_discretise(PyObject *self, PyObject *arguments)
{
    PyObject *objects[5];
    arrays_t arrays = {.taken = 0};
    Py_buffer *values, *edges, *ranks, *counts, *ranks_of_bins;
    Py_ssize_t found;
    if (!PyArg_ParseTuple(arguments, "OOOOO", &objects[0], &objects[1], &objects[2], &objects[3], &objects[4])) return NULL;
    if (!(values = one_more(&arrays, objects[0], "values", "hfd", 1, 0))
        || !(edges = one_more(&arrays, objects[1], "edges", "d", 1, 0))
        || !(ranks = one_more(&arrays, objects[2], "ranks", "i", 1, 1))
        || !(counts = one_more(&arrays, objects[3], "counts", "lq", 1, 1))
        || !(ranks_of_bins = one_more(&arrays, objects[4], "ranks_of_bins", "i", 1, 1)))
        return wrong(&arrays, NULL);
    const Py_ssize_t n = edges->shape[0];
    if (n < 1 || n >= INT32_MAX || ranks->shape[0] != values->shape[0] || counts->shape[0] != n + 1
        || ranks_of_bins->shape[0] != n + 1)
        return wrong(&arrays, "the results do not fit values and edges");
    Py_BEGIN_ALLOW_THREADS
    found = discretise(values->buf, values->format[0], values->shape[0], edges->buf, n, ranks->buf, counts->buf,
                       ranks_of_bins->buf);
    Py_END_ALLOW_THREADS
    release_arrays(&arrays);
    return PyLong_FromSsize_t(found);
}

static PyObject *py_moments(PyObject *self, PyObject *arguments)
{
    PyObject *object;
    arrays_t arrays = {.taken = 0};
    Py_buffer *values;
    double low, high, sums[8];
    if (!PyArg_ParseTuple(arguments, "Odd", &object, &low, &high)) return NULL;
    if (!(values = one_more(&arrays, object, "values", "hfd", 1, 0))) return wrong(&arrays, NULL);
    if (values->shape[0] < 1) return wrong(&arrays, "there is no voxel");
    Py_BEGIN_ALLOW_THREADS
    moments(values->buf, values->format[0], values->shape[0], low, high, sums);
    Py_END_ALLOW_THREADS
    release_arrays(&arrays);
    return Py_BuildValue("(dddddddd)", sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6], sums[7]);
}

static PyObject *py_texture_matrices(PyObject *self, PyObject *arguments)
{
    PyObject *objects[12];
    arrays_t arrays = {.taken = 0};
    Py_buffer *ranks, *places, *steps, *levels, *glcm, *sums, *level_differences, *gldm, *glrlm, *ngtdm, *zone_ranks, *zone_sizes;
    texture_line_t line;
    texture_matrices_t out;
    int status;
    if (!PyArg_ParseTuple(arguments, "OOnOOOOOOOOOO", &objects[0], &objects[1], &line.length, &objects[2], &objects[3],
                          &objects[4], &objects[5], &objects[6], &objects[7], &objects[8], &objects[9], &objects[10], &objects[11]))
        return NULL;
    if (!(ranks = one_more(&arrays, objects[0], "ranks", "i", 1, 0))
        || !(places = one_more(&arrays, objects[1], "places", "i", 1, 0))
        || !(steps = one_more(&arrays, objects[2], "steps", "lq", 1, 0))
        || !(levels = one_more(&arrays, objects[3], "levels", "lq", 1, 0))
        || !(glcm = one_more(&arrays, objects[4], "glcm", "d", 3, 1))
        || !(sums = one_more(&arrays, objects[5], "glcm_sums", "d", 2, 1))
        || !(level_differences = one_more(&arrays, objects[6], "glcm_differences", "d", 2, 1))
        || !(gldm = one_more(&arrays, objects[7], "gldm", "d", 2, 1))
        || !(glrlm = one_more(&arrays, objects[8], "glrlm", "d", 3, 1))
        || !(ngtdm = one_more(&arrays, objects[9], "differences", "d", 1, 1))
        || !(zone_ranks = one_more(&arrays, objects[10], "zone_ranks", "i", 1, 1))
        || !(zone_sizes = one_more(&arrays, objects[11], "zone_sizes", "i", 1, 1)))
        return wrong(&arrays, NULL);

    const Py_ssize_t n = levels->shape[0];
    line.voxels = ranks->shape[0];
    line.directions = steps->shape[0];
    line.places = places->buf;
    line.steps = steps->buf;
    if (line.voxels < 1 || places->shape[0] != line.voxels || line.directions < 1 || line.directions > 13 || n < 1
        || n > 100000 || line.length > INT32_MAX / 4)
        return wrong(&arrays, "ranks and places, 1 to 13 steps and at most 100000 levels are needed");
    if (glcm->shape[0] != line.directions || glcm->shape[1] != n || glcm->shape[2] != n || gldm->shape[0] != n
        || gldm->shape[1] != 4 * line.directions + 1 || glrlm->shape[0] != n || glrlm->shape[2] != line.directions
        || ngtdm->shape[0] != n || zone_ranks->shape[0] != line.voxels || zone_sizes->shape[0] != line.voxels)
        return wrong(&arrays, "the results do not fit levels, steps and voxels");
    for (Py_ssize_t d = 0; d < line.directions; d++)
        if (line.steps[d] < 1 || line.steps[d] > line.length) return wrong(&arrays, "a step leaves the line");
    if (!places_ascend(line.places, line.voxels, line.length))
        return wrong(&arrays, "places must ascend within the line");
    if (!ranks_have_levels(ranks->buf, line.voxels, (int32_t)n)) return wrong(&arrays, "a rank has no level");
    const int64_t *level = levels->buf;
    for (Py_ssize_t k = 0; k < n; k++)
        if (level[k] < (k ? level[k - 1] + 1 : 0) || level[k] > INT32_MAX / 26)
            return wrong(&arrays, "levels must ascend from 0, and be small enough to add up");
    const int64_t range = level[n - 1] - level[0];
    if (sums->shape[0] != 2 * range + 1 || sums->shape[1] != line.directions || level_differences->shape[0] != range + 1
        || level_differences->shape[1] != line.directions)
        return wrong(&arrays, "the results do not fit levels, steps and voxels");
    out = (texture_matrices_t){.cooccurrences = glcm->buf, .sums = sums->buf,
                               .level_differences = level_differences->buf, .dependences = gldm->buf, .runs = glrlm->buf,
                               .differences = ngtdm->buf, .zone_ranks = zone_ranks->buf, .zone_sizes = zone_sizes->buf,
                               .longest = glrlm->shape[1]};
    Py_BEGIN_ALLOW_THREADS
    status = texture_matrices(ranks->buf, &line, levels->buf, n, &out);
    Py_END_ALLOW_THREADS
    release_arrays(&arrays);
    if (status == -1) return PyErr_NoMemory();
    if (status < 0) {
        PyErr_SetString(PyExc_ValueError, "a run is longer than the axis of runs");
        return NULL;
    }
    return Py_BuildValue("(nn)", out.longest, out.zones);
}

static PyObject *py_surface(PyObject *self, PyObject *arguments)
{
    PyObject *objects[3];
    arrays_t arrays = {.taken = 0};
    Py_buffer *mask, *counts, *positions;
    int32_t squares[4];
    int status;
    if (!PyArg_ParseTuple(arguments, "OOO", &objects[0], &objects[1], &objects[2])) return NULL;
    if (!(mask = one_more(&arrays, objects[0], "mask", "?", 3, 0))
        || !(counts = one_more(&arrays, objects[1], "counts", "lq", 1, 1))
        || !(positions = one_more(&arrays, objects[2], "positions", "lq", 2, 1)))
        return wrong(&arrays, NULL);
    if (counts->shape[0] != 256 || positions->shape[0] != 3 || positions->shape[1] != 256)
        return wrong(&arrays, "there are 256 cubes and 3 axes");
    for (int axis = 0; axis < 3; axis++)
        /* Squares of doubled coordinates stay below 2^31. */
        if (mask->shape[axis] < 3 || mask->shape[axis] > 10000) return wrong(&arrays, "an axis has 3 to 10000 voxels");
    Py_BEGIN_ALLOW_THREADS
    status = count_cubes(mask->buf, mask->shape, counts->buf, positions->buf);
    if (!status) status = largest_squares(mask->buf, mask->shape, squares);
    Py_END_ALLOW_THREADS
    release_arrays(&arrays);
    if (status < 0) return PyErr_NoMemory();
    return Py_BuildValue("(iiii)", squares[0], squares[1], squares[2], squares[3]);
}

static PyObject *py_coordinate_sums(PyObject *self, PyObject *object)
{
    arrays_t arrays = {.taken = 0};
    Py_buffer *mask;
    long long s[10];
    int64_t sums[10];
    if (!(mask = one_more(&arrays, object, "mask", "?", 3, 0))) return wrong(&arrays, NULL);
    for (int axis = 0; axis < 3; axis++)
        if (mask->shape[axis] < 1 || mask->shape[axis] > 10000) return wrong(&arrays, "an axis has 1 to 10000 voxels");
    /* Sums of squares of indices stay below 2^63. */
    if (mask->len > 10000000000) return wrong(&arrays, "a mask has at most 10^10 voxels");
    Py_BEGIN_ALLOW_THREADS
    coordinate_sums(mask->buf, mask->shape, sums);
    Py_END_ALLOW_THREADS
    release_arrays(&arrays);
    for (int k = 0; k < 10; k++) s[k] = sums[k];
    return Py_BuildValue("(LLLLLLLLLL)", s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9]);
}

static PyMethodDef functions[] = {
    {"laplacian_of_gaussian", py_laplacian_of_gaussian, METH_VARARGS, "(hu, box, mask, sigma, out)"},
    {"wavelet", py_wavelet, METH_VARARGS, "(hu, box, mask, lo, hi, out)"},
    {"gradient", py_gradient, METH_VARARGS, "(hu, box, mask, out)"},
    {"local_binary_pattern", py_local_binary_pattern, METH_VARARGS, "(hu, box, mask, rows, columns, margin, out)"},
    {"discretise", py_discretise, METH_VARARGS, "(values, edges, ranks, counts, ranks_of_bins): levels that occur"},
    {"moments", py_moments, METH_VARARGS, "(values, low, high): eight sums"},
    {"texture_matrices", py_texture_matrices, METH_VARARGS,
     "(ranks, places, length, steps, levels, glcm, glcm_sums, glcm_differences, gldm, glrlm, differences, zone_ranks, zone_sizes): longest run, zones"},
    {"surface", py_surface, METH_VARARGS, "(mask, counts, positions): four squares"},
    {"coordinate_sums", py_coordinate_sums, METH_O, "(mask): ten sums"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "compiled", "The kernels of pdl1es.features in C.", 0, functions, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_compiled(void) { return PyModuleDef_Init(&definition); }
