//! From the bytes of an image to the pixels that a graph begins with.

use fmam_core::ImageSize;
use fmam_ops::Attribute;

use crate::assembly::{Assembly, Axis};
use crate::detection::InputSize;
use crate::proto::tensor_proto::DataType;

/// The name of the input.
const IMAGE: &str = "image";

/// Adds the input and its way to `[1, 3, height, width]` values from 0 to 255; gives the name of
/// these.
///
/// The rows are resampled first and rounded to whole levels, then the columns: as the resizing of
/// `fmam-datasets` does it, whose intermediate image has 8 bits.
pub(crate) fn prepare(assembly: &mut Assembly, size: ImageSize, input: InputSize) -> String {
    let axes = match input {
        InputSize::Any => [Axis::Any("height"), Axis::Any("width"), Axis::Fixed(3)],
        InputSize::Fixed => [Axis::Fixed(size.height), Axis::Fixed(size.width), Axis::Fixed(3)],
    };
    let doc = "An image: red, green and blue, from 0 to 255.";
    assembly.input(IMAGE, DataType::Uint8, &axes, doc);
    let to_float = [("to", Attribute::Int(DataType::Float as i64))];
    let values = assembly.operator_with("Cast", &[IMAGE], "image_float", &to_float);
    let order = [("perm", Attribute::Ints(vec![2, 0, 1]))];
    let planes = assembly.operator_with("Transpose", &[&values], "image_planes", &order);
    let batch_axis = assembly.list("batch_axis", &[0]);
    let batch = assembly.operator("Unsqueeze", &[&planes, &batch_axis], "image_batch");
    match input {
        InputSize::Fixed => batch,
        InputSize::Any => {
            let half = assembly.number("half", 0.5);
            let rows = resample(assembly, &batch, "rows", (2, size.height), &half);
            resample(assembly, &rows, "columns", (3, size.width), &half)
        }
    }
}

/// Resamples `x` along one axis to `length` and rounds to whole levels, halves upwards.
fn resample(
    assembly: &mut Assembly,
    x: &str,
    what: &str,
    (axis, length): (i64, usize),
    half: &str,
) -> String {
    let sizes = assembly.list(&format!("{what}_size"), &[length as i64]);
    let attributes = [
        ("mode", Attribute::Text("linear")),
        ("coordinate_transformation_mode", Attribute::Text("half_pixel")),
        ("antialias", Attribute::Int(1)),
        ("axes", Attribute::Ints(vec![axis])),
    ];
    let inputs = [x, "", "", &sizes];
    let resized = assembly.operator_with("Resize", &inputs, &format!("{what}_resized"), &attributes);
    let raised = assembly.operator("Add", &[&resized, half], &format!("{what}_raised"));
    assembly.operator("Floor", &[&raised], what)
}
