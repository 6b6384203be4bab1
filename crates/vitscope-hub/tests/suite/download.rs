//! Names to files, end to end against a stand-in hub.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vitscope_hub::progress::{Progress, SilentProgress};
use vitscope_hub::settings::{Bounds, Settings, Token};
use vitscope_hub::{HubError, Located, ModelOrigin, resolve_with};
use vitscope_testkit::fixture;
use vitscope_testkit::hub::{COMMIT, Standin, sha256};

const ID: &str = "timm/vit_fixture_patch16.dino";

struct Case {
    hub: Standin,
    folder: tempfile::TempDir,
    settings: Settings,
}

/// A hub that serves one fixture, and an empty cache.
fn case() -> Case {
    let hub = Standin::start();
    hub.add_folder(
        ID,
        &fixture("dino-timm"),
        &["config.json", "model.safetensors"],
    );
    let folder = tempfile::tempdir().unwrap();
    let settings = crate::settings(&hub.endpoint, &folder);
    Case {
        hub,
        folder,
        settings,
    }
}

impl Case {
    fn get(&self, name: &str) -> Result<Located, HubError> {
        resolve_with(&self.settings, Path::new(name), None, &mut SilentProgress)
    }

    fn offline(&self) -> Settings {
        Settings {
            offline: Some("HF_HUB_OFFLINE"),
            ..self.settings.clone()
        }
    }

    fn repository(&self, id: &str) -> PathBuf {
        self.settings
            .cache
            .join(format!("models--{}", id.replace('/', "--")))
    }

