//! `vitscope view` as a process: its one line, a run as the run read it, and Ctrl-C.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::{command, copy_folder, model, probe, run, run_json, succeed};

/// A run that both tests look at, and neither changes.
fn made() -> &'static Path {
    static RUN: OnceLock<TempDir> = OnceLock::new();
    let dir = RUN.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let more = [
            "--token-norm",
            "before",
            "--transform",
            "mean",
            "--layers",
            "1,3",
            "--facets",
            "key,token",
        ];
        succeed(probe(dir.path(), &more));
        dir
    });
    dir.path()
}

struct Viewed {
    child: Child,
    port: u16,
    token: String,
}

impl Viewed {
    fn start(args: &[&str]) -> Self {
        let mut command = command();
        command
            .arg("view")
            .args(args)
            .args(["--format", "json"])
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let rest = said["url"]
            .as_str()
            .unwrap()
            .strip_prefix("http://127.0.0.1:")
            .unwrap()
            .to_owned();
        let (port, token) = rest.split_once('/').unwrap();
        Self {
            child,
            port: port.parse().unwrap(),
            token: token.trim_end_matches('/').to_owned(),
        }
    }

    /// What is answered, as JSON.
    fn ask(&self, method: &str, target: &str) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let (token, port) = (&self.token, self.port);
        write!(stream, "{method} /{token}/{target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// As a user's Ctrl-C ends it.
    #[cfg(unix)]
    fn end(mut self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }

    #[cfg(not(unix))]
    fn end(mut self) {
        self.child.kill().unwrap();
    }
}

impl Drop for Viewed {
    fn drop(&mut self) {
        // Where a test has failed; one that ended is not there any more.
        let _ = self.child.kill();
    }
}

/// A label map of a run: the index of every pixel.
fn labels(run: &Path, slot: &str, name: &str) -> Vec<u8> {
    let path = run.join(format!("labels/{slot}/{name}.png"));
    let file = std::fs::File::open(path).unwrap();
    let mut decoder = png::Decoder::new(BufReader::new(file));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels
}

/// Standard base64.
fn decoded(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u8> = text.bytes().filter(|&letter| letter != b'=').collect();
    let bits = letters.chunks(4).flat_map(|four| {
        let word = four.iter().enumerate().fold(0_u32, |word, (at, &letter)| {
            word | (u32::from(value(letter)) << (18 - 6 * at))
        });
        word.to_be_bytes()[1..four.len()].to_vec()
    });
    bits.collect()
}

#[test]
fn a_run_is_seen_as_it_was_read_and_its_clusters_are_those_it_stored() {
    let made = made();
    let record = run_json(made);
    let path = made.display().to_string();
    let viewed = Viewed::start(&[&path]);
    let about = viewed.ask("GET", "about");
    let pane = &about["panes"][0];
    assert_eq!(pane["size"], record["size"]);
    assert_eq!(
        (&pane["token_norm"], &pane["transform"]),
        (&"before".into(), &"mean".into())
    );
    assert!(!about["names"].as_array().unwrap().is_empty());

    let name = record["examples"][0].as_str().unwrap();
    let id = viewed.ask("POST", &format!("pick?name={name}"))["id"]
        .as_u64()
        .unwrap();
    for slot in ["key.1", "token.3"] {
        let clusters = viewed.ask(
            "GET",
            &format!("clusters?pane=0&slot={slot}&norm=before&rope=before"),
        );
        let map = clusters["maps"]
            .as_array()
            .unwrap()
            .iter()
            .find(|map| map["picture"] == id)
            .unwrap();
        let seen = decoded(map["labels"].as_str().unwrap());
        let stored = labels(made, slot, name);
        assert_eq!(seen.len(), stored.len());
        // A run with as many clusters as classes stores classes: each cluster must be one of them, everywhere.
        let mut class_of = [None; 256];
        for (&cluster, &class) in seen.iter().zip(&stored) {
            assert_eq!(
                *class_of[usize::from(cluster)].get_or_insert(class),
                class,
                "{slot}"
            );
        }
        let lines = clusters["lines"].as_array().unwrap();
        let classes = record["data"]["classes"].as_array().unwrap();
        for (cluster, class) in class_of
            .iter()
            .enumerate()
            .filter_map(|(cluster, class)| Some((cluster, (*class)?)))
        {
            let wanted = format!(
                "k{cluster} {}",
                classes[usize::from(class)]["name"].as_str().unwrap()
            );
            assert_eq!(
                lines[cluster]["name"]
                    .as_str()
                    .unwrap()
                    .trim_end_matches('?'),
                wanted
            );
        }
    }
    let other = viewed.ask("GET", "clusters?pane=0&slot=token.3&norm=after&rope=before");
    assert!(
        other["error"].as_str().unwrap().contains("another reading"),
        "{other}"
    );
    viewed.end();
}

#[test]
fn what_cannot_be_viewed_is_said_before_anything_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("run");
    copy_folder(made(), &copy);
    let made = copy;
    let told = |args: &[&str], code: i32, part: &str| {
        let output = run(&[&["view"], args].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(part) && output.stdout.is_empty(), "{text}");
    };
    told(&["nowhere/at-all.safetensors"], 3, "nowhere");
    // Weights that are not those of the run.
    let path = made.join("run.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let record = run_json(&made);
    let hash = record["model"]["sha256"].as_str().unwrap();
    std::fs::write(&path, text.replace(hash, &"0".repeat(64))).unwrap();
    let there = made.display().to_string();
    told(&[&there], 3, "was made of other weights");
    std::fs::write(
        &path,
        text.replace(
            record["model"]["path"].as_str().unwrap(),
            "gone.safetensors",
        ),
    )
    .unwrap();
    told(&[&there], 3, "is not at gone.safetensors any more");
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let typed = model();
    let mut args: Vec<&str> = typed.iter().map(String::as_str).collect();
    args.extend(["--port", &port]);
    told(&args, 2, "cannot be listened on");
}
