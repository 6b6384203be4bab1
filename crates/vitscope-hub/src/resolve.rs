//! From what the user typed to a local file.

use std::path::{Path, PathBuf};

#[cfg(feature = "network")]
use serde::de::IgnoredAny;
#[cfg(feature = "network")]
use vitscope_run::files::read_up_to;
use vitscope_vit::identify::Format;
use vitscope_vit::known::{KnownModel, models};

#[cfg(feature = "network")]
use crate::cache::is_commit;
use crate::cache::{RepoCache, cached_ids};
#[cfg(feature = "network")]
use crate::choose::{JSON_LIMIT, Undecided};
use crate::choose::{WantedFiles, choose, is_complete, sidecars};
use crate::error::{HubError, listed};
use crate::name::{HubName, has_file_ending, near, short_name};
use crate::progress::Progress;
use crate::settings::Settings;
#[cfg(feature = "network")]
use crate::sink::FileSha1;

/// A model on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The file of weights, or the index of its shards; what the user named, if that was a path.
    pub path: PathBuf,
    /// Where it comes from.
    pub origin: ModelOrigin,
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelOrigin {
    /// The user named the file or folder.
    Path,
    /// A repository of a hub.
    Hub {
        /// Its id.
        id: String,
        /// The commit.
        commit: String,
        /// Whether anything had to be downloaded now.
        downloaded: bool,
    },
}

/// What is asked of a repository.
struct RepoRequest<'a> {
    id: &'a str,
    revision: &'a str,
    wanted: WantedFiles<'a>,
    format: Option<Format>,
}

/// Finds a model: an existing file or folder, else a short name of the table, else a Hugging Face
/// id, which is taken from the cache or downloaded. `format` chooses among the publications of a
/// short name, and among the files of a repository that holds several formats.
///
/// A revision that is cached whole is used as it is, without asking whether its branch has moved:
/// a name means the same weights until its cached copy is removed.
///
/// # Errors
/// One sentence for whatever stands in the way.
pub fn resolve(
    model: &Path,
    format: Option<Format>,
    progress: &mut dyn Progress,
) -> Result<Located, HubError> {
    if model.exists() {
        return Ok(local(model));
    }
    resolve_with(&Settings::from_env()?, model, format, progress)
}

/// [`resolve`] with settings that are not those of the environment.
///
/// # Errors
/// One sentence for whatever stands in the way.
pub fn resolve_with(
    settings: &Settings,
    model: &Path,
    format: Option<Format>,
    progress: &mut dyn Progress,
) -> Result<Located, HubError> {
    if model.exists() {
        return Ok(local(model));
    }
    let text = model.to_string_lossy();
    if let Some(known) = short_name(&text) {
        return by_short_name(settings, known, format, progress);
    }
    let file_like = has_file_ending(&text) && !text.contains(':');
    match HubName::parse(&text) {
        Some(name) if !file_like => obtain(
            settings,
            &RepoRequest {
                id: &name.id,
                revision: &name.revision,
                wanted: name
                    .file
                    .as_deref()
                    .map_or(WantedFiles::Weights, WantedFiles::File),
                format,
            },
            progress,
        ),
        _ if file_like || model.is_absolute() || text.starts_with(['.', '~']) => {
            Err(HubError::NoFile {
                hint: published(model),
                name: text.into_owned(),
            })
        }
        _ => Err(HubError::Unknown {
            near: near(&text, false),
            name: text.into_owned(),
        }),
    }
}

fn local(path: &Path) -> Located {
    Located {
        path: path.to_owned(),
        origin: ModelOrigin::Path,
    }
}

/// Where a file of this name is published, as the end of a sentence.
fn published(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for model in models() {
        for source in &model.sources {
            if source.file.as_deref() == Some(&name) {
                let from = source.url.as_ref().or(source.page.as_ref());
                return from.map_or(String::new(), |from| {
                    format!("; a file of this name can be downloaded from {from}")
                });
            }
        }
    }
    String::new()
}

