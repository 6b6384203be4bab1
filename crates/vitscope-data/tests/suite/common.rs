//! Small files and directories for the tests.

use std::fs;
use std::path::Path;

use vitscope_data::{DataError, DataSet};

/// Writes a PNG of the given coding from its packed bytes.
pub fn write_png(
    path: &Path,
    (width, height): (u32, u32),
    (color, depth): (png::ColorType, png::BitDepth),
    data: &[u8],
) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == png::ColorType::Indexed {
        // A palette whose colors are far from its indices, so that mixing them up shows.
        let colors: Vec<u8> = (0..1usize << depth as u8)
            .flat_map(|i| [255 - i as u8, 7, 9])
            .collect();
        encoder.set_palette(colors);
    }
    encoder
        .write_header()
        .unwrap()
        .write_image_data(data)
        .unwrap();
}

/// An 8-bit RGB image of one color.
pub fn write_image(path: &Path, (width, height): (u32, u32)) {
    let data = [10, 200, 30].repeat((width * height) as usize);
    write_png(
        path,
        (width, height),
        (png::ColorType::Rgb, png::BitDepth::Eight),
        &data,
    );
}

/// An 8-bit grey mask that is `id` everywhere.
pub fn write_mask(path: &Path, (width, height): (u32, u32), id: u8) {
    let data = vec![id; (width * height) as usize];
    write_png(
        path,
        (width, height),
        (png::ColorType::Grayscale, png::BitDepth::Eight),
        &data,
    );
}

/// Opens a set of a named kind.
pub fn open(kind: &str, root: &Path) -> Result<DataSet, DataError> {
    DataSet::open(&format!("{kind}:{}", root.display()))
}

/// The message of an error, checked to be one sentence.
pub fn message<T: std::fmt::Debug>(result: Result<T, DataError>) -> String {
    let message = result.unwrap_err().to_string();
    assert!(
        !message.contains('\n') && !message.ends_with('.'),
        "{message}"
    );
    message
}

/// The names of items.
pub fn names(items: &[vitscope_data::Item]) -> Vec<&str> {
    items.iter().map(|item| item.name.as_str()).collect()
}
