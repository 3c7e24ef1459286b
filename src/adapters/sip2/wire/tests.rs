#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use crate::adapters::sip2::Charset;

use super::{
    WireError, date,
    frame::{ErrorDetection, Frame, checksum, fixed_width},
    request::{Request, Site, Summary},
    response::Response,
    splitter::Splitter,
};

/// 2024-09-27 10:15:00 in China.
const AT: i64 = 1_727_403_300_000;

fn read(line: &str) -> Result<Frame, WireError> {
    Frame::decode(line.as_bytes(), Charset::UTF_8, ErrorDetection::On)
}

#[test]
fn known_checksums_fit() {
    for line in [
        "9900302.00AY1AZFCA5",
        "941AY0AZFDFD",
        "97AZFEF5",
        "96AZFEF6",
        "2300120240927    101500AOTJLIB|AAX00000019|AC|AD|AY2AZF300",
        "6300120240927    101500          AOTJLIB|AAX00000019|AY3AZF3BC",
        "9300CNLoginUserID|COLoginPassword|CPLocationCode|AY5AZEC7B",
    ] {
        let frame = read(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut bytes = frame.encode(Charset::UTF_8, ErrorDetection::On).unwrap();
        assert_eq!(bytes.pop(), Some(b'\r'));
        assert_eq!(String::from_utf8_lossy(&bytes), line);
    }
}

#[test]
fn the_textbook_login_whose_checksum_is_wrong_is_refused() {
    let line = "9300CNLoginUserID|COLoginPassword|CPLocationCode|AY5AZEC78";
    assert_eq!(read(line), Err(WireError::Checksum));
}

#[test]
fn a_message_without_trailer_is_refused_when_trailers_are_on() {
    assert_eq!(read("941"), Err(WireError::NoTrailer));
    let frame = Frame::decode(b"941", Charset::UTF_8, ErrorDetection::Off);
    assert_eq!(frame, Ok(Frame::new(b"94", "1")));
}

#[test]
fn requests_are_written_as_the_tables_say() {
    let site = Site { institution: "TJLIB".into(), location: "L1".into() };
    let (patron, item) = (|| "X1".to_owned(), || "B1".to_owned());
    let cases = [
        (Request::ScStatus, "9900802.00"),
        (Request::Login { user: "u".into(), password: "p".into() }, "9300CNu|COp|CPL1|"),
        (Request::PatronStatus { patron: patron() }, "2301920240927    101500AOTJLIB|AAX1|AC|AD|"),
        (
            Request::PatronInformation { patron: patron(), summary: Summary::Charged, first: 1, last: 50 },
            "6301920240927    101500  Y       AOTJLIB|AAX1|AC|BP1|BQ50|",
        ),
        (
            Request::Checkout { patron: patron(), item: item() },
            "11NN20240927    10150020240927    101500AOTJLIB|AAX1|ABB1|AC|BON|BIN|",
        ),
        (
            Request::Checkin { item: item() },
            "09N20240927    10150020240927    101500APL1|AOTJLIB|ABB1|AC|BIN|",
        ),
        (
            Request::Hold { add: false, patron: patron(), item: item(), pickup_location: String::new() },
            "15-20240927    101500AOTJLIB|AAX1|ABB1|AC|",
        ),
        (
            Request::FeePaid {
                patron: patron(),
                amount: "1.50".into(),
                fee: String::new(),
                reference: "T".into(),
            },
            "3720240927    1015000102CNYBV1.50|AOTJLIB|AAX1|AC|BKT|",
        ),
    ];
    for (request, line) in cases {
        let bytes = request.frame(&site, AT).encode(Charset::UTF_8, ErrorDetection::Off).unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), format!("{line}\r"));
        assert_eq!(request.frame(&site, AT).fixed.len(), fixed_width(request.code()).unwrap());
    }
}

