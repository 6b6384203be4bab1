//! Plausible run directories for tests: made-up street scenes, made-up numbers.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

/// Names and colors in the manner of CamVid.
pub const CLASSES: [(&str, [u8; 3]); 11] = [
    ("sky", [128, 128, 128]),
    ("building", [128, 0, 0]),
    ("pole", [192, 192, 128]),
    ("road", [128, 64, 128]),
    ("pavement", [60, 40, 222]),
    ("tree", [128, 128, 0]),
    ("sign symbol", [192, 128, 128]),
    ("fence", [64, 64, 128]),
    ("car", [64, 0, 128]),
    ("pedestrian", [64, 64, 0]),
    ("bicyclist", [0, 128, 192]),
];

pub const FACETS: [&str; 4] = ["key", "query", "value", "token"];

/// What kind of run to make up.
pub struct Spec {
    pub truth: bool,
    pub layers: usize,
    pub examples: usize,
    pub side: usize,
    pub clusters: usize,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            truth: true,
            layers: 3,
            examples: 2,
            side: 64,
            clusters: CLASSES.len(),
        }
    }
}

impl Spec {
    /// Writes the run and gives its manifest, so that a test can change it and write it again.
    pub fn write(&self, run: &Path) -> Value {
        let stems: Vec<String> = (0..self.examples)
            .map(|index| format!("street_{index:03}"))
            .collect();
        for (index, stem) in stems.iter().enumerate() {
            let scene = self.scene(index);
            let photo: Vec<u8> = scene
                .iter()
                .enumerate()
                .flat_map(|(pixel, &class)| {
                    let grain = noise(pixel + index * 7919) as u8 % 40;
                    color(usize::from(class))
                        .map(|channel| (channel / 2).saturating_add(grain + 40))
                })
                .collect();
            self.rgb(&run.join(format!("images/{stem}.png")), &photo);
            if self.truth {
                self.labels(&run.join(format!("labels/ground_truth/{stem}.png")), &scene);
            }
        }
        let mut csv = "model,family,size,layer,facet,metric,class,value,low,high\n".to_owned();
        let mut row = |layer: &str, facet: &str, metric: &str, class: &str, values: &str| {
            writeln!(
                csv,
                "vit_base,dino,base,{layer},{facet},{metric},{class},{values}"
            )
            .unwrap();
        };
        if self.truth {
            self.rgb(
                &run.join("aggregate/ground_truth.png"),
                &self.aggregate(0.0),
            );
            row("", "ground_truth", "nmi", "", "0.31,0.29,0.33");
            for class in 0..CLASSES.len() {
                row(
                    "",
                    "ground_truth",
                    "class_mi",
                    &class.to_string(),
                    &format!("{},,", 0.2 / (class + 1) as f64),
                );
            }
        }
        let mut tensors: Vec<(String, Vec<usize>, Dtype, Vec<u8>)> = Vec::new();
        for (at, facet) in FACETS.iter().enumerate() {
            for layer in 1..=self.layers {
                let quality = layer as f64 / (self.layers + at) as f64;
                for (index, stem) in stems.iter().enumerate() {
                    let map = self.prediction(index, quality, at * 100 + layer);
                    self.labels(
                        &run.join(format!("labels/{facet}.{layer}/{stem}.png")),
                        &map,
                    );
                }
                self.rgb(
                    &run.join(format!("aggregate/{facet}.{layer}.png")),
                    &self.aggregate(1.0 - quality),
                );
                let layer_name = layer.to_string();
                let mut put = |metric: &str, class: &str, values: String| {
                    row(&layer_name, facet, metric, class, &values)
                };
                if self.truth {
                    put("miou", "", format!("{:.4},,", 0.5 * quality));
                    put("accuracy", "", format!("{:.4},,", 0.8 * quality));
                }
                // The first token layer has no positional effect: one cluster took everything.
                if *facet == "token" && layer == 1 {
                    put("nmi", "", ",,".to_owned());
                } else {
                    let nmi = 0.4 - 0.2 * quality;
                    put(
                        "nmi",
                        "",
                        format!("{nmi:.4},{:.4},{:.4}", nmi - 0.01, nmi + 0.012),
                    );
                }
                put("nmi_grid", "", format!("{:.4},,", 0.39 - 0.2 * quality));
                // The last layers fall below chance, so that the axis must go below 0.
                let excess = 0.15 - 0.2 * quality;
                let interval = (excess - 0.02, excess + 0.03);
                put(
                    "nmi_excess",
                    "",
                    format!("{excess:.4},{:.4},{:.4}", interval.0, interval.1),
                );
                put("nmi_z", "", "12.5,,".to_owned());
                put("loss", "", format!("{:.4},,", -0.4 - 0.1 * quality));
                for cluster in 0..self.clusters {
                    let class = if self.truth && cluster < CLASSES.len() {
                        cluster.to_string()
                    } else {
                        format!("k{cluster}")
                    };
                    put(
                        "class_mi",
                        &class,
                        format!("{:.5},,", 0.2 * quality / (cluster + 1) as f64),
                    );
                }
                let classes = (0..self.clusters as i64).map(|cluster| {
                    if self.truth && cluster < CLASSES.len() as i64 {
                        cluster
                    } else {
                        -1
                    }
                });
                let bytes = classes.flat_map(i64::to_le_bytes).collect();
                tensors.push((
                    format!("match.{facet}.{layer}"),
                    vec![self.clusters],
                    Dtype::I64,
                    bytes,
                ));
                let grid = self.side / 16;
                let counts =
                    (0..self.clusters * grid * grid).map(|index| (noise(index) % 90) as u32);
                let bytes = counts.flat_map(u32::to_le_bytes).collect();
                tensors.push((
                    format!("position.{facet}.{layer}"),
                    vec![self.clusters, grid, grid],
                    Dtype::U32,
                    bytes,
                ));
            }
        }
        // A later figure's row, of a layer as a whole: no slot's, and no reason to stop.
        csv.push_str("vit_base,dino,base,1,,locality,,0.25,,\n");
        fs::write(run.join("metrics.csv"), csv).unwrap();
        for (file, prefix) in [("codebooks", "match"), ("counts", "position")] {
            let chosen = tensors.iter().filter(|tensor| tensor.0.starts_with(prefix));
            let views = chosen.map(|(name, shape, dtype, bytes)| {
                (
                    name.clone(),
                    TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
                )
            });
            fs::write(
                run.join(format!("{file}.safetensors")),
                safetensors::serialize(views, None).unwrap(),
            )
            .unwrap();
        }
        let classes: Vec<Value> = CLASSES
            .iter()
            .map(|(name, color)| json!({ "name": name, "color": color }))
            .collect();
        let selection = if self.truth {
            json!({ "key": self.layers, "query": self.layers, "value": self.layers, "token": self.layers })
        } else {
            json!({})
        };
        let manifest = json!({
            "format": 1,
            "program": { "name": "vitscope", "version": "0.1.0" },
            "state": "complete",
            "settings": { "size": self.side, "steps": 5000, "batch": 24, "token_norm": "after" },
            "model": {
                "name": "vit_base", "family": "dino", "size": "base", "format": "timm", "sha256": "ab".repeat(32),
                "width": 768, "depth": self.layers, "heads": 12, "patch": 16,
                "decisions": [{ "what": "heads", "value": 12, "because": "config.json says so" }]
            },
            "data": {
                "kind": "camvid", "root": "data/camvid", "train": 150, "test": 94, "list_hash": "cd".repeat(32),
                "classes": if self.truth { json!(classes) } else { Value::Null }, "has_truth": self.truth
            },
            "clusters": self.clusters, "grid": [self.side / 16, self.side / 16], "size": self.side, "seed": 0,
            "machine": { "cpu": "Example", "threads": 2, "os": "linux" },
            "times": { "pca_secs": 1.5, "train_secs": 75.0, "eval_secs": 3700.0 },
            "examples": stems, "selection": selection, "notes": []
        });
        write_manifest(run, &manifest);
        manifest
    }

