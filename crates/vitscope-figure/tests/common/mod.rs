//! Plausible run directories for tests: made-up street scenes, made-up numbers.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a helper fails as the test itself may; each test file uses its own part"
)]

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
    pub model: &'static str,
    pub seed: u64,
    /// How good its segmentations are, where 1 is the usual.
    pub skill: f64,
    /// Whether attention was measured in the same run.
    pub attention: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            truth: true,
            layers: 3,
            examples: 2,
            side: 64,
            clusters: CLASSES.len(),
            model: "vit_base",
            seed: 0,
            skill: 1.0,
            attention: false,
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
                "{},dino,base,{layer},{facet},{metric},{class},{values}",
                self.model
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
                let quality = self.skill * layer as f64 / (self.layers + at) as f64;
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
        if self.attention {
            csv.push_str(&attention(run, self.model, self.layers, self.side / 16));
        }
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
            "settings": { "size": self.side, "steps": 5000, "batch": 24, "seed": self.seed, "token_norm": "after" },
            "model": {
                "name": self.model, "family": "dino", "size": "base", "sha256": format!("{:064x}", self.model.len()),
                "width": 768, "depth": self.layers, "heads": 12, "patch": 16,
                "identity": {
                    "format": "timm", "decisions": [{ "what": "heads", "value": 12, "because": "config.json says so" }]
                }
            },
            "data": {
                "kind": "camvid", "root": "data/camvid", "train": 150, "test": 94, "list_hash": "cd".repeat(32),
                "classes": if self.truth { json!(classes) } else { Value::Null }, "has_truth": self.truth
            },
            "clusters": self.clusters, "grid": [self.side / 16, self.side / 16], "size": self.side, "seed": self.seed,
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
        png(path, [self.side; 2], png::ColorType::Rgb, None, pixels);
    }

    fn labels(&self, path: &Path, indices: &[u8]) {
        let palette: Vec<u8> = (0..256).flat_map(color).collect();
        png(
            path,
            [self.side; 2],
            png::ColorType::Indexed,
            Some(palette),
            indices,
        );
    }
}

/// The rows and tensors of attention over a grid of so many patches a side, stronger near by.
fn attention(run: &Path, model: &str, layers: usize, grid: usize) -> String {
    let mut rows = String::new();
    let mut tensors = Vec::new();
    let count = grid * grid;
    for layer in 1..=layers {
        let reach = layer as f64;
        let weight = |index: usize| {
            let (query, key) = (index / count, index % count);
            let apart = |axis: fn(usize, usize) -> usize| {
                axis(query, grid).abs_diff(axis(key, grid)) as f64
            };
            let distance = apart(|at, side| at / side).hypot(apart(|at, side| at % side));
            ((-distance / reach).exp() as f32).to_le_bytes()
        };
        let bytes: Vec<u8> = (0..count * count).flat_map(weight).collect();
        tensors.push((format!("mean.{layer}"), vec![count, count], bytes));
        let row: Vec<u8> = (0..count).flat_map(weight).collect();
        let name = format!("query.{layer}.street.000.0-1");
        tensors.push((name, vec![grid, grid], row));
        let value = 1.0 / reach;
        writeln!(
            rows,
            "{model},dino,base,{layer},,locality,,{value:.4},{:.4},{:.4}",
            value * 0.9,
            value * 1.1
        )
        .unwrap();
        for head in 0..3 {
            let value = value * (1.0 + f64::from(head));
            writeln!(
                rows,
                "{model},dino,base,{layer},,locality_head,{head},{value:.4},,"
            )
            .unwrap();
        }
        let picture = vec![90; 64 * 64 * 3];
        let path = run.join(format!("attention/query.{layer}.street.000.0-1.png"));
        png(&path, [64, 64], png::ColorType::Rgb, None, &picture);
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name.clone(), view)
    });
    let file = run.join("attention.safetensors");
    fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
    rows
}

/// A run of `vitscope attention`.
pub fn write_attention(run: &Path) {
    fs::create_dir_all(run).unwrap();
    let header = "model,family,size,layer,facet,metric,class,value,low,high\n";
    let rows = attention(run, "vit_base", 3, 4);
    fs::write(run.join("metrics.csv"), header.to_owned() + &rows).unwrap();
    let manifest = json!({
        "format": 1, "state": "complete", "command": "attention",
        "settings": { "queries": ["street.000:0,1"] },
        "model": { "name": "vit_base", "sha256": format!("{:064x}", 8), "depth": 3 },
        "data": { "kind": "camvid", "test": 94, "list_hash": "cd".repeat(32), "classes": [], "has_truth": true },
        "grid": [4, 4], "size": 64
    });
    write_manifest(run, &manifest);
}

