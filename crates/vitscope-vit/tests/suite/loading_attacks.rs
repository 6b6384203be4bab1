//! Files made to harm: each must be refused with a sentence, quickly and in little memory.
use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use vitscope_testkit::fixture;
use vitscope_vit::{
    checkpoint::Checkpoint,
    error::VitError,
    identify::{Family, Format, Settle},
};

const PATIENCE: Duration = Duration::from_secs(5);

fn settle() -> Settle {
    Settle {
        family: Some(Family::Dino),
        format: Some(Format::Official),
        heads: Some(2),
        ..Settle::default()
    }
}

/// What this thread has computed for, where the system tells (Linux); elsewhere the time of day, which other
/// work on the machine moves, too.
fn clock() -> Duration {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|told| told.split(' ').next()?.parse().ok());
    nanos.map_or_else(
        || BEGUN.get_or_init(Instant::now).elapsed(),
        Duration::from_nanos,
    )
}

/// Opens bytes as a file and reads the weights; neither may panic or take long.
fn read(name: &str, bytes: &[u8]) -> Result<(), VitError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    // All of it on one thread, whose time is counted.
    let one = rayon::ThreadPoolBuilder::new().num_threads(1);
    let (result, took) = one.build().unwrap().install(|| {
        let start = clock();
        let result = Checkpoint::open(&path, &settle()).and_then(|checkpoint| checkpoint.params());
        (result, clock() - start)
    });
    assert!(took < PATIENCE, "{name} took {took:?}");
    result.map(|_| ())
}

/// Leaves the attack in the folder that `VITSCOPE_ATTACKS` names, so that it can be tried on the
/// whole program: named after its refusal, and with its own ending.
fn keep(name: &str, bytes: &[u8], reason: &str) {
    let Some(folder) = std::env::var_os("VITSCOPE_ATTACKS") else {
        return;
    };
    let words: String = reason
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .take(60)
        .collect();
    let path = (0..)
        .map(|number| Path::new(&folder).join(format!("{words}-{number}-{name}")))
        .find(|path| !path.exists())
        .unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[track_caller]
fn refused(name: &str, bytes: &[u8], reason: &str) {
    keep(name, bytes, reason);
    let error = read(name, bytes).expect_err("was accepted");
    let message = error.to_string();
    assert!(message.contains(reason), "{message:?} lacks {reason:?}");
    assert!(message.len() < 2500, "a message of {} bytes", message.len());
}

/// One entry of a zip archive, with whatever it claims.
#[derive(Clone)]
struct Entry {
    name: String,
    data: Vec<u8>,
    method: u16,
    size: u64,
    flags: u16,
    at: Option<u32>,
}

fn entry(name: &str, data: impl Into<Vec<u8>>) -> Entry {
    let data = data.into();
    Entry {
        name: name.to_owned(),
        size: data.len() as u64,
        data,
        method: 0,
        flags: 0,
        at: None,
    }
}

fn deflated(name: &str, data: &[u8]) -> Entry {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    Entry {
        method: 8,
        size: data.len() as u64,
        ..entry(name, encoder.finish().unwrap())
    }
}

fn zip(entries: &[Entry]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut index = Vec::new();
    for entry in entries {
        let at = entry.at.unwrap_or(file.len() as u32);
        let mut common = Vec::new();
        common.extend(20u16.to_le_bytes());
        common.extend(entry.flags.to_le_bytes());
        common.extend(entry.method.to_le_bytes());
        common.extend([0; 8]);
        common.extend((entry.data.len() as u32).to_le_bytes());
        common.extend((entry.size as u32).to_le_bytes());
        common.extend((entry.name.len() as u16).to_le_bytes());
        common.extend(0u16.to_le_bytes());
        if entry.at.is_none() {
            file.extend(b"PK\x03\x04");
            file.extend(&common);
            file.extend(entry.name.as_bytes());
            file.extend(&entry.data);
        }
        index.extend(b"PK\x01\x02\x14\x00");
        index.extend(&common);
        index.extend([0; 10]);
        index.extend(at.to_le_bytes());
        index.extend(entry.name.as_bytes());
    }
    let (start, length) = (file.len() as u32, index.len() as u32);
    file.extend(index);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend((entries.len() as u16).to_le_bytes());
    file.extend((entries.len() as u16).to_le_bytes());
    file.extend(length.to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}

fn torch(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let mut entries = vec![entry("a/data.pkl", pickle)];
    for (key, data) in storages {
        entries.push(entry(&format!("a/data/{key}"), *data));
    }
    zip(&entries)
}

fn text(value: &str) -> Vec<u8> {
    let mut out = b"X".to_vec();
    out.extend((value.len() as u32).to_le_bytes());
    out.extend(value.as_bytes());
    out
}

fn integer(value: i64) -> Vec<u8> {
    let mut out = b"\x8a\x08".to_vec();
    out.extend(value.to_le_bytes());
    out
}

fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
}

/// A tensor of f32 in storage `key` of `count` elements.
fn tensor(key: &str, count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let storage = tuple(&[
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text(key),
        text("cpu"),
        integer(count),
    ]);
    let numbers = |values: &[i64]| tuple(&values.iter().map(|&v| integer(v)).collect::<Vec<_>>());
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(),
        tuple(&[
            [storage, b"Q".to_vec()].concat(),
            integer(offset),
            numbers(shape),
            numbers(strides),
            b"\x89".to_vec(),
            b"N".to_vec(),
        ]),
        b"R".to_vec(),
    ]
    .concat()
}

