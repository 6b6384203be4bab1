//! The main job on something made on the spot, offline: a ViT with random weights in timm's naming
//! and a folder of drawn scenes with exact masks.
//!
//! `cargo run --release --example trial -- [DIR]` makes both in `DIR` (`runs/trial`), probes every
//! layer and facet and says where the page is. `... -- DIR base` only makes a ViT-B/16 and the
//! scenes, for benchmarks.
//!
//! Random weights have learned nothing: the numbers show that the instrument works, not what a
//! trained model knows.
#![expect(clippy::print_stdout, reason = "says what it made")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, Rgb, RgbImage};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView};
use vitscope_study::model::Model;
use vitscope_study::observer::Silent;
use vitscope_study::probe::{ProbeRequest, probe, tidy};
use vitscope_study::settings::Settings;
use vitscope_vit::identify::Settle;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().unwrap_or_else(|| "runs/trial".to_owned()));
    let base = args.next().is_some_and(|size| size == "base");
    let (name, shape) = if base {
        ("base", [768, 12, 12])
    } else {
        ("tiny", [192, 12, 3])
    };
    let model = folder.join(format!("vit_{name}_random"));
    let scenes = folder.join("scenes");
    std::fs::create_dir_all(&model)?;
    write_model(&model, name, shape)?;
    write_scenes(&scenes)?;
    println!("model  {}\nscenes {}", model.display(), scenes.display());
    if base {
        return Ok(());
    }
    let run = folder.join("run");
    if run.exists() {
        std::fs::remove_dir_all(&run)?;
    }
    let settings = Settings {
        size: 224,
        steps: 60,
        batch: 8,
        pca_batches: 6,
        ..Settings::default()
    };
    println!(
        "vitscope probe {} --data {} --out {} --size 224 --steps 60 --batch 8 --pca-batches 6",
        model.display(),
        scenes.display(),
        run.display()
    );
    let request = ProbeRequest {
        model: Model::Checkpoint(model, Settle::default()),
        data: scenes.display().to_string(),
        out: Some(run),
        settings,
        resume: false,
        trained: None,
    };
    let outcome = probe(&request, &mut Silent)?;
    for (facet, layer) in &outcome.selection {
        let shown = |summary: &&vitscope_study::outcome::SlotSummary| {
            summary.slot.layer == *layer && summary.slot.facet.name() == facet
        };
        if let Some(summary) = outcome.slots.iter().find(shown) {
            let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
            println!(
                "{facet:<6} layer {layer:>2}  mIoU {:.3}  NMI {:.3}",
                number(summary.miou),
                number(summary.nmi)
            );
        }
    }
    let drawn = vitscope_figure::draw(&outcome.run)?;
    tidy(&outcome.run)?;
    println!("page   {}", drawn.page.display());
    Ok(())
}

fn normal(rng: &mut impl Rng, scale: f32) -> f32 {
    let (a, b): (f32, f32) = (rng.random::<f32>().max(1e-7), rng.random());
    scale * (-2.0 * a.ln()).sqrt() * (std::f32::consts::TAU * b).cos()
}

