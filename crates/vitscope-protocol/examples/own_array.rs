//! The whole protocol on an array of one's own.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use ndarray::{Array3, Array4, Axis, s};
use vitscope_protocol::{Protocol, ProtocolError};

fn main() -> Result<(), ProtocolError> {
    // 40 images of 6 x 6 patches with 16 numbers each, and classes for 8 x 8 pixels a patch: stripes of
    // three classes, whose place changes from image to image.
    let class = |image: usize, row: usize| (row + image) / 2 % 3;
    let embeddings = Array4::from_shape_fn((40, 6, 6, 16), |(image, row, column, d)| {
        let noise = ((image * 97 + row * 31 + column * 17 + d * 7) as f32).sin();
        f32::from(d % 3 == class(image, row)) + 0.3 * noise
    });
    let truth = Array3::from_shape_fn((40, 48, 48), |(i, y, _)| class(i, y / 8) as u8);
    let (train, test) = embeddings.view().split_at(Axis(0), 30);

    let protocol = Protocol::new(3).steps(200).batch(10).seed(0).check()?;
    let probe = protocol.fit(&train)?;
    let scores = probe.evaluate(&test, &truth.slice(s![30.., .., ..]))?;

    let quality = scores.quality.expect("there is ground truth");
    println!("mIoU {:.3}", quality.miou.expect("there are classes"));
    println!("positional effect (NMI) {:.3?}", scores.positional.nmi);
    assert!(quality.accuracy > Some(0.9));
    Ok(())
}