fn by_short_name(
    settings: &Settings,
    known: &KnownModel,
    format: Option<Format>,
    progress: &mut dyn Progress,
) -> Result<Located, HubError> {
    let Some(source) = known.publication(format) else {
        let mut offered: Vec<String> = known
            .sources
            .iter()
            .map(|source| source.format.to_string())
            .collect();
        offered.dedup();
        return Err(HubError::NoSuchFormat {
            name: known.name.clone(),
            format: format.map_or(String::new(), |format| format.to_string()),
            offered: listed(&offered, " and "),
        });
    };
    let Some(id) = &source.id else {
        let from = source.url.as_ref().or(source.page.as_ref());
        return Err(HubError::NotOnHub {
            name: known.name.clone(),
            format: source.format.to_string(),
            file: source.file.clone().unwrap_or_else(|| "them".to_owned()),
            from: from.cloned().unwrap_or_default(),
        });
    };
    obtain(
        settings,
        &RepoRequest {
            id,
            revision: "main",
            wanted: source
                .folder
                .as_deref()
                .map_or(WantedFiles::Weights, WantedFiles::Folder),
            format: Some(source.format),
        },
        progress,
    )
}

/// From the cache where it is whole there, else from the hub.
fn obtain(
    settings: &Settings,
    asked: &RepoRequest<'_>,
    progress: &mut dyn Progress,
) -> Result<Located, HubError> {
    let cache = RepoCache::new(&settings.cache, asked.id);
    if let Some((commit, main)) = cached(&cache, asked) {
        let at = |name: &str| cache.snapshot(&commit).join(name);
        #[cfg(feature = "network")]
        if let Some(path) = sidecars(&main).find_map(|name| damaged(&at(&name))) {
            return Err(HubError::Damaged { path });
        }
        // A link whose contents were removed is to be filled again.
        let is_open = |name: &String| {
            !at(name).is_file() && (at(name).is_symlink() || !cache.is_absent(&commit, name))
        };
        let open = || sidecars(&main).filter(is_open).collect::<Vec<String>>();
        if !open().is_empty() && settings.offline.is_none() {
            // Other programs cache weights alone. What tells their format is small and worth
            // asking for; without it, what is there is used.
            if let Err(error) = complete(settings, &cache, asked, &commit, &open(), progress)
                && !open().is_empty()
            {
                progress.note(&format!(
                    "{}: its cached weights are used without {}, which may tell what they are: {error}",
                    asked.id,
                    listed(&open(), " and ")
                ));
            }
        }
        return Ok(Located {
            path: cache.snapshot(&commit).join(main),
            origin: ModelOrigin::Hub {
                id: asked.id.to_owned(),
                commit,
                downloaded: false,
            },
        });
    }
    if let Some(variable) = settings.offline {
        let because =
            format!("{variable} forbids a download (unset it, or cache the model beforehand)");
        return Err(not_cached(settings, asked, because));
    }
    download(settings, cache, asked, progress)
}

/// The cached commit and file that answer to what is asked, if they are whole.
fn cached(cache: &RepoCache, asked: &RepoRequest<'_>) -> Option<(String, String)> {
    let commit = cache.commit_of(asked.revision)?;
    let files = cache.files(&commit);
    let snapshot = cache.snapshot(&commit);
    let main = choose(&files, asked.wanted, asked.format, |file| {
        is_complete(&snapshot, file)
    });
    main.ok().map(|main| (commit, main))
}

fn not_cached(settings: &Settings, asked: &RepoRequest<'_>, because: String) -> HubError {
    let mut id = asked.id.to_owned();
    if asked.revision != "main" {
        id = format!("{id}@{}", asked.revision);
    }
    if let WantedFiles::File(file) = asked.wanted {
        id = format!("{id}:{file}");
    }
    let ids = cached_ids(&settings.cache);
    HubError::NotCached {
        cached: if ids.is_empty() {
            "nothing is cached".to_owned()
        } else if ids.iter().any(|id| id == asked.id) {
            "the cached copy is another revision or not complete".to_owned()
        } else {
            format!("cached are {}", listed(&ids, " and "))
        },
        id,
        cache: settings.cache.clone(),
        because,
    }
}

#[cfg(not(feature = "network"))]
fn download(
    settings: &Settings,
    _: RepoCache,
    asked: &RepoRequest<'_>,
    _: &mut dyn Progress,
) -> Result<Located, HubError> {
    let because = format!(
        "this program was built without network code (fetch it with `hf download {}`)",
        asked.id
    );
    Err(not_cached(settings, asked, because))
}

#[cfg(not(feature = "network"))]
fn complete(
    _: &Settings,
    _: &RepoCache,
    _: &RepoRequest<'_>,
    _: &str,
    _: &[String],
    _: &mut dyn Progress,
) -> Result<(), HubError> {
    Ok(())
}

