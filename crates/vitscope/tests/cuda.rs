//! `--device cuda` end to end: a run on a GPU is the run on the CPU, within rounding.
//!
//! Without a GPU and without `tools/cuda_standin` the tests say that they were not run, unless
//! `VITSCOPE_CUDA_TESTS=required`.
#![cfg(feature = "cuda")]
#![expect(clippy::unwrap_used, reason = "a test may stop at the first error")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Patience, assert_same, floats, metrics, pairs, probe, run_json, succeed};
use safetensors::tensor::TensorView;
use safetensors::{SafeTensors, serialize};
use vitscope_study::attention::{AttentionRequest, AttentionSettings, attention};
use vitscope_study::correspond::correspond;
use vitscope_study::observer::Silent;
use vitscope_testkit::fixture;
use vitscope_vit::config::Device;

/// Whether `--device cuda` finds something to run on.
fn is_here(out: &Path) -> bool {
    let tried = probe(out, &["--device", "cuda", "--steps", "1"]);
    if tried.status.success() {
        return true;
    }
    let said = String::from_utf8_lossy(&tried.stderr);
    let required = std::env::var("VITSCOPE_CUDA_TESTS").is_ok_and(|word| word == "required");
    assert!(!required, "{said}");
    // What stands in the way is told in one line, as a thing of the user's machine.
    assert_eq!((tried.status.code(), said.lines().count()), (Some(2), 1));
    vitscope_testkit::left_out("--device cuda", said.trim());
    false
}

#[test]
fn a_run_on_a_gpu_is_the_run_on_the_cpu() {
    let dir = tempfile::tempdir().unwrap();
    if !is_here(&dir.path().join("trial")) {
        return;
    }
    let run = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        succeed(probe(&out, more));
        out
    };
    let long = ["--steps", "20", "--attention"];
    let cpu = run("cpu", &[&long[..], &["--cache-budget", "0"]].concat());
    let card = run("card", &[&long[..], &["--device", "cuda"]].concat());
    assert_eq!(run_json(&cpu)["model"]["device"], "cpu");
    assert_eq!(run_json(&card)["model"]["device"], "cuda");
    let (ours, theirs) = (metrics(&card), metrics(&cpu));
    assert_eq!(ours.len(), theirs.len());
    let mut worst = 0.0_f64;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours[..4], theirs[..4]);
        match (ours[4].parse::<f64>(), theirs[4].parse::<f64>()) {
            (Ok(ours), Ok(theirs)) => {
                worst = worst.max((ours - theirs).abs() / theirs.abs().max(1.0))
            }
            _ => assert_eq!(ours, theirs),
        }
    }
    // mIoU has its interval there, too, and soft maps are made.
    for run in [&cpu, &card] {
        let rows = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
        let mut of_miou = rows.lines().filter(|row| row.contains(",miou,"));
        assert!(of_miou.all(|row| !row.ends_with(',')), "{}", run.display());
        assert!(run.join("soft.safetensors").exists(), "{}", run.display());
    }
    println!("figures off by at most {worst:.1e}");
    assert!(worst < 2e-3, "{worst}");

    // More clusters than directions, a learning cache, other precisions: they run.
    for more in [
        &["--clusters", "40"][..],
        &["--cache-budget", "1GB"],
        &["--dtype", "bf16"],
        &["--dtype", "f16"],
    ] {
        let name = more.concat();
        run(
            &name,
            &[&["--device", "cuda", "--layers", "2"], more].concat(),
        );
    }
}

