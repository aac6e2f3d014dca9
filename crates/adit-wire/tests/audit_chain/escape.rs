//! Texts of strangers.

use std::borrow::Cow;

use adit_wire::audit::escape::{acts, push_json};
use adit_wire::audit::for_terminal;
use proptest::prelude::*;

// AUD-05, P8
#[test]
fn what_acts_is_shown_and_not_obeyed() {
    let cases = [
        ("a\r\nb", "a\\u{d}\\u{a}b"),
        ("\u{1b}[31mred", "\\u{1b}[31mred"),
        ("\u{9b}31m", "\\u{9b}31m"),
        ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
        ("a\u{2028}b\u{feff}", "a\\u{2028}b\\u{feff}"),
        ("\u{e0041}", "\\u{e0041}"),
        ("\\u{1b}", "\\\\u{1b}"),
    ];
    for (text, shown) in cases {
        assert_eq!(for_terminal(text), shown);
    }
}

#[test]
fn what_does_not_act_is_left_as_it_is() {
    assert!(matches!(for_terminal("Grüße, 日本語 🎉 ~/x"), Cow::Borrowed(_)));
}

proptest! {
    // AUD-05
    #[test]
    fn nothing_that_acts_reaches_a_terminal(text in any::<String>()) {
        prop_assert!(!for_terminal(&text).chars().any(acts));
    }

    #[test]
    fn two_texts_that_differ_are_shown_differently(one in "[\\\\u{}1b\u{1b}]{0,8}", other in "[\\\\u{}1b\u{1b}]{0,8}") {
        prop_assert_eq!(one == other, for_terminal(&one) == for_terminal(&other));
    }

    // AUD-05
    #[test]
    fn a_json_string_reads_back_and_holds_nothing_that_acts(text in any::<String>()) {
        let mut out = String::new();
        push_json(&text, &mut out);
        prop_assert!(!out.chars().any(acts));
        prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }
}