#[cfg(feature = "network")]
fn download(
    settings: &Settings,
    cache: RepoCache,
    asked: &RepoRequest<'_>,
    progress: &mut dyn Progress,
) -> Result<Located, HubError> {
    use crate::choose::{is_index, shards};
    use crate::fetch::Remote;

    let remote = Remote::new(settings, cache, asked.id, asked.revision)?;
    let listing = remote.listing()?;
    let commit = listing.commit;
    let main = choose(&listing.files, asked.wanted, asked.format, |_| true)
        .map_err(|undecided| explain(asked, undecided, &remote.page()))?;
    for name in sidecars(&main) {
        if listing.files.contains(&name) {
            remote.file(&commit, &name, progress)?;
        } else {
            remote.cache.note_absent(&commit, &name)?;
        }
    }
    let path = remote.file(&commit, &main, progress)?;
    if is_index(&main) {
        // One that was cached before may be of any length.
        let text = read_up_to(&path, JSON_LIMIT).ok().flatten();
        let names = text.and_then(|text| shards(&main, &text));
        let names = names.ok_or_else(|| match damaged(&path) {
            Some(path) => HubError::Damaged { path },
            None => HubError::Protocol {
                url: format!("{}/blob/{commit}/{main}", remote.page()),
                problem: "it should list the shards of a model and does not".to_owned(),
            },
        })?;
        for name in names {
            remote.file(&commit, &name, progress)?;
        }
    }
    // Last, so that a branch never leads to a commit of which only half is there.
    remote.cache.write_ref(asked.revision, &commit)?;
    Ok(Located {
        path,
        origin: ModelOrigin::Hub {
            id: asked.id.to_owned(),
            commit,
            downloaded: true,
        },
    })
}

/// The blob of a cached file of JSON that is none, and not what its name says. From a name alone that is no hash of
/// the contents nothing follows: those of other servers need not be hashes.
#[cfg(feature = "network")]
fn damaged(file: &Path) -> Option<PathBuf> {
    let blob = file.canonicalize().ok()?;
    let expected = blob.file_name()?.to_str()?.to_ascii_lowercase();
    // Git's hashes look like a commit.
    if !is_commit(&expected) {
        return None;
    }
    let text = read_up_to(&blob, JSON_LIMIT).ok()??;
    let is_json = serde_json::from_slice::<IgnoredAny>(&text).is_ok();
    let mut hash = FileSha1::new(text.len() as u64);
    hash.update(&text);
    (!is_json && hash.finish(&expected) != expected).then_some(blob)
}

/// Brings the files that tell what cached weights are.
#[cfg(feature = "network")]
fn complete(
    settings: &Settings,
    cache: &RepoCache,
    asked: &RepoRequest<'_>,
    commit: &str,
    open: &[String],
    progress: &mut dyn Progress,
) -> Result<(), HubError> {
    use crate::fetch::Remote;

    // Each for a short time: whoever has the weights should not wait for a hub that is away, but for a slow one.
    let remote = || -> Result<Remote<'_>, HubError> {
        let remote = Remote::new(settings, cache.clone(), asked.id, commit)?;
        Ok(remote.within(settings.bounds.patience))
    };
    let listing = remote()?.listing()?;
    let mut missed = Ok(());
    for name in open {
        let brought = match listing.files.contains(name) {
            true => remote()?.file(commit, name, progress).map(|_| ()),
            false => cache.note_absent(commit, name),
        };
        let is_of_the_hub = matches!(
            brought,
            Err(HubError::Unreachable { .. }
                | HubError::Broken { .. }
                | HubError::Gated { .. }
                | HubError::Token { .. }
                | HubError::Status {
                    status: 429 | 500..,
                    ..
                })
        );
        // One that does not come keeps no other away, unless all would be asked for in vain.
        missed = missed.and(brought);
        if is_of_the_hub {
            break;
        }
    }
    missed
}

/// Says why no file of a repository was chosen.
#[cfg(feature = "network")]
fn explain(asked: &RepoRequest<'_>, undecided: Undecided, page: &str) -> HubError {
    let id = asked.id.to_owned();
    let nothing = || format!("it lists no file that could be opened; see {page}");
    match (undecided, asked.wanted) {
        (Undecided::Missing(found), WantedFiles::File(file)) => HubError::NoEntry {
            id,
            file: file.to_owned(),
            revision: asked.revision.to_owned(),
            found: found.unwrap_or_else(nothing),
        },
        (Undecided::Missing(found), _) => HubError::NoWeights {
            id,
            found: found.map_or_else(nothing, |found| {
                format!("{found}; name one as {}:FILE", asked.id)
            }),
        },
        (Undecided::Several(files), _) => HubError::NoWeights {
            id,
            found: format!(
                "{} would do; name one as {}:FILE",
                listed(&files, " and "),
                asked.id
            ),
        },
    }
}