fn dictionary(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"\x80\x02}(".to_vec();
    for (name, value) in entries {
        out.extend(text(name));
        out.extend(value);
    }
    out.extend(b"u.");
    out
}

fn one_tensor(value: Vec<u8>) -> Vec<u8> {
    torch(&dictionary(&[("x".to_owned(), value)]), &[("0", &[0; 64])])
}

#[test]
fn pickles_that_would_run_code() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("ran");
    let command = text(&format!("touch {}", marker.display()));
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("builtins", "__import__"),
        ("__builtin__", "eval"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.hub", "load"),
        ("torch.serialization", "load"),
        ("torch", "load"),
        ("torch.jit", "load"),
        ("numpy", "load"),
        ("numpy.testing._private.utils", "runstring"),
        ("runpy", "_run_code"),
        ("importlib", "import_module"),
        ("collections", "OrderedDict.__class__"),
        ("__torch__.evil", "Module"),
        ("", ""),
    ] {
        let calls = [
            // GLOBAL and REDUCE.
            [
                b"\x80\x02c".to_vec(),
                format!("{module}\n{name}\n").into_bytes(),
                command.clone(),
                b"\x85R.".to_vec(),
            ]
            .concat(),
            // STACK_GLOBAL and NEWOBJ.
            [
                b"\x80\x04".to_vec(),
                text(module),
                text(name),
                b"\x93".to_vec(),
                command.clone(),
                b"\x85\x81.".to_vec(),
            ]
            .concat(),
            // Hidden as the state of an allowed object.
            [
                b"\x80\x02cargparse\nNamespace\n)\x81}".to_vec(),
                text("x"),
                b"c".to_vec(),
                format!("{module}\n{name}\n").into_bytes(),
                command.clone(),
                b"\x85Rsb.".to_vec(),
            ]
            .concat(),
        ];
        for call in calls {
            refused(
                "evil.pth",
                &torch(&call, &[]),
                "a weights file does not need",
            );
        }
        // INST and OBJ name a class and call it in one instruction.
        let inst = [
            b"\x80\x02(".to_vec(),
            command.clone(),
            format!("i{module}\n{name}\n.").into_bytes(),
        ]
        .concat();
        refused("evil.pth", &torch(&inst, &[]), "weights do not need");
        // In a legacy stream, behind its magic number.
        let legacy = [
            b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec(),
            b"\x80\x02c".to_vec(),
            format!("{module}\n{name}\n").into_bytes(),
            command.clone(),
            b"\x85R.".to_vec(),
        ]
        .concat();
        refused("evil.pt", &legacy, "a weights file does not need");
    }
    assert!(!marker.exists());
}

#[test]
fn calling_what_is_not_callable() {
    for call in [
        &b"\x80\x02X\x01\0\0\0a)R."[..],
        b"\x80\x02}}R.",
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"\x80\x02ctorch\nFloatStorage\n)\x81.",
        b"\x80\x02ccopy_reg\n_reconstructor\n)R.",
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n}\x85R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02ccollections\nOrderedDict\n]]a\x85R.",
        b"\x80\x02)Q.",
        b"\x80\x02P0\n.",
        b"\x80\x02\x82\x01.",
    ] {
        assert!(read("x.pth", &torch(call, &[])).is_err());
    }
}

