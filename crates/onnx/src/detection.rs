//! A graph and what its values mean.

use fmam_core::ImageSize;
use fmam_ops::{Graph, ValueId};
use prost::Message;

use crate::OnnxError;
use crate::assembly::{Assembly, Axis, value_name};
use crate::preparation::prepare;
use crate::proto::tensor_proto::DataType;
use crate::proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto};

/// The version of ONNX's intermediate representation that came with version 18 of its operators.
const IR_VERSION: i64 = 8;

/// The version of ONNX's operators: the first whose `Resize` filters before it shrinks.
const OPERATORS: i64 = 18;

/// The images that a file takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InputSize {
    /// Images of any size, which the graph resizes.
    #[default]
    Any,
    /// Images of the detector's size alone, for runtimes whose `Resize` has no antialiasing.
    Fixed,
}

/// A traced detector: from pixels, `[1, 3, height, width]` of values from 0 to 255, to a score and
/// a map.
#[derive(Debug, Clone)]
pub struct Detection {
    /// The operators, of which the input is the pixels.
    pub graph: Graph,
    /// The anomaly score of the image, one element.
    pub score: ValueId,
    /// The score of each pixel, as many elements as `size` has pixels.
    pub map: ValueId,
    /// The size of the pixels and of the map.
    pub size: ImageSize,
    /// The largest score of a good image; `None` for a detector without a threshold.
    pub threshold: Option<f32>,
    /// The images that the file takes.
    pub input: InputSize,
    /// Facts about the detector, under their names.
    pub metadata: Vec<(String, String)>,
    /// The version of the program.
    pub version: String,
}

impl Detection {
    /// The bytes of an ONNX file.
    ///
    /// # Shapes and units
    /// The input of the file is `image`, uint8 `[height, width, 3]`, red first. Its outputs are
    /// `score`, f32 without axes, and `map`, f32 `[size.height, size.width]`; with a threshold also
    /// `threshold`, f32, and `defective`, bool, true where the score is above the threshold or no
    /// number.
    ///
    /// # Errors
    /// [`OnnxError::NoInput`], [`OnnxError::NoPixels`], [`OnnxError::TooLarge`],
    /// [`OnnxError::Constants`].
    pub fn encode(self) -> Result<Vec<u8>, OnnxError> {
        let Self { graph, score, map, size, threshold, input, metadata, version } = self;
        let pixels_value = graph.input().ok_or(OnnxError::NoInput)?;
        if size.pixels() == 0 {
            return Err(OnnxError::NoPixels { size });
        }
        let graph = graph.needed_for(&[score, map]);
        let bytes = graph.constant_bytes();
        if bytes > OnnxError::LARGEST {
            return Err(OnnxError::TooLarge { bytes });
        }
        let mut assembly = Assembly::default();
        assembly.graph.name = Some("fmam".to_owned());
        let pixels = prepare(&mut assembly, size, input);
        graph.constants().iter().try_for_each(|constant| assembly.traced_constant(constant))?;
        for node in graph.nodes() {
            assembly.traced_node(node, pixels_value, &pixels);
        }
        let no_axes = assembly.list("no_axes", &[]);
        assembly.operator("Reshape", &[&value_name(score), &no_axes], "score");
        assembly.output("score", DataType::Float, &[], "The anomaly score of the image.");
        let sides = assembly.list("map_size", &[size.height as i64, size.width as i64]);
        assembly.operator("Reshape", &[&value_name(map), &sides], "map");
        let axes = [Axis::Fixed(size.height), Axis::Fixed(size.width)];
        assembly.output("map", DataType::Float, &axes, "The anomaly score of each pixel.");
        if let Some(threshold) = threshold {
            let limit = assembly.number("limit", threshold);
            assembly.operator("Identity", &[&limit], "threshold");
            assembly.output("threshold", DataType::Float, &[], "The largest score of a good image.");
            let good = assembly.operator("LessOrEqual", &["score", &limit], "good");
            assembly.operator("Not", &[&good], "defective");
            assembly.output("defective", DataType::Bool, &[], "True if the score is above the threshold.");
        }
        let entry = |(key, value)| StringStringEntryProto { key: Some(key), value: Some(value) };
        let model = ModelProto {
            ir_version: Some(IR_VERSION),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(OPERATORS) }],
            producer_name: Some("fmam".to_owned()),
            producer_version: Some(version),
            graph: Some(assembly.graph),
            metadata_props: metadata.into_iter().map(entry).collect(),
            ..ModelProto::default()
        };
        Ok(model.encode_to_vec())
    }
}
