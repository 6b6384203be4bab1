//! Where a pickle's tensors lie in the tree of its values.

use super::{COUNT_LIMIT, DEPTH_LIMIT, NAME_LIMIT, Pickle, PickleValue, Refusal, TENSOR_LIMIT};

/// A tensor in the tree of a pickle's values.
#[derive(Clone, Debug)]
pub(in crate::container) struct FoundTensors {
    /// Below which of the values that were searched.
    pub root: usize,
    /// The names on the way to it, joined by dots; empty where the value is the tensor itself.
    pub path: String,
    /// Index into [`Pickle::tensors`].
    pub tensor: usize,
}

/// A search for tensors; its bounds hold for all values that are searched together.
#[derive(Default)]
struct PickleSearch {
    root: usize,
    visited: usize,
    found: Vec<FoundTensors>,
}

impl Pickle {
    /// Every tensor below some values: which of the values, path with names joined by dots, and
    /// index of the tensor.
    pub fn tensors_below(&self, values: &[PickleValue]) -> Result<Vec<FoundTensors>, Refusal> {
        let mut search = PickleSearch::default();
        for (root, &value) in values.iter().enumerate() {
            search.root = root;
            self.collect(value, &mut String::new(), 0, &mut search)?;
        }
        Ok(search.found)
    }

    fn collect(
        &self,
        value: PickleValue,
        path: &mut String,
        depth: usize,
        search: &mut PickleSearch,
    ) -> Result<(), Refusal> {
        search.visited += 1;
        if search.visited > COUNT_LIMIT || search.found.len() > TENSOR_LIMIT {
            return Err("its values refer to each other too often".into());
        }
        if depth > DEPTH_LIMIT {
            return Err("its values are nested too deeply".into());
        }
        if let PickleValue::Tensor(tensor) = value {
            search.found.push(FoundTensors {
                root: search.root,
                path: path.clone(),
                tensor,
            });
            return Ok(());
        }
        let length = path.len();
        let enter = |path: &mut String, key: &str| -> Result<(), Refusal> {
            if length > 0 {
                path.push('.');
            }
            if path.len() + key.len() > NAME_LIMIT {
                return Err("it has a tensor name of absurd length".into());
            }
            path.push_str(key);
            Ok(())
        };
        if let Some(entries) = self.entries(value) {
            for &(key, entry) in entries {
                // Only containers are descended into, which spares most of the names.
                if matches!(
                    entry,
                    PickleValue::Tensor(_)
                        | PickleValue::Dict(_)
                        | PickleValue::Object(_)
                        | PickleValue::List(_)
                ) {
                    match key {
                        PickleValue::Text(at) => enter(path, &self.texts[at])?,
                        PickleValue::Int(number) => enter(path, &number.to_string())?,
                        _ => enter(path, "?")?,
                    }
                    self.collect(entry, path, depth + 1, search)?;
                    path.truncate(length);
                }
            }
        } else if let PickleValue::List(at) = value {
            for (index, &entry) in self.lists[at].iter().enumerate() {
                if matches!(
                    entry,
                    PickleValue::Tensor(_)
                        | PickleValue::Dict(_)
                        | PickleValue::Object(_)
                        | PickleValue::List(_)
                ) {
                    enter(path, &index.to_string())?;
                    self.collect(entry, path, depth + 1, search)?;
                    path.truncate(length);
                }
            }
        }
        Ok(())
    }
}