#[test]
fn tensors_outside_their_storage() {
    for (value, reason) in [
        (
            tensor("0", 1 << 40, 0, &[1 << 40], &[1]),
            "the file has 64 bytes",
        ),
        (tensor("0", 16, 0, &[17], &[1]), "of a storage of 16"),
        (tensor("0", 16, 15, &[2], &[1]), "of a storage of 16"),
        (tensor("0", 16, 0, &[4, 4], &[8, 1]), "of a storage of 16"),
        (tensor("0", 16, i64::MAX, &[2], &[1]), "of a storage of 16"),
        (tensor("0", 16, -1, &[2], &[1]), "in an unknown way"),
        (tensor("0", 16, 0, &[-2], &[1]), "in an unknown way"),
        (tensor("0", 16, 0, &[2], &[-1]), "in an unknown way"),
        (tensor("0", -16, 0, &[2], &[1]), "in an unknown way"),
        (tensor("0", 16, 0, &[2, 2], &[1]), "of a storage of 16"),
        (
            tensor("0", 16, 0, &[i64::MAX, i64::MAX], &[0, 0]),
            "of a storage of 16",
        ),
        (tensor("0", 16, 0, &[1 << 30], &[0]), "of a storage of 16"),
        (
            tensor("0", 16, 0, &[2, 2], &[i64::MAX, i64::MAX]),
            "of a storage of 16",
        ),
        (
            tensor("0", i64::MAX, 0, &[1 << 50], &[1]),
            "the file has 64 bytes",
        ),
        (tensor("9", 16, 0, &[2], &[1]), "which the file lacks"),
        (
            tensor("../../etc/passwd", 16, 0, &[2], &[1]),
            "which the file lacks",
        ),
    ] {
        refused("x.pth", &one_tensor(value), reason);
    }
}

/// A well-formed DINO of many blocks whose tensors all lie in one storage.
fn shared_storage(blocks: usize) -> Vec<u8> {
    let d = 64i64;
    let all = |shape: &[i64]| {
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        tensor("0", 4 * d * d, 0, shape, &strides)
    };
    let mut entries = vec![
        ("cls_token".to_owned(), all(&[1, 1, d])),
        ("pos_embed".to_owned(), all(&[1, 5, d])),
        ("patch_embed.proj.weight".to_owned(), all(&[d, 3, 2, 2])),
        ("patch_embed.proj.bias".to_owned(), all(&[d])),
        ("norm.weight".to_owned(), all(&[d])),
        ("norm.bias".to_owned(), all(&[d])),
    ];
    for block in 0..blocks {
        for (name, shape) in [
            ("norm1.weight", vec![d]),
            ("norm1.bias", vec![d]),
            ("attn.qkv.weight", vec![3 * d, d]),
            ("attn.qkv.bias", vec![3 * d]),
            ("attn.proj.weight", vec![d, d]),
            ("attn.proj.bias", vec![d]),
            ("norm2.weight", vec![d]),
            ("norm2.bias", vec![d]),
            ("mlp.fc1.weight", vec![4 * d, d]),
            ("mlp.fc1.bias", vec![4 * d]),
            ("mlp.fc2.weight", vec![d, 4 * d]),
            ("mlp.fc2.bias", vec![d]),
        ] {
            entries.push((format!("blocks.{block}.{name}"), all(&shape)));
        }
    }
    let bytes = vec![0; (4 * d * d * 4) as usize];
    torch(&dictionary(&entries), &[("0", &bytes)])
}

#[test]
fn tensors_that_share_one_storage() {
    refused("x.pth", &shared_storage(200), "so they overlap");
}

