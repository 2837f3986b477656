//! Lists of CPUs as Linux writes them: `0,2-3`, `0-31:2/4` (the first 2 of each 4), `all`.

/// Reads a list of CPUs below `cpus`: a bit for each. The error is the part that cannot be read: its place and text.
pub(super) fn parse(list: &str, cpus: u32) -> Result<Vec<u64>, (usize, &str)> {
    let mut bits = Vec::new();
    let is_gap = |c: char| c == ',' || c.is_ascii_whitespace();
    let mut at = 0;
    for item in list.split(is_gap) {
        if !item.is_empty() {
            add(item, cpus, &mut bits).ok_or((at, item))?;
        }
        at += item.len() + 1;
    }
    if bits.is_empty() { Err((0, list)) } else { Ok(bits) }
}

fn add(item: &str, cpus: u32, bits: &mut Vec<u64>) -> Option<()> {
    let (range, stride) = match item.split_once(':') {
        Some((range, stride)) => (range, Some(stride)),
        None => (item, None),
    };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().ok())?;
    let (first, last) = match range.split_once('-') {
        _ if range == "all" => (0, cpus.checked_sub(1)?),
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(range)?, number(range)?),
    };
    let (used, group) = match stride {
        Some(stride) => {
            let (used, group) = stride.split_once('/')?;
            (number(used)?, number(group)?)
        }
        None => (1, 1),
    };
    if first > last || last >= cpus || used == 0 || used > group {
        return None;
    }
    bits.resize(bits.len().max(last as usize / 64 + 1), 0);
    let mut start = Some(first);
    while let Some(from) = start.filter(|&from| from <= last) {
        fill(from, last.min(from.saturating_add(used - 1)), bits);
        start = from.checked_add(group);
    }
    Some(())
}

/// Sets the bits from `first` to `last`, a word at a time: a long text may name all CPUs again and again.
fn fill(first: u32, last: u32, bits: &mut [u64]) {
    let (low, high) = (first as usize / 64, last as usize / 64);
    for (word, bits) in bits.iter_mut().enumerate().take(high + 1).skip(low) {
        let from = if word == low { u64::MAX << (first % 64) } else { u64::MAX };
        let to = if word == high { u64::MAX >> (63 - last % 64) } else { u64::MAX };
        *bits |= from & to;
    }
}

/// The first and the last CPU of a set, where it has all between them.
pub(super) fn run(bits: &[u64]) -> Option<(u32, u32)> {
    let total: u32 = bits.iter().map(|word| word.count_ones()).sum();
    let at = |word: usize, bit: u32| u32::try_from(word * 64).ok().map(|base| base + bit);
    let (word, first) = bits.iter().enumerate().find(|(_, word)| **word != 0)?;
    let first = at(word, first.trailing_zeros())?;
    let (word, last) = bits.iter().enumerate().rfind(|(_, word)| **word != 0)?;
    let last = at(word, 63 - last.leading_zeros())?;
    (total == last - first + 1).then_some((first, last))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn numbers(list: &str) -> Result<Vec<u32>, (usize, &str)> {
        let bits = parse(list, 200)?;
        Ok((0..200)
            .filter(|&cpu| bits.get(cpu as usize / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1))
            .collect())
    }

    #[test]
    fn lists_are_read_as_linux_reads_them() {
        assert_eq!(numbers("0"), Ok(vec![0]));
        assert_eq!(numbers("1-3,7 \t9,"), Ok(vec![1, 2, 3, 7, 9]));
        assert_eq!(numbers("63-65,199"), Ok(vec![63, 64, 65, 199]));
        assert_eq!(numbers("0-12:2/5"), Ok(vec![0, 1, 5, 6, 10, 11]));
        assert_eq!(numbers("0-130:70/100"), Ok((0..70).chain(100..131).collect()));
        assert_eq!(numbers("all"), Ok((0..200).collect()));
    }

    #[test]
    fn what_is_no_list_is_named_with_its_place() {
        assert_eq!(numbers(""), Err((0, "")));
        assert_eq!(numbers(" , "), Err((0, " , ")));
        let parts =
            ["x", "0x1", "-1", "200", "3-1", "1-", "0-4:3/2", "0-4:0/2", "0-4:1", "4294967296", "0-4:1/99999999999"];
        for part in parts {
            let list = format!("1, {part},2");
            assert_eq!(numbers(&list), Err((3, part)));
        }
    }

    #[test]
    fn a_run_has_no_gap() {
        let run_of = |list: &str| run(&parse(list, 200).unwrap());
        assert_eq!(run_of("5"), Some((5, 5)));
        assert_eq!(run_of("60-130"), Some((60, 130)));
        assert_eq!(run_of("60-130,132"), None);
        assert_eq!(run_of("0,64"), None);
    }
}
