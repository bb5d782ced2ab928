/* Inspects an image: ./inspect MODEL IMAGE.ppm
 *
 * MODEL is a folder that `fmam fit` wrote, IMAGE.ppm a binary PPM file (P6, 8 bits), as
 * `convert photo.jpg image.ppm` writes it; a camera gives its pixels in memory instead. The exit
 * code is 0 for a good part, 3 for a defect, 1 for an error.
 *
 *     cc inspect.c -I ../include -L ../../../target/release -lfmam -o inspect
 */
#include <stdio.h>
#include <stdlib.h>

#include "fmam.h"

/* Reads a binary PPM file without comments; NULL where it is none. */
static uint8_t *read_ppm(const char *path, size_t *height, size_t *width)
{
    FILE *file = fopen(path, "rb");
    uint8_t *pixels = NULL;
    unsigned int columns, rows, top;

    if (file == NULL)
        return NULL;
    if (fscanf(file, "P6 %5u %5u %3u", &columns, &rows, &top) == 3 && top == 255 && fgetc(file) != EOF) {
        size_t length = (size_t)rows * columns * 3;
        pixels = malloc(length > 0 ? length : 1);
        if (pixels != NULL && fread(pixels, 1, length, file) != length) {
            free(pixels);
            pixels = NULL;
        }
        *height = rows;
        *width = columns;
    }
    fclose(file);
    return pixels;
}

static int fail(const char *what)
{
    fprintf(stderr, "error: %s: %s\n", what, fmam_last_error());
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    FmamDetector *detector;
    FmamVerdict *verdict;
    FmamPixels image = {0};
    uint8_t *pixels;
    size_t i;
    int code;

    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL IMAGE.ppm\n", argv[0]);
        return EXIT_FAILURE;
    }
    pixels = read_ppm(argv[2], &image.height, &image.width);
    if (pixels == NULL) {
        fprintf(stderr, "error: %s is no binary PPM file\n", argv[2]);
        return EXIT_FAILURE;
    }
    image.data = pixels;
    image.format = FMAM_RGB;

    /* Once, at the start of the program; 0 threads are one a core. */
    if (fmam_detector_load(argv[1], 0, &detector) != FMAM_STATUS_SUCCESS) {
        free(pixels);
        return fail(argv[1]);
    }
    /* For each image. */
    if (fmam_detector_predict(detector, &image, &verdict) != FMAM_STATUS_SUCCESS) {
        fmam_detector_free(detector);
        free(pixels);
        return fail(argv[2]);
    }
    printf("%s: score %.6f, threshold %.6f, p %.6f\n",
           verdict->outcome == FMAM_OK ? "ok" : verdict->outcome == FMAM_DEFECT ? "defect" : "unknown",
           verdict->score, verdict->threshold, verdict->p_value);
    for (i = 0; i < verdict->n_regions; i++) {
        const FmamRegion *region = &verdict->regions[i];
        printf("  at (%lu, %lu), %lu x %lu pixels, peak %.6f\n", (unsigned long)region->x,
               (unsigned long)region->y, (unsigned long)region->width, (unsigned long)region->height,
               region->peak);
    }
    code = verdict->outcome == FMAM_DEFECT ? 3 : EXIT_SUCCESS;

    fmam_verdict_free(verdict);
    fmam_detector_free(detector);
    free(pixels);
    return code;
}