#[test]
fn nesting_and_repetition() {
    let many = 1_500_000;
    let deep_tuples = [b"\x80\x02)".to_vec(), vec![0x85; many], b".".to_vec()].concat();
    refused(
        "x.pth",
        &torch(&deep_tuples, &[]),
        "something other than a dictionary",
    );
    let deep_marks = [b"\x80\x02".to_vec(), vec![b'('; 3_000_000], b".".to_vec()].concat();
    refused("x.pth", &torch(&deep_marks, &[]), "nested too deeply");
    let wide = [b"\x80\x02".to_vec(), vec![b']'; 3_000_000], b".".to_vec()].concat();
    refused(
        "x.pth",
        &torch(&wide, &[]),
        "more values than any checkpoint",
    );
    let stack = [b"\x80\x02N".to_vec(), vec![b'2'; 3_000_000], b".".to_vec()].concat();
    refused("x.pth", &torch(&stack, &[]), "too many values at once");
    let mut memo = b"\x80\x02N".to_vec();
    for slot in 0..2_100_000u32 {
        memo.push(b'r');
        memo.extend(slot.to_le_bytes());
    }
    memo.push(b'.');
    refused("x.pth", &torch(&memo, &[]), "remembers more values");

    // A dictionary that is its own entry.
    refused(
        "x.pth",
        &torch(b"\x80\x02}q\0X\x01\0\0\0ah\0s.", &[]),
        "nested too deeply",
    );
    // Thirty lists, each holding the one before twice: a billion paths.
    let mut doubling = b"\x80\x02}X\x01\0\0\0a]q\0".to_vec();
    for level in 1..30u8 {
        doubling.extend([
            b'0',
            b']',
            b'q',
            level,
            b'(',
            b'h',
            level - 1,
            b'h',
            level - 1,
            b'e',
        ]);
    }
    doubling.extend(b"s.");
    refused(
        "x.pth",
        &torch(&doubling, &[]),
        "refer to each other too often",
    );
    // Nested deeper than followed, but without a cycle.
    let mut nested = b"\x80\x02}".to_vec();
    for _ in 0..100_000 {
        nested.extend(b"X\x01\0\0\0a}");
    }
    nested.extend(vec![b's'; 100_000]);
    nested.push(b'.');
    refused("x.pth", &torch(&nested, &[]), "nested too deeply");
}

#[test]
fn small_pickles_that_repeat_large_values() {
    let repeated = |start: &[u8], again: &[u8], times: usize| {
        let pickle = [start, &again.repeat(times), b"."].concat();
        torch(&pickle, &[])
    };
    let dictionary = [
        b"\x80\x02ccollections\nOrderedDict\nq\0".to_vec(),
        b"(".to_vec(),
        b"N".repeat(1_000_000),
        b"dq\x01".to_vec(),
    ]
    .concat();
    // A dictionary copied again and again.
    let copies = repeated(&dictionary, b"h\0h\x01\x85R0", 500_000);
    refused("x.pth", &copies, "more values than any checkpoint");
    // A long tuple passed to a harmless name again and again, and a list of which tuples are made.
    let arguments = [
        b"\x80\x02cnumpy\ndtype\nq\0".to_vec(),
        b"(".to_vec(),
        b"N".repeat(1_000_000),
        b"tq\x01".to_vec(),
    ]
    .concat();
    assert!(read("x.pth", &repeated(&arguments, b"h\0h\x01R0", 2_000_000)).is_err());
    // A long text as the key of many storages, and as a name.
    let long = "x".repeat(1_000_000);
    let key = [
        b"\x80\x02ctorch\nFloatStorage\nq\0".to_vec(),
        text(&long),
        b"q\x01".to_vec(),
        text("storage"),
        b"q\x02".to_vec(),
    ]
    .concat();
    refused(
        "x.pth",
        &repeated(&key, b"(h\x02h\0h\x01NK\x01tQ0", 500_000),
        "in an unknown way",
    );
    let name = [
        b"\x80\x04".to_vec(),
        text(&format!("__torch__.{long}")),
        b"q\x01".to_vec(),
    ]
    .concat();
    refused(
        "x.pth",
        &repeated(&name, b"h\x01h\x01\x930", 500_000),
        "absurd length",
    );
    // A long shape.
    let shape = [
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\0(".to_vec(),
        b"K\x01".repeat(1_000_000),
        b"tq\x01".to_vec(),
        tuple(&[
            text("storage"),
            b"ctorch\nFloatStorage\n".to_vec(),
            text("0"),
            text("cpu"),
            integer(4),
        ]),
        b"Qq\x02".to_vec(),
    ]
    .concat();
    refused(
        "x.pth",
        &repeated(&shape, b"h\0(h\x02K\0h\x01h\x01tR0", 500_000),
        "in an unknown way",
    );
    // Many root entries that each lead to the same large tree.
    let tree = [
        b"\x80\x02]q\0(".to_vec(),
        b"]".repeat(50_000),
        b"e}(".to_vec(),
    ]
    .concat();
    let roots = [tree, b"Nh\0".repeat(50_000), b"u.".to_vec()].concat();
    refused(
        "x.pth",
        &torch(&roots, &[]),
        "refer to each other too often",
    );
    // Many names for one tensor.
    let one = [
        b"\x80\x02".to_vec(),
        tensor("0", 16, 0, &[16], &[1]),
        b"q\0}(".to_vec(),
    ]
    .concat();
    let names = [one, b"Nh\0".repeat(400_000), b"u.".to_vec()].concat();
    refused(
        "x.pth",
        &torch(&names, &[("0", &[0; 64])]),
        "more than any checkpoint",
    );
}

#[test]
fn malformed_instructions() {
    for pickle in [
        &b""[..],
        b".",
        b"\x80",
        b"\x80\x09.",
        b"\x80\x02",
        b"\x80\x02X\xff\xff\xff\xff",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff}.",
        b"\x80\x02\x8b\xff\xff\xff\xff.",
        b"\x80\x02s.",
        b"\x80\x02t.",
        b"\x80\x02(}0000.",
        b"\x80\x02(\x85.",
        b"\x80\x02}(Nu.",
        b"\x80\x02h\x07.",
        b"\x80\x02j\xff\xff\xff\xff.",
        b"\x80\x02gxyz\n.",
        b"\x80\x02c\xff\xfe\nx\n.",
        b"\x80\x02cos",
        b"\x80\x02}.trailing",
        b"\x80\x02}.",
        b"\x80\x02N.",
    ] {
        assert!(read("x.pth", &torch(pickle, &[])).is_err(), "{pickle:?}");
    }
}