    /// Sky, houses, a road with pavements, a car; some pixels without a label.
    fn scene(&self, index: usize) -> Vec<u8> {
        let side = self.side as i64;
        let horizon = side * (40 + index as i64 % 4 * 4) / 100;
        let middle = side * (40 + index as i64 % 5 * 5) / 100;
        let pixel = |place: i64| {
            let (x, y) = (place % side, place / side);
            let aside = (x - middle).abs();
            match () {
                () if x < 2 => 255,
                () if y < horizon => {
                    if aside > y * 3 / 2 + side / 12 {
                        1
                    } else if aside < side / 40 {
                        2
                    } else {
                        0
                    }
                }
                () if (y - side * 3 / 4).abs() < side / 10 && aside < side / 8 => 8,
                () if aside < (y - horizon) + side / 20 => 3,
                () if aside < (y - horizon) * 3 / 2 + side / 10 => 4,
                () => 5,
            }
        };
        (0..side * side).map(pixel).collect()
    }

    /// The scene with patches of wrong classes.
    fn prediction(&self, index: usize, quality: f64, seed: usize) -> Vec<u8> {
        let scene = self.scene(index);
        let wrong = |place: usize| {
            let (x, y) = (place % self.side / 8, place / self.side / 8);
            let draw = noise(x + y * 1000 + index * 31 + seed * 77_777);
            let other = (draw / 1000) as usize % self.clusters;
            ((draw % 1000) as f64 > 1000.0 * quality).then_some(other as u8)
        };
        scene
            .iter()
            .enumerate()
            .map(|(place, &class)| wrong(place).unwrap_or(if class == 255 { 7 } else { class }))
            .collect()
    }