/// What `attention` measures where the weights are, and never writes, is what the CPU makes of written ones;
/// the same bytes each time, also of a run that was broken off.
#[test]
fn attention_is_measured_on_a_gpu_as_on_the_cpu() {
    let dir = tempfile::tempdir().unwrap();
    if !is_here(&dir.path().join("trial")) {
        return;
    }
    let queries = ["test-0000:1,2", "test-0003:9,0", "test-0003:0,9"];
    let run = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let mut args = vec!["attention".to_owned()];
        args.extend(common::model());
        args.extend(["--data".to_owned(), common::camvid()]);
        args.extend(["--size", "160", "--limit-test", "5", "--queries"].map(str::to_owned));
        args.extend(queries.map(str::to_owned));
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        args.extend(["--out".to_owned(), out.display().to_string()]);
        succeed(common::command().args(args).output().unwrap());
        out
    };
    let cpu = run("cpu", &[]);
    let card = run("card", &["--device", "cuda"]);
    assert_same(&card, &run("again", &["--device", "cuda"]));
    let (ours, theirs) = (metrics(&card), metrics(&cpu));
    assert_eq!((ours.len(), theirs.len()), (3 * (1 + 2), 3 * (1 + 2)));
    let mut worst = 0.0_f64;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours[..4], theirs[..4]);
        let [ours, theirs] = [ours, theirs].map(|row| row[4].parse::<f64>().unwrap());
        worst = worst.max((ours - theirs).abs());
    }
    let [ours, theirs] = [&card, &cpu].map(|run| run.join("attention.safetensors"));
    let mut weights_off = 0.0_f32;
    for layer in 1..=3 {
        let means = [(format!("mean.{layer}"), vec![100, 100])];
        let rows = queries.map(|query| {
            let query = query.replace(':', ".").replace(',', "-");
            (format!("query.{layer}.{query}"), vec![10, 10])
        });
        for (name, shape) in means.into_iter().chain(rows) {
            let [ours, theirs] = [&ours, &theirs].map(|file| floats(file, &name));
            assert_eq!((&ours.0, &theirs.0), (&shape, &shape));
            for (ours, theirs) in ours.1.iter().zip(&theirs.1) {
                weights_off = weights_off.max((ours - theirs).abs());
            }
        }
    }
    println!("locality off by at most {worst:.1e} nats, mean weights by {weights_off:.1e}");
    assert!(worst < 1e-6 && weights_off < 1e-6, "{worst} {weights_off}");

    let mut settle = common::settled();
    settle.device = Device::Cuda;
    let broken = dir.path().join("broken");
    let mut request = AttentionRequest {
        model: common::checkpoint(),
        settle,
        data: common::camvid(),
        out: Some(broken.clone()),
        settings: AttentionSettings {
            size: 160,
            limit: Some(5),
            queries: queries.map(|query| query.parse().unwrap()).to_vec(),
            ..AttentionSettings::default()
        },
        resume: false,
    };
    attention(&request, &mut common::Impatient).unwrap_err();
    request.resume = true;
    attention(&request, &mut Silent).unwrap();
    for name in ["metrics.csv", "attention.safetensors"] {
        let [whole, broken] = [&card, &broken].map(|run| std::fs::read(run.join(name)).unwrap());
        assert!(whole == broken, "{name} differs");
    }
}

/// `correspond` with a checkpoint.
fn correspond_with(model: &Path, set: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = common::command();
    command.arg("correspond").arg(model).args(["--heads", "2"]);
    command.args(["--family", "dino", "--size", "64", "--data"]);
    command.arg(format!("spair71k:{}", set.display()));
    command.arg("--out").arg(out).args(more);
    command
}

/// Matches of a slot, as column and row.
fn matches(run: &Path, slot: &str) -> Vec<[u16; 2]> {
    let bytes = std::fs::read(run.join("pairs.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let data = tensors.tensor(&format!("match.{slot}")).unwrap();
    let (places, _) = data.data().as_chunks::<4>();
    let place = |b: &[u8; 4]| [[b[0], b[1]], [b[2], b[3]]].map(u16::from_le_bytes);
    places.iter().map(place).collect()
}

/// Keypoints are found where the embeddings are as they are on the CPU; in the same bytes each time, however many
/// embeddings are held, and also by a run that was broken off.
#[test]
fn keypoints_are_found_on_a_gpu_as_on_the_cpu() {
    let dir = tempfile::tempdir().unwrap();
    if !is_here(&dir.path().join("trial")) {
        return;
    }
    let set = dir.path().join("set");
    pairs::make_set(&set);
    let run = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let mut command = correspond_with(&common::checkpoint(), &set, &out, more);
        succeed(command.output().unwrap());
        out
    };
    let cuda = ["--device", "cuda"];
    let card = run("card", &cuda);
    let (mut same, mut all, mut farthest) = (0, 0, 0.0_f64);
    let cpu = run("cpu", &[]);
    for facet in ["key", "query", "value", "token"] {
        for layer in 1..=3 {
            let slot = format!("{facet}.{layer}");
            let (ours, theirs) = (matches(&card, &slot), matches(&cpu, &slot));
            assert_eq!((ours.len(), theirs.len()), (72, 72));
            for (ours, theirs) in ours.iter().zip(&theirs) {
                let off = |axis: usize| f64::from(ours[axis]) - f64::from(theirs[axis]);
                farthest = farthest.max(off(0).hypot(off(1)));
                same += usize::from(ours == theirs);
                all += 1;
            }
        }
    }
    println!("{same} of {all} keypoints in the same pixel, the others up to {farthest:.1} away");
    // An embedding's last bits may move a pixel that is hardly better than the next.
    assert!(
        100 * same >= 98 * all && farthest < 3.0,
        "{same} {farthest}"
    );
    let (ours, theirs) = (metrics(&card), metrics(&cpu));
    let mut worst = 0.0_f64;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours[..4], theirs[..4]);
        let [ours, theirs] = [ours, theirs].map(|row| row[4].parse::<f64>().unwrap());
        worst = worst.max((ours - theirs).abs());
    }
    assert_eq!(ours.len(), theirs.len());
    println!("PCK off by at most {worst:.1e}");
    assert!(worst < 0.03, "{worst}");

    assert_same(&card, &run("again", &cuda));
    let none = [&cuda[..], &["--memory-mib", "0"]].concat();
    assert_same(&card, &run("none held", &none));
    for more in [["--dtype", "bf16"], ["--dtype", "f16"], ["--fit", "pad"]] {
        run(
            &more.concat(),
            &[&cuda[..], &more, &["--layers", "2"]].concat(),
        );
    }

    let broken = dir.path().join("broken");
    let mut request = pairs::request(&set, &broken);
    request.settle.device = Device::Cuda;
    // In the first category, and in the second.
    for patience in [2, 3] {
        correspond(&request, &mut Patience(patience.into())).unwrap_err();
        assert!(broken.join("state/matches.safetensors").exists());
        request.resume = true;
    }
    correspond(&request, &mut Silent).unwrap();
    for name in ["metrics.csv", "pairs.safetensors", "examples.safetensors"] {
        let [whole, broken] = [&card, &broken].map(|run| std::fs::read(run.join(name)).unwrap());
        assert!(whole == broken, "{name} differs");
    }
}

