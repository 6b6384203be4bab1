//! Files written by PyTorch: zip archives, TorchScript archives, and the older pickle streams.

use std::collections::HashMap;

use super::{
    archive::ArchiveEntry,
    contents::{Container, ContainerKind},
    elements::is_row_major,
    file::DataFile,
    pickle::{LENGTH_LIMIT, Pickle, PickleValue, Refusal, StorageRef, TENSOR_LIMIT},
    tensor::{StoredTensor, TensorPlace},
};
use crate::error::{VitError, shortened};

/// The magic number with which `torch.save` began before PyTorch 1.6, as pickled.
const LEGACY_MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Whether a file begins as PyTorch wrote it before 1.6.
pub(super) fn is_legacy(head: &[u8]) -> bool {
    after_magic(head).is_some()
}

/// The length of the pickled magic number at the start of a legacy file.
fn after_magic(head: &[u8]) -> Option<usize> {
    let &[0x80, 2..=5, ref rest @ ..] = head else {
        return None;
    };
    // Protocol 4 and later put the value in a frame of stated length.
    let rest = match rest {
        [0x95, framed @ ..] => framed.get(8..)?,
        plain => plain,
    };
    let rest = rest.strip_prefix(LEGACY_MAGIC)?;
    Some(head.len() - rest.len())
}

/// Where a storage's elements are: first byte and length in bytes.
type StoragePlaces = HashMap<String, (u64, u64)>;

/// Lists the tensors of a zip archive written by `torch.save` or `torch.jit.save`.
pub(super) fn open_zip(file: DataFile, entries: Vec<ArchiveEntry>) -> Result<Container, VitError> {
    // The archive's own folder is named after the file it was first saved to.
    let Some((folder, index)) = entries
        .iter()
        .filter_map(|entry| Some((entry.name.strip_suffix("data.pkl")?, entry)))
        .find(|(folder, _)| folder.is_empty() || folder.matches('/').count() == 1)
    else {
        return Err(VitError::UnknownContainer {
            path: file.path.clone(),
            found: other_zip(&entries),
        });
    };
    let named = |name: &str| {
        entries
            .iter()
            .find(|entry| entry.name.strip_prefix(folder) == Some(name))
    };
    if let Some(order) = named("byteorder")
        && order.read(&file, 64)? != b"little"
    {
        return Err(
            file.unusable("it was written on a big-endian machine: save it again on this one")
        );
    }
    let script = named("constants.pkl").is_some();
    let bytes = index.read(&file, LENGTH_LIMIT)?;
    let (pickle, root, length) =
        Pickle::read(&bytes, script).map_err(|refusal| refused(&file, refusal))?;
    if length != bytes.len() {
        return Err(file.damaged("its pickle is followed by other data"));
    }
    drop(bytes);
    let mut places = StoragePlaces::new();
    for entry in &entries {
        if let Some(key) = entry
            .name
            .strip_prefix(folder)
            .and_then(|rest| rest.strip_prefix("data/"))
        {
            if entry.deflated {
                return Err(file.unusable(format!(
                    "its storage {} is compressed, as PyTorch never writes it and does not read it: unpack it, and zip its folder again without compression (`zip -0 -r`)",
                    shortened(&entry.name)
                )));
            }
            places.insert(key.to_owned(), (entry.offset, entry.stored));
        }
    }
    let kind = if script {
        ContainerKind::TorchScript
    } else {
        ContainerKind::TorchZip
    };
    listed(file, kind, &pickle, root, &places)
}

/// What a zip archive is that PyTorch did not write so, as the end of a sentence.
fn other_zip(entries: &[ArchiveEntry]) -> String {
    let ends = |endings: &[&str]| {
        let mut names = entries.iter().map(|entry| entry.name.as_str());
        names.find(|name| endings.iter().any(|end| name.ends_with(end)))
    };
    let files = [
        ".pth",
        ".pt",
        ".bin",
        ".ckpt",
        ".safetensors",
        ".npz",
        ".tar",
    ];
    if let Some(name) = ends(&files) {
        format!(
            "it is a zip archive that holds {}: unpack it, and name that file",
            shortened(name)
        )
    } else if let Some(name) = ends(&["/data.pkl"]) {
        format!(
            "it is a zip archive whose {} lies in a folder within a folder, where PyTorch does not find it: unpack it, and zip the inner folder alone and without compression (`zip -0 -r`)",
            shortened(name)
        )
    } else {
        "it is a zip archive with neither a data.pkl nor .npy arrays".to_owned()
    }
}

