// libfmam: detectors of defects in images of industrial products.
//
// A detector is a folder that `fmam fit` wrote. The functions below may be called from any thread.
// Sizes are height first, coordinates are in pixels from the upper left corner.
//
// Licensed under MIT or Apache-2.0, as you like.

#ifndef FMAM_H
#define FMAM_H

// Made by cbindgen of crates/capi/src: `UPDATE_HEADER=1 cargo test -p fmam-capi --test c header`.

#include <stddef.h>
#include <stdint.h>

// Three bytes a pixel: red, green, blue.
#define FMAM_RGB 0

// Three bytes a pixel: blue, green, red, as OpenCV has them.
#define FMAM_BGR 1

// One byte a pixel.
#define FMAM_GREY 2

// Four bytes a pixel: red, green, blue, and one that is not looked at.
#define FMAM_RGBA 3

// The part is good: its score is at or below the threshold.
#define FMAM_OK 0

// The part is defective: its score is above the threshold.
#define FMAM_DEFECT 1

// The model has no threshold: `fmam calibrate` gives it one.
#define FMAM_UNKNOWN 2

// The outcome of a call.
typedef enum FmamStatus {
  // The call did its work.
  FMAM_STATUS_SUCCESS = 0,
  // An argument is null, or a value is out of its range.
  FMAM_STATUS_USAGE = 1,
  // A model or an image is missing, damaged or does not fit.
  FMAM_STATUS_DATA = 2,
  // The machine: memory, disk, permissions, a GPU that does not open.
  FMAM_STATUS_ENVIRONMENT = 3,
  // A fault of this library.
  FMAM_STATUS_BUG = 4,
} FmamStatus;

// A detector with its threads. It does not change: several threads may use it at a time.
typedef struct FmamDetector FmamDetector;

// A place of an image whose map is above the contour, in pixels of the image as it was given.
typedef struct FmamRegion {
  // Left edge of the box, in pixels from the left edge of the image.
  size_t x;
  // Upper edge of the box, in pixels from the upper edge of the image.
  size_t y;
  // Width of the box in pixels.
  size_t width;
  // Height of the box in pixels.
  size_t height;
  // Pixels of the region.
  size_t area;
  // Largest score of the map within it.
  float peak;
  // Mean score of the map within it.
  float mean;
} FmamRegion;

// The verdict on an image. It belongs to the caller until `fmam_verdict_free`; its arrays belong
// to the verdict.
typedef struct FmamVerdict {
  // `FMAM_OK`, `FMAM_DEFECT`, or `FMAM_UNKNOWN` for a model without a threshold.
  uint32_t outcome;
  // The score of the image; higher is more anomalous.
  float score;
  // The image is a defect where its score is above this; NaN without a threshold.
  float threshold;
  // The limit of map scores: the mask and the regions lie above it. NaN without a threshold. It
  // is `threshold` where the score of an image is the largest of its map.
  float contour;
  // The share of good parts that score at least as high (conformal p-value, 0 to 1); NaN without
  // a calibration.
  double p_value;
  // Rows of the map and the mask, those of the image.
  size_t height;
  // Columns of the map and the mask, those of the image.
  size_t width;
  // The anomaly map, row by row: `map[y * width + x]`, higher is more anomalous.
  const float *map;
  // 1 where the map is above the contour, else 0, row by row; all 0 without a threshold.
  const uint8_t *mask;
  // Number of regions.
  size_t n_regions;
  // The places above the contour, the highest peak first; null where there is none.
  const struct FmamRegion *regions;
} FmamVerdict;

// The pixels of an image, 8 bits a channel, row by row from the top.
typedef struct FmamPixels {
  // The first byte of the first row.
  const uint8_t *data;
  // Rows, at least 1.
  size_t height;
  // Pixels of a row, at least 1.
  size_t width;
  // Bytes from the begin of a row to the next; 0 where the rows have no gap.
  size_t stride;
  // `FMAM_RGB`, `FMAM_BGR`, `FMAM_GREY` or `FMAM_RGBA`.
  uint32_t format;
} FmamPixels;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The message of the last call on this thread that did not return `FMAM_STATUS_SUCCESS`; an empty
// text before the first. Never null. It is valid until the next call that fails on this thread.
const char *fmam_last_error(void);

// The version of the library, `0.1.0` say. Never null; valid as long as the library is loaded.
const char *fmam_version(void);

// Frees a verdict and its arrays. A null pointer is nothing to free.
//
// # Safety
// `verdict` is null, or came from `fmam_detector_predict` and was not freed before.
void fmam_verdict_free(struct FmamVerdict *verdict);

// Loads the detector in the folder `path`, which `fmam fit` or `Detector.save` of Python wrote,
// onto the CPU.
//
// `path` is a text in UTF-8 that ends with a zero byte. `threads` compute; 0 is one a core. On
// success `*detector` is the detector, which `fmam_detector_free` frees; on failure it is null.
//
// # Safety
// `path` is null or such a text; `detector` is null or can be written to.
enum FmamStatus fmam_detector_load(const char *path,
                                   size_t threads,
                                   struct FmamDetector **detector);

// Scores an image of any size. The pixels are copied; they are not looked at after the call.
//
// On success `*verdict` is the verdict, which `fmam_verdict_free` frees; on failure it is null.
//
// # Safety
// `detector` is null or came from `fmam_detector_load`; `pixels` is null or describes bytes that
// can be read; `verdict` is null or can be written to.
enum FmamStatus fmam_detector_predict(const struct FmamDetector *detector,
                                      const struct FmamPixels *pixels,
                                      struct FmamVerdict **verdict);

// Frees a detector. A null pointer is nothing to free.
//
// # Safety
// `detector` is null, or came from `fmam_detector_load` and was not freed before; no other thread
// uses it.
void fmam_detector_free(struct FmamDetector *detector);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FMAM_H */
