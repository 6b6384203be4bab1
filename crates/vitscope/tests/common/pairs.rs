//! Pairs made of drawn photographs by known warps, in SPair-71k's layout.

use std::path::Path;

use image::{DynamicImage, GenericImageView, imageops::FilterType};
use serde_json::json;
use vitscope_study::correspond::{CorrespondRequest, CorrespondSettings};
use vitscope_testkit::scenes;

/// A photograph of the set and the place of a point of the original in it.
pub struct Warp {
    pub name: &'static str,
    make: fn(&DynamicImage) -> DynamicImage,
    pub place: fn([i64; 2], [i64; 2]) -> [i64; 2],
}

/// The original, itself once more, mirrored, and at another size and shape.
pub const WARPS: [Warp; 4] = [
    Warp {
        name: "original",
        make: |image| image.clone(),
        place: |at, _| at,
    },
    Warp {
        name: "copy",
        make: |image| image.clone(),
        place: |at, _| at,
    },
    Warp {
        name: "mirrored",
        make: DynamicImage::fliph,
        place: |[x, y], [width, _]| [width - 1 - x, y],
    },
    Warp {
        name: "squeezed",
        make: |image| image.resize_exact(200, 260, FilterType::Triangle),
        place: |[x, y], [width, height]| [(2 * x + 1) * 100 / width, (2 * y + 1) * 130 / height],
    },
];

pub const CATEGORIES: [&str; 2] = ["bird", "train"];

/// Pairs of the original with every other version, for two photographs as two categories.
pub fn make_set(root: &Path) {
    let mut list = String::new();
    let pairs = root.join("PairAnnotation/test");
    std::fs::create_dir_all(&pairs).unwrap();
    for (category, path) in CATEGORIES.iter().zip(["0000.png", "0001.png"]) {
        let folder = root.join("JPEGImages").join(category);
        std::fs::create_dir_all(&folder).unwrap();
        let image = image::open(scenes::photographs().join(path)).unwrap();
        let size = [i64::from(image.width()), i64::from(image.height())];
        let points: Vec<[i64; 2]> = (1..5)
            .flat_map(|i| (1..4).map(move |j| [size[0] * i / 5 + j, size[1] * j / 4 - i]))
            .collect();
        for (number, warp) in WARPS.iter().enumerate() {
            let made = (warp.make)(&image);
            let file = folder.join(format!("{}.jpg", warp.name));
            // Lossless, whatever the name says: the same pixels for everyone.
            made.save_with_format(file, image::ImageFormat::Png)
                .unwrap();
            if number == 0 {
                continue;
            }
            let (width, height) = made.dimensions();
            let moved: Vec<_> = points.iter().map(|&at| (warp.place)(at, size)).collect();
            let ids: Vec<String> = (0..points.len()).map(|id| id.to_string()).collect();
            let pair = json!({
                "src_imname": "original.jpg", "trg_imname": format!("{}.jpg", warp.name),
                "src_imsize": [size[0], size[1], 3], "trg_imsize": [width, height, 3],
                "src_bndbox": [0, 0, size[0] - 1, size[1] - 1],
                "trg_bndbox": [0, 0, width / 2, height / 3],
                "category": category, "src_kps": points, "trg_kps": moved, "kps_ids": ids,
            });
            let stem = format!(
                "{:06}-original-{}:{category}",
                list.lines().count(),
                warp.name
            );
            std::fs::write(pairs.join(format!("{stem}.json")), pair.to_string()).unwrap();
            list += &format!("{stem}\n");
        }
    }
    let layout = root.join("Layout/large");
    std::fs::create_dir_all(&layout).unwrap();
    std::fs::write(layout.join("test.txt"), list).unwrap();
}

/// What is asked of a run over such a set, at the checkpoint's size.
pub fn request(set: &Path, out: &Path) -> CorrespondRequest {
    CorrespondRequest {
        model: super::checkpoint(),
        settle: super::settled(),
        data: format!("spair71k:{}", set.display()),
        out: Some(out.to_owned()),
        settings: CorrespondSettings {
            size: 64,
            ..CorrespondSettings::default()
        },
        resume: false,
    }
}