/// Lists the tensors of a pickle stream followed by its storages.
pub(super) fn open_legacy(file: DataFile) -> Result<Container, VitError> {
    let window = file.head(LENGTH_LIMIT)?;
    let mut at = after_magic(&window).unwrap_or(0);
    let mut next = || -> Result<(Pickle, PickleValue), VitError> {
        let (pickle, value, length) = Pickle::read(window.get(at..).unwrap_or_default(), false)
            .map_err(|refusal| refused(&file, refusal))?;
        at += length;
        Ok((pickle, value))
    };
    let (_, version) = next()?;
    if version != PickleValue::Int(1001) {
        return Err(file.damaged("its format version is not the 1001 that PyTorch wrote"));
    }
    let (system, facts) = next()?;
    let little = system.entries(facts).and_then(|facts| {
        facts
            .iter()
            .find(|(key, _)| system.text(*key) == Some("little_endian"))
    });
    if little.is_some_and(|(_, value)| *value == PickleValue::Bool(false)) {
        return Err(
            file.unusable("it was written on a big-endian machine: save it again on this one")
        );
    }
    let (pickle, root) = next()?;
    let (order, keys) = next()?;
    let keys: Vec<String> = order
        .list(keys)
        .unwrap_or_default()
        .iter()
        .filter_map(|&key| order.text(key).map(str::to_owned))
        .collect();
    let sizes: HashMap<&str, usize> = pickle
        .storages
        .iter()
        .map(|storage| (storage.key.as_str(), storage.dtype.size()))
        .collect();
    let mut places = StoragePlaces::new();
    let mut offset = at as u64;
    drop(window);
    for key in keys {
        let size = *sizes.get(key.as_str()).ok_or_else(|| {
            file.damaged(format!(
                "it stores {}, to which no tensor refers",
                shortened(&key)
            ))
        })?;
        let mut count = [0; 8];
        if offset.checked_add(8).is_none_or(|end| end > file.len) {
            return Err(file.damaged("it ends before its last storage"));
        }
        file.read_at(offset, &mut count)?;
        let bytes = u64::from_le_bytes(count).checked_mul(size as u64);
        let start = offset + 8;
        let end = bytes
            .and_then(|bytes| start.checked_add(bytes))
            .filter(|&end| end <= file.len)
            .ok_or_else(|| {
                file.damaged(format!(
                    "its storage {} reaches beyond the end of the file",
                    shortened(&key)
                ))
            })?;
        places.insert(key, (start, end - start));
        offset = end;
    }
    listed(file, ContainerKind::TorchLegacy, &pickle, root, &places)
}

