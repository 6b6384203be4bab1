//! From the tables of a plan to its jobs.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};
use vitscope_study::settings::Setting;
use vitscope_study::variants::split;

use crate::keys::{Spec, known};
use crate::problems::{PlanProblems, named, tables};

/// What changes first in the order of jobs; the rest follows by name.
const FIRST: [&str; 3] = ["command", "data", "model"];

/// The most jobs of a plan, and the most tables of a kind in it.
const MOST: usize = 10_000;

/// Whether there are not too many; says so where there are.
fn few(place: &str, count: usize, problems: &mut PlanProblems) -> bool {
    if count > MOST {
        let what = match place {
            "[[exclude]]" => "tables",
            _ => "jobs",
        };
        problems.add(
            place,
            format!(
                "comes to {count} {what}, and a plan has at most {MOST}: make several plans of it"
            ),
        );
    }
    count <= MOST
}

/// Every job that `[base]`, `[matrix]`, `[[include]]` and `[[exclude]]` come to.
pub(crate) fn expand(table: &Table, problems: &mut PlanProblems) -> Vec<Spec> {
    let base = named(table, "base", problems);
    let matrix = named(table, "matrix", problems);
    let includes = tables(table, "include", problems);
    let excludes = tables(table, "exclude", problems);
    if !few("[[include]]", includes.len(), problems)
        || !few("[[exclude]]", excludes.len(), problems)
    {
        return Vec::new();
    }
    for key in base.keys() {
        known(key, "[base]", problems);
    }
    let mut specs = Vec::new();
    // Without a matrix the base is a job, unless there are only included ones.
    if !matrix.is_empty() || includes.is_empty() {
        specs.extend(of(&base, &matrix, "[matrix]", problems));
    }
    for (index, include) in includes.iter().enumerate() {
        let place = format!("[[include]] {}", index + 1);
        specs.extend(of(&base, include, &place, problems));
        if !few("[[include]]", specs.len(), problems) {
            return Vec::new();
        }
    }
    for (index, exclude) in excludes.iter().enumerate() {
        let place = format!("[[exclude]] {}", index + 1);
        let before = specs.len();
        let mut unknown = exclude.keys().collect::<Vec<_>>();
        unknown.retain(|key| !known(key, &place, problems));
        specs.retain(|spec| !spec.has(exclude));
        if unknown.is_empty() && specs.len() == before && !specs.is_empty() {
            problems.add(&place, leaves_none_out(&specs, exclude));
        }
    }
    // Where something else is wrong, that is why.
    if specs.is_empty() && problems.is_none() {
        problems.add("[matrix]", "the plan has no job");
    }
    specs
}

/// Why a table leaves no job out.
fn leaves_none_out(specs: &[Spec], exclude: &Table) -> String {
    let is_nobodys = |(key, value): &(&String, &Value)| {
        let alone = Table::from_iter([((*key).clone(), (*value).clone())]);
        !specs.iter().any(|spec| spec.has(&alone))
    };
    let nobodys: Vec<String> = exclude
        .iter()
        .filter(is_nobodys)
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    let why = match nobodys.is_empty() {
        true => "no job has all of its values at once".to_owned(),
        false => format!("no job has {}", nobodys.join(" or ")),
    };
    format!("leaves no job out, since {why}: correct it or remove it")
}

/// The values of a key, of which each is a job's: a list, and several draws of random directions that go by one name.
fn values(key: &str, value: &Value) -> Vec<Value> {
    let list = match value {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let draws = Setting::called(key).filter(|setting| setting.name == "transform");
    let each = list.into_iter().flat_map(|value| match (&draws, &value) {
        (Some(setting), Value::String(text)) if !text.contains(',') => split(setting, text)
            .into_iter()
            .map(Value::String)
            .collect(),
        _ => vec![value],
    });
    each.collect()
}

/// The jobs of one table, every combination of its values.
fn of(base: &Table, table: &Table, place: &str, problems: &mut PlanProblems) -> Vec<Spec> {
    let mut keys: Vec<&String> = table.keys().collect();
    let rank = |key: &str| FIRST.iter().position(|first| *first == key);
    keys.sort_by_key(|key| (rank(key).unwrap_or(FIRST.len()), key.as_str()));
    let listed = table.iter().map(|(key, value)| (key, values(key, value)));
    let listed: BTreeMap<&String, Vec<Value>> = listed.collect();
    let lengths = listed.values().map(|values| values.len().max(1));
    let all = lengths.fold(1, usize::saturating_mul);
    if !few(place, all, problems) {
        return Vec::new();
    }
    let mut rows = vec![Table::new()];
    for key in keys {
        // What is told here is not told of every job once more.
        if !known(key, place, problems) {
            continue;
        }
        let values = &listed[key];
        if values.is_empty() {
            problems.add(&format!("{place} {key}"), "has no value");
            return Vec::new();
        }
        let mut unknown: BTreeSet<&String> = BTreeSet::new();
        for several in values.iter().filter_map(Value::as_table) {
            for inner in several.keys() {
                if !known(inner, &format!("{place} {key}"), problems) {
                    unknown.insert(inner);
                }
            }
        }
        let with = |row: &Table, value: &Value| {
            let mut row = row.clone();
            match value {
                // A model with what its file leaves open: several keys that go together.
                Value::Table(several) => {
                    let own = several.iter().filter(|(key, _)| !unknown.contains(*key));
                    row.extend(own.map(|(key, value)| (key.clone(), value.clone())));
                }
                _ => {
                    row.insert(key.clone(), value.clone());
                }
            }
            row
        };
        rows = rows
            .iter()
            .flat_map(|row| values.iter().map(move |value| with(row, value)))
            .collect();
    }
    let mut seen = BTreeSet::new();
    let mut specs = Vec::new();
    for row in rows {
        // The same sentence about every combination would help nobody.
        match Spec::read(base, &row) {
            Ok(spec) => specs.push(spec),
            Err(list) => {
                for (key, problem) in list {
                    if seen.insert((key.clone(), problem.clone())) {
                        let table = match row.contains_key(&key) || !base.contains_key(&key) {
                            true => place,
                            false => "[base]",
                        };
                        problems.add(&format!("{table} {key}"), problem);
                    }
                }
            }
        }
    }
    specs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_of_random_directions_are_a_job_each() {
        let text = "transform = ['none', 'random:8x3']\nseed = [0, 1]\n";
        let (base, matrix) = ("model = 'm'\ndata = 'd'\n", text.parse().unwrap());
        let mut problems = PlanProblems::default();
        let specs = of(&base.parse().unwrap(), &matrix, "[matrix]", &mut problems);
        assert!(problems.is_none());
        let found: BTreeSet<String> = specs.iter().map(|spec| spec.value("transform")).collect();
        let expected = ["none", "random:8", "random:8@2", "random:8@3"];
        assert_eq!(found, expected.map(str::to_owned).into());
        assert_eq!(specs.len(), 8);
    }
}