#[test]
fn habits_of_real_servers_are_survived() {
    let off = |line: &[u8]| {
        let frame = Frame::decode(line, Charset::UTF_8, ErrorDetection::Off).unwrap();
        Response::read(&frame).unwrap()
    };
    // Timeout and retries padded with blanks, fields nobody knows.
    let status = off(b"98YYNYNY 30  320240927    1015002.00AOX|XXjunk|BXYYYYYNYY|AFa|AFb|");
    let Response::AcsStatus(status) = status else { panic!("{status:?}") };
    assert_eq!((status.timeout, status.checkout, status.resends), (Some(30), false, false));
    assert_eq!(status.screen_message, "a\nb");
    // An unknown item answered with a text only.
    let Response::Checkout(loan) = off(b"120NUN20240927    101500AFno such item|") else { panic!() };
    assert!(!loan.ok && loan.title.is_empty() && loan.screen_message == "no such item");
    // Counts padded with blanks, repeated items.
    let line = b"64              01920240927    101500   1   0   2            0AOX|AAY|AS1|AU7|AU8|BV3.5|";
    let Response::PatronInformation(patron) = off(line) else { panic!() };
    assert_eq!((patron.counts[0], patron.counts[2]), (1, 2));
    assert_eq!(patron.charged, ["7", "8"]);
    assert!(patron.status.valid, "no BL counts as valid");
}

#[test]
fn gbk_titles_survive_the_field_separator_inside_a_character() {
    // The second byte of this character is 0x7C in GBK.
    let title = "渱";
    let frame = Frame::new(b"18", "030001".to_owned() + &date::write(AT)).with(b"AJ", title).with(b"AB", "1");
    let bytes = frame.encode(Charset::GBK, ErrorDetection::On).unwrap();
    assert!(bytes.iter().filter(|byte| **byte == b'|').count() > 2, "the case is worth its name");
    let read = Frame::decode(&bytes[..bytes.len() - 1], Charset::GBK, ErrorDetection::On).unwrap();
    assert_eq!(read, frame);
}

#[test]
fn a_value_that_would_break_the_message_is_refused() {
    for value in ["a|b", "a\rb", "a\nb"] {
        let frame = Frame::new(b"97", "").with(b"AB", value);
        assert_eq!(
            frame.encode(Charset::UTF_8, ErrorDetection::On),
            Err(WireError::Unencodable),
            "{value:?}"
        );
    }
    let frame = Frame::new(b"97", "").with(b"AB", "😀");
    assert_eq!(frame.encode(Charset::GBK, ErrorDetection::On), Err(WireError::Unencodable));
}

#[test]
fn encodings_are_named_and_must_keep_ascii() {
    for (name, good) in
        [("utf-8", true), ("GBK", true), ("gb18030", true), ("utf-16le", false), ("cp9", false)]
    {
        assert_eq!(Charset::try_from(name.to_owned()).is_ok(), good, "{name}");
    }
}

#[test]
fn dates_are_local_time_of_china_unless_they_say_otherwise() {
    assert_eq!(date::write(AT), "20240927    101500");
    assert_eq!(date::write(0), " ".repeat(18));
    let check = |text: &str, expect: i64| assert_eq!(date::read(text), expect, "{text:?}");
    check("20240927    101500", AT);
    check("20240927   Z021500", AT);
    check("2024-09-27 10:15:00", AT);
    check("2024-09-27 10:15", AT);
    check("20240927", AT + (13 * 3_600 + 44 * 60 + 59) * 1_000);
    check("2024/09/27", AT + (13 * 3_600 + 44 * 60 + 59) * 1_000);
    for nonsense in ["", "soon", "20241327    101500", "99", "2024092é    101500", "+0240927    101500"] {
        check(nonsense, 0);
    }
}

#[test]
fn debug_tells_no_values() {
    let login = Request::Login { user: "u".into(), password: "topsecret".into() };
    let shown = format!("{login:?} {:?}", login.frame(&Site::default(), AT));
    assert!(!shown.contains("topsecret"), "{shown}");
}

#[test]
fn an_endless_message_is_refused() {
    let mut splitter = Splitter::default();
    splitter.push(&vec![b'A'; crate::limits::SIP2_MESSAGE_BYTES_MAX + 1]);
    assert_eq!(splitter.next_line(), Err(WireError::TooLong));
}