/// Gives every tensor of a pickle its group, name and place.
fn listed(
    file: DataFile,
    kind: ContainerKind,
    pickle: &Pickle,
    root: PickleValue,
    places: &StoragePlaces,
) -> Result<Container, VitError> {
    // A module that was saved whole is one tree, as a TorchScript archive is.
    let module = pickle.entries(root).is_some_and(|entries| {
        let named = |&(key, _): &(PickleValue, PickleValue)| pickle.text(key) == Some("_modules");
        matches!(root, PickleValue::Object(_)) && entries.iter().any(named)
    });
    let whole = kind == ContainerKind::TorchScript || module;
    let mut names = Vec::new();
    let mut values = vec![root];
    let entries_in =
        |items: &&[PickleValue]| items.iter().any(|&item| pickle.entries(item).is_some());
    if let Some(items) = pickle.list(root).filter(entries_in) {
        values = items.to_vec();
        names = (0..items.len()).map(|at| at.to_string()).collect();
    } else if !whole {
        let entries = pickle.entries(root).ok_or_else(|| {
            file.unusable(
                "its pickle holds something other than a dictionary of tensors: save a state_dict",
            )
        })?;
        if entries.len() > TENSOR_LIMIT {
            return Err(file.unusable(format!(
                "its pickle has {} entries, more than any checkpoint: save its state_dict alone",
                entries.len()
            )));
        }
        values = entries.iter().map(|&(_, value)| value).collect();
        names = entries
            .iter()
            .map(|&(key, _)| match key {
                PickleValue::Int(number) => number.to_string(),
                key => shortened(pickle.text(key).unwrap_or("?")),
            })
            .collect();
    }
    let found = pickle
        .tensors_below(&values)
        .map_err(|refusal| refused(&file, refusal))?;
    let mut tensors = Vec::with_capacity(found.len());
    for found in found {
        let root = names.get(found.root).cloned().unwrap_or_default();
        let (group, name) = if found.path.is_empty() {
            (String::new(), root)
        } else {
            (root, found.path)
        };
        tensors.push(stored(&file, pickle, found.tensor, group, name, places)?);
    }
    if tensors.is_empty() {
        return Err(
            file.unusable("its pickle holds no tensors: name the file that holds the state_dict, or if it holds arrays of NumPy, make tensors of them (`torch.as_tensor`) and save those")
        );
    }
    Ok(Container {
        kind,
        files: vec![file],
        tensors,
        root: names,
    })
}

/// One tensor, after checking that its storage is in the file in the claimed size.
fn stored(
    file: &DataFile,
    pickle: &Pickle,
    index: usize,
    group: String,
    name: String,
    places: &StoragePlaces,
) -> Result<StoredTensor, VitError> {
    let tensor = &pickle.tensors[index];
    let StorageRef {
        key,
        dtype,
        count,
        view_start,
    } = &pickle.storages[tensor.storage];
    let shown = shortened(&name);
    let &(offset, bytes) = places.get(key).ok_or_else(|| {
        file.damaged(format!(
            "tensor {shown} is in the storage {}, which the file lacks",
            shortened(key)
        ))
    })?;
    let size = dtype.size();
    let needed = view_start
        .checked_add(*count)
        .and_then(|count| count.checked_mul(size));
    if needed.is_none_or(|needed| needed as u64 > bytes) {
        return Err(file.damaged(format!(
            "the storage of tensor {shown} claims {count} elements of {size} bytes, but the file has {bytes} bytes of it"
        )));
    }
    let offset = offset + ((view_start + tensor.offset) * size) as u64;
    let place = if is_row_major(&tensor.shape, &tensor.strides) {
        TensorPlace::Plain { file: 0, offset }
    } else {
        TensorPlace::Strided {
            file: 0,
            offset,
            strides: tensor.strides.clone(),
        }
    };
    Ok(StoredTensor {
        group,
        name,
        shape: tensor.shape.clone(),
        dtype: *dtype,
        place,
    })
}

/// Whether a pickle names what builds tensors of few bits.
fn narrow(name: &str) -> bool {
    let types = [
        "torch.qint8",
        "torch.quint8",
        "torch.qint32",
        "torch._utils._rebuild_qtensor",
    ];
    types.contains(&name)
        || name == "torch._utils._rebuild_tensor_v3"
        || name.starts_with("torch.float8_")
        || name.starts_with("torch.quint")
        || name.starts_with("torchao.")
        || name.starts_with("bitsandbytes.")
}

fn refused(file: &DataFile, refusal: Refusal) -> VitError {
    match refusal {
        Refusal::Name(name) if narrow(&name) => VitError::Foreign {
            path: file.path.clone(),
            what: "quantized, or in types of 8 bits: its pickle builds such tensors".to_owned(),
            remedy: format!(
                "where no scales stand beside its weights, `python -c 'import torch; s = torch.load({:?}, map_location=\"cpu\"); torch.save({{k: v.float() for k, v in s.items()}}, \"float.pth\")'`; otherwise dequantize it with the program that quantized it, or take the weights that it was made from",
                file.path.display().to_string()
            ),
        },
        Refusal::Name(name) => VitError::ForbiddenName {
            path: file.path.clone(),
            name,
        },
        Refusal::Repeats(what) => file.unusable(what),
        Refusal::Broken(what) => file.damaged(what),
    }
}