/// Memory of cards in KiB, from too little for the model to enough for everything at once; between them embeddings
/// are not held, or let go.
const MEMORIES: [usize; 6] = [4400, 4610, 4635, 4645, 4660, 5200];

/// With less memory a run ends in the same bytes, or says that there is too little. A real card, whose memory
/// nobody takes away here, does the first each time.
#[test]
fn little_memory_changes_no_match() {
    let dir = tempfile::tempdir().unwrap();
    if !is_here(&dir.path().join("trial")) {
        return;
    }
    let set = dir.path().join("set");
    pairs::make_set(&set);
    let run = |name: &str, memory: Option<usize>| {
        let out = dir.path().join(name);
        let more = ["--device", "cuda", "--layers", "2", "--facets", "key,token"];
        let mut command = correspond_with(&common::checkpoint(), &set, &out, &more);
        if let Some(bytes) = memory {
            command.env("VITSCOPE_STANDIN_MEMORY", bytes.to_string());
        }
        (out, command.output().unwrap())
    };
    let (whole, output) = run("whole", None);
    succeed(output);
    let mut told = 0;
    for kib in MEMORIES {
        let (out, output) = run(&format!("{kib}"), Some(kib << 10));
        if output.status.success() {
            assert_same(&whole, &out);
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("the GPU has no room for another"), "{said}");
            told += 1;
        }
    }
    println!("{told} of {} cards had too little memory", MEMORIES.len());
    assert!(told < MEMORIES.len());
}

/// Embeddings that are no numbers end a run with the CPU's sentence.
#[test]
fn keypoints_of_what_is_no_number_are_refused_as_on_the_cpu() {
    let dir = tempfile::tempdir().unwrap();
    if !is_here(&dir.path().join("trial")) {
        return;
    }
    let set = dir.path().join("set");
    pairs::make_set(&set);
    // Weights are finite; those of a number of the second block's keys are so large that it is not.
    let bytes = std::fs::read(common::checkpoint()).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let name = "blocks.1.attn.qkv.weight";
    let weight = tensors.tensor(name).unwrap();
    let mut large = weight.data().to_vec();
    let (first_key, row) = (large.len() / 3, 4 * weight.shape()[1]);
    let numbers = 3e38_f32.to_le_bytes().repeat(weight.shape()[1]);
    large[first_key..first_key + row].copy_from_slice(&numbers);
    let weight = TensorView::new(weight.dtype(), weight.shape().to_vec(), &large).unwrap();
    let others = tensors.iter().filter(|(other, _)| *other != name);
    let all: Vec<_> = others.chain([(name, weight)]).collect();
    let model = dir.path().join("model.safetensors");
    std::fs::write(&model, serialize(all, None).unwrap()).unwrap();
    let said = [&[][..], &["--device", "cuda"]].map(|device| {
        let out = dir.path().join(format!("run{}", device.len()));
        let more = [
            device,
            &["--layout", "timm", "--layers", "2", "--facets", "key"],
        ]
        .concat();
        let output = correspond_with(&model, &set, &out, &more).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let sentence = said.lines().last().unwrap_or_default().to_owned();
        (output.status.code(), sentence)
    });
    assert_eq!(said[0], said[1]);
    assert!(
        said[0].1.contains("key.2") && said[0].1.contains("not finite"),
        "{said:?}"
    );
}

#[test]
fn other_commands_run_there_too() {
    let dir = tempfile::tempdir().unwrap();
    if !is_here(&dir.path().join("trial")) {
        return;
    }
    let recording = fixture("dino-timm/expected.safetensors");
    let mut args = vec!["verify".to_owned()];
    args.extend(common::model());
    args.extend(["--against".to_owned(), recording.display().to_string()]);
    args.extend(["--device", "cuda"].map(str::to_owned));
    succeed(common::command().args(args).output().unwrap());
}
