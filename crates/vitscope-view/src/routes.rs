//! What the page asks, and what it is answered.

use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vitscope_data::DataError;
use vitscope_run::Slot;

use crate::answers::png_of;
use crate::desk::Desk;
use crate::error::ViewError;
use crate::page;
use crate::pane::SlotReading;
use crate::server::{Answer, Answerer, Asked};

/// A desk that is asked over HTTP, one request at a time.
#[derive(Debug)]
pub struct Served(Mutex<Desk>);

impl Served {
    /// Serves a desk.
    #[must_use]
    pub fn new(desk: Desk) -> Self {
        Self(Mutex::new(desk))
    }

    /// A request that panicked has at most left a picture out, so the desk stays of use.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn json(&self, asked: &Asked, query: &UrlQuery) -> Result<Value, ViewError> {
        let mut desk = self.desk();
        match (asked.is_change, asked.path.as_str()) {
            (false, "about") => Ok(json!(desk.about())),
            (false, "cosines") => {
                let maps = desk.cosines(
                    query.number("pane")?,
                    &query.look()?,
                    query.number("image")?,
                    query.number("patch")?,
                )?;
                Ok(json!({ "maps": maps }))
            }
            (false, "colors") => Ok(json!(desk.colors(query.number("pane")?, &query.look()?)?)),
            (false, "clusters") => {
                let (maps, lines) = desk.clusters(query.number("pane")?, &query.look()?)?;
                let maps = maps.into_iter();
                let maps = maps.map(
                    |map| json!({ "picture": map.picture, "labels": STANDARD.encode(map.labels) }),
                );
                Ok(json!({ "maps": maps.collect::<Vec<_>>(), "lines": lines }))
            }
            (true, "add") => Ok(json!(desk.add(&query.name()?, &asked.body)?)),
            (true, "pick") => Ok(json!(desk.pick(query.text("name")?)?)),
            (true, "close") => {
                desk.close(query.number("image")?)?;
                Ok(json!({}))
            }
            _ => Err(ViewError::asked("there is nothing of that name")),
        }
    }
}

impl Answerer for Served {
    fn answer(&self, asked: Asked) -> Answer {
        let file = |kind, text: &str| Answer {
            status: 200,
            kind,
            body: text.as_bytes().to_vec(),
        };
        match (asked.is_change, asked.path.as_str()) {
            (false, "") => return file("text/html; charset=utf-8", page::HTML),
            (false, "view.js") => return file("text/javascript; charset=utf-8", page::SCRIPT),
            (false, "view.css") => return file("text/css; charset=utf-8", page::STYLE),
            _ => {}
        }
        let query = UrlQuery::of(&asked.query);
        let answered = if (asked.is_change, asked.path.as_str()) == (false, "crop") {
            self.crop(&query).map(|body| Answer {
                status: 200,
                kind: "image/png",
                body,
            })
        } else {
            let body = self.json(&asked, &query);
            body.map(|value| Answer::json(200, &value))
        };
        answered.unwrap_or_else(|error| Answer::refusal(status(&error), &error.to_string()))
    }
}

impl Served {
    fn crop(&self, query: &UrlQuery) -> Result<Vec<u8>, ViewError> {
        let crop = self
            .desk()
            .crop(query.number("pane")?, query.number("image")?)?;
        png_of(&crop)
    }
}

fn status(error: &ViewError) -> u16 {
    match error {
        ViewError::Asked(_) => 404,
        ViewError::Data(DataError::Panicked { .. }) | ViewError::Internal(_) => 500,
        ViewError::Data(_) => 422,
        _ => 500,
    }
}

/// What stands behind the question mark.
struct UrlQuery(Vec<(String, String)>);

impl UrlQuery {
    fn of(text: &str) -> Self {
        Self(
            form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    fn text(&self, name: &str) -> Result<&str, ViewError> {
        let found = self.0.iter().find(|(key, _)| key == name);
        let none = || ViewError::asked(format!("`{name}` is not said"));
        found.map(|(_, value)| value.as_str()).ok_or_else(none)
    }

    fn number(&self, name: &str) -> Result<usize, ViewError> {
        let text = self.text(name)?;
        text.parse()
            .map_err(|_| ViewError::asked(format!("`{name}` is no whole number")))
    }

    /// A dropped file's name, as a name only: what looks like a path loses its folders, and what no line shows is
    /// left out. Nothing is ever opened or written under it.
    fn name(&self) -> Result<String, ViewError> {
        let text = self.text("name")?;
        let name = text.rsplit(['/', '\\']).next().unwrap_or_default();
        let shown: String = name
            .chars()
            .filter(|letter| !letter.is_control())
            .take(120)
            .collect();
        Ok(if shown.is_empty() {
            "image".to_owned()
        } else {
            shown
        })
    }

    fn look(&self) -> Result<SlotReading, ViewError> {
        let word = |problem: String| ViewError::asked(problem);
        Ok(SlotReading {
            slot: self.text("slot")?.parse::<Slot>().map_err(word)?,
            token_norm: self.text("norm")?.parse().map_err(word)?,
            rope: self.text("rope")?.parse().map_err(word)?,
        })
    }
}
