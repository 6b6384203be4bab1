//! Decodes images at their own size to PPM files, and says how long decoding and cropping take.
//!
//!     cargo run --release -p vitscope-data --example decode -- OUT FILE...
//!
//! `tools/geometry/decoder_difference.py` compares the PPM files with Pillow's decoding.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use vitscope_data::resize::{RgbImage, pil_resize};
use vitscope_data::{Geometry, RgbCrop};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let out = arguments
        .next()
        .ok_or("give an output directory and image files")?;
    for (index, path) in arguments.enumerate() {
        let image = RgbImage::open(&path)?;
        let (width, height) = (image.width(), image.height());
        let mut ppm = format!("P6\n{width} {height}\n255\n").into_bytes();
        ppm.extend_from_slice(image.pixels());
        fs::write(out.join(format!("{index}.ppm")), ppm)?;
        let geometry = Geometry { size: 320 };
        let whole = geometry.place(width, height);
        let decode = best(|| RgbImage::open(&path));
        let resize = best(|| pil_resize(&image, whole.width, whole.height));
        let crop = best(|| RgbImage::open(&path).map(|image| RgbCrop::of(&image, &geometry)));
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (decode, resize, crop) = (ms(decode), ms(resize), ms(crop));
        let name = path.display();
        #[expect(clippy::print_stdout, reason = "the result of an example program")]
        {
            println!(
                "{name} {width}x{height} decode {decode:.3} resize {resize:.3} file-to-crop {crop:.3} ms"
            );
        }
    }
    Ok(())
}

/// The shortest of a few runs.
fn best<T>(run: impl Fn() -> T) -> Duration {
    let time = || {
        let start = Instant::now();
        std::hint::black_box(run());
        start.elapsed()
    };
    (0..9).map(|_| time()).min().unwrap_or(Duration::MAX)
}
