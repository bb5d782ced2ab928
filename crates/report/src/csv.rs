use std::borrow::Cow;

use fmam_core::RunRecord;

use crate::Report;

const HEADER: [&str; 21] = [
    "dataset",
    "category",
    "method",
    "backbone",
    "seed",
    "image_auroc",
    "pixel_auroc",
    "aupro",
    "image_ap",
    "pixel_ap",
    "image_f1_max",
    "fit_seconds",
    "score_images_per_second",
    "peak_rss_bytes",
    "device",
    "image_height",
    "image_width",
    "n_train",
    "n_test_normal",
    "n_test_anomalous",
    "started_at",
];

impl Report {
    /// The text of `report.csv`: a header and one line for each run, figures as fractions in full precision, a
    /// figure that does not exist as an empty field, quoted as RFC 4180 has it.
    pub fn csv(&self) -> String {
        let mut text = HEADER.join(",") + "\n";
        for run in self.runs() {
            let line: Vec<String> = fields(run).iter().map(|field| quoted(field).into_owned()).collect();
            text.push_str(&line.join(","));
            text.push('\n');
        }
        text
    }
}

fn fields(run: &RunRecord) -> [String; HEADER.len()] {
    let optional = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let metrics = &run.metrics;
    [
        run.dataset.clone(),
        run.category.clone(),
        run.method.clone(),
        run.backbone.clone(),
        run.seed.value().to_string(),
        metrics.image_auroc.to_string(),
        optional(metrics.pixel_auroc),
        optional(metrics.aupro),
        metrics.image_ap.to_string(),
        optional(metrics.pixel_ap),
        metrics.image_f1_max.to_string(),
        run.fit_seconds.to_string(),
        run.score_images_per_second.to_string(),
        run.peak_rss_bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
        run.device.clone(),
        run.image_size.height.to_string(),
        run.image_size.width.to_string(),
        run.n_train.to_string(),
        run.n_test_normal.to_string(),
        run.n_test_anomalous.to_string(),
        run.started_at.to_string(),
    ]
}

fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(field)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::fixture::record;

    #[test]
    fn a_run_is_a_line() {
        let mut odd = record("folder", "left, \"old\"", "nkd", 0);
        odd.metrics.pixel_auroc = None;
        odd.peak_rss_bytes = None;
        expect![[r#"
            dataset,category,method,backbone,seed,image_auroc,pixel_auroc,aupro,image_ap,pixel_ap,image_f1_max,fit_seconds,score_images_per_second,peak_rss_bytes,device,image_height,image_width,n_train,n_test_normal,n_test_anomalous,started_at
            folder,"left, ""old""",nkd,resnet18,0,0.9,,0.875,0.96,0.5,0.925,62.5,31.25,,cpu,256,256,320,41,119,1700000000
            mvtec,screw,rkd,resnet18,0,0.9,0.95,0.875,0.96,0.5,0.925,62.5,31.25,1073741824,cpu,256,256,320,41,119,1700000000
        "#]]
        .assert_eq(&Report::from_records(vec![record("mvtec", "screw", "rkd", 0), odd]).csv());
    }
}