#[test]
fn archives_that_lie() {
    let pickle = dictionary(&[("x".to_owned(), tensor("0", 16, 0, &[16], &[1]))]);
    let good = [
        entry("a/data.pkl", pickle.clone()),
        entry("a/data/0", [0; 64]),
    ];
    let with = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = good.to_vec();
        change(&mut entries);
        zip(&entries)
    };
    // The archive itself is sound; only its tensors are no backbone.
    refused("x.pth", &with(&|_| {}), "fits no known Vision Transformer");
    for name in ["../a", "/etc/passwd", "a/../../b", "a\\b", "C:x", "a\0b"] {
        refused(
            "x.pth",
            &with(&|e| e.push(entry(name, [1]))),
            "not a plain relative path",
        );
    }
    refused("x.pth", &with(&|e| e.push(e[1].clone())), "is there twice");
    refused("x.pth", &with(&|e| e[1].flags = 1), "is encrypted");
    refused(
        "x.pth",
        &with(&|e| e[1].method = 14),
        "compressed by method 14",
    );
    refused(
        "x.pth",
        &with(&|e| e[1].size = 1 << 31),
        "is stored in 64 bytes but claims",
    );
    refused(
        "x.pth",
        &with(&|e| e[1] = deflated("a/data/0", &[0; 64])),
        "is compressed, as PyTorch never writes it",
    );
    // Two index entries over the same bytes: the overlapping bomb.
    refused(
        "x.pth",
        &with(&|e| {
            let mut second = e[0].clone();
            second.at = Some(0);
            second.name = "a/data.pk2".to_owned();
            e.push(second);
        }),
        "is not where its zip index says",
    );
    refused(
        "x.pth",
        &with(&|e| e[1].at = Some(u32::MAX - 1)),
        "beyond the end of the file",
    );
    let whole = with(&|_| {});
    refused("x.pth", &whole[..whole.len() - 30], "without its index");
    refused("x.pth", &whole[..60], "without its index");
    refused(
        "x.pth",
        &zip(&[entry("readme", *b"hello")]),
        "neither a data.pkl nor .npy arrays",
    );
    refused(
        "x.pth",
        &zip(&[entry("a/data.pkl", pickle), entry("a/byteorder", *b"big")]),
        "big-endian",
    );
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

