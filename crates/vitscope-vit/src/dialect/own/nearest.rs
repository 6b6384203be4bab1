//! The word that was probably meant.

/// The candidate closest to a word, where one is close.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Comparing is quadratic in the length, and nobody mistypes a longer word.
    const LONGEST: usize = 200;
    if word.len() > LONGEST {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (distance(word, candidate), candidate))
        .min_by_key(|&(distance, _)| distance)
        .filter(|&(distance, candidate)| 3 * distance <= word.len().max(candidate.len()) + 2)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements of one byte that turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_words() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        let keys = ["heads", "norm_eps", "mean"];
        assert_eq!(nearest("hedas", keys), Some("heads"));
        assert_eq!(nearest("eps_norm", ["norm_eps"]), None);
        assert_eq!(nearest("zebra", keys), None);
    }
}
