//! What programs write to terminals, as proptest makes it up.

use proptest::prelude::*;

/// One step of what programs write.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let text = "[a-zA-Z0-9 ]{1,12}".prop_map(String::into_bytes);
    let wide = proptest::sample::select(vec![
        "字",
        "漢字",
        "😀",
        "é",
        "e\u{301}",
        "👩\u{200d}💻",
        "❤\u{fe0f}",
        "🇩🇪",
        "👍🏽",
        "│",
        "ñ",
        "\u{301}",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    let control =
        proptest::sample::select(vec!["\r\n", "\n", "\r", "\t", "\u{8}", "\u{e}", "\u{f}"])
            .prop_map(|text| text.as_bytes().to_vec());
    let fixed = proptest::sample::select(FIXED.to_vec()).prop_map(|text| text.as_bytes().to_vec());
    let moved = (proptest::sample::select(b"ABCDEFGHJKLMPSTXZ@bdr".to_vec()), 0_u32..9, 0_u32..25)
        .prop_map(|(last, one, two)| {
            match last {
                b'J' | b'K' => format!("\x1b[{}{}", one % 3, last as char),
                b'H' | b'r' => format!("\x1b[{one};{two}{}", last as char),
                b'b' => format!("x\x1b[{one}b"),
                _ => format!("\x1b[{one}{}", last as char),
            }
            .into_bytes()
        });
    let looks = (0_u32..17, any::<[u8; 3]>()).prop_map(|(kind, [r, g, b])| match kind {
        0 => "\x1b[m".to_owned(),
        1..=5 => format!("\x1b[{kind}m"),
        6 => "\x1b[7m".to_owned(),
        7 => format!("\x1b[3{}m", r % 8),
        8 => format!("\x1b[4{};9{}m", r % 8, g % 8),
        9 => format!("\x1b[38;5;{r}m"),
        10 => format!("\x1b[48;2;{r};{g};{b}m"),
        11 => format!("\x1b[4:{}m", r % 6),
        12 => format!("\x1b[58;2;{r};{g};{b}m"),
        13 => "\x1b[8m".to_owned(),
        14 => "\x1b[53m".to_owned(),
        15 => "\x1b[21m".to_owned(),
        _ => "\x1b[24;28;55;59;22;27m".to_owned(),
    });
    prop_oneof![6 => text, 3 => wide, 3 => control, 3 => fixed, 4 => moved, 3 => looks.prop_map(String::into_bytes)]
}

const FIXED: &[&str] = &[
    "\x1b[?1049h",
    "\x1b[?1049l",
    "\x1b[?47h",
    "\x1b[?47l",
    "\x1b7",
    "\x1b8",
    "\x1b[s",
    "\x1b[u",
    "\x1b[?7l",
    "\x1b[?7h",
    "\x1b[4h",
    "\x1b[4l",
    "\x1b[?25l",
    "\x1b[?25h",
    "\x1b[?1h",
    "\x1b[?1l",
    "\x1b=",
    "\x1b>",
    "\x1b[?2004h",
    "\x1b[?2004l",
    "\x1b[?1000h",
    "\x1b[?1002h",
    "\x1b[?1003h",
    "\x1b[?1006h",
    "\x1b[?1006l",
    "\x1b[?1003l",
    "\x1b[?1004h",
    "\x1b[?1004l",
    "\x1bM",
    "\x1bD",
    "\x1bE",
    "\x1bH",
    "\x1b[3g",
    "\x1b(0",
    "\x1b(B",
    "\x1b)0",
    "\x1b)B",
    "\x1b[!p",
    "\x1b[4 q",
    "\x1b[2 q",
    "\x1b]0;title\x07",
    "\x1b]2;another\x1b\\",
    "\x1b]8;;https://example.com/\x1b\\",
    "\x1b]8;;\x1b\\",
    "\x1b]133;A\x07",
    "\x1bP$qm\x1b\\",
    "\x1b_hidden\x1b\\",
    "\x1b[>4;2m",
    "\x1b[c",
    "\x1b[6n",
    "\x1b[?2026h",
    "\x1b[?2026l",
    "\x1b]10;#aabbcc\x07",
];

/// Output of some programs.
pub fn stream() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 1..40).prop_map(|pieces| pieces.concat())
}
