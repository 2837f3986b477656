//! Filters: the measured cases, tp-lexer as an oracle where it and Linux agree, errors, and hostile texts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod event_filter_support;
mod random;

use std::sync::Arc;

use axebpf_core::event::filter::{MAX_FILTER, MAX_PATTERN};
use axebpf_core::event::{
    Column, EventError, FieldSpec, FieldType, Filter, FilterError, FilterProblem, Scalar, Stamp, TracepointSpec, Value,
};
use event_filter_support::cases::{Answer, COMM, Case, cases};
use event_filter_support::{Dialect, NUMBERS, Row, TEXT, expression, spec, stamp};
use random::Random;
use tp_lexer::{BufContext, FieldClassifier, Schema};

const PID: i32 = 807;
const CPUS: u32 = 2;

/// The fields as tp-lexer is told them.
fn schema(spec: &TracepointSpec) -> Schema {
    let common = [("common_pid", i32::FIELD_TYPE, 4, 4), ("common_flags", u8::FIELD_TYPE, 2, 1)];
    let own = spec.fields().iter().map(|field| {
        let ty = match field.ty {
            FieldType::Scalar(Scalar::U8) => u8::FIELD_TYPE,
            FieldType::Scalar(Scalar::I8) => i8::FIELD_TYPE,
            FieldType::Scalar(Scalar::U16) => u16::FIELD_TYPE,
            FieldType::Scalar(Scalar::I16) => i16::FIELD_TYPE,
            FieldType::Scalar(Scalar::U32) => u32::FIELD_TYPE,
            FieldType::Scalar(Scalar::I32) => i32::FIELD_TYPE,
            FieldType::Scalar(Scalar::U64) => u64::FIELD_TYPE,
            FieldType::Scalar(Scalar::I64) => i64::FIELD_TYPE,
            FieldType::Scalar(Scalar::Bool) => bool::FIELD_TYPE,
            FieldType::Text(_) | FieldType::Array(..) => tp_lexer::FieldType::Bytes,
        };
        (&*field.name.clone().leak(), ty, field.offset, field.ty.size() as usize)
    });
    Schema::new(own.chain(common).collect::<Vec<_>>().leak())
}

fn ours(spec: &Arc<TracepointSpec>, case: &Case) -> Answer {
    match Filter::compile(spec, &case.expression, CPUS) {
        Ok(filter) => {
            let record = case.row.encode(spec, PID);
            Answer::Matched(filter.matches(&spec.record(&record).unwrap(), &stamp(0, COMM)))
        }
        Err(FilterError { problem, position, .. }) => {
            let name = format!("{problem:?}");
            Answer::Refused(Some((name.split([' ', '{']).next().unwrap().to_owned(), position)))
        }
    }
}

