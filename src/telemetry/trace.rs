//! W3C trace context, version 00: read strictly, passed on, begun where there is
//! none. Nothing is collected here.

use std::fmt;

use crate::model::Rng;

/// Where a call stands in its trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// Never all zero.
    pub trace_id: [u8; 16],
    /// Never all zero.
    pub span_id: [u8; 8],
    /// The caller records this trace.
    pub sampled: bool,
}

/// A `traceparent` is not well formed. The call goes on with a new root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("traceparent is not of the form 00-<32 hex>-<16 hex>-<2 hex>")]
pub struct BadTraceParent;

impl TraceContext {
    /// The beginning of a trace.
    pub fn root(rng: &dyn Rng) -> Self {
        TraceContext { trace_id: random(rng), span_id: random(rng), sampled: false }
    }

    /// Reads a `traceparent` header: lower-case hexadecimal, no zero ids, nothing
    /// after the flags.
    pub fn parse(header: &str) -> Result<Self, BadTraceParent> {
        let mut parts = header.split('-');
        let (version, trace, span, flags) = (parts.next(), parts.next(), parts.next(), parts.next());
        if version != Some("00") || parts.next().is_some() {
            return Err(BadTraceParent);
        }
        let trace_id: [u8; 16] = lower_hex(trace)?;
        let span_id: [u8; 8] = lower_hex(span)?;
        let [flags]: [u8; 1] = lower_hex(flags)?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return Err(BadTraceParent);
        }
        Ok(TraceContext { trace_id, span_id, sampled: flags & 1 == 1 })
    }

    /// The caller's trace, or a new one when there is none or it is not well
    /// formed.
    pub fn continued(header: Option<&str>, rng: &dyn Rng) -> Self {
        match header.map(TraceContext::parse) {
            Some(Ok(parent)) => parent.child(rng),
            Some(Err(BadTraceParent)) | None => TraceContext::root(rng),
        }
    }

    /// The next span of the same trace.
    pub fn child(&self, rng: &dyn Rng) -> Self {
        TraceContext { span_id: random(rng), ..*self }
    }

    /// The `traceparent` to send on.
    pub fn to_header(&self) -> String {
        let flags = u8::from(self.sampled);
        format!("00-{}-{}-{flags:02x}", hex::encode(self.trace_id), hex::encode(self.span_id))
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_header())
    }
}

/// The trace id as it stands in a log line, under the field `trace_id`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.trace_id))
    }
}

/// A caller's `tracestate`, if it is one: at most 512 bytes and 32 members of
/// the form `key=value`. What is not is dropped, as the standard asks; what is
/// goes on as it came.
pub fn trace_state(header: &str) -> Option<&str> {
    let member = |member: &str| {
        let member = member.trim_matches([' ', '\t']);
        member.is_empty() || member.split_once('=').is_some_and(|(key, value)| is_key(key) && is_value(value))
    };
    let fits = header.len() <= 512 && header.split(',').count() <= 32;
    (fits && header.split(',').all(member)).then_some(header)
}

fn is_key(key: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/@".contains(&b);
    (1..=256).contains(&key.len())
        && key.as_bytes()[0].is_ascii_alphanumeric()
        && key.bytes().all(allowed)
        && key.bytes().filter(|b| *b == b'@').count() <= 1
}

fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=' && b != b',')
        && !value.ends_with(' ')
}

fn lower_hex<const N: usize>(text: Option<&str>) -> Result<[u8; N], BadTraceParent> {
    let text = text.ok_or(BadTraceParent)?;
    let mut bytes = [0; N];
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(BadTraceParent);
    }
    hex::decode_to_slice(text, &mut bytes).map_err(|_| BadTraceParent)?;
    Ok(bytes)
}

/// Random and not all zero, which the standard reserves for "none".
fn random<const N: usize>(rng: &dyn Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill(&mut bytes);
    if bytes == [0; N] {
        bytes[N - 1] = 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SystemRng;
    use proptest::prelude::*;

    const SAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_goes_on_with_a_new_span() {
        let parent = TraceContext::parse(SAMPLE).expect("the standard's own example");
        assert!(parent.sampled);
        assert_eq!(parent.to_header(), SAMPLE);
        let child = TraceContext::continued(Some(SAMPLE), &SystemRng);
        assert_eq!((child.trace_id, child.sampled), (parent.trace_id, true));
        assert_ne!(child.span_id, parent.span_id);
    }

    #[test]
    fn what_is_not_well_formed_begins_a_new_trace() {
        for wrong in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(TraceContext::parse(wrong), Err(BadTraceParent), "{wrong}");
            assert_ne!(TraceContext::continued(Some(wrong), &SystemRng).trace_id, [0; 16]);
        }
    }

    #[test]
    fn a_state_that_is_none_is_dropped() {
        for (header, taken) in [
            ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", true),
            ("a=1, b=2", true),
            ("", true),
            ("a", false),
            ("A=1", false),
            ("a=1=2", false),
        ] {
            assert_eq!(trace_state(header).is_some(), taken, "{header}");
        }
        assert_eq!(trace_state(&"a=1,".repeat(40)), None);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,80}") {
            let _ = TraceContext::parse(&text);
            let _ = trace_state(&text);
        }

        #[test]
        fn a_header_round_trips(trace_id in any::<[u8; 16]>(), span_id in any::<[u8; 8]>(), sampled: bool) {
            prop_assume!(trace_id != [0; 16] && span_id != [0; 8]);
            let context = TraceContext { trace_id, span_id, sampled };
            prop_assert_eq!(TraceContext::parse(&context.to_header()), Ok(context));
        }
    }
}