#[test]
fn arrays_that_lie() {
    for (array, reason) in [
        (
            npy("<f4", "(1000000000000,)", &[0; 4]),
            "but its entry holds",
        ),
        (
            npy("<f4", "(99999999999, 99999999999)", &[0; 4]),
            "too large to address",
        ),
        (
            npy("<f4", "(99999999999999999999999,)", &[0; 4]),
            "cannot be understood",
        ),
        (npy("<f4", "(-1,)", &[0; 4]), "cannot be understood"),
        (npy("<f4", "(1", &[0; 4]), "cannot be understood"),
        (
            npy("|O", "(1,)", b"\x80\x02cos\nsystem\n."),
            "cannot be understood",
        ),
        (npy("<f4", "(2,)", &[0; 4]), "but its entry holds"),
        (b"\x93NUMPY\x01\x00\xff\xff".to_vec(), "is not a .npy array"),
        (b"not an array".to_vec(), "is not a .npy array"),
    ] {
        refused("x.npz", &zip(&[entry("cls.npy", array)]), reason);
    }
    // Forty megabytes of zeros in forty kilobytes.
    let bomb = deflated("cls.npy", &npy("<f4", "(10000000,)", &vec![0; 40_000_000]));
    refused("x.npz", &zip(&[bomb]), "as weights never do");
    // Many entries, each under the limit.
    let small = npy("<f4", "(4000000,)", &vec![0; 16_000_000]);
    let one = deflated("0.npy", &small);
    let many: Vec<Entry> = (0..40)
        .map(|i| Entry {
            name: format!("{i}.npy"),
            ..one.clone()
        })
        .collect();
    refused("x.npz", &zip(&many), "as weights never do");
    // Claims more than it inflates to.
    let mut short = deflated("cls.npy", &npy("<f4", "(4,)", &[0; 16]));
    short.size += 4;
    assert!(read("x.npz", &zip(&[short])).is_err());
}

fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend(vec![0; data]);
    out
}

#[test]
fn safetensors_that_lie() {
    for (file, reason) in [
        (
            safetensors(
                r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#,
                8,
            ),
            "cut short",
        ),
        (
            safetensors(
                r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#,
                24,
            ),
            "followed by other data",
        ),
        (
            safetensors(
                r#"{"a":{"dtype":"F32","shape":[5],"data_offsets":[0,16]}}"#,
                16,
            ),
            "header is wrong",
        ),
        (
            safetensors(
                r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#,
                16,
            ),
            "header is wrong",
        ),
        (
            safetensors(
                r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,16]}}"#,
                16,
            ),
            "header is wrong",
        ),
        (
            safetensors(
                r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[18446744073709551600,18446744073709551615]}}"#,
                16,
            ),
            "header is wrong",
        ),
        (safetensors("{}", 0), "none of its 0 tensors"),
        (safetensors("{]", 0), "header is wrong"),
        (safetensors(&"{\"a\":".repeat(10_000), 0), "header is wrong"),
        (
            [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
            "known container",
        ),
        (
            [&90_000_000u64.to_le_bytes()[..], b"{}"].concat(),
            "header claims 90000000 bytes",
        ),
    ] {
        refused("x.safetensors", &file, reason);
    }
}

#[test]
fn legacy_streams_that_lie() {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    let stream = |root: &[u8], keys: &[u8], data: &[u8]| {
        [
            &magic[..],
            b"\x80\x02M\xe9\x03.",
            b"\x80\x02}.",
            root,
            keys,
            data,
        ]
        .concat()
    };
    let root = dictionary(&[("x".to_owned(), tensor("0", 16, 0, &[16], &[1]))]);
    let keys = [b"\x80\x02]".to_vec(), text("0"), b"a.".to_vec()].concat();
    let count = |n: u64, bytes: usize| [n.to_le_bytes().to_vec(), vec![0; bytes]].concat();
    refused(
        "x.pth",
        &stream(&root, &keys, &count(16, 64)),
        "fits no known",
    );
    refused(
        "x.pth",
        &stream(&root, &keys, &count(u64::MAX, 64)),
        "beyond the end",
    );
    refused(
        "x.pth",
        &stream(&root, &keys, &count(1 << 61, 64)),
        "beyond the end",
    );
    refused(
        "x.pth",
        &stream(&root, &keys, &count(16, 60)),
        "beyond the end",
    );
    refused(
        "x.pth",
        &stream(&root, &keys, &count(15, 60)),
        "the file has 60 bytes",
    );
    refused(
        "x.pth",
        &stream(&root, &keys, b"1234"),
        "ends before its last storage",
    );
    refused(
        "x.pth",
        &stream(&root, b"\x80\x02].", &[]),
        "which the file lacks",
    );
    let other = [b"\x80\x02]".to_vec(), text("7"), b"a.".to_vec()].concat();
    refused(
        "x.pth",
        &stream(&root, &other, &[]),
        "to which no tensor refers",
    );
    refused(
        "x.pth",
        &[&magic[..], b"\x80\x02K\x01."].concat(),
        "format version",
    );
    refused("x.pth", &magic[..], "ends too early");
}

