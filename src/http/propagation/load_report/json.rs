//! ORCA's JSON format: the JSON of an `OrcaLoadReport`. A reader of the one number that is needed, and no more: what it skips it does not
//! check.

/// How deep objects and arrays that are skipped may be nested. A report has two levels.
const MAX_DEPTH: u32 = 8;

/// Protocol buffers allow both spellings.
const NAMED_METRICS: [&[u8]; 2] = [b"named_metrics", b"namedMetrics"];

/// The metric with this name. `None` if there is none, or the report is no JSON object.
pub(super) fn named_metric(report: &[u8], name: &[u8]) -> Option<f64> {
    let mut found = None;
    Json(report).object(|member, json| match member {
        _ if NAMED_METRICS.contains(&member) => json.object(|metric, json| {
            if metric == name {
                found = Some(json.number()?);
                return Some(());
            }
            json.skip(0)
        }),
        _ => json.skip(0),
    })?;
    found
}

/// The rest of a text.
#[derive(Debug)]
struct Json<'a>(&'a [u8]);

impl<'a> Json<'a> {
    fn peek(&mut self) -> Option<u8> {
        self.0 = self.0.trim_ascii_start();
        self.0.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (next, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*next)
    }

    /// Takes this byte, if it comes next.
    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| _ = self.next())
    }

    /// Takes an object. `visit` gets the name of each member, and takes its value.
    fn object(&mut self, mut visit: impl FnMut(&[u8], &mut Self) -> Option<()>) -> Option<()> {
        self.eat(b'{')?;
        if self.eat(b'}').is_some() {
            return Some(());
        }
        loop {
            let name = self.string()?;
            self.eat(b':')?;
            visit(name, self)?;
            if self.eat(b',').is_none() {
                return self.eat(b'}');
            }
        }
    }

    /// Takes a string, and returns it as it is written: one with an escape is none that is looked for.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.eat(b'"')?;
        let text = self.0;
        loop {
            match self.next()? {
                b'"' => return text.get(..text.len() - self.0.len() - 1),
                b'\\' => _ = self.next()?,
                _ => {}
            }
        }
    }

    fn number(&mut self) -> Option<f64> {
        self.peek()?;
        let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
        let length = self.0.iter().take_while(|byte| is_part(byte)).count();
        let (number, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(number).ok()?.parse().ok()
    }

    /// Takes any value.
    fn skip(&mut self, depth: u32) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match self.peek()? {
            b'{' => self.object(|_, json| json.skip(depth + 1)),
            b'[' => self.array(depth),
            b'"' => self.string().map(|_| ()),
            _ => {
                let length =
                    self.0.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
                let (word, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                (!word.is_empty()).then_some(())
            }
        }
    }

    fn array(&mut self, depth: u32) -> Option<()> {
        self.eat(b'[')?;
        if self.eat(b']').is_some() {
            return Some(());
        }
        loop {
            self.skip(depth + 1)?;
            if self.eat(b',').is_none() {
                return self.eat(b']');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(report: &str) -> Option<f64> {
        named_metric(report.as_bytes(), b"in_flight")
    }

    #[test]
    fn metric_is_found_among_other_members() {
        for (report, expected) in [
            (r#"{"named_metrics":{"in_flight":7}}"#, Some(7.0)),
            (r#" { "cpu_utilization" : 0.3 , "namedMetrics" : { "a" : 1.5e3 , "in_flight" : 5.0 } } "#, Some(5.0)),
            (
                r#"{"request_cost":{"in_flight":70},"named_metrics":{"in_flight":7},"later":[1,{"a":[]},"}"]}"#,
                Some(7.0),
            ),
            (r#"{"named_metrics":{"a\"":1,"in_flight":-1}}"#, Some(-1.0)),
            (r#"{"named_metrics":{"queue":1}}"#, None),
            (r#"{"in_flight":7}"#, None),
            (r#"{"named_metrics":{"in_flight":"7"}}"#, None),
            (r#"{"named_metrics":{"in_flight":7}"#, None),
            (r#"{"named_metrics":{"in_flight":}}"#, None),
            (r#"{"named_metrics":7}"#, None),
            (r#"[{"named_metrics":{"in_flight":7}}]"#, None),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(read(report), expected, "{report}");
        }
        let nested = format!(r#"{{"a":{}1{},"named_metrics":{{"in_flight":7}}}}"#, "[".repeat(500), "]".repeat(500));
        assert_eq!(read(&nested), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, text in r#"[{}\[\]",:\\ 0-9a.-]{0,40}"#) {
            named_metric(&bytes, b"in_flight");
            read(&format!(r#"{{"named_metrics":{text}"#));
            read(&format!(r#"{{{text}"named_metrics":{{"in_flight":7}}}}"#));
        }
    }
}
