//! Where a pickle's tensors lie in the tree of its values.

use super::{COUNT_LIMIT, DEPTH_LIMIT, NAME_LIMIT, Pickle, Refusal, TENSOR_LIMIT, Value};

/// A tensor in the tree of a pickle's values.
#[derive(Clone, Debug)]
pub(in crate::container) struct Found {
    /// Below which of the values that were searched.
    pub root: usize,
    /// The names on the way to it, joined by dots; empty where the value is the tensor itself.
    pub path: String,
    /// Index into [`Pickle::tensors`].
    pub tensor: usize,
}

/// A search for tensors; its bounds hold for all values that are searched together.
#[derive(Default)]
struct Search {
    root: usize,
    visited: usize,
    found: Vec<Found>,
}

impl Pickle {
    /// Every tensor below some values: which of the values, path with names joined by dots, and
    /// index of the tensor.
    pub fn tensors_below(&self, values: &[Value]) -> Result<Vec<Found>, Refusal> {
        let mut search = Search::default();
        for (root, &value) in values.iter().enumerate() {
            search.root = root;
            self.collect(value, &mut String::new(), 0, &mut search)?;
        }
        Ok(search.found)
    }

    fn collect(
        &self,
        value: Value,
        path: &mut String,
        depth: usize,
        search: &mut Search,
    ) -> Result<(), Refusal> {
        search.visited += 1;
        if search.visited > COUNT_LIMIT || search.found.len() > TENSOR_LIMIT {
            return Err("its values refer to each other too often".into());
        }
        if depth > DEPTH_LIMIT {
            return Err("its values are nested too deeply".into());
        }
        if let Value::Tensor(tensor) = value {
            search.found.push(Found {
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
                    Value::Tensor(_) | Value::Dict(_) | Value::Object(_) | Value::List(_)
                ) {
                    match key {
                        Value::Text(at) => enter(path, &self.texts[at])?,
                        Value::Int(number) => enter(path, &number.to_string())?,
                        _ => enter(path, "?")?,
                    }
                    self.collect(entry, path, depth + 1, search)?;
                    path.truncate(length);
                }
            }
        } else if let Value::List(at) = value {
            for (index, &entry) in self.lists[at].iter().enumerate() {
                if matches!(
                    entry,
                    Value::Tensor(_) | Value::Dict(_) | Value::Object(_) | Value::List(_)
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