#[test]
fn files_of_another_kind() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, reason) in [
        (Vec::new(), "it is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\n".to_vec(),
            "Git LFS pointer",
        ),
        (b"<!DOCTYPE html><html>".to_vec(), "web page"),
        (tar, "tar archive"),
        (b"\x1f\x8b\x08".to_vec(), "gzip"),
        (b"\x80\x02}.".to_vec(), "bare pickle"),
        (b"\x00\x01\x02".to_vec(), "begins with the bytes 00 01 02"),
    ] {
        refused("x.pth", &bytes, reason);
    }
}

fn sources() -> Vec<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    vec![
        data.join("legacy.pth"),
        data.join("modern.pth"),
        data.join("clip_script.pt"),
        data.join("legacy.safetensors"),
        fixture("supervised-timm/augreg.npz"),
    ]
}

#[test]
fn truncated_files() {
    for source in sources() {
        let bytes = std::fs::read(&source).unwrap();
        let name = source.file_name().unwrap().to_string_lossy().into_owned();
        let step = (bytes.len() / 300).max(1);
        for length in (0..bytes.len()).step_by(step) {
            assert!(
                read(&name, &bytes[..length]).is_err(),
                "{name} cut to {length}"
            );
        }
    }
}

#[test]
fn changed_bytes_never_panic() {
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for source in sources() {
        let bytes = std::fs::read(&source).unwrap();
        let name = source.file_name().unwrap().to_string_lossy().into_owned();
        for _ in 0..400 {
            let mut changed = bytes.clone();
            for _ in 0..1 + random(4) {
                // Half of the changes near either end, where the indexes are.
                let span = if random(2) == 0 {
                    bytes.len()
                } else {
                    2000.min(bytes.len())
                };
                let at = random(span);
                let at = if random(2) == 0 {
                    at
                } else {
                    bytes.len() - 1 - at
                };
                changed[at] = [0, 1, 0x7f, 0x80, 0xff, random(256) as u8][random(6)];
            }
            // Whether it is refused depends on the byte; that it ends without a panic does not.
            drop(read(&name, &changed));
        }
    }
}

#[test]
fn config_files_that_lie() {
    let source = fixture("dinov2-transformers");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        source.join("model.safetensors"),
        folder.path().join("model.safetensors"),
    )
    .unwrap();
    for (config, reason) in [
        ("[".repeat(100_000), "is not JSON"),
        (
            r#"{"model_type":"dinov2","num_attention_heads":0}"#.to_owned(),
            "not a multiple",
        ),
        (
            r#"{"model_type":"dinov2","num_attention_heads":5}"#.to_owned(),
            "not a multiple",
        ),
        (
            r#"{"model_type":"dinov2","num_attention_heads":2,"hidden_act":"mish"}"#.to_owned(),
            "gives the activation mish",
        ),
    ] {
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let message = Checkpoint::open(folder.path(), &Settle::default())
            .unwrap_err()
            .to_string();
        assert!(message.contains(reason), "{message}");
    }
}

/// What files beside weights say of images and activations is done or refused, never passed over.
#[test]
fn config_files_that_say_what_is_not_done_here() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("model.safetensors");
    std::fs::copy(fixture("dinov2-transformers/model.safetensors"), &weights).unwrap();
    let config = r#"{"model_type":"dinov2","num_attention_heads":2}"#;
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let open = || Checkpoint::open(folder.path(), &Settle::default());
    for (said, reason) in [
        (r#"{"do_flip_channel_order":true}"#, "do_flip_channel_order"),
        (r#"{"rescale_factor":0.00784,"offset":true}"#, "offset"),
        (
            r#"{"image_mean":[0,0,0],"image_std":[0,0,0]}"#,
            "above zero",
        ),
        (
            r#"{"image_mean":[0.5,0.5],"image_std":[1,1,1]}"#,
            "image_mean",
        ),
    ] {
        std::fs::write(folder.path().join("preprocessor_config.json"), said).unwrap();
        let message = open().unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
    std::fs::remove_file(folder.path().join("preprocessor_config.json")).unwrap();
    let processor = r#"{"image_processor":{"image_mean":[0.1,0.2,0.3],"image_std":[0.4,0.5,0.6]}}"#;
    std::fs::write(folder.path().join("processor_config.json"), processor).unwrap();
    assert_eq!(open().unwrap().identity().mean, [0.1, 0.2, 0.3]);
}