fn write_model(folder: &Path, name: &str, [width, depth, heads]: [usize; 3]) -> anyhow::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let hidden = 4 * width;
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
    let mut put = |name: String, shape: &[usize], mean: f32, scale: f32| {
        let count: usize = shape.iter().product();
        let bytes = (0..count)
            .flat_map(|_| (mean + normal(&mut rng, scale)).to_le_bytes())
            .collect();
        tensors.insert(name, (shape.to_vec(), bytes));
    };
    put("cls_token".into(), &[1, 1, width], 0.0, 0.02);
    put("pos_embed".into(), &[1, 14 * 14 + 1, width], 0.0, 0.02);
    put(
        "patch_embed.proj.weight".into(),
        &[width, 3, 16, 16],
        0.0,
        0.02,
    );
    put("patch_embed.proj.bias".into(), &[width], 0.0, 0.02);
    for i in 0..depth {
        for (part, outputs, inputs) in [
            ("attn.qkv", 3 * width, width),
            ("attn.proj", width, width),
            ("mlp.fc1", hidden, width),
            ("mlp.fc2", width, hidden),
        ] {
            let scale = 1.0 / (inputs as f32).sqrt();
            put(
                format!("blocks.{i}.{part}.weight"),
                &[outputs, inputs],
                0.0,
                scale,
            );
            put(format!("blocks.{i}.{part}.bias"), &[outputs], 0.0, 0.02);
        }
        for norm in ["norm1", "norm2"] {
            put(format!("blocks.{i}.{norm}.weight"), &[width], 1.0, 0.02);
            put(format!("blocks.{i}.{norm}.bias"), &[width], 0.0, 0.02);
        }
    }
    put("norm.weight".into(), &[width], 1.0, 0.02);
    put("norm.bias".into(), &[width], 0.0, 0.02);
    let views = tensors
        .iter()
        .map(|(name, (shape, bytes))| {
            Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors"))?;
    let config = serde_json::json!({
        "architecture": format!("vit_{name}_patch16_224"),
        "num_classes": 0,
        "num_features": width,
        "pretrained_cfg": {
            "tag": "augreg_in21k",
            "input_size": [3, 224, 224],
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
        "model_args": { "num_heads": heads },
    });
    std::fs::write(
        folder.join("config.json"),
        serde_json::to_string_pretty(&config)?,
    )?;
    Ok(())
}

const SIDE: u32 = 224;
const CLASSES: [&str; 5] = ["sky", "grass", "ball", "crate", "water"];

fn write_scenes(folder: &Path) -> anyhow::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for (split, count) in [("train", 48), ("test", 24)] {
        for kind in ["images", "masks"] {
            std::fs::create_dir_all(folder.join(kind).join(split))?;
        }
        for index in 0..count {
            let (image, mask) = scene(&mut rng);
            let name = format!("{index:03}.png");
            image.save(folder.join("images").join(split).join(&name))?;
            mask.save(folder.join("masks").join(split).join(&name))?;
        }
    }
    std::fs::write(folder.join("classes.txt"), CLASSES.join("\n") + "\n")?;
    Ok(())
}

/// Sky over ground, with a few balls and crates.
fn scene(rng: &mut ChaCha8Rng) -> (RgbImage, GrayImage) {
    let horizon = rng.random_range(SIDE / 4..3 * SIDE / 4) as f32;
    let tilt: f32 = rng.random_range(-0.3..0.3);
    let ground = if rng.random_bool(0.5) { 1 } else { 4 };
    let things: Vec<(u8, f32, f32, f32)> = (0..rng.random_range(1..5))
        .map(|_| {
            let class = if rng.random_bool(0.5) { 2 } else { 3 };
            let mut at = || rng.random_range(0.1..0.9) * SIDE as f32;
            let (x, y) = (at(), at());
            (class, x, y, rng.random_range(0.08..0.2) * SIDE as f32)
        })
        .collect();
    let colors: Vec<[f32; 3]> = [
        [120.0, 170.0, 230.0],
        [70.0, 140.0, 60.0],
        [210.0, 60.0, 50.0],
        [150.0, 110.0, 60.0],
        [40.0, 90.0, 150.0],
    ]
    .into_iter()
    .map(|color| color.map(|c| c + rng.random_range(-25.0..25.0)))
    .collect();
    let (mut image, mut mask) = (RgbImage::new(SIDE, SIDE), GrayImage::new(SIDE, SIDE));
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let (fx, fy) = (x as f32, y as f32);
        let mut class = if fy < horizon + tilt * (fx - SIDE as f32 / 2.0) {
            0
        } else {
            ground
        };
        for &(thing, cx, cy, r) in &things {
            let (dx, dy) = ((fx - cx).abs(), (fy - cy).abs());
            if (thing == 2 && dx.hypot(dy) < r) || (thing == 3 && dx.max(dy) < r) {
                class = thing;
            }
        }
        let texture = match class {
            1 => ((fx * 0.9).sin() + (fy * 1.3 + fx * 0.2).sin()) * 12.0,
            3 => {
                if (x / 6 + y / 6) % 2 == 0 {
                    14.0
                } else {
                    -14.0
                }
            }
            4 => (fy * 0.5 + (fx * 0.05).sin() * 4.0).sin() * 16.0,
            _ => 0.0,
        };
        let shade = texture + normal(rng, 5.0);
        *pixel = Rgb(colors[usize::from(class)].map(|c| (c + shade).clamp(0.0, 255.0) as u8));
        mask.put_pixel(x, y, Luma([class]));
    }
    (image, mask)
}
