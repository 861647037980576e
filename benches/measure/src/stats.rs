//! The little statistics that a comparison needs.

/// The median; of an even number of values, the mean of the middle two. `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// `31.4 µs` from nanoseconds, with three significant digits.
pub fn duration(nanos: f64) -> String {
    match nanos {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{} µs", digits(n / 1e3)),
        n if n < 1e9 => format!("{} ms", digits(n / 1e6)),
        n => format!("{} s", digits(n / 1e9)),
    }
}

/// `1.23 M` from a plain number.
pub fn count(value: f64) -> String {
    match value {
        v if v < 1e3 => digits(v),
        v if v < 1e6 => format!("{} k", digits(v / 1e3)),
        v if v < 1e9 => format!("{} M", digits(v / 1e6)),
        v => format!("{} G", digits(v / 1e9)),
    }
}

/// `12.3 GB/s` from bytes per second.
pub fn rate(bytes_per_s: f64) -> String {
    let text = count(bytes_per_s);
    match text.rsplit_once(' ') {
        Some((number, prefix)) => format!("{number} {prefix}B/s"),
        None => format!("{text} B/s"),
    }
}

/// `1.25×`, with fewer decimals the larger it is.
pub fn ratio(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}×"),
        v if v < 100.0 => format!("{v:.1}×"),
        v => format!("{v:.0}×"),
    }
}

fn digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_even_and_none() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn units() {
        assert_eq!(duration(312.0), "312 ns");
        assert_eq!(duration(31_400.0), "31.4 µs");
        assert_eq!(rate(12_345_000_000.0), "12.3 GB/s");
        assert_eq!(rate(12.0), "12.0 B/s");
        assert_eq!(count(1_234_567.0), "1.23 M");
        assert_eq!(ratio(123.4), "123×");
    }
}
