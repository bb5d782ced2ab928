//! From the bytes of an image to the pixels that a graph begins with.
//!
//! The standard's `Resize` is not used. What it does when it shrinks depends on the runtime:
//! OpenVINO leaves the antialiasing out, ONNX Runtime is off by up to four levels at borders. A
//! detector that learnt from filtered images scores unfiltered ones otherwise. The weights of the
//! filter are computed in the graph from the size of the image, and an axis is resampled by a
//! product of matrices, which every runtime computes alike.

use fmam_core::ImageSize;
use fmam_ops::Attribute;

use crate::assembly::{Assembly, Axis};
use crate::proto::tensor_proto::DataType;

/// The name of the input.
const IMAGE: &str = "image";

/// Weights of the filter are whole numbers below this power of two: the resizing of `fmam-datasets`
/// computes with 16 bits.
const WEIGHT_BITS: i32 = 15;

/// The largest power of two by which a weight is scaled.
const MAX_SCALE_BITS: f32 = 21.0;

/// The images that a file takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InputSize {
    /// Images of any size, which the graph resizes.
    #[default]
    Any,
    /// Images of the detector's size alone, for images of many megapixels that a program shrinks
    /// faster.
    Fixed,
}

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
    if input == InputSize::Fixed {
        return batch;
    }
    let shape = assembly.operator("Shape", &[IMAGE], "image_shape");
    let filter = Filter::shared(assembly);
    let (rows, unit) = filter.weights(assembly, &shape, "rows", 0, size.height);
    let sums = assembly.operator("MatMul", &[&rows, &batch], "rows_sums");
    let batch = filter.levels(assembly, &sums, &unit, "rows");
    let (columns, unit) = filter.weights(assembly, &shape, "columns", 1, size.width);
    let swapped = [("perm", Attribute::Ints(vec![1, 0]))];
    let columns = assembly.operator_with("Transpose", &[&columns], "columns_swapped", &swapped);
    let sums = assembly.operator("MatMul", &[&batch, &columns], "columns_sums");
    filter.levels(assembly, &sums, &unit, "columns")
}

/// The names of the constants that both axes need.
struct Filter {
    zero: String,
    one: String,
    two: String,
    real_one: String,
    real_two: String,
    half: String,
    log_two: String,
    /// The value at which a scaled weight rounds to its bound.
    bound: String,
    largest: String,
    row_axis: String,
}

impl Filter {
    fn shared(assembly: &mut Assembly) -> Self {
        Self {
            zero: assembly.whole("zero", 0),
            one: assembly.whole("one", 1),
            two: assembly.whole("two", 2),
            real_one: assembly.number("real_one", 1.0),
            real_two: assembly.number("real_two", 2.0),
            half: assembly.number("half", 0.5),
            log_two: assembly.number("log_two", std::f32::consts::LN_2),
            bound: assembly.number("weight_bound", (1 << WEIGHT_BITS) as f32 - 0.5),
            largest: assembly.number("largest_scale", MAX_SCALE_BITS),
            row_axis: assembly.list("row_axis", &[1]),
        }
    }

    /// The weights of each pixel of one axis of the image for each of `length` pixels,
    /// `[length, pixels]`: whole multiples of one over the second value. A triangle about the
    /// centre of the pixel, as wide as two pixels of the coarser grid on either side.
    fn weights(
        &self,
        assembly: &mut Assembly,
        shape: &str,
        what: &str,
        axis: i64,
        length: usize,
    ) -> (String, String) {
        let name = |part: &str| format!("{what}_{part}");
        let index = assembly.whole(&name("axis"), axis);
        let pixels = assembly.operator("Gather", &[shape, &index], &name("pixels"));
        let to = assembly.whole(&name("length"), length as i64);
        // The centres in units of half a pixel times the other length: whole numbers.
        let places = assembly.operator("Range", &[&self.zero, &pixels, &self.one], &name("places"));
        let doubled = assembly.operator("Mul", &[&places, &self.two], &name("doubled"));
        let odd = assembly.operator("Add", &[&doubled, &self.one], &name("odd"));
        let from = assembly.operator("Mul", &[&odd, &to], &name("from"));
        let centres: Vec<i64> = (0..length as i64).map(|place| 2 * place + 1).collect();
        let centres = assembly.column(&name("centres"), &centres);
        let centres = assembly.operator("Mul", &[&centres, &pixels], &name("scaled_centres"));
        let away = assembly.operator("Sub", &[&from, &centres], &name("away"));
        let longer = assembly.operator("Max", &[&pixels, &to], &name("longer"));
        let width = assembly.operator("Mul", &[&longer, &self.two], &name("width"));
        let real = [("to", Attribute::Int(DataType::Float as i64))];
        let away = assembly.operator_with("Cast", &[&away], &name("real_away"), &real);
        let width = assembly.operator_with("Cast", &[&width], &name("real_width"), &real);
        let away = assembly.operator("Abs", &[&away], &name("distance"));
        let share = assembly.operator("Div", &[&away, &width], &name("share"));
        let slope = assembly.operator("Sub", &[&self.real_one, &share], &name("slope"));
        let triangle = assembly.operator("Relu", &[&slope], &name("triangle"));
        let sum = assembly.operator("ReduceSum", &[&triangle, &self.row_axis], &name("weight_sum"));
        let weights = assembly.operator("Div", &[&triangle, &sum], &name("weights"));
        // The largest power of two by which the weights stay below their bound.
        let all = [("keepdims", Attribute::Int(0))];
        let most = assembly.operator_with("ReduceMax", &[&weights], &name("largest"), &all);
        let ratio = assembly.operator("Div", &[&self.bound, &most], &name("ratio"));
        let log = assembly.operator("Log", &[&ratio], &name("log"));
        let bits = assembly.operator("Div", &[&log, &self.log_two], &name("bits"));
        let bits = assembly.operator("Ceil", &[&bits], &name("whole_bits"));
        let bits = assembly.operator("Sub", &[&bits, &self.real_one], &name("fitting_bits"));
        let bits = assembly.operator("Min", &[&bits, &self.largest], &name("scale_bits"));
        let power = assembly.operator("Pow", &[&self.real_two, &bits], &name("power"));
        let unit = self.rounded(assembly, &power, &name("unit"));
        let scaled = assembly.operator("Mul", &[&weights, &unit], &name("scaled_weights"));
        (self.rounded(assembly, &scaled, &name("whole_weights")), unit)
    }

    /// `sums` in units of one over `unit` as whole levels.
    fn levels(&self, assembly: &mut Assembly, sums: &str, unit: &str, what: &str) -> String {
        let levels = assembly.operator("Div", &[sums, unit], &format!("{what}_levels"));
        self.rounded(assembly, &levels, what)
    }

    /// `x` rounded to whole numbers, halves upwards.
    fn rounded(&self, assembly: &mut Assembly, x: &str, name: &str) -> String {
        let raised = assembly.operator("Add", &[x, &self.half], &format!("{name}_raised"));
        assembly.operator("Floor", &[&raised], name)
    }
}