/// A run of `vitscope correspond` over two pairs of made-up photographs, with 3 layers of keys.
pub fn write_correspond(run: &Path) {
    let photographs = ["one", "two"].map(|name| run.join(format!("set/{name}.png")));
    for (index, path) in photographs.iter().enumerate() {
        let size = [80 + 16 * index, 60];
        let pixels: Vec<u8> = (0..size[0] * size[1] * 3)
            .map(|at| (noise(at) % 200) as u8)
            .collect();
        png(path, size, png::ColorType::Rgb, None, &pixels);
    }
    let mut csv = "model,family,size,layer,facet,metric,class,value,low,high\n".to_owned();
    for layer in 1..=3 {
        for (class, value) in [("", 0.5), ("0", 0.25), ("2", 0.75)] {
            let value = value * f64::from(layer) / 3.0;
            writeln!(csv, "vit_base,dino,base,{layer},key,pck,{class},{value},,").unwrap();
        }
    }
    fs::write(run.join("metrics.csv"), csv).unwrap();
    let list = "pair,category,source,target,points\np0,aeroplane,one.png,two.png,2\np1,bird,two.png,one.png,2\n";
    fs::write(run.join("pairs.csv"), list).unwrap();
    let path = |index: usize| photographs[index].display().to_string();
    let pair = |name: &str, category: &str, source: usize| {
        json!({
            "pair": name, "category": category, "source": path(source), "target": path(1 - source),
            "source_points": [[10.0, 10.0], [40.0, 30.0]], "true_points": [[12.0, 10.0], [44.0, 30.0]],
            "target_box": [0.0, 0.0, 60.0, 50.0], "matches": { "key.3": [[13, 10], [70, 50]] }
        })
    };
    let examples = json!([pair("p0", "aeroplane", 0), pair("p1", "bird", 1)]);
    fs::write(run.join("examples.json"), examples.to_string()).unwrap();
    let heat: Vec<u8> = (0..32_u8)
        .flat_map(|at| (f32::from(at % 7) / 7.0).to_le_bytes())
        .collect();
    let maps = ["0.key.3", "1.key.3"].map(|name| {
        let view = TensorView::new(Dtype::F32, vec![2, 4, 4], &heat).unwrap();
        (name, view)
    });
    fs::write(
        run.join("examples.safetensors"),
        safetensors::serialize(maps, None).unwrap(),
    )
    .unwrap();
    let index: Vec<u8> = [0_u32, 0, 1, 1]
        .iter()
        .flat_map(|at| at.to_le_bytes())
        .collect();
    let found: Vec<u8> = [13_u16, 10, 70, 50, 13, 10, 70, 50]
        .iter()
        .flat_map(|at| at.to_le_bytes())
        .collect();
    let mut tensors = vec![(
        "pair".to_owned(),
        TensorView::new(Dtype::U32, vec![4], &index).unwrap(),
    )];
    for layer in 1..=3 {
        let view = TensorView::new(Dtype::U16, vec![4, 2], &found).unwrap();
        tensors.push((format!("match.key.{layer}"), view));
    }
    fs::write(
        run.join("pairs.safetensors"),
        safetensors::serialize(tensors, None).unwrap(),
    )
    .unwrap();
    let classes =
        ["aeroplane", "bicycle", "bird"].map(|name| json!({ "name": name, "color": [9, 9, 9] }));
    let manifest = json!({
        "format": 1, "state": "complete", "command": "correspond",
        "settings": { "fit": "stretch", "alphas": [0.1] },
        "model": { "name": "vit_base", "sha256": format!("{:064x}", 8), "depth": 3 },
        "data": { "kind": "spair71k", "test": 2, "classes": classes, "has_truth": true },
        "grid": [4, 4], "size": 64, "examples": ["p0:aeroplane", "p1:bird"], "selection": { "key": 3 }
    });
    write_manifest(run, &manifest);
}

fn png(
    path: &Path,
    [width, height]: [usize; 2],
    color: png::ColorType,
    palette: Option<Vec<u8>>,
    bytes: &[u8],
) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs::File::create(path).unwrap();
    let mut encoder = png::Encoder::new(file, width as u32, height as u32);
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
