//! No file makes a decoder ask for more memory than its picture needs, whatever it says beside the
//! picture: compressed profiles and texts, and segments that claim a length.

#![expect(
    unsafe_code,
    reason = "an allocator that counts is unsafe by its trait"
)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use vitscope_data::{DataSet, Geometry};

/// The system's allocator, which counts what is held and the most that was.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
/// Tests take turns, so that each counts its own memory.
static TURN: Mutex<()> = Mutex::new(());

// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as this call's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as this call's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What side data would unpack to, and the most that reading a picture of 40 x 30 may take: its
/// pixels many times over, and tables of the decoders.
const BOMB: usize = 256 << 20;
const ALLOWED: usize = 8 << 20;

/// Zeros, deflated.
fn bomb() -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let block = vec![0; 1 << 20];
    for _ in 0..BOMB >> 20 {
        encoder.write_all(&block).unwrap();
    }
    encoder.finish().unwrap()
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A chunk of a PNG.
fn chunk(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    let content = [kind.as_slice(), payload].concat();
    let length = (payload.len() as u32).to_be_bytes();
    [length.as_slice(), &content, &crc(&content).to_be_bytes()].concat()
}

/// A grey PNG with a chunk before its pixels.
fn png_with(chunk: &[u8]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::GrayImage::from_fn(40, 30, |x, _| image::Luma([(x / 20) as u8]));
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    let bytes = bytes.into_inner();
    // After the signature and the header.
    let (before, after) = bytes.split_at(8 + 25);
    [before, chunk, after].concat()
}

/// Reads a file as an image, or as image and mask, and tells the most memory that was held meanwhile
/// and whether it was read.
fn reading(name: &str, bytes: &[u8], as_mask: bool) -> (usize, bool) {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, bytes: &[u8]| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    if as_mask {
        write("images/a.png", &png_with(&[]));
        write("masks/a.png", bytes);
    } else {
        write(&format!("images/{name}"), bytes);
    }
    measure(folder.path())
}

fn measure(root: &Path) -> (usize, bool) {
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let read = DataSet::open(root.to_str().unwrap()).is_ok_and(|set| {
        let (item, geometry) = (&set.test[0], Geometry { size: 16 });
        let examined = set.examine(item, &geometry);
        set.image(item, &geometry).is_ok()
            && set.label(item, &geometry).is_ok()
            && examined.problems.is_empty()
    });
    (MOST.load(Ordering::Relaxed) - before, read)
}

#[test]
fn compressed_side_data_stays_compressed() {
    let _turn = TURN.lock().unwrap();
    let bomb = bomb();
    let chunks = [
        (
            "iCCP",
            chunk(b"iCCP", &[b"profile\0\0".as_slice(), &bomb].concat()),
        ),
        (
            "zTXt",
            chunk(b"zTXt", &[b"Comment\0\0".as_slice(), &bomb].concat()),
        ),
        (
            "iTXt",
            chunk(
                b"iTXt",
                &[b"Comment\0\x01\0\0\0".as_slice(), &bomb].concat(),
            ),
        ),
        (
            "eXIf",
            chunk(b"eXIf", &[b"MM\0*\0\0\0\x08".as_slice(), &bomb].concat()),
        ),
        (
            "tEXt",
            chunk(b"tEXt", &[b"Comment\0".as_slice(), &bomb].concat()),
        ),
        ("unknown", chunk(b"zzZz", &bomb)),
    ];
    for (name, chunk) in chunks {
        let bytes = png_with(&chunk);
        for as_mask in [false, true] {
            let (most, read) = reading("a.png", &bytes, as_mask);
            assert!(read, "{name} {as_mask}");
            assert!(
                most < ALLOWED + 8 * bytes.len(),
                "{name} {as_mask}: {most} bytes"
            );
        }
    }
}

#[test]
fn rows_that_are_too_long_for_the_picture_are_left() {
    let _turn = TURN.lock().unwrap();
    // The pixels of a picture of 40 x 30, and 256 MB more.
    let bytes = png_with(&[]);
    let at = bytes
        .windows(4)
        .position(|window| window == b"IDAT")
        .unwrap()
        - 4;
    let bytes = [&bytes[..at], &chunk(b"IDAT", &bomb()), &chunk(b"IEND", b"")].concat();
    for as_mask in [false, true] {
        let (most, _) = reading("a.png", &bytes, as_mask);
        assert!(most < ALLOWED + 8 * bytes.len(), "{as_mask}: {most} bytes");
    }
}

#[test]
fn claimed_lengths_are_not_believed() {
    let _turn = TURN.lock().unwrap();
    let picture = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, 9]));
    let encoded = |format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    // JPEG: segments of profiles and of extended XMP say how much more there is.
    let jpeg = encoded(image::ImageFormat::Jpeg);
    let segment = |marker: u8, payload: &[u8]| {
        let length = (payload.len() as u16 + 2).to_be_bytes();
        let segment = [&[0xff, marker], length.as_slice(), payload].concat();
        [&jpeg[..2], &segment, &jpeg[2..]].concat()
    };
    let xmp = [
        b"http://ns.adobe.com/xmp/extension/\0".as_slice(),
        &[b'A'; 32],
        &[255; 4],
        &[0; 4],
    ]
    .concat();
    let mut cases = vec![
        ("a.jpg", segment(0xe2, b"ICC_PROFILE\0\x01\xffxx"), true),
        ("a.jpg", segment(0xe1, &xmp), true),
        (
            "a.jpg",
            segment(0xed, b"Photoshop 3.0\x008BIM\xff\xff\xff\xff"),
            true,
        ),
        (
            "a.jpg",
            segment(0xe1, b"Exif\0\0MM\0*\xff\xff\xff\xff"),
            true,
        ),
        ("a.jpg", segment(0xfe, &[b'c'; 60_000]), true),
    ];
    // WebP: chunks that claim 4 GB.
    let webp = encoded(image::ImageFormat::WebP);
    for kind in [b"ICCP", b"EXIF", b"XMP "] {
        let header = [
            b"VP8X\x0a\0\0\0".as_slice(),
            &[0x2c, 0, 0, 0, 39, 0, 0, 29, 0, 0],
        ]
        .concat();
        let claim = [kind.as_slice(), &[0xf0, 0xff, 0xff, 0xff]].concat();
        let head = [b"RIFF\xf0\xff\xff\xffWEBP".as_slice(), &header].concat();
        cases.push((
            "a.webp",
            [head.as_slice(), &claim, &webp[12..]].concat(),
            false,
        ));
        cases.push((
            "a.webp",
            [head.as_slice(), &webp[12..], &claim].concat(),
            false,
        ));
    }
    // BMP: a profile's place and length in the last form of its header.
    let mut bmp = encoded(image::ImageFormat::Bmp);
    let pixels = bmp.split_off(54);
    bmp[14] = 124;
    bmp[10] = (14 + 124) as u8;
    let mut more = vec![0; 124 - 40];
    more[124 - 40 - 12..].copy_from_slice(&[16, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]);
    cases.push(("a.bmp", [bmp, more, pixels].concat(), true));
    for (index, (name, bytes, readable)) in cases.into_iter().enumerate() {
        let (most, read) = reading(name, &bytes, false);
        assert!(most < ALLOWED, "{index} {name}: {most} bytes");
        assert_eq!(read, readable, "{index} {name}");
    }
}
