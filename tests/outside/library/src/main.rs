//! Fits a detector to pixels in memory, and scores a good and a bad image.

use fmam::{Fit, ImageSize, RgbImage, Session};

fn main() -> Result<(), fmam::Error> {
    let session = Session::new()?;
    let part = |shade: u8| RgbImage::from_fn(ImageSize::square(64), |y, x| [shade, y as u8, x as u8]);
    let fit = Fit::new().method("padim").backbone("tiny").image_size(64);
    let detector = session.fit((0..8).map(|n| part(100 + n)), &fit)?;
    let mut scratched = part(104);
    (10..50).for_each(|x| scratched.set_pixel(30, x, [255, 255, 255]));
    let scores = session
        .predict(&detector, [part(104), scratched])
        .map(|verdict| Ok(verdict?.prediction.image_score))
        .collect::<Result<Vec<_>, fmam::Error>>()?;
    assert!(scores[1] > scores[0], "{scores:?}");
    println!("a good part scores {}, a scratched one {}", scores[0], scores[1]);
    Ok(())
}
