//! The file that a small graph becomes, and the types of the format.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use candle_core::{DType, Device, Tensor};
use fmam_core::ImageSize;
use fmam_onnx::{Detection, InputSize, OnnxError};
use fmam_ops::{Graph, Trace, traced};

/// The mean of the channels as a map, its peak as the score.
fn brightness(threshold: Option<f32>, input: InputSize) -> Detection {
    let trace = Trace::new();
    let pixels = Tensor::zeros((1, 3, 4, 6), DType::F32, &Device::Cpu).unwrap();
    let pixels = trace.input(&pixels).unwrap();
    let map = traced::mean(&pixels, &[1]).unwrap();
    let score = traced::max_all(&map).unwrap();
    // Nothing reads this one: it stays out of the file.
    traced::exp(&score).unwrap();
    Detection {
        score: trace.value(&score).unwrap(),
        map: trace.value(&map).unwrap(),
        graph: trace.graph(),
        size: ImageSize::new(4, 6),
        threshold,
        input,
        metadata: vec![("method".to_owned(), "brightness".to_owned())],
        version: "1.2.3".to_owned(),
    }
}

/// A message of the format, decoded by a reader that knows its schema and none of our types.
fn decoded(bytes: &[u8]) -> prost_reflect::DynamicMessage {
    let schema = protox::compile(["onnx.proto"], ["proto"]).unwrap();
    let pool = prost_reflect::DescriptorPool::from_file_descriptor_set(schema).unwrap();
    let model = pool.get_message_by_name("onnx.ModelProto").unwrap();
    prost_reflect::DynamicMessage::decode(model, bytes).unwrap()
}

/// The text of a field of `message`.
fn text(message: &prost_reflect::DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).unwrap().as_str().unwrap().to_owned()
}

/// The messages of a repeated field of `message`.
fn all(message: &prost_reflect::DynamicMessage, field: &str) -> Vec<prost_reflect::DynamicMessage> {
    let list = message.get_field_by_name(field).unwrap();
    list.as_list().unwrap().iter().map(|value| value.as_message().unwrap().clone()).collect()
}

fn names(messages: &[prost_reflect::DynamicMessage], field: &str) -> Vec<String> {
    messages.iter().map(|message| text(message, field)).collect()
}

#[test]
fn the_types_are_those_of_the_schema() {
    let folder = tempfile::tempdir().unwrap();
    let schema = protox::compile(["onnx.proto"], ["proto"]).unwrap();
    prost_build::Config::new().out_dir(folder.path()).compile_fds(schema).unwrap();
    let generated = std::fs::read_to_string(folder.path().join("onnx.rs")).unwrap();
    let kept = std::fs::read_to_string("src/proto.rs").unwrap();
    assert!(kept == generated, "write what prost-build makes of proto/onnx.proto to src/proto.rs");
}

#[test]
fn a_file_has_every_value_that_it_reads() {
    for (threshold, input) in [(Some(9.0), InputSize::Any), (None, InputSize::Fixed)] {
        let model = decoded(&brightness(threshold, input).encode().unwrap());
        assert_eq!(text(&model, "producer_version"), "1.2.3");
        assert_eq!(names(&all(&model, "metadata_props"), "value"), ["brightness"]);
        let operators = all(&model, "opset_import");
        assert_eq!(operators[0].get_field_by_name("version").unwrap().as_i64(), Some(18));
        let graph = model.get_field_by_name("graph").unwrap().as_message().unwrap().clone();
        let mut known: Vec<String> = names(&all(&graph, "initializer"), "name");
        known.extend(names(&all(&graph, "input"), "name"));
        let mut operators = Vec::new();
        for node in all(&graph, "node") {
            for input in node.get_field_by_name("input").unwrap().as_list().unwrap() {
                let input = input.as_str().unwrap();
                assert!(known.iter().any(|name| name == input), "{input} is read before it is made");
            }
            for output in node.get_field_by_name("output").unwrap().as_list().unwrap() {
                let output = output.as_str().unwrap().to_owned();
                assert!(!known.contains(&output), "{output} is made twice");
                known.push(output);
            }
            operators.push(text(&node, "op_type"));
        }
        let outputs = names(&all(&graph, "output"), "name");
        assert!(outputs.iter().all(|output| known.contains(output)));
        let expected = ["score", "map", "threshold", "defective"];
        assert_eq!(outputs, expected[..if threshold.is_some() { 4 } else { 2 }]);
        assert!(!operators.contains(&"Exp".to_owned()), "what nothing reads stays out");
        assert_eq!(operators.contains(&"Range".to_owned()), input == InputSize::Any);
    }
}

#[test]
fn a_graph_that_cannot_be_a_file_is_refused() {
    let no_input = Detection { graph: Graph::default(), ..brightness(None, InputSize::Any) };
    assert!(matches!(no_input.encode(), Err(OnnxError::NoInput)));
    let empty = Detection { size: ImageSize::new(0, 4), ..brightness(None, InputSize::Any) };
    assert!(matches!(empty.encode(), Err(OnnxError::NoPixels { .. })));
}
