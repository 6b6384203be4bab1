//! Streams give what was asked for, in order, whatever the number of threads.

use std::fs;

use crate::common::{message, open, write_image, write_png};
use vitscope_data::{DataError, DataSet, Geometry, Sample, Split, stream};

/// Twelve images, each of its own grey, with masks.
fn set(root: &std::path::Path) -> DataSet {
    for index in 0..12u8 {
        let grey = (png::ColorType::Grayscale, png::BitDepth::Eight);
        let size = (40 + u32::from(index), 37);
        let pixels = vec![index * 20; (size.0 * size.1) as usize];
        write_png(
            &root.join(format!("images/{index:02}.png")),
            size,
            grey,
            &pixels,
        );
        let ids = vec![index; pixels.len()];
        write_png(
            &root.join(format!("masks/{index:02}.png")),
            size,
            grey,
            &ids,
        );
    }
    open("folder", root).unwrap()
}

const GEOMETRY: Geometry = Geometry { size: 16 };

fn collect(set: &DataSet, order: &[usize], look_ahead: usize, threads: usize) -> Vec<Sample> {
    let stream = stream(set, Split::Test, order, GEOMETRY, true, look_ahead, threads);
    assert_eq!(stream.size_hint(), (order.len(), Some(order.len())));
    stream.map(Result::unwrap).collect()
}

#[test]
fn samples_come_in_the_order_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let set = set(folder.path());
    let order = [11, 0, 5, 5, 3, 11, 7, 1, 2, 4, 6, 8, 9, 10];
    let one = collect(&set, &order, 1, 1);
    assert_eq!(
        one.iter().map(|sample| sample.index).collect::<Vec<_>>(),
        order
    );
    for sample in &one {
        let item = &set.test[sample.index];
        assert_eq!(sample.image, set.image(item, &GEOMETRY).unwrap());
        assert_eq!(sample.label, set.label(item, &GEOMETRY).unwrap());
        assert_eq!(sample.image.pixels[0], sample.index as u8 * 20);
    }
    for (look_ahead, threads) in [(0, 0), (2, 3), (100, 5), (3, 16)] {
        assert_eq!(collect(&set, &order, look_ahead, threads), one);
    }
    let plain = stream(
        &set,
        Split::Train,
        [4usize].as_slice(),
        GEOMETRY,
        false,
        4,
        2,
    )
    .next();
    assert!(plain.unwrap().unwrap().label.is_none());
    assert!(
        stream(&set, Split::Train, [], GEOMETRY, false, 4, 2)
            .next()
            .is_none()
    );
}

#[test]
fn an_error_stands_in_its_images_place() {
    let folder = tempfile::tempdir().unwrap();
    let set = set(folder.path());
    fs::write(folder.path().join("images/03.png"), b"").unwrap();
    let order: Vec<usize> = vec![2, 3, 99, 4];
    let results: Vec<Result<Sample, DataError>> =
        stream(&set, Split::Test, order, GEOMETRY, true, 2, 2).collect();
    assert_eq!(results.len(), 4);
    assert_eq!(results[0].as_ref().unwrap().index, 2);
    assert_eq!(results[3].as_ref().unwrap().index, 4);
    let mut results = results.into_iter().skip(1);
    assert!(message(results.next().unwrap()).contains("03.png is empty"));
    assert!(message(results.next().unwrap()).contains("below 12"));
}

#[test]
fn a_dropped_stream_ends_its_threads() {
    let folder = tempfile::tempdir().unwrap();
    let set = set(folder.path());
    let order: Vec<usize> = (0..12).cycle().take(10_000).collect();
    let mut stream = stream(&set, Split::Test, order, GEOMETRY, true, 4, 3);
    assert!(stream.next().is_some());
    // Dropping joins the threads: were they not stopped, they would decode 10,000 images first.
    drop(stream);
    write_image(&folder.path().join("images/00.png"), (40, 37));
}

#[test]
fn streams_can_cross_threads() {
    fn sendable<T: Send + 'static>() {}
    sendable::<vitscope_data::ImageStream>();
}
