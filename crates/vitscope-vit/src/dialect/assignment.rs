//! What each tensor of a file is for, as a dialect or a description tells it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Naming, lora::Changes, networks::NetworkChoice};

/// What a tensor is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It is this part of the backbone.
    Used(String),
    /// The backbone does not need it, for this reason.
    Unneeded(String),
}

/// A file's tensors with their parts assigned.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// How they are named and stored.
    pub naming: Naming,
    /// The root entry that holds the backbone; empty in flat files.
    pub group: String,
    /// What stands before the backbone's names inside the group.
    pub prefix: String,
    /// Which of several networks it is.
    pub choice: Option<NetworkChoice>,
    /// Attention heads, where each has tensors of its own.
    pub heads: Option<usize>,
    /// Parts outside the blocks: canonical name to index of the tensor.
    pub stem: BTreeMap<&'static str, usize>,
    /// Parts of every block.
    pub blocks: Vec<BTreeMap<&'static str, usize>>,
    /// What adapters add to weights.
    pub changes: Changes,
    /// What each tensor of the container is for.
    pub roles: Vec<Role>,
}

impl Assignment {
    /// Where in the file the backbone is: `teacher / backbone.*`.
    pub fn nesting(&self) -> String {
        match (self.group.as_str(), self.prefix.as_str()) {
            ("", "") => "flat".to_owned(),
            ("", prefix) => format!("{prefix}*"),
            (group, "") => group.to_owned(),
            (group, prefix) => format!("{group} / {prefix}*"),
        }
    }
}
