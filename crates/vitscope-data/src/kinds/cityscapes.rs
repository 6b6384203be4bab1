//! Cityscapes with 27 classes: label ids 7 to 33, everything else ignored.

use std::path::Path;

use crate::contents::{Contents, classes};
use crate::error::DataError;
use crate::findings::Findings;
use crate::labels::{IdTable, LabelTable};
use crate::listing::{self, Item};

pub(super) const CLASSES: [(&str, [u8; 3]); 27] = [
    ("road", [128, 64, 128]),
    ("sidewalk", [244, 35, 232]),
    ("parking", [250, 170, 160]),
    ("rail track", [230, 150, 140]),
    ("building", [70, 70, 70]),
    ("wall", [102, 102, 156]),
    ("fence", [190, 153, 153]),
    ("guard rail", [180, 165, 180]),
    ("bridge", [150, 100, 100]),
    ("tunnel", [150, 120, 90]),
    ("pole", [153, 153, 153]),
    ("polegroup", [153, 153, 153]),
    ("traffic light", [250, 170, 30]),
    ("traffic sign", [220, 220, 0]),
    ("vegetation", [107, 142, 35]),
    ("terrain", [152, 251, 152]),
    ("sky", [70, 130, 180]),
    ("person", [220, 20, 60]),
    ("rider", [255, 0, 0]),
    ("car", [0, 0, 142]),
    ("truck", [0, 0, 70]),
    ("bus", [0, 60, 100]),
    ("caravan", [0, 0, 90]),
    ("trailer", [0, 0, 110]),
    ("train", [0, 80, 100]),
    ("motorcycle", [0, 0, 230]),
    ("bicycle", [119, 11, 32]),
];

/// The first label id that is a class; those below are void.
const FIRST_CLASS: u16 = 7;

const IMAGE_SUFFIX: &str = "_leftImg8bit";
const MASK_SUFFIX: &str = "_gtFine_labelIds";

pub(super) fn open(root: &Path, findings: &mut Findings) -> Result<Contents, DataError> {
    let train = split(root, "train", findings);
    let train = findings.or_nothing(train)?;
    let test = split(root, "val", findings);
    let test = findings.or_nothing(test)?;
    let ids = (FIRST_CLASS..).zip(0u8..27);
    let table = LabelTable::Ids(IdTable::new("cityscapes27", ids, [], true));
    Ok(Contents {
        classes: classes(&CLASSES),
        table,
        train,
        test,
    })
}

/// The frames of all cities of a split, cities and frames in bytewise order.
fn split(root: &Path, name: &str, findings: &mut Findings) -> Result<Vec<Item>, DataError> {
    let images = root.join("leftImg8bit").join(name);
    let masks = root.join("gtFine").join(name);
    listing::need_directory(&images, &format!("the cities of cityscapes' {name} split"))?;
    listing::need_directory(&masks, &format!("the masks of cityscapes' {name} split"))?;
    let mut items = Vec::new();
    for city in listing::directories_in(&images)? {
        let masks = masks.join(city.file_name().unwrap_or_default());
        for image in listing::images_in(&city, findings)? {
            let stem = listing::stem(&image);
            let Some(frame) = stem.strip_suffix(IMAGE_SUFFIX) else {
                let problem = format!(
                    "is no frame of cityscapes, expected a name that ends in {IMAGE_SUFFIX}.png"
                );
                let error = DataError::layout(&image, problem, "rename or remove the file");
                findings.problem(error)?;
                continue;
            };
            let mask = masks.join(format!("{frame}{MASK_SUFFIX}.png"));
            let name = frame.to_owned();
            let mask = if mask.is_file() {
                Some(mask)
            } else {
                findings.problem(DataError::NoMask {
                    image: image.clone(),
                    expected: mask,
                })?;
                None
            };
            items.push(Item { name, image, mask });
        }
    }
    if items.is_empty() {
        let problem = "holds no cities with frames, expected CITY/*_leftImg8bit.png";
        return Err(DataError::layout(
            &images,
            problem,
            "unpack leftImg8bit_trainvaltest.zip there",
        ));
    }
    Ok(items)
}
