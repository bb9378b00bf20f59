//! ORCA's binary format: an `xds.data.orca.v3.OrcaLoadReport` of protocol buffers.

/// The number of its field `map<string, double> named_metrics`.
const NAMED_METRICS: u64 = 8;

/// The numbers of the fields of a map's entries.
const KEY: u64 = 1;
const VALUE: u64 = 2;

/// A field as it is on the wire, as far as a report needs it.
#[derive(Clone, Copy, Debug)]
enum Field<'a> {
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Other,
}

/// The metric with this name. `None` for a report that has none, or is no valid message.
pub(super) fn named_metric(mut report: &[u8], name: &[u8]) -> Option<f64> {
    let mut found = None;
    while !report.is_empty() {
        let (NAMED_METRICS, Field::Bytes(mut entry)) = field(&mut report)? else { continue };
        // Encoders may omit defaults.
        let (mut key, mut value) = (&b""[..], 0.0);
        while !entry.is_empty() {
            match field(&mut entry)? {
                (KEY, Field::Bytes(bytes)) => key = bytes,
                (VALUE, Field::Fixed64(bytes)) => value = f64::from_le_bytes(bytes),
                _ => {}
            }
        }
        if key == name {
            // Of equal keys the last one holds.
            found = Some(value);
        }
    }
    found
}

/// Takes the next field, with its number.
fn field<'a>(message: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let tag = varint(message)?;
    let field = match tag & 7 {
        0 => varint(message).map(|_| Field::Other)?,
        1 => Field::Fixed64(take(message, 8)?.try_into().ok()?),
        2 => {
            let length = usize::try_from(varint(message)?).ok()?;
            Field::Bytes(take(message, length)?)
        }
        5 => take(message, 4).map(|_| Field::Other)?,
        _ => return None,
    };
    Some((tag >> 3, field))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A report with all fields.
    fn report(named_metrics: &BTreeMap<String, f64>) -> Vec<u8> {
        let mut report = Vec::new();
        let bytes = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat();
        let double = |number: u8, value: f64| [&[number << 3 | 1][..], &value.to_le_bytes()].concat();
        for utilization in [1, 2, 6, 7, 9] {
            report.extend(double(utilization, 0.5));
        }
        // The deprecated `rps`, and fields of later versions.
        report.extend([3 << 3, 0xff, 0xff, 0x03, 10 << 3 | 5, 1, 2, 3, 4, 0xf8, 0x01, 7]);
        let entry = |name: &str, value: f64| [bytes(1, name.as_bytes()), double(2, value)].concat();
        report.extend(bytes(4, &entry("in_flight", 70.0)));
        report.extend(bytes(5, &entry("in_flight", 0.7)));
        named_metrics.iter().for_each(|(name, value)| report.extend(bytes(8, &entry(name, *value))));
        report
    }

    #[test]
    fn only_named_metrics_are_read() {
        assert_eq!(named_metric(&report(&BTreeMap::new()), b"in_flight"), None);
        let metrics = BTreeMap::from([("in_flight".to_owned(), 7.0), ("queue".to_owned(), 3.0)]);
        assert_eq!(named_metric(&report(&metrics), b"in_flight"), Some(7.0));
        let twice = [report(&metrics), report(&BTreeMap::from([("in_flight".to_owned(), 8.0)]))].concat();
        assert_eq!(named_metric(&twice, b"in_flight"), Some(8.0));
        assert_eq!(named_metric(b"\x42\x0b\x0a\x09in_flight", b"in_flight"), Some(0.0), "the default is omitted");
    }

    #[test]
    fn invalid_message_has_no_metric() {
        let valid = b"\x42\x14\x0a\x09in_flight\x11\0\0\0\0\0\0\x1c\x40";
        assert_eq!(named_metric(valid, b"in_flight"), Some(7.0));
        for length in 1..valid.len() {
            assert_eq!(named_metric(&valid[..length], b"in_flight"), None, "{length}");
        }
        for rest in [&b"\x43"[..], b"\x44", b"\x46", b"\x42\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", &[0xff; 11]] {
            assert_eq!(named_metric(&[valid, rest].concat(), b"in_flight"), None, "{rest:?}");
        }
    }

    proptest! {
        #[test]
        fn metrics_are_read_as_written(metrics in prop::collection::btree_map("[a-z_]{0,12}", any::<f64>(), 0..8)) {
            let report = report(&metrics);
            for (name, value) in &metrics {
                let read = named_metric(&report, name.as_bytes());
                prop_assert_eq!(read.map(f64::to_bits), Some(value.to_bits()));
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
            named_metric(&bytes, b"in_flight");
            let mut report = report(&BTreeMap::from([("in_flight".to_owned(), 7.0)]));
            let at = at.index(report.len());
            report[at] = byte;
            named_metric(&report, b"in_flight");
        }
    }
}