    fn aggregate(&self, blur: f64) -> Vec<u8> {
        let mixed = |(place, &class): (usize, &u8)| {
            let grain = noise(place) as f64 % 12.0;
            color(usize::from(class)).map(|channel| {
                (f64::from(channel) * (1.0 - blur) + 100.0 * blur + grain).min(255.0) as u8
            })
        };
        self.scene(0).iter().enumerate().flat_map(mixed).collect()
    }

    fn rgb(&self, path: &Path, pixels: &[u8]) {
        self.png(path, png::ColorType::Rgb, None, pixels);
    }

    fn labels(&self, path: &Path, indices: &[u8]) {
        let palette: Vec<u8> = (0..256).flat_map(color).collect();
        self.png(path, png::ColorType::Indexed, Some(palette), indices);
    }

    fn png(&self, path: &Path, color: png::ColorType, palette: Option<Vec<u8>>, bytes: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(path).unwrap();
        let mut encoder = png::Encoder::new(file, self.side as u32, self.side as u32);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        if let Some(palette) = palette {
            encoder.set_palette(palette);
        }
        encoder
            .write_header()
            .unwrap()
            .write_image_data(bytes)
            .unwrap();
    }
}

pub fn write_manifest(run: &Path, manifest: &Value) {
    fs::create_dir_all(run).unwrap();
    fs::write(
        run.join("run.json"),
        serde_json::to_string_pretty(manifest).unwrap(),
    )
    .unwrap();
}

/// A class's color; clusters beyond the classes get made-up ones.
fn color(index: usize) -> [u8; 3] {
    let made_up = noise(index).to_le_bytes();
    CLASSES
        .get(index)
        .map_or([made_up[0], made_up[1], made_up[2]], |class| class.1)
}

/// The same number for the same seed, always (SplitMix64).
fn noise(seed: usize) -> u64 {
    let mut state = (seed as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state ^ (state >> 31)) >> 8
}
