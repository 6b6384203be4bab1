//! Scenes for `tools/demo_models`, packed: `cargo run --release -p vitscope-demo --example scenes -- OUT.npy
//! train|validation COUNT` writes `[COUNT, 128, 128, 3]` bytes, and the masks `[COUNT, 128, 128]` beside
//! them in `OUT.masks.npy`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rayon::prelude::*;
use vitscope_demo::{SIDE, Scene, SceneSplit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [out, split, count] = args.as_slice() else {
        return Err("expected OUT.npy train|validation COUNT".into());
    };
    let out = Path::new(out);
    let split = match split.as_str() {
        "train" => SceneSplit::Train,
        "validation" => SceneSplit::Validation,
        _ => return Err("expected train or validation".into()),
    };
    let count: usize = count.parse()?;
    let mut images = array(out, &[count, SIDE, SIDE, 3])?;
    let mut masks = array(&out.with_extension("masks.npy"), &[count, SIDE, SIDE])?;
    for start in (0..count).step_by(256) {
        let pictures: Vec<_> = (start..count.min(start + 256))
            .into_par_iter()
            .map(|index| Scene::new(0, split, index as u64, 0.0).picture())
            .collect();
        for picture in pictures {
            images.write_all(&picture.rgb)?;
            masks.write_all(&picture.mask)?;
        }
    }
    images.flush()?;
    masks.flush()?;
    Ok(())
}

/// A NumPy file of bytes, up to its data.
fn array(path: &Path, shape: &[usize]) -> std::io::Result<BufWriter<File>> {
    let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let shape = shape.join(", ");
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(header.len() as u16).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    Ok(file)
}