#[test]
fn cases_are_answered_as_they_say() {
    let spec = spec();
    let wrong: Vec<String> = cases(PID)
        .iter()
        .filter(|case| ours(&spec, case) != case.ours)
        .map(|case| format!("line {}: {}: {:?}", case.line, case.expression, ours(&spec, case)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tp_lexer_answers_the_cases_as_they_say() {
    let spec = spec();
    let schema = schema(&spec);
    let mut wrong = Vec::new();
    for case in cases(PID) {
        let answer = match tp_lexer::compile_with_schema(&case.expression, schema) {
            Ok(compiled) => {
                let record = case.row.encode(&spec, PID);
                Answer::Matched(compiled.evaluate(&BufContext::new(&record, &schema)))
            }
            Err(_) => Answer::Refused(None),
        };
        if case.tp_lexer != Answer::NotAsked && answer != case.tp_lexer {
            wrong.push(format!("line {}: {}: {answer:?}", case.line, case.expression));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// 100,000 expressions, each about a record of its own.
#[test]
fn random_filters_match_what_tp_lexer_matches() {
    let spec = spec();
    let schema = schema(&spec);
    let mut random = Random(0x7e);
    let mut matched = 0;
    const EXPRESSIONS: usize = 100_000;
    for _ in 0..EXPRESSIONS {
        let row = Row::random(&mut random, Dialect::TpLexer);
        let text = expression(&mut random, &row, Dialect::TpLexer);
        let record = row.encode(&spec, PID);
        let theirs = tp_lexer::compile_with_schema(&text, schema).unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
        let theirs = theirs.try_evaluate(&BufContext::new(&record, &schema)).unwrap();
        let filter = Filter::compile(&spec, &text, CPUS).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(filter.matches(&spec.record(&record).unwrap(), &Stamp::default()), theirs, "{text:?} {row:?}");
        matched += usize::from(theirs);
    }
    assert!((EXPRESSIONS / 4..EXPRESSIONS / 4 * 3).contains(&matched), "{matched} of {EXPRESSIONS}");
}

/// A tracepoint of one field.
fn one(name: &str, ty: &str) -> Arc<TracepointSpec> {
    Arc::new(TracepointSpec::new("axf:one", 5, vec![FieldSpec::new(name, ty.parse().unwrap())]).unwrap())
}

fn problem(spec: &Arc<TracepointSpec>, text: &str) -> (usize, FilterProblem) {
    let error = Filter::compile(spec, text, CPUS).unwrap_err();
    (error.position, *error.problem)
}

#[test]
fn errors_say_what_was_expected() {
    let spec = spec();
    for (text, message) in [
        ("COMMON_pid == 1", "axf:rec: no field COMMON_pid; did you mean common_pid? (byte 0 of the filter)"),
        ("a8 == 1 && cpus == 1", "axf:rec: no field cpus; did you mean cpu? (byte 11 of the filter)"),
        ("zzz == 1", "axf:rec: no field zzz (byte 0 of the filter)"),
        ("a8 = 1", "axf:rec: expected one of == != < <= > >= & ~ after a8, found = (byte 3 of the filter)"),
        ("a8 == ab", "axf:rec: a8 is compared with a number, found ab (byte 6 of the filter)"),
        ("text == ab", "axf:rec: text is compared with a text in quotes, found ab (byte 8 of the filter)"),
        (
            "err == 0x1ffffffff",
            "axf:rec: err is i32, which is -2147483648 to 2147483647, never 0x1ffffffff (byte 7 of the filter)",
        ),
        ("a8 & 0x100", "axf:rec: a8 is u8, whose mask is 0 to 255, never 0x100 (byte 5 of the filter)"),
        ("a8 & 1 == -1", "axf:rec: a8 under this mask is 0 to 255, never -1 (byte 10 of the filter)"),
        (
            "cpu == 4294967296",
            "axf:rec: cpu is an int, which is -2147483648 to 2147483647, never 4294967296 (byte 7 of the filter)",
        ),
        ("text >= 'a'", "axf:rec: text is text and takes ==, != and ~, not >= (byte 5 of the filter)"),
        (
            "text == 'aaaaaaaaaaaaaaaaa'",
            "axf:rec: text holds 16 bytes, so it never is a text of 17 (byte 8 of the filter)",
        ),
        (
            "cpu & CPUS{0,2}",
            "axf:rec: 2 is no CPU from 0 to 1: expected a list such as CPUS{0,2-3} (byte 13 of the filter)",
        ),
        (
            "cpu & CPUS{ }",
            "axf:rec: an empty list is no CPU from 0 to 1: expected a list such as CPUS{0,2-3} (byte 11 of the filter)",
        ),
        ("1 == a8", "axf:rec: expected a field, ( or !, found 1 (byte 0 of the filter)"),
        ("a8 == 1 and a16 == 1", "axf:rec: expected &&, || or the end, found and (byte 8 of the filter)"),
        ("a8 == 1 ||", "axf:rec: nothing follows ||; expected another comparison (byte 8 of the filter)"),
        ("a8 == \u{1b}[31m", "axf:rec: a8 is compared with a number, found \\u{1b}[ (byte 6 of the filter)"),
    ] {
        assert_eq!(Filter::compile(&spec, text, CPUS).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_place_is_counted_in_bytes_on_a_character() {
    let spec = spec();
    let text = "text == 'äöü' && é";
    assert_eq!(problem(&spec, text), (20, FilterProblem::FieldExpected { found: "é".to_owned() }));
    assert!(text.is_char_boundary(20));
    assert_eq!(problem(&spec, "text == 'ä\0'"), (11, FilterProblem::NulInText));
    assert_eq!(problem(&spec, "a8 == 1\0"), (7, FilterProblem::Unexpected { found: "\\0".to_owned() }));
}

#[test]
fn a_bool_is_a_number_and_an_array_is_none() {
    let spec = one("on", "bool");
    for (text, byte, expected) in
        [("on == 1", 1, true), ("on == 0", 1, false), ("on != 0", 1, true), ("on & 1", 0, false), ("on > 0", 1, true)]
    {
        let record = [0, 0, 0, 0, 0, 0, 0, 0, byte, 0, 0, 0];
        let filter = Filter::compile(&spec, text, CPUS).unwrap();
        assert_eq!(filter.matches(&spec.record(&record).unwrap(), &Stamp::default()), expected, "{text}");
    }
    assert!(matches!(problem(&spec, "on == 2"), (6, FilterProblem::OutOfRange { max: 1, .. })));
    let ty = FieldType::Array(Scalar::U32, 4);
    let expected = FilterProblem::NumericArray { field: "v".to_owned(), ty };
    assert_eq!(problem(&one("v", "[u32; 4]"), "v == 1"), (0, expected));
}

/// On Linux a field of the event comes before what every event has.
#[test]
fn a_field_of_ones_own_hides_the_name_of_the_task() {
    let spec = one("comm", "[char; 4]");
    let record = b"\0\0\0\0\0\0\0\0mine";
    let matches = |text: &str| {
        let filter = Filter::compile(&spec, text, CPUS).unwrap();
        filter.matches(&spec.record(record).unwrap(), &stamp(0, "task"))
    };
    assert!(matches("comm == 'mine' && COMM == 'task'"));
    assert!(!matches("comm == 'task'"));
}

#[test]
fn sets_of_cpus_have_gaps_and_reach_beyond_64() {
    let spec = spec();
    let filter = Filter::compile(&spec, "cpu & CPUS{1-3,64,100-140:1/4} && !(a16 & CPUS{2,9})", 200).unwrap();
    for cpu in 0..300 {
        for a16 in [0, 2, 3, 9, 300] {
            let row = Row { numbers: [0, 0, a16, 0, 0, 0, 0, 0], text: Vec::new() };
            let record = row.encode(&spec, 0);
            let expected = ((1..=3).contains(&cpu) || cpu == 64 || ((100..=140).contains(&cpu) && cpu % 4 == 0))
                && a16 != 2
                && a16 != 9;
            assert_eq!(filter.matches(&spec.record(&record).unwrap(), &stamp(cpu, "x")), expected, "{cpu} {a16}");
        }
    }
}

/// Runs where a call that calls itself would soon have no stack left.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(128 << 10).spawn(run).unwrap().join().unwrap();
}

#[test]
fn depth_needs_no_stack() {
    on_a_small_stack(|| {
        const DEPTH: usize = 200_000;
        let spec = spec();
        let record = Row { numbers: [1, 0, 0, 0, 0, 0, 0, 0], text: Vec::new() }.encode(&spec, 0);
        let record = spec.record(&record).unwrap();
        let nested = |open: &str| format!("{}a8 == 1{}", open.repeat(DEPTH), ")".repeat(DEPTH));
        let filter = Filter::compile(&spec, &nested("("), CPUS).unwrap();
        assert!(filter.clone().matches(&record, &Stamp::default()));
        drop(filter);
        let odd = format!("!{}", "!!".repeat(DEPTH)) + "a8 == 1";
        assert!(!Filter::compile(&spec, &odd, CPUS).unwrap().matches(&record, &Stamp::default()));
        assert_eq!(problem(&spec, &"(".repeat(DEPTH)).0, DEPTH);
        assert_eq!(problem(&spec, &("(".repeat(DEPTH) + "a8 == 1")), (DEPTH - 1, FilterProblem::Unclosed));
        let closed = "(a8 == 1".to_owned() + &")".repeat(DEPTH);
        assert_eq!(problem(&spec, &closed), (9, FilterProblem::Unopened));
        let alternating = "(a8 == 1 && !(b8 != 0 || ".repeat(9_000) + "a8 == 1" + &"))".repeat(9_000);
        // Each level turns the answer of the inner one round.
        assert!(Filter::compile(&spec, &alternating, CPUS).unwrap().matches(&record, &Stamp::default()));
    });
}

#[test]
fn long_filters_are_compiled_and_too_long_ones_refused() {
    let spec = spec();
    let record = Row { numbers: [0, 0, 0, 0, 0, 0, 7, 0], text: Vec::new() }.encode(&spec, 0);
    let record = spec.record(&record).unwrap();
    let terms = "a8>0||".repeat(80_000);
    let filter = |end: &str| Filter::compile(&spec, &(terms.clone() + end), CPUS).unwrap();
    assert!(filter("a64==7").matches(&record, &Stamp::default()));
    assert!(!filter("a64==8").matches(&record, &Stamp::default()));
    for text in ["a".repeat(MAX_FILTER + 1), "(".repeat(1 << 20)] {
        let len = text.len();
        let error = Filter::compile(&spec, &text, CPUS).unwrap_err();
        assert_eq!(*error.problem, FilterProblem::TooLong { len, max: MAX_FILTER });
        assert_eq!(error.text, "");
    }
    // What an error repeats of a text is short.
    for text in
        ["z".repeat(MAX_FILTER), format!("a8 == {}", "9".repeat(400_000)), format!("a8 == {}", "z".repeat(400_000))]
    {
        assert!(Filter::compile(&spec, &text, CPUS).unwrap_err().to_string().len() < 300);
    }
}

/// It would take longer than anybody waits if a failed match went back to every star.
#[test]
fn patterns_go_back_to_their_last_star_only() {
    let spec = one("text", "[char; 8000]");
    let mut record = vec![0; spec.record_size()];
    spec.encode(0, &[Value::Bytes(&[b'a'; 8000])], &mut record).unwrap();
    let matches = |pattern: &str| {
        let filter = Filter::compile(&spec, &format!("text ~ '{pattern}'"), CPUS).unwrap();
        filter.matches(&spec.record(&record).unwrap(), &Stamp::default())
    };
    let stars = "*a".repeat(MAX_PATTERN / 2);
    assert!(matches(&stars));
    assert!(!matches(&(stars + "b")));
    assert!(!matches(&("*a".repeat(6) + "*b")));
    assert!(matches(&("*[ab]?".repeat(30) + "*")));
}

#[test]
fn columns_pass_as_their_rows_do() {
    let spec = spec();
    let mut random = Random(3);
    let rows: Vec<Row> = (0..500).map(|_| Row::random(&mut random, Dialect::Linux)).collect();
    let a8: Vec<u8> = rows.iter().map(|row| row.numbers[0] as u8).collect();
    let err: Vec<i64> = rows.iter().map(|row| row.numbers[5] as i64).collect();
    let a64: Vec<u64> = rows.iter().map(|row| row.numbers[6] as u64).collect();
    let texts: Vec<u8> = rows.iter().flat_map(|row| [&row.text[..], &[0; TEXT][row.text.len()..]].concat()).collect();
    let cpus: Vec<u32> = (0..500).map(|row| row % 3).collect();
    let text = "(a8 & 1 || err < 0 || text ~ '*a*') && (a64 > 0x10000 || cpu == 2)";
    let filter = Filter::compile(&spec, text, CPUS).unwrap();
    let mut columns = vec![None; NUMBERS.len() + 1];
    columns[0] = Some(Column::U8(&a8));
    columns[5] = Some(Column::I64(&err));
    columns[6] = Some(Column::U64(&a64));
    columns[8] = Some(Column::Rows { bytes: &texts, width: TEXT });
    let used: Vec<usize> = (0..9).filter(|&field| filter.uses(field)).collect();
    assert_eq!((used, filter.uses_cpu()), (vec![0, 5, 6, 8], true));

    let records: Vec<u8> = rows.iter().flat_map(|row| row.encode(&spec, 0)).collect();
    let one_by_one: Vec<bool> = records
        .chunks_exact(spec.record_size())
        .zip(&cpus)
        .map(|(record, &cpu)| filter.matches(&spec.record(record).unwrap(), &stamp(cpu, "x")))
        .collect();
    assert!(one_by_one.contains(&true) && one_by_one.contains(&false));
    assert_eq!(filter.select(&columns, Some(&cpus), &Stamp::default()), Ok(one_by_one.clone()));
    assert_eq!(filter.select_records(&records, Some(&cpus), &Stamp::default()), one_by_one);

    columns[0] = Some(Column::U8(&a8[1..]));
    let error = filter.select(&columns, None, &Stamp::default()).unwrap_err();
    assert!(matches!(error, EventError::ColumnLength { .. }), "{error}");
}

#[test]
fn without_rows_there_is_an_answer_for_each_cpu() {
    let spec = Arc::new(
        TracepointSpec::new(
            "axf:two",
            6,
            ["a", "b"].map(|name| FieldSpec::new(name, "[u16; 3]".parse().unwrap())).to_vec(),
        )
        .unwrap(),
    );
    let filter = Filter::compile(&spec, "cpu > 1 && comm == 'x'", CPUS).unwrap();
    let select = |cpus| filter.select(&[None, None], cpus, &stamp(7, "x")).unwrap();
    assert_eq!(select(None), [true]);
    assert_eq!(select(Some(&[1, 2, 0, 3])), [false, true, false, true]);
    assert_eq!(select(Some(&[])), [] as [bool; 0]);
}
