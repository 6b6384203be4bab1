//! The 27 coarse classes of COCO-Stuff, and which of them each fine class is.

/// Food and furniture occur among the things and among the stuff, so every name says which.
pub(crate) const CLASSES: [(&str, [u8; 3]); 27] = [
    ("electronic-things", [0, 0, 0]),
    ("appliance-things", [128, 0, 0]),
    ("food-things", [0, 128, 0]),
    ("furniture-things", [128, 128, 0]),
    ("indoor-things", [0, 0, 128]),
    ("kitchen-things", [128, 0, 128]),
    ("accessory-things", [0, 128, 128]),
    ("animal-things", [128, 128, 128]),
    ("outdoor-things", [64, 0, 0]),
    ("person-things", [192, 0, 0]),
    ("sports-things", [64, 128, 0]),
    ("vehicle-things", [192, 128, 0]),
    ("ceiling-stuff", [64, 0, 128]),
    ("floor-stuff", [192, 0, 128]),
    ("food-stuff", [64, 128, 128]),
    ("furniture-stuff", [192, 128, 128]),
    ("rawmaterial-stuff", [0, 64, 0]),
    ("textile-stuff", [128, 64, 0]),
    ("wall-stuff", [0, 192, 0]),
    ("window-stuff", [128, 192, 0]),
    ("building-stuff", [0, 64, 128]),
    ("ground-stuff", [128, 64, 128]),
    ("plant-stuff", [0, 192, 128]),
    ("sky-stuff", [128, 192, 128]),
    ("solid-stuff", [64, 64, 0]),
    ("structural-stuff", [192, 64, 0]),
    ("water-stuff", [64, 192, 0]),
];

/// The coarse class of each pixel value.
#[rustfmt::skip]
pub(crate) const FINE_TO_COARSE: [u8; 182] = [
    9, 11, 11, 11, 11, 11, 11, 11, 11, 8, 8, 8, 8, 8, 8, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6,
    6, 6, 6, 6, 6, 6, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 5, 5, 5, 5, 5, 5, 5, 5, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 4,
    4, 4, 4, 4, 4, 4, 4, 17, 17, 22, 20, 20, 22, 15, 25, 16, 13, 12, 12, 17, 17, 23, 15, 15,
    17, 15, 21, 15, 25, 13, 13, 13, 13, 13, 22, 26, 14, 14, 15, 22, 21, 21, 24, 20, 22, 15,
    17, 16, 15, 22, 24, 21, 17, 25, 16, 21, 17, 22, 16, 21, 21, 25, 21, 26, 21, 24, 20, 17,
    14, 21, 26, 15, 23, 20, 21, 24, 15, 24, 22, 25, 15, 20, 17, 17, 22, 14, 18, 18, 18, 18,
    18, 18, 18, 26, 26, 19, 19, 24,
];