fn frames() -> impl Strategy<Value = Frame> {
    let codes =
        ["93", "94", "99", "98", "23", "24", "63", "64", "11", "12", "09", "10", "17", "18", "37", "96"];
    let value = "[a-zA-Z0-9 \u{4e00}-\u{4fff}]{0,12}";
    let fields = prop::collection::vec(("[A-Z]{2}", value), 0..8);
    (prop::sample::select(codes.to_vec()), "[0-9Y ]{64}", fields, 0u8..10).prop_map(
        |(code, fixed, fields, sequence)| {
            let code: [u8; 2] = code.as_bytes().try_into().unwrap();
            let width = fixed_width(code).unwrap();
            let fields =
                fields.into_iter().map(|(tag, value)| (tag.as_bytes().try_into().unwrap(), value)).collect();
            Frame { code, fixed: fixed[..width].to_owned(), fields, sequence: Some(sequence) }
        },
    )
}

proptest! {
    #[test]
    fn messages_round_trip(frame in frames(), gbk in any::<bool>()) {
        let charset = if gbk { Charset::GBK } else { Charset::UTF_8 };
        let mut bytes = frame.encode(charset, ErrorDetection::On).unwrap();
        bytes.pop();
        prop_assert_eq!(Frame::decode(&bytes, charset, ErrorDetection::On), Ok(frame));
    }

    #[test]
    fn one_changed_byte_is_noticed(frame in frames(), at in any::<prop::sample::Index>(), by in 1u8..=255) {
        let mut bytes = frame.encode(Charset::UTF_8, ErrorDetection::On).unwrap();
        bytes.pop();
        let at = at.index(bytes.len());
        bytes[at] = bytes[at].wrapping_add(by);
        // A checksum digit may change its case and still say the same.
        prop_assume!(!(at + 4 >= bytes.len() && (bytes[at].is_ascii_hexdigit() && by % 32 == 0)));
        prop_assert!(Frame::decode(&bytes, Charset::UTF_8, ErrorDetection::On).is_err());
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), code in "[0-9]{2}") {
        for detection in [ErrorDetection::On, ErrorDetection::Off] {
            for charset in [Charset::UTF_8, Charset::GBK] {
                let mut line = code.clone().into_bytes();
                line.extend_from_slice(&bytes);
                if let Ok(frame) = Frame::decode(&line, charset, detection) {
                    let _ = Response::read(&frame);
                }
                line.extend_from_slice(b"AZ");
                let sum = checksum(&line);
                line.extend_from_slice(format!("{sum:04X}").as_bytes());
                if let Ok(frame) = Frame::decode(&line, charset, detection) {
                    let _ = Response::read(&frame);
                }
            }
        }
    }

    #[test]
    fn dates_never_panic(text in "\\PC{0,20}") {
        let _ = date::read(&text);
    }

    #[test]
    fn a_stream_may_break_at_any_byte(
        frames in prop::collection::vec(frames(), 1..5),
        cuts in prop::collection::vec(1usize..40, 1..60),
        ends in prop::sample::select(vec!["\r", "\n", "\r\n", "\r\n\0"]),
    ) {
        let mut stream = Vec::new();
        for frame in &frames {
            let mut bytes = frame.encode(Charset::UTF_8, ErrorDetection::On).unwrap();
            bytes.pop();
            stream.extend_from_slice(&bytes);
            stream.extend_from_slice(ends.as_bytes());
        }
        let (mut splitter, mut read, mut rest) = (Splitter::default(), Vec::new(), &stream[..]);
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (chunk, left) = rest.split_at(cut.min(rest.len()));
            rest = left;
            splitter.push(chunk);
            while let Some(line) = splitter.next_line().unwrap() {
                read.push(Frame::decode(&line, Charset::UTF_8, ErrorDetection::On).unwrap());
            }
        }
        prop_assert_eq!(read, frames);
        prop_assert!(splitter.is_clean());
    }
}
