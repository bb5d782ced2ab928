//! The metrics alone, on scores of another program.

use fmam_metrics::{FPR_LIMIT, MetricError, Ranking, pixel_metrics};

fn main() -> Result<(), MetricError> {
    let (scores, labels) = ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]);
    let ranking = Ranking::new(&scores, &labels)?;
    let maps = [vec![0.1, 0.2, 0.9, 0.1], vec![0.1, 0.1, 0.2, 0.4]];
    let masks = [vec![0, 0, 1, 0], vec![0; 4]];
    let pixels = pixel_metrics(maps.iter().zip(&masks), 2, 2, FPR_LIMIT)?;
    println!("image AUROC {:.2}, pixel AUROC {:.2}", ranking.auroc(), pixels.auroc);
    assert_eq!((ranking.auroc(), pixels.auroc), (0.75, 1.0));
    Ok(())
}