    fn blobs(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.repository(ID).join("blobs"))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn is_whole(located: &Located) {
    let want = std::fs::read(fixture("dino-timm/model.safetensors")).unwrap();
    assert_eq!(std::fs::read(&located.path).unwrap(), want);
}

/// Every error is one sentence without a line break.
fn sentence(result: Result<Located, HubError>) -> String {
    let text = result.unwrap_err().to_string();
    assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
    text
}

#[test]
fn a_model_is_downloaded_once_into_the_shared_layout() {
    let case = case();
    let first = case.get(ID).unwrap();
    is_whole(&first);
    assert_eq!(
        first.origin,
        ModelOrigin::Hub {
            id: ID.to_owned(),
            commit: COMMIT.to_owned(),
            downloaded: true
        }
    );
    let repository = case.repository(ID);
    assert_eq!(
        first.path,
        repository
            .join("snapshots")
            .join(COMMIT)
            .join("model.safetensors")
    );
    assert!(first.path.with_file_name("config.json").is_file());
    assert_eq!(
        std::fs::read_to_string(repository.join("refs/main")).unwrap(),
        COMMIT
    );
    let weights = std::fs::read(&first.path).unwrap();
    let target = std::fs::read_link(&first.path).unwrap();
    assert_eq!(
        target,
        Path::new("../../blobs").join(sha256(&weights)),
        "links are relative"
    );
    assert!(
        repository
            .join(".no_exist")
            .join(COMMIT)
            .join("preprocessor_config.json")
            .is_file()
    );
    assert_eq!(case.blobs().len(), 2, "{:?}", case.blobs());
    assert!(!case.hub.take_log().is_empty());

    let second = case.get(ID).unwrap();
    is_whole(&second);
    assert!(matches!(
        second.origin,
        ModelOrigin::Hub {
            downloaded: false,
            ..
        }
    ));
    assert_eq!(case.hub.take_log(), [""; 0], "the second run asks nobody");
    let third = resolve_with(&case.offline(), Path::new(ID), None, &mut SilentProgress).unwrap();
    assert_eq!(third.path, first.path);
    for name in [format!("{ID}@{COMMIT}"), format!("{ID}:model.safetensors")] {
        assert_eq!(case.get(&name).unwrap().path, first.path);
    }
}

#[test]
fn a_path_that_exists_wins() {
    let case = case();
    let path = fixture("dino-timm");
    let located = resolve_with(&case.settings, &path, None, &mut SilentProgress).unwrap();
    assert_eq!((located.path, located.origin), (path, ModelOrigin::Path));
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let mut case = case();
    {
        let mut state = case.hub.state.lock().unwrap();
        state.tokens = vec!["hf_good".to_owned()];
        state.repos.get_mut(ID).unwrap().gate = Some("hf_good".to_owned());
    }
    case.settings.token = Token::new("hf_good", "HF_TOKEN").unwrap();
    is_whole(&case.get(ID).unwrap());
    let log = case.hub.take_log();
    assert!(log.iter().any(|line| line.starts_with("cdn GET")));
    for line in log {
        assert_eq!(line.starts_with("hub"), line.ends_with("auth"), "{line}");
    }
}

#[test]
fn a_gated_model_names_its_page_and_the_token() {
    let mut case = case();
    {
        let mut state = case.hub.state.lock().unwrap();
        state.tokens = vec!["hf_good".to_owned(), "hf_other".to_owned()];
        state.repos.get_mut(ID).unwrap().gate = Some("hf_good".to_owned());
    }
    let page = format!("{}/{ID}", case.hub.endpoint);
    let without = sentence(case.get(ID));
    for part in ["is gated", page.as_str(), "HF_TOKEN", "hf auth login"] {
        assert!(without.contains(part), "{part}: {without}");
    }
    case.settings.token = Token::new("hf_other", "HF_TOKEN").unwrap();
    let with = sentence(case.get(ID));
    for part in [
        "is gated",
        page.as_str(),
        "the token from HF_TOKEN has no access",
    ] {
        assert!(with.contains(part), "{part}: {with}");
    }
    assert!(!with.contains("hf_other"), "{with}");
    assert!(case.blobs().is_empty());
}

#[test]
fn refusals_say_what_was_refused() {
    let mut case = case();
    let unknown = sentence(case.get("facebook/dinov2-bas"));
    assert!(unknown.contains("facebook/dinov2-base"), "{unknown}");
    assert!(unknown.contains(&case.hub.endpoint), "{unknown}");
    let file = sentence(case.get(&format!("{ID}:pytorch_model.bin")));
    assert!(
        file.contains("no file `pytorch_model.bin`") && file.contains("model.safetensors"),
        "{file}"
    );
    let revision = sentence(case.get(&format!("{ID}@v9")));
    assert!(revision.contains("no revision `v9`"), "{revision}");
    assert!(case.get(&format!("{ID}@refs/pr/1")).is_ok());
    case.settings.token = Token::new("hf_stale", "HF_TOKEN").unwrap();
    case.settings.cache = case.folder.path().join("other");
    let stale = sentence(case.get(ID));
    assert!(
        stale.contains("does not accept the token from HF_TOKEN"),
        "{stale}"
    );
}

#[test]
fn names_that_mean_nothing_get_near_ones() {
    let case = case();
    let short = case.get("dino-b15").unwrap_err();
    assert!(short.is_usage());
    assert!(
        short.to_string().contains("did you mean dino-b16"),
        "{short}"
    );
    let path = sentence(case.get("weights/nothing.safetensors"));
    assert!(path.contains("no file or folder"), "{path}");
    let official = sentence(case.get("/data/dino_vitbase16_pretrain.pth"));
    assert!(
        official.contains("https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/"),
        "{official}"
    );
    let elsewhere = sentence(case.get("mocov3-b16"));
    assert!(
        elsewhere.contains("vit-b-300ep.pth.tar") && elsewhere.contains("https://"),
        "{elsewhere}"
    );
    let format = resolve_with(
        &case.settings,
        Path::new("mocov3-b16"),
        Some(vitscope_vit::identify::Format::Timm),
        &mut SilentProgress,
    );
    assert!(sentence(format).contains("its formats are official"));
    assert_eq!(case.hub.take_log(), [""; 0], "nobody was asked");
}

#[test]
fn a_short_name_stands_for_its_first_publication() {
    let case = case();
    let id = "timm/vit_base_patch16_224.dino";
    case.hub.add_folder(
        id,
        &fixture("dino-timm"),
        &["config.json", "model.safetensors"],
    );
    let located = case.get("dino-b16").unwrap();
    assert!(located.path.starts_with(case.repository(id)));
    let mugs = "zhoupans/Mugs";
    case.hub.add_file(
        mugs,
        "pretrained models/vit_small_800ep/vit_small_backbone.pth",
        b"bare",
    );
    case.hub.add_file(
        mugs,
        "pretrained models/vit_small_800ep/vit_small_full.pth",
        b"full",
    );
    case.hub
        .add_file(mugs, "pretrained models/vit_base_400ep/x.pth", b"base");
    let bare = case.get("mugs-s16").unwrap();
    assert_eq!(std::fs::read(&bare.path).unwrap(), b"bare");
    assert_eq!(
        std::fs::read(case.get("mugs-b16").unwrap().path).unwrap(),
        b"base"
    );
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let case = case();
    case.hub
        .change(ID, "model.safetensors", |entry| entry.breaks = 2);
    is_whole(&case.get(ID).unwrap());
    let ranges: Vec<String> = case
        .hub
        .take_log()
        .into_iter()
        .filter(|line| line.starts_with("cdn") && line.contains("from"))
        .collect();
    assert_eq!(ranges.len(), 2, "{ranges:?}");
}

/// A byte a connection: neither a file that can be continued nor one that begins anew is asked for without
/// end.
#[test]
fn a_drip_is_given_up() {
    for name in ["model.safetensors", "config.json"] {
        let case = case();
        case.hub.change(ID, name, |entry| entry.drips = Some(1));
        let broken = sentence(case.get(ID));
        assert!(broken.contains("broke off"), "{broken}");
        let asked = case.hub.take_log();
        assert!(asked.len() < 30, "{name}: {} requests", asked.len());
        case.hub.change(ID, name, |entry| entry.drips = None);
        is_whole(&case.get(ID).unwrap());
    }
}

/// A byte now and then is no connection: it is given up, and so is the file after a few of them.
#[test]
fn a_crawl_is_given_up() {
    for name in ["model.safetensors", "config.json"] {
        let mut case = case();
        case.settings.bounds.slowest = (1000, Duration::from_millis(100));
        let pause = Some(Duration::from_millis(10));
        case.hub.change(ID, name, |entry| entry.slow = pause);
        let begun = Instant::now();
        let crawling = sentence(case.get(ID));
        assert!(
            crawling.contains("it sends less than 1000 bytes in 0.1 s"),
            "{crawling}"
        );
        assert!(begun.elapsed() < Duration::from_secs(20));
        let asked = case.hub.take_log();
        assert!(asked.len() < 30, "{name}: {} requests", asked.len());
        case.hub.change(ID, name, |entry| entry.slow = None);
        is_whole(&case.get(ID).unwrap());
    }
}

/// What is longer than an unannounced file may be, is not kept; what is not, comes.
#[test]
fn a_file_of_unannounced_size_is_bounded() {
    for name in ["model.safetensors", "config.json"] {
        let mut case = case();
        case.hub.change(ID, name, |entry| entry.silent = true);
        case.settings.bounds.unannounced = 100;
        let endless = sentence(case.get(ID));
        assert!(
            endless.contains("more than 100 bytes of a file whose size it does not announce"),
            "{endless}"
        );
        for blob in case.blobs() {
            let path = case.repository(ID).join("blobs").join(&blob);
            let kept = path.metadata().unwrap().len();
            assert!(
                !blob.ends_with(".incomplete") || kept == 0,
                "{blob}: {kept}"
            );
        }
        case.settings.bounds = Bounds::default();
        is_whole(&case.get(ID).unwrap());
    }
}

#[derive(Default)]
struct Recorder(Vec<(u64, u64)>);

impl Progress for Recorder {
    fn begin(&mut self, _: &str, done: u64, _: Option<u64>) {
        self.0.push((done, 0));
    }
    fn advance(&mut self, bytes: u64) {
        self.0.last_mut().unwrap().1 += bytes;
    }
    fn end(&mut self) {}
    fn note(&mut self, _: &str) {}
}

#[test]
fn a_later_run_goes_on_where_an_earlier_one_was_killed() {
    let case = case();
    let bytes = std::fs::read(fixture("dino-timm/model.safetensors")).unwrap();
    let blobs = case.repository(ID).join("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let partial = blobs.join(format!("{}.incomplete", sha256(&bytes)));
    std::fs::write(&partial, &bytes[..1000]).unwrap();
    let mut recorder = Recorder::default();
    let located = resolve_with(&case.settings, Path::new(ID), None, &mut recorder).unwrap();
    is_whole(&located);
    assert_eq!(
        *recorder.0.last().unwrap(),
        (1000, bytes.len() as u64 - 1000)
    );
    assert!(!partial.exists());

    // A server without ranges sends everything again.
    std::fs::remove_dir_all(case.repository(ID)).unwrap();
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(&partial, &bytes[..1000]).unwrap();
    case.hub.state.lock().unwrap().no_ranges = true;
    is_whole(&case.get(ID).unwrap());

    // All of it was there, but it had not been given its name.
    std::fs::remove_dir_all(case.repository(ID)).unwrap();
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(&partial, &bytes).unwrap();
    is_whole(&case.get(ID).unwrap());
}

#[test]
fn a_wrong_beginning_is_noticed() {
    let case = case();
    let bytes = std::fs::read(fixture("dino-timm/model.safetensors")).unwrap();
    let blobs = case.repository(ID).join("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let partial = blobs.join(format!("{}.incomplete", sha256(&bytes)));
    std::fs::write(&partial, vec![7; 1000]).unwrap();
    let wrong = sentence(case.get(ID));
    assert!(wrong.contains("SHA-256"), "{wrong}");
    assert!(!partial.exists());
    is_whole(&case.get(ID).unwrap());
    // Longer than the file can be: of no use.
    std::fs::remove_dir_all(case.repository(ID)).unwrap();
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(&partial, vec![7; bytes.len() + 1]).unwrap();
    is_whole(&case.get(ID).unwrap());
}

#[test]
fn what_breaks_again_and_again_is_kept_but_never_taken_for_whole() {
    let case = case();
    // Each break halves what is left, so that progress ends in the end.
    case.hub
        .change(ID, "model.safetensors", |entry| entry.breaks = 1000);
    let broken = sentence(case.get(ID));
    assert!(
        broken.contains("broke off") && broken.contains("run again to get the rest"),
        "{broken}"
    );
    assert!(
        case.blobs()
            .iter()
            .any(|name| name.ends_with(".incomplete"))
    );
    let offline = resolve_with(&case.offline(), Path::new(ID), None, &mut SilentProgress);
    assert!(sentence(offline).contains("not in the cache"));
    case.hub
        .change(ID, "model.safetensors", |entry| entry.breaks = 0);
    is_whole(&case.get(ID).unwrap());
}

#[test]
fn wrong_sizes_and_hashes_are_refused() {
    for longer in [true, false] {
        let case = case();
        case.hub.change(ID, "model.safetensors", |entry| {
            let size = entry.bytes.len();
            entry.claimed_size = Some(if longer { size - 10 } else { size + 10 });
        });
        let size = sentence(case.get(ID));
        assert!(size.contains("nothing of it was kept"), "{size}");
        assert_eq!(
            case.blobs().len(),
            1,
            "the config alone: {:?}",
            case.blobs()
        );
        assert!(resolve_with(&case.offline(), Path::new(ID), None, &mut SilentProgress).is_err());
    }
    let case = case();
    case.hub.change(ID, "model.safetensors", |entry| {
        entry.claimed_sha = Some("a".repeat(64));
    });
    let hash = sentence(case.get(ID));
    assert!(hash.contains("should have SHA-256 aaaa"), "{hash}");
    assert!(
        !case.blobs().iter().any(|name| name.starts_with("aaa")),
        "{:?}",
        case.blobs()
    );
}

#[test]
fn a_busy_server_is_asked_again() {
    let case = case();
    case.hub.state.lock().unwrap().busy = 2;
    is_whole(&case.get(ID).unwrap());
    let case = self::case();
    case.hub.state.lock().unwrap().busy = 1000;
    let busy = sentence(case.get(ID));
    assert!(busy.contains("status 503"), "{busy}");
}

#[test]
fn offline_says_what_is_cached() {
    let case = case();
    let empty = sentence(resolve_with(
        &case.offline(),
        Path::new(ID),
        None,
        &mut SilentProgress,
    ));
    assert!(
        empty.contains("HF_HUB_OFFLINE") && empty.contains("nothing is cached"),
        "{empty}"
    );
    case.get(ID).unwrap();
    let other = resolve_with(
        &case.offline(),
        Path::new("timm/other"),
        None,
        &mut SilentProgress,
    );
    assert!(sentence(other).contains(ID));
    assert!(
        sentence(resolve_with(
            &case.offline(),
            Path::new(&format!("{ID}@v1")),
            None,
            &mut SilentProgress
        ))
        .contains("another revision")
    );
    // A snapshot whose contents are gone is not a model.
    for blob in case.blobs() {
        std::fs::remove_file(case.repository(ID).join("blobs").join(blob)).unwrap();
    }
    assert!(resolve_with(&case.offline(), Path::new(ID), None, &mut SilentProgress).is_err());
    is_whole(&case.get(ID).unwrap());
}

#[test]
fn no_hub_at_all_is_said() {
    let mut case = case();
    case.settings.endpoint = "http://127.0.0.1:9".to_owned();
    let away = sentence(case.get(ID));
    assert!(away.contains("cannot reach http://127.0.0.1:9/"), "{away}");
    // A server that is no hub.
    case.settings.endpoint = format!("{}/elsewhere", case.hub.endpoint);
    assert!(case.get(ID).is_err());
}

#[test]
fn shards_come_with_their_index() {
    let case = case();
    let id = "owner/sharded";
    let index = br#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    case.hub.add_file(id, "model.safetensors.index.json", index);
    case.hub
        .add_file(id, "model-00001-of-00002.safetensors", b"first");
    case.hub
        .add_file(id, "model-00002-of-00002.safetensors", b"second");
    let located = case.get(id).unwrap();
    assert!(located.path.ends_with("model.safetensors.index.json"));
    let second = located
        .path
        .with_file_name("model-00002-of-00002.safetensors");
    assert_eq!(std::fs::read(&second).unwrap(), b"second");
    // One shard less is not the model.
    std::fs::remove_file(std::fs::canonicalize(&second).unwrap()).unwrap();
    assert!(resolve_with(&case.offline(), Path::new(id), None, &mut SilentProgress).is_err());
    case.get(id).unwrap();
    assert_eq!(std::fs::read(&second).unwrap(), b"second");
    let trick = br#"{"weight_map": {"a": "../../../../trick"}}"#;
    case.hub
        .add_file("owner/trick", "model.safetensors.index.json", trick);
    assert!(sentence(case.get("owner/trick")).contains("list the shards"));
}

#[test]
fn what_python_has_cached_is_found() {
    let case = case();
    let repository = case.repository(ID);
    let snapshot = repository.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(repository.join("blobs")).unwrap();
    std::fs::create_dir_all(repository.join("refs")).unwrap();
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::write(repository.join("refs/main"), COMMIT).unwrap();
    let bytes = std::fs::read(fixture("dino-timm/model.safetensors")).unwrap();
    let sha = sha256(&bytes);
    std::fs::write(repository.join("blobs").join(&sha), &bytes).unwrap();
    std::os::unix::fs::symlink(
        Path::new("../../blobs").join(&sha),
        snapshot.join("model.safetensors"),
    )
    .unwrap();
    let offline = resolve_with(&case.offline(), Path::new(ID), None, &mut SilentProgress).unwrap();
    is_whole(&offline);
    // The weights alone were cached: what tells their format is fetched, and only that.
    let online = case.get(ID).unwrap();
    assert_eq!(online.path, offline.path);
    assert!(snapshot.join("config.json").is_file());
    let log = case.hub.take_log();
    assert!(
        log.iter().all(|line| !line.contains("model.safetensors")),
        "{log:?}"
    );
    case.get(ID).unwrap();
    assert_eq!(case.hub.take_log(), [""; 0]);
}

#[test]
fn two_at_once_download_once() {
    let case = case();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| is_whole(&case.get(ID).unwrap()));
        }
    });
    let gets = case
        .hub
        .take_log()
        .into_iter()
        .filter(|line| line.starts_with("cdn GET"))
        .count();
    assert_eq!(gets, 1);
}
