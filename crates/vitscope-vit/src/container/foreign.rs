//! Checkpoints of other programs: what they are, and how they become one that can be read.

use std::path::Path;

use crate::error::{VitError, quoted};

/// An error for a file that is known to be another program's, told by its name and first bytes.
pub(crate) fn of_file(path: &Path, head: &[u8]) -> Option<VitError> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    if name.ends_with(".distcp") || name == ".metadata" {
        return Some(distributed(path, path.parent().unwrap_or(Path::new("."))));
    }
    let state = "`torch.save(model.state_dict(), \"model.pth\")` in the program that made it";
    let varint = head.len() > 2 && head[0] == 0x08 && head[2] == 0x12;
    let (what, remedy) = if name.ends_with(".onnx") || (varint && find(head, b"onnx")) {
        (
            "an ONNX graph, which keeps weights under names of its own",
            format!("take the weights from the program it was exported from: {state} writes them"),
        )
    } else if head.starts_with(b"\x89HDF") || name.ends_with(".h5") || name.ends_with(".keras") {
        (
            "a file of Keras or TensorFlow (HDF5)",
            "save the PyTorch version of the model, or convert it with transformers: `Model.from_pretrained(DIR, from_tf=True).save_pretrained(OUT)`".to_owned(),
        )
    } else if name.ends_with(".msgpack") {
        (
            "a file of Flax (msgpack)",
            "convert it with transformers: `Model.from_pretrained(DIR, from_flax=True).save_pretrained(OUT)`".to_owned(),
        )
    } else if head.starts_with(b"GGUF") || head.starts_with(b"ggml") {
        (
            "a GGUF file, whose weights are quantized for another program",
            "take the weights that it was made from".to_owned(),
        )
    } else if name.ends_with(".tflite") || head.get(4..8) == Some(b"TFL3") {
        (
            "a TensorFlow Lite graph",
            "take the weights that it was exported from".to_owned(),
        )
    } else if name.ends_with(".engine") || name.ends_with(".plan") || name.ends_with(".trt") {
        (
            "a TensorRT engine",
            format!("take the weights that it was built from: {state} writes them"),
        )
    } else if name.ends_with(".pt2") || name.ends_with(".ptl") {
        (
            "an exported PyTorch program",
            format!("take the weights that it was exported from: {state} writes them"),
        )
    } else if name.contains(".data-00000-of-") || name.ends_with(".ckpt.index") {
        (
            "a checkpoint of TensorFlow",
            "save its variables under their names with `numpy.savez(\"model.npz\", **variables)`"
                .to_owned(),
        )
    } else if head.starts_with(&[0x1f, 0x8b]) {
        (
            "compressed with gzip",
            format!(
                "unpack it first: `tar xzf {0}` or `gunzip {0}`",
                quoted(path)
            ),
        )
    } else {
        return None;
    };
    Some(VitError::Foreign {
        path: path.to_owned(),
        what: what.to_owned(),
        remedy,
    })
}

/// An error for a folder that is a checkpoint of another program.
pub(crate) fn of_folder(path: &Path) -> Option<VitError> {
    let names: Vec<String> = std::fs::read_dir(path)
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let has = |test: &dyn Fn(&str) -> bool| names.iter().any(|name| test(name));
    if has(&|name| name == ".metadata") && has(&|name| name.ends_with(".distcp")) {
        return Some(distributed(path, path));
    }
    if has(&|name| name == "zero_to_fp32.py") {
        return Some(VitError::Foreign {
            path: path.to_owned(),
            what: "a checkpoint of DeepSpeed, whose weights are spread over processes".to_owned(),
            remedy: format!(
                "`python {0}/zero_to_fp32.py {0} OUT` makes one file of it",
                quoted(path)
            ),
        });
    }
    let known = [
        ("tf_model.h5", "weights of TensorFlow alone", "from_tf=True"),
        (
            "flax_model.msgpack",
            "weights of Flax alone",
            "from_flax=True",
        ),
    ];
    let &(_, what, option) = known.iter().find(|(file, ..)| has(&|name| name == *file))?;
    Some(VitError::Foreign {
        path: path.to_owned(),
        what: format!("a folder with {what}"),
        remedy: format!(
            "convert it with transformers: `Model.from_pretrained({:?}, {option}).save_pretrained(OUT)`",
            path.display().to_string()
        ),
    })
}

/// torch.distributed keeps a folder of pieces that belong together.
fn distributed(path: &Path, folder: &Path) -> VitError {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    VitError::Foreign {
        path: path.to_owned(),
        what: "a checkpoint of torch.distributed (DCP), whose weights are in pieces".to_owned(),
        remedy: format!(
            "`python -m torch.distributed.checkpoint.format_utils dcp_to_torch {} model.pth` makes one file of it",
            quoted(folder)
        ),
    }
}

fn find(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}
