//! What the calls in a pickle stand for: dictionaries, instances, storages and tensors. Nothing is called.

use super::{AXIS_LIMIT, NAME_LIMIT, Pickle, PickleValue, Refusal, StorageRef, TensorRef};
use crate::container::{elements::span, pickle_names::Name, tensor::checked_elements};

impl Pickle {
    pub(super) fn object(&mut self) -> Result<PickleValue, Refusal> {
        self.room()?;
        self.objects.push(None);
        Ok(PickleValue::Object(self.objects.len() - 1))
    }

    pub(super) fn new_dict(
        &mut self,
        entries: Vec<(PickleValue, PickleValue)>,
    ) -> Result<PickleValue, Refusal> {
        self.push_dict(entries)?;
        self.pop()
    }

    /// What calling a name with arguments stands for.
    pub(super) fn reduce(
        &mut self,
        callee: PickleValue,
        arguments: PickleValue,
    ) -> Result<PickleValue, Refusal> {
        // Only the first few: a long tuple can be passed again and again at no cost to the pickle.
        let Some(arguments) = self
            .list(arguments)
            .map(|all| all[..all.len().min(AXIS_LIMIT)].to_vec())
        else {
            return Err("its pickle calls something without a tuple of arguments".into());
        };
        let PickleValue::Name(name) = callee else {
            // Calling something that was itself made by an ignored name, such as a numpy type.
            return if callee == PickleValue::Other {
                Ok(PickleValue::Other)
            } else {
                Err("its pickle calls something that is not a function".into())
            };
        };
        match name {
            Name::Dict => {
                let mut entries = Vec::new();
                if let Some(PickleValue::Dict(at)) = arguments.first() {
                    self.hold(self.dicts[*at].len())?;
                    entries.clone_from(&self.dicts[*at]);
                } else if let Some(&PickleValue::List(at)) = arguments.first() {
                    self.hold(self.lists[at].len())?;
                    for &item in &self.lists[at] {
                        match self.list(item) {
                            Some(&[key, value]) => entries.push((key, value)),
                            _ => {
                                return Err(
                                    "its pickle makes a dictionary of other than pairs".into()
                                );
                            }
                        }
                    }
                }
                self.new_dict(entries)
            }
            Name::Sequence => match arguments.first() {
                Some(&list @ PickleValue::List(_)) => Ok(list),
                _ => {
                    self.push_list(Vec::new())?;
                    self.pop()
                }
            },
            Name::RebuildTensor => self.tensor(&arguments),
            Name::RebuildParameter => match arguments.first() {
                Some(&tensor @ PickleValue::Tensor(_)) => Ok(tensor),
                _ => Err("its pickle makes a parameter of something that is not a tensor".into()),
            },
            Name::Reconstructor => match arguments.first() {
                Some(&class @ PickleValue::Name(_)) => self.instance(class, PickleValue::Other),
                _ => Err("its pickle makes an object without a class".into()),
            },
            Name::Plain | Name::Class => self.object(),
            Name::Ignored => Ok(PickleValue::Other),
            Name::Storage(_) => Err("its pickle makes a storage that is not in the file".into()),
        }
    }

    /// A new instance of a class, before its state is set.
    pub(super) fn instance(
        &mut self,
        class: PickleValue,
        arguments: PickleValue,
    ) -> Result<PickleValue, Refusal> {
        match class {
            PickleValue::Name(Name::Plain | Name::Class) => self.object(),
            PickleValue::Name(Name::Dict) => self.new_dict(Vec::new()),
            PickleValue::Name(Name::Ignored) => Ok(PickleValue::Other),
            PickleValue::Name(Name::Sequence) => self.reduce(class, arguments),
            _ => Err("its pickle makes an instance of something that is not a class".into()),
        }
    }

    /// `("storage", type, key, location, count[, view])`.
    pub(super) fn storage(&mut self, id: PickleValue) -> Result<PickleValue, Refusal> {
        let wrong = "its pickle refers to a storage in an unknown way";
        let fields = self.list(id).ok_or(wrong)?;
        let (
            Some("storage"),
            Some(&PickleValue::Name(Name::Storage(dtype))),
            Some(&key),
            Some(&PickleValue::Int(count)),
        ) = (
            fields.first().and_then(|&tag| self.text(tag)),
            fields.get(1),
            fields.get(2),
            fields.get(4),
        )
        else {
            return Err(wrong.into());
        };
        let key = match key {
            PickleValue::Int(key) => key.to_string(),
            key => self
                .text(key)
                .filter(|key| key.len() <= NAME_LIMIT)
                .ok_or(wrong)?
                .to_owned(),
        };
        let mut count = usize::try_from(count).map_err(|_| wrong)?;
        let mut view_start = 0;
        if let Some(view) = fields.get(5).and_then(|&view| self.list(view)) {
            let (Some(&PickleValue::Int(start)), Some(&PickleValue::Int(size))) =
                (view.get(1), view.get(2))
            else {
                return Err(wrong.into());
            };
            view_start = usize::try_from(start).map_err(|_| wrong)?;
            count = usize::try_from(size).map_err(|_| wrong)?;
        }
        self.room()?;
        self.storages.push(StorageRef {
            key,
            dtype,
            count,
            view_start,
        });
        Ok(PickleValue::Storage(self.storages.len() - 1))
    }

    /// `(storage, offset, shape, strides, ...)`.
    fn tensor(&mut self, arguments: &[PickleValue]) -> Result<PickleValue, Refusal> {
        let wrong = "its pickle describes a tensor in an unknown way";
        let &[
            PickleValue::Storage(storage),
            PickleValue::Int(offset),
            shape,
            strides,
            ..,
        ] = arguments
        else {
            return Err(wrong.into());
        };
        let extents = |value| -> Result<Vec<usize>, Refusal> {
            self.list(value)
                .filter(|extents| extents.len() <= AXIS_LIMIT)
                .ok_or(wrong)?
                .iter()
                .map(|&extent| match extent {
                    PickleValue::Int(extent) => usize::try_from(extent).map_err(|_| wrong.into()),
                    _ => Err(wrong.into()),
                })
                .collect()
        };
        let (shape, strides) = (extents(shape)?, extents(strides)?);
        let offset = usize::try_from(offset).map_err(|_| wrong)?;
        let available = self.storages[storage].count;
        let elements = checked_elements(&shape);
        let reach = span(&shape, &strides).checked_add(offset);
        // As `expand` makes it. A small file could describe any size so.
        if shape.len() == strides.len()
            && strides.contains(&0)
            && elements.is_some_and(|count| count > available)
            && reach.is_some_and(|reach| reach <= available)
        {
            return Err(Refusal::Repeats(format!(
                "a tensor of shape {shape:?} in it repeats the elements of a storage of {available}: save it again with `.contiguous()`"
            )));
        }
        if shape.len() != strides.len()
            || elements.is_none_or(|count| count > available)
            || reach.is_none_or(|reach| reach > available)
        {
            return Err(Refusal::Broken(format!(
                "its pickle describes a tensor of shape {shape:?} from element {offset} of a storage of {available}"
            )));
        }
        self.room()?;
        self.tensors.push(TensorRef {
            storage,
            offset,
            shape,
            strides,
        });
        Ok(PickleValue::Tensor(self.tensors.len() - 1))
    }
}
