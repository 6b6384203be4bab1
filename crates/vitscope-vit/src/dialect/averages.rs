//! Averages of a training whose tensors do not tell which weight each is: lists, as torch_ema and some callbacks keep
//! them. They cannot be read, and the weights beside them are not what is evaluated.

use std::collections::BTreeMap;

use super::networks::{NetworkChoice, is_average};
use crate::{
    container::{Container, StoredTensor},
    error::shortened,
};

/// Words of what an optimizer keeps, which has the shapes of the weights, too.
const OPTIMIZERS: &[&str] = &["optim", "exp_avg", "momentum"];

/// What stands before a tensor's number, where it has nothing else: `ema.shadow_params`.
fn list_of(tensor: &StoredTensor) -> Option<String> {
    let path = match tensor.group.as_str() {
        "" => tensor.name.clone(),
        group => format!("{group}.{}", tensor.name),
    };
    let (list, last) = path.rsplit_once('.')?;
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    let other = OPTIMIZERS.iter().any(|word| list.contains(word));
    (is_number && !other && is_average(list)).then(|| list.to_owned())
}

/// Lists of averages with the numbers of their tensors.
fn lists(container: &Container) -> BTreeMap<String, Vec<&StoredTensor>> {
    let mut lists: BTreeMap<String, Vec<&StoredTensor>> = BTreeMap::new();
    for tensor in &container.tensors {
        if let Some(list) = list_of(tensor) {
            lists.entry(list).or_default().push(tensor);
        }
    }
    lists
}

/// What is said of a network that is read while an average of it lies in a list beside it: as many tensors of each of the
/// shapes that `weights` have.
pub(super) fn beside(
    container: &Container,
    weights: &[&StoredTensor],
    label: &str,
) -> Option<NetworkChoice> {
    let mut wanted: BTreeMap<&[usize], usize> = BTreeMap::new();
    for tensor in weights {
        *wanted.entry(&tensor.shape).or_insert(0) += 1;
    }
    let (list, tensors) = lists(container).into_iter().find(|(_, tensors)| {
        wanted.iter().all(|(shape, &count)| {
            let same = tensors.iter().filter(|tensor| tensor.shape == *shape);
            same.count() >= count
        })
    })?;
    Some(NetworkChoice {
        value: label.to_owned(),
        because: format!(
            "it has names; {} beside it seems to be an average of it, which would be evaluated, but its {} tensors have no names: to have that, copy it into the model where it was made (`ema.copy_to(model.parameters())` of torch_ema, or what the callback has for it) and save its state_dict; --backbone {label} takes this one without a word",
            shortened(&list),
            tensors.len()
        ),
        noted: true,
    })
}

/// What a file is that holds nothing but such a list, and the way out.
pub(super) fn alone(container: &Container) -> Option<(String, String)> {
    let lists = lists(container);
    let (list, tensors) = lists.iter().max_by_key(|(_, tensors)| tensors.len())?;
    (2 * tensors.len() > container.tensors.len()).then(|| {
        (
            format!(
                "a list of {} tensors ({}) with numbers in place of names, as torch_ema and others keep an average of weights",
                tensors.len(),
                shortened(list)
            ),
            "copy it into the model where it was made (`ema.copy_to(model.parameters())` with torch_ema), and save the model's state_dict".to_owned(),
        )
    })
}
